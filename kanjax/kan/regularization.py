"""Penalties that make a KAN sparse, for the loss of any fit.

Sources: Liu et al. (2024), arXiv 2404.19756, section 2.5.1, and the code of KAN 2.0,
arXiv 2408.10205.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.kan import attribution, layers, multiplication
from kanjax.kan.networks import KAN
from kanjax.training import losses

Metric = Literal["magnitude", "deviation"]
_FLOOR = 1e-4
_RANGE_FLOOR = 0.1


def penalty(
    model: KAN,
    params: Sequence[Any],
    x: Float[Array, "batch in"],
    *,
    metric: Metric = "deviation",
    l1: float = 1.0,
    entropy: float = 2.0,
    size: float = 0.0,
    roughness: float = 0.0,
) -> Float[Array, ""]:
    """How large and how evenly spread the learned edges of a network are.

    ``sum over layers of l1 * L1 + entropy * H + size * C + roughness * D`` with V_io
    the size of edge (i, o) by ``metric``, C the sum of all |coefficients| over the
    number of sums, D that of neighbouring coefficients' differences, and

    - "magnitude" (the paper): ``V = mean |phi(x)|``, ``L1 = sum V`` and
      ``H = -sum p log p`` with ``p = V / L1``;
    - "deviation" (the authors' code): ``V = std(phi(x)) / (std(x_i) + 0.1)``,
      ``L1 = sum V`` and H the mean over inputs, plus that over sums, of
      ``-sum p log2(p + 1e-4)`` with ``p = V / (1 + the sum of V there)``.

    Edges that are formulas have no part in it. "magnitude" makes an array of
    batch * in * sums numbers; "deviation" does not.

    Args:
        model: a KAN.
        params: its parameters.
        x: (batch, in), the samples; at least two for "deviation".
        metric: how the size of an edge is measured.
        l1: the weight of L1.
        entropy: the weight of H.
        size: the weight of C, for layers with coefficients.
        roughness: the weight of D, for layers with coefficients.

    Raises:
        ValueError: for another metric, or x that is not (batch, in).
    """
    if metric not in get_args(Metric):
        raise ValueError(
            f"metric must be one of {', '.join(get_args(Metric))}; got {metric!r}."
        )
    if jnp.ndim(x) != 2:
        raise ValueError(f"x must be (batch, in); got shape {jnp.shape(x)}.")
    inputs = model.activations(params, x)
    total = jnp.zeros((), inputs[0].dtype)
    for layer, p, values in zip(model.layers, params, inputs[:-1], strict=True):
        inner = multiplication.learned(layer)
        if inner is None:
            continue
        edges = _edge_sizes(inner, p, values, metric)
        spread = _entropy(edges) if metric == "magnitude" else _entropies(edges)
        total = total + l1 * jnp.sum(edges) + entropy * spread
        if isinstance(inner, layers.KANLayer) and (size or roughness):
            coef = p["coef"]
            steps = jnp.abs(jnp.diff(coef, axis=0))
            total = total + size * jnp.sum(jnp.mean(jnp.abs(coef), axis=2))
            total = total + roughness * jnp.sum(jnp.mean(steps, axis=2))
    return total


def sparse(
    loss: losses.Loss, model: KAN, *, strength: float = 1e-3, **options: Any
) -> losses.Loss:
    """Return a loss for :func:`kanjax.training.fit` plus ``strength`` times
    :func:`penalty`.

    Args:
        loss: ``loss(params, (x, y), key)``.
        model: the KAN whose parameters it takes.
        strength: the weight of the penalty, typically 1e-4 to 1e-2.
        **options: of :func:`penalty`.

    Returns:
        The loss; its metrics are those of ``loss`` and ``"penalty"``.

    Examples:
        >>> import jax, jax.numpy as jnp, kanjax as kj
        >>> net = kj.kan.KAN((2, 5, 1))
        >>> loss = kj.kan.sparse(kj.training.regression(net.apply), net)
        >>> x = jnp.zeros((8, 2))
        >>> sorted(loss(net.init(jax.random.key(0)), (x, x[:, :1]), None)[1])
        ['mae', 'penalty']
    """

    def penalize(params: Any, batch: Any, key: Array | None = None) -> Any:
        value, metrics = losses.value_and_metrics(loss, params, batch, key)
        extra = penalty(model, params, batch[0], **options)
        return value + strength * extra, {**metrics, "penalty": extra}

    return penalize


def _edge_sizes(
    layer: multiplication.LearnedLayer, params: Any, x: Array, metric: Metric
) -> Float[Array, "in sums"]:
    if metric == "magnitude":
        return jnp.mean(jnp.abs(attribution.layer_edges(layer, params, x)), axis=0)
    spread = attribution.learned_deviation(layer, params, x)
    # The authors' standard deviations are those of samples.
    bessel = jnp.sqrt(len(x) / (len(x) - 1))
    variance = jnp.var(x, axis=0)
    # The inner where keeps the gradient finite at a unit that never changes.
    varies = variance > 0
    width = jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1)), 0)
    return bessel * spread / (bessel * width + _RANGE_FLOOR)[:, None]


def _entropy(v: Float[Array, "in sums"]) -> Float[Array, ""]:
    total = jnp.sum(v)
    p = v / jnp.where(total > 0, total, 1)
    is_positive = p > 0
    return -jnp.sum(
        jnp.where(is_positive, p * jnp.log(jnp.where(is_positive, p, 1)), 0)
    )


def _entropies(v: Float[Array, "in sums"]) -> Float[Array, ""]:
    """Of every sum's inputs and of every input's sums, averaged and added."""
    total = jnp.zeros((), v.dtype)
    for axis in (0, 1):
        p = v / (jnp.sum(v, axis=axis, keepdims=True) + 1)
        total -= jnp.mean(jnp.sum(p * jnp.log2(p + _FLOOR), axis=axis))
    return total
