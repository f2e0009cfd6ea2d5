"""Weights that balance the terms of a loss.

Wang, Teng, Perdikaris (2021), arXiv 2001.04536, and Wang, Yu, Perdikaris (2022), "When
and why PINNs fail to train: a neural tangent kernel perspective", arXiv 2007.14527; in
the form of Wang, Sankaran, Wang, Perdikaris (2023), "An Expert's Guide to Training
Physics-informed Neural Networks", arXiv 2308.08468, section 5.
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
    move under gradient descent.

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
        old: weights at hand, by name.
        new: weights just measured, by name.
        decay: 0 to 1.
    """
    return {k: decay * old[k] + (1 - decay) * new[k] for k in new}


def _inverse(sizes: dict[str, Array]) -> dict[str, Array]:
    mean = jnp.mean(jnp.stack(list(sizes.values())))
    tiny = jnp.finfo(mean.dtype).tiny
    weights = {k: mean / jnp.maximum(v, tiny) for k, v in sizes.items()}
    return jax.lax.stop_gradient(weights)
