"""Weights that balance the terms of a loss.

Wang, Teng, Perdikaris (2021), arXiv 2001.04536, and Wang, Yu, Perdikaris (2022), "When
and why PINNs fail to train: a neural tangent kernel perspective", arXiv 2007.14527; in
the form of Wang, Sankaran, Wang, Perdikaris (2023), "An Expert's Guide to Training
Physics-informed Neural Networks", arXiv 2308.08468, section 5. Weights of points:
McClenny, Braga-Neto (2023), "Self-adaptive physics-informed neural networks", arXiv
2009.04544; Anagnostopoulos et al. (2024), "Residual-based attention in physics-informed
neural networks", arXiv 2307.00379. Weights of terms by their progress: Bischof, Kraus
(2021), "Multi-objective loss balancing for physics-informed deep learning", arXiv
2110.09813.

All are pure functions from weights to weights, to be called between steps of any
optimizer; the loss takes them by :func:`kanjax.pinn.losses.loss`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.pinn import losses

Params = Any


def gradient_norm_weights(
    residuals: losses.Residuals, params: Params, points: losses.Points
) -> dict[str, Float[Array, ""]]:
    """Weigh terms so that all of their gradients are of one length.

    ``lambda_j = mean_k |grad L_k| / |grad L_j|``; the mean keeps the scale of the loss.
    A term without a gradient, as of what holds by construction, has the weight 1.

    Args:
        residuals: by name.
        params: where to take the gradients.
        points: by name.
    """
    norms = {}
    for name in residuals:
        slope = jax.grad(
            lambda p, name=name: losses.mean_squares(
                {name: residuals[name]}, p, points
            )[name]
        )(params)
        norms[name] = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(slope)))
    return _inverse(norms)


def kernel_weights(
    residuals: losses.Residuals, params: Params, points: losses.Points
) -> dict[str, Float[Array, ""]]:
    """Weigh terms by the traces of their tangent kernels: ``mean_k T_k / T_j``.

    T is the mean over points of ``|dr / d theta|^2``, how fast the term's residuals
    move under gradient descent. Where they do not move at all the weight is 1.

    Args:
        residuals: by name.
        params: where to take the kernels.
        points: by name.
    """
    traces = {
        name: jnp.sum(losses.jacobian({name: r}, points)(params) ** 2)
        for name, r in residuals.items()
    }
    return _inverse(traces)


def average(
    old: Mapping[str, Array], new: Mapping[str, Array], *, decay: float = 0.9
) -> dict[str, Array]:
    """Move weights slowly: ``decay * old + (1 - decay) * new``.

    Args:
        old: weights at hand by name, numbers or (points,).
        new: weights just measured, like them.
        decay: 0 to 1.
    """
    return {k: decay * old[k] + (1 - decay) * new[k] for k in new}


def self_adaptive_weights(
    old: Mapping[str, Float[Array, " points"]],
    values: Mapping[str, Float[Array, "points equations"]],
    *,
    rate: float = 0.1,
) -> dict[str, Float[Array, " points"]]:
    """Raise the weight of each point by gradient ascent on the loss (SA-PINN).

    ``w + rate |r|^2``, with the mask ``m(w) = w`` of the paper: weights of points that
    stay hard grow without bound, so that the rate decides how far. The points must stay
    the same, as their weights are theirs.

    Args:
        old: weights by name, (points,); ones to start with.
        values: of the residuals at these points, by name, as
            :func:`kanjax.pinn.losses.evaluate` gives them.
        rate: of the ascent.
    """
    return {
        k: jax.lax.stop_gradient(old[k] + rate * jnp.sum(r**2, axis=1))
        for k, r in values.items()
    }


def residual_attention(
    old: Mapping[str, Float[Array, " points"]],
    values: Mapping[str, Float[Array, "points equations"]],
    *,
    decay: float = 0.999,
    rate: float = 0.01,
) -> dict[str, Float[Array, " points"]]:
    """Follow the relative size of each point's residual: ``decay a + rate |r| / max
    |r|`` (RBA).

    The attention a multiplies residuals, so that the loss takes its square as weights,
    ``{k: a**2 for ...}``. It stays below ``rate / (1 - decay)``. The points must stay
    the same.

    Args:
        old: attention by name, (points,); zeros or ones to start with.
        values: as in :func:`self_adaptive_weights`.
        decay: of the old attention, below 1.
        rate: of the new.
    """
    new = {}
    for k, r in values.items():
        size = jnp.linalg.norm(r, axis=1)
        tiny = jnp.finfo(size.dtype).tiny
        share = size / jnp.maximum(jnp.max(size), tiny)
        new[k] = jax.lax.stop_gradient(decay * old[k] + rate * share)
    return new


def relobralo(
    old: Mapping[str, Array],
    terms: Mapping[str, Array],
    previous: Mapping[str, Array],
    first: Mapping[str, Array],
    *,
    key: Array,
    temperature: float = 1.0,
    decay: float = 0.999,
    lookback: float = 0.999,
) -> dict[str, Float[Array, ""]]:
    """Weigh terms by how little they fell, since the last step or since the first
    (ReLoBRaLo).

    With ``b(L') = terms * softmax(L / (temperature L'))`` the weights are ``decay h +
    (1 - decay) b(previous)``, where h is old with probability lookback, else
    ``b(first)``.

    Args:
        old: weights at hand by name, numbers; ones to start with.
        terms: the losses L by name, numbers, as
            :func:`kanjax.pinn.losses.mean_squares` gives them.
        previous: those of the step before.
        first: those of the first step.
        key: of the look back.
        temperature: the lower, the more the slowest term counts.
        decay: how slowly the weights move, 0 to 1.
        lookback: the probability to go on from the old weights.
    """
    names = list(terms)
    now = jnp.stack([terms[k] for k in names])

    def balance(since: Mapping[str, Array]) -> Array:
        before = jnp.stack([since[k] for k in names])
        tiny = jnp.finfo(now.dtype).tiny
        ratio = now / jnp.maximum(temperature * before, tiny)
        return len(names) * jax.nn.softmax(ratio)

    kept = jax.random.bernoulli(key, lookback)
    history = jnp.where(
        kept, jnp.stack([jnp.asarray(old[k]) for k in names]), balance(first)
    )
    weights = decay * history + (1 - decay) * balance(previous)
    return dict(zip(names, jax.lax.stop_gradient(weights), strict=True))


def _inverse(sizes: dict[str, Array]) -> dict[str, Array]:
    mean = jnp.mean(jnp.stack(list(sizes.values())))
    weights = {
        k: jnp.where(v == 0, 1.0, mean / jnp.where(v == 0, 1.0, v))
        for k, v in sizes.items()
    }
    return jax.lax.stop_gradient(weights)
