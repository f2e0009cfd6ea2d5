"""Cholesky factors with their inverses, as matrix products: for many small matrices.

In contrast to ``jnp.linalg.cholesky`` and triangular solves, which hand each matrix to
LAPACK, a batch of them under ``vmap`` is a single program, with both modes of
derivatives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

# Rows up to which a matrix is not halved.
_LEAF = 32


class Roots(NamedTuple):
    """A positive definite matrix as ``root @ root.T``.

    Attributes:
        root: (n, n), lower triangular.
        inverse: (n, n), of the root.
    """

    root: Float[Array, "n n"]
    inverse: Float[Array, "n n"]


@jax.custom_jvp
def triangular_roots(matrix: Float[Array, "n n"]) -> Roots:
    """Factorize a positive definite matrix, and invert the factor.

    Args:
        matrix: (n, n), symmetric; NaN tells that it is not positive definite.

    Works under jit, vmap and grad, in both modes.

    Example:
        >>> import jax.numpy as jnp
        >>> roots = triangular_roots(jnp.array([[4.0, 2.0], [2.0, 5.0]]))
        >>> roots.root.tolist(), roots.inverse.tolist()
        ([[2.0, 0.0], [1.0, 2.0]], [[0.5, 0.0], [-0.25, 0.5]])
    """
    n = len(matrix)
    if n <= _LEAF:
        return _eliminate(matrix)
    # By halves: what is left of the second without the first is factorized in turn.
    first, second = slice(n // 2), slice(n // 2, n)
    a = triangular_roots(matrix[first, first])
    below = matrix[second, first] @ a.inverse.T
    c = triangular_roots(matrix[second, second] - below @ below.T)
    zero = jnp.zeros_like(below.T)
    mixed = -c.inverse @ below @ a.inverse
    return Roots(
        jnp.block([[a.root, zero], [below, c.root]]),
        jnp.block([[a.inverse, zero], [mixed, c.inverse]]),
    )


def _eliminate(matrix: Array) -> Roots:
    """Turn the rows of [A | I] into those of [root^T | root^-1], one by one."""
    rows = jnp.arange(len(matrix))
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)

    def step(left: Array, i: Array) -> tuple[Array, Array]:
        row = left[i] / jnp.sqrt(left[i, i])
        below = jnp.where(rows > i, row[: len(rows)], 0)
        return left - below[:, None] * row, row

    _, both = jax.lax.scan(step, jnp.concatenate([matrix, identity], 1), rows)
    upper, inverse = jnp.split(both, 2, axis=1)
    return Roots(jnp.triu(upper).T, jnp.tril(inverse))


@triangular_roots.defjvp
def _derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Roots, Roots]:
    root, inverse = triangular_roots(*primals)
    change = (tangents[0] + tangents[0].T) / 2
    inner = inverse @ change @ inverse.T
    half = jnp.tril(inner, -1) + jnp.diag(jnp.diag(inner)) / 2
    return Roots(root, inverse), Roots(root @ half, -half @ inverse)
