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

_BLOCK = 8


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

    Examples:
        >>> import jax.numpy as jnp
        >>> roots = triangular_roots(jnp.array([[4.0, 2.0], [2.0, 5.0]]))
        >>> roots.root.tolist(), roots.inverse.tolist()
        ([[2.0, 0.0], [1.0, 2.0]], [[0.5, 0.0], [-0.25, 0.5]])
    """
    n, b = len(matrix), _BLOCK
    size = n + -n % b
    identity = jnp.eye(size, dtype=matrix.dtype)
    both = jnp.concatenate([identity.at[:n, :n].set(matrix), identity], axis=1)

    # Rows of [A | I] become those of root^-1 [A | I] = [root^T | root^-1], a block at a
    # time; from those below, what the block accounts for is subtracted.
    def step(left: Array, i: Array) -> tuple[Array, Array]:
        rows = jax.lax.dynamic_slice(left, (i * b, 0), (b, 2 * size))
        rows = _eliminate(rows, i * b)
        below = jnp.where(jnp.arange(size) >= (i + 1) * b, rows[:, :size], 0)
        return left - below.T @ rows, rows

    _, blocks = jax.lax.scan(step, both, jnp.arange(size // b))
    upper, inverse = jnp.split(blocks.reshape(size, 2 * size), 2, axis=1)
    return Roots(jnp.triu(upper).T[:n, :n], jnp.tril(inverse)[:n, :n])


def _eliminate(rows: Array, start: Array) -> Array:
    """Do the same within a block, whose diagonal starts at a column, row by row."""
    places = jnp.arange(len(rows))

    def step(left: Array, i: Array) -> tuple[Array, Array]:
        row = left[i] / jnp.sqrt(left[i, start + i])
        along = jax.lax.dynamic_slice(row, (start,), (len(rows),))
        return left - jnp.outer(jnp.where(places > i, along, 0), row), row

    return jax.lax.scan(step, rows, places)[1]


@triangular_roots.defjvp
def _derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Roots, Roots]:
    root, inverse = triangular_roots(*primals)
    change = (tangents[0] + tangents[0].T) / 2
    inner = inverse @ change @ inverse.T
    half = jnp.tril(inner, -1) + jnp.diag(jnp.diag(inner)) / 2
    return Roots(root, inverse), Roots(root @ half, -half @ inverse)
