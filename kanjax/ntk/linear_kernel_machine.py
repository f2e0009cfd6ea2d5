"""Gram matrices of deep kernel machines with the linear kernel, in closed form.

Yang, Robeyns, Milsom, Anson, Schoots, Aitchison 2023, arXiv 2108.13097; derived for
this module. No noise: what :mod:`kanjax.ntk.deep_kernel_machine` finds by descent.
"""

from typing import Any

import jax.core
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import linalg


def geodesic(
    first: Float[Array, "n n"], last: Float[Array, "n n"], share: ArrayLike
) -> Float[Array, "n n"]:
    """Return ``G_0 (G_0^-1 G_Y)^share``, on the geodesic of covariances.

    With the linear kernel, equal nu and no noise, layer l of L is at
    ``share = l / (L + 1)`` (arXiv 2108.13097, deep linear networks).

    Args:
        first: (n, n), ``G_0``, positive definite.
        last: (n, n), ``G_Y = Y Y^T / outputs``.
        share: 0 for first, 1 for last.

    Raises:
        ValueError: if first is not positive definite.
    """
    return _spectral(first, last, jnp.power, jnp.asarray(share, first.dtype))


def linear_gram(
    first: Float[Array, "n n"],
    last: Float[Array, "n n"],
    nu: ArrayLike,
    outputs: ArrayLike,
) -> Float[Array, "n n"]:
    """Return the Gram matrix of one hidden layer with the linear kernel and no noise.

    It solves ``nu G G_0^-1 G + (outputs - nu) G = outputs G_Y``.

    Args:
        first: (n, n), ``G_0``, positive definite.
        last: (n, n), ``G_Y = Y Y^T / outputs``.
        nu: of the hidden layer, positive.
        outputs: how many, or nu of the last layer.

    Raises:
        ValueError: if first is not positive definite.
    """
    sizes = (jnp.asarray(v, first.dtype) for v in (nu, outputs))
    return _spectral(first, last, _riccati, *sizes)


def _riccati(values: Array, nu: Array, outputs: Array) -> Array:
    gap = nu - outputs
    return (gap + jnp.sqrt(gap**2 + 4 * nu * outputs * values)) / (2 * nu)


def _spectral(first: Array, last: Array, function: Any, *args: Array) -> Array:
    """``L f(L^-1 last L^-T) L^T``, ``first = L L^T``."""
    root, inverse = linalg.triangular_roots(first)
    if not isinstance(root, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(root))):
        raise ValueError(
            f"first, of shape {first.shape}, is not positive definite. Give a Gram "
            "matrix of independent rows, or add to its diagonal by linalg.regularize."
        )
    inner = inverse @ last @ inverse.T
    system = linalg.decompose((inner + inner.T) / 2)
    return root @ linalg.function_product(function, system, root.T, *args)
