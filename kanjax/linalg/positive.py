"""Solves with a positive definite matrix that tell how well they went."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax.linalg.krylov import norm
from kanjax.linalg.roots import Roots


class PositiveSolution(NamedTuple):
    """The solution X of ``(A + jitter I) X = B``.

    Attributes:
        solution: (n, columns); NaN tells that the matrix is not positive definite.
        residual: (columns,), ``|B - (A + jitter I) X|`` of each column over ``|B|``.
        jitter: what was added to the diagonal.
    """

    solution: Float[Array, "n columns"]
    residual: Float[Array, " columns"]
    jitter: Float[Array, ""]


def solve_positive(
    matrix: Float[Array, "n n"],
    right: Float[Array, "n columns"],
    *,
    jitter: ArrayLike = 0.0,
) -> PositiveSolution:
    """Solve equations with a symmetric, positive definite matrix, by Cholesky.

    Args:
        matrix: A (n, n), symmetric.
        right: B (n, columns).
        jitter: a share of the mean of the diagonal, added to it.

    Raises:
        ValueError: if shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> result = solve_positive(jnp.diag(jnp.array([1.0, 4.0])), jnp.ones((2, 1)))
        >>> result.solution.tolist(), float(result.residual[0])
        ([[1.0], [0.25]], 0.0)
    """
    matrix, right = jnp.asarray(matrix), jnp.asarray(right)
    if right.ndim != 2 or matrix.shape != (len(right),) * 2:
        raise ValueError(
            f"matrix has shape {matrix.shape} and right {right.shape}; they must be "
            "(n, n) and (n, columns). Use right[:, None] for one column."
        )
    full = regularize(matrix, jitter)
    factor = jnp.linalg.cholesky(full)
    solution = jax.scipy.linalg.cho_solve((factor, True), right)
    left = right - jnp.matmul(full, solution, precision="highest")
    residual = relative_norms(left, right)
    added = jnp.asarray(jitter) * jnp.mean(jnp.diag(matrix))
    return PositiveSolution(solution, residual, added)


def regularize(matrix: Float[Array, "n n"], share: ArrayLike) -> Float[Array, "n n"]:
    """Return a matrix with a share of the mean of the diagonal added to the diagonal.

    Args:
        matrix: (n, n).
        share: 0 for none.
    """
    if isinstance(share, int | float) and share == 0:
        return matrix
    n = matrix.shape[0]
    return matrix + share * jnp.trace(matrix) / n * jnp.eye(n, dtype=matrix.dtype)


def relative_norms(
    left: Float[Array, "n columns"], right: Float[Array, "n columns"]
) -> Float[Array, " columns"]:
    """Return the norms of columns over those of others; 0 over 0 is 0.

    Args:
        left: (n, columns), what equations leave.
        right: (n, columns), their right-hand side.
    """
    # In units of their own, so that squares neither vanish nor overflow.
    norms, sizes = (jax.vmap(norm, 1)(v) for v in (left, right))
    return norms / jnp.where(sizes > 0, sizes, 1)


def root_residual(matrix: Float[Array, "n n"], roots: Roots) -> Float[Array, ""]:
    """Return how far roots are from whitening a matrix: ``|R^-1 A R^-T - I| / sqrt n``.

    Args:
        matrix: A (n, n).
        roots: of :func:`kanjax.linalg.triangular_roots`.
    """
    product = jnp.matmul(roots.inverse, matrix, precision="highest")
    white = jnp.matmul(product, roots.inverse.T, precision="highest")
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    return jnp.sqrt(jnp.mean(jnp.sum((white - identity) ** 2, axis=0)))
