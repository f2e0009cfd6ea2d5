"""Deep linear networks on features that are free parameters.

Dang, Tran, Osher, Tran-The, Ho, Nguyen (2023), "Neural Collapse in Deep Linear
Networks: From Balanced to Imbalanced Data", arXiv 2301.00437: features H and the
weights of M linear layers are all trained, with decay on each. Here a sample is a row:
logits are ``H W_1 ... W_M (+ bias)``, the transpose of the paper's. Where the loss is
least, :mod:`kanjax.representation.linear_optima` says.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import checks


class Network(NamedTuple):
    """Free features and the linear layers on them; all of it is trained.

    Attributes:
        features: (samples, width) one row a sample.
        weights: M matrices (in, out), the last with as many columns as classes.
        bias: (classes,) of the last layer, or None.
    """

    features: Float[Array, "samples width"]
    weights: tuple[Float[Array, "in out"], ...]
    bias: Float[Array, " classes"] | None = None


def class_labels(sizes: Sequence[int]) -> Int[Array, " samples"]:
    """Return the label of every sample, class by class.

    Args:
        sizes: samples of each class.

    Raises:
        ValueError: for fewer than 2 classes, or one without samples.
    """
    check_sizes(sizes)
    return jnp.asarray(np.repeat(np.arange(len(sizes)), sizes), jnp.int32)


def init(
    sizes: Sequence[int],
    widths: Sequence[int],
    *,
    key: Array,
    bias: bool = False,
    scale: ArrayLike = 0.1,
) -> Network:
    """Draw features and weights from a normal distribution.

    Args:
        sizes: samples of each class; as many outputs as classes.
        widths: what each of the M layers takes; the first is that of the features.
        key: for the draws.
        bias: whether the last layer has one, 0 at first.
        scale: (), the standard deviation. Near the decay at which a class collapses,
            zero is a local minimum as well: draw several times, at about 0.5.

    Raises:
        ValueError: for sizes or widths that are not positive.
    """
    check_sizes(sizes)
    check_widths(widths)
    shapes = [(sum(sizes), widths[0])]
    shapes += list(zip(widths, [*widths[1:], len(sizes)], strict=True))
    keys = jax.random.split(key, len(shapes))
    features, *weights = (
        jnp.asarray(scale) * jax.random.normal(k, shape)
        for k, shape in zip(keys, shapes, strict=True)
    )
    return Network(features, tuple(weights), jnp.zeros(len(sizes)) if bias else None)


def apply(params: Network) -> Float[Array, "samples classes"]:
    """Return the logits of all samples.

    Args:
        params: a network.
    """
    logits = params.features
    for weights in params.weights:
        logits = logits @ weights
    return logits if params.bias is None else logits + params.bias[None]


def loss(
    params: Network,
    labels: Int[Array, " samples"],
    *,
    kind: Literal["mse", "ce"] = "mse",
    weight_decay: ArrayLike,
    feature_decay: ArrayLike,
    bias_decay: ArrayLike = 0.0,
) -> Float[Array, ""]:
    """Return half the mean squared error, or cross-entropy, with its decay.

    A decay counts half the sum of squares; that of the features, over all samples.

    Args:
        params: a network.
        labels: (samples,) such as :func:`class_labels`.
        kind: "mse" against one-hot labels, or "ce".
        weight_decay: a scalar, or (M,) for each layer.
        feature_decay: a scalar.
        bias_decay: a scalar.

    Raises:
        ValueError: for labels that are no class or do not fit, an unknown kind, or
            decays of another number than layers.
    """
    logits = apply(params)
    if jnp.shape(labels) != logits.shape[:1]:
        raise ValueError(
            f"labels have shape {jnp.shape(labels)} and there are {len(logits)} "
            "features; give each a label."
        )
    checks.check_labels(labels, logits.shape[1])
    if kind == "mse":
        error = logits - jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
        data = jnp.sum(error**2) / (2 * len(logits))
    elif kind == "ce":
        data = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
    else:
        raise ValueError(f"kind is {kind!r}; it must be 'mse' or 'ce'.")
    decays = per_layer(weight_decay, len(params.weights))
    squares = jnp.stack([jnp.sum(w**2) for w in params.weights])
    total = data + jnp.sum(decays * squares) / 2
    total = total + feature_decay * jnp.sum(params.features**2) / 2
    return (
        total
        if params.bias is None
        else total + bias_decay / 2 * jnp.sum(params.bias**2)
    )


def layer_views(params: Network) -> list[tuple[Array, Array]]:
    """Return for each layer the features that enter it, and all weights from it on.

    What collapse is measured of, layer by layer.

    Args:
        params: a network.

    Returns:
        M pairs (samples, width) and (width, classes).
    """
    entering = [params.features]
    for weights in params.weights[:-1]:
        entering.append(entering[-1] @ weights)
    products = [params.weights[-1]]
    for weights in reversed(params.weights[:-1]):
        products.append(weights @ products[-1])
    return list(zip(entering, reversed(products), strict=True))


def per_layer(weight_decay: ArrayLike, m: int) -> Float[Array, " m"]:
    """Return the decay of each of m layers.

    Args:
        weight_decay: of all, or (m,).
        m: how many layers.
    """
    decays = checks.as_floating(weight_decay)
    if decays.shape not in ((), (m,)):
        raise ValueError(
            f"weight_decay has shape {decays.shape}; it must be a scalar or ({m},), "
            "one for each layer."
        )
    return jnp.broadcast_to(decays, (m,))


def check_sizes(sizes: Sequence[int]) -> None:
    """Let only two classes or more pass, each with samples.

    Args:
        sizes: samples of each class.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(
            f"sizes are {tuple(sizes)}; there must be 2 or more classes, each with 1 "
            "sample or more."
        )


def check_widths(widths: Sequence[int]) -> None:
    """Let only layers pass that take something.

    Args:
        widths: of the layers.
    """
    if not widths or min(widths) < 1:
        raise ValueError(
            f"widths are {tuple(widths)}; give what each layer takes, at least 1."
        )
