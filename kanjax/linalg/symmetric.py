"""Functions of a symmetric matrix, with derivatives where eigenvalues are equal.

Higham 2008, "Functions of Matrices", theorem 3.11 (Daleckii, Krein): in the basis of
eigenvectors the derivative of ``f(A)`` along E is E times the divided differences
``(f(a) - f(b)) / (a - b)``, which are ``f'(a)`` where a = b. Derivatives of the
eigenvectors, which divide by ``a - b``, are never needed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


class Eigensystem(NamedTuple):
    """A symmetric matrix by its eigenvectors, with those that are null cut off.

    Attributes:
        matrix: (n, n).
        values: (n,), ascending, exactly 0 where they are cut.
        vectors: (n, n), in columns.
        positive: (n,), whether an eigenvalue is above the cut.
    """

    matrix: Float[Array, "n n"]
    values: Float[Array, " n"]
    vectors: Float[Array, "n n"]
    positive: Bool[Array, " n"]


def decompose(matrix: Float[Array, "n n"], *, cut: float | None = None) -> Eigensystem:
    """Return the eigensystem of a positive semi-definite matrix, without its null
    space.

    Args:
        matrix: (n, n), symmetric.
        cut: eigenvalues up to this share of the largest magnitude are round-off and
            become 0, negative ones as well; n times eps of the dtype if None, the
            threshold of ``numpy.linalg.matrix_rank``.

    Raises:
        ValueError: if cut is negative.
    """
    if cut is not None and cut < 0:
        raise ValueError(f"cut is {cut}; it must be at least 0.")
    values, vectors = jnp.linalg.eigh(matrix)
    share = matrix.shape[0] * jnp.finfo(values.dtype).eps if cut is None else cut
    # A comparison that fails for NaN would hide it.
    null = values <= share * jnp.max(jnp.abs(values))
    return Eigensystem(matrix, jnp.where(null, 0.0, values), vectors, ~null)


def effective_rank(eigenvalues: Float[Array, " n"]) -> Float[Array, ""]:
    """Return the exponential of the entropy of eigenvalues that are made to sum to 1.

    Between 1 and n; negative eigenvalues are round-off and count as 0. Roy and Vetterli
    (2007), "The effective rank", EUSIPCO.

    Args:
        eigenvalues: (n,), of a positive semi-definite matrix, not all 0.
    """
    weights = jnp.maximum(eigenvalues, 0.0)
    weights = weights / jnp.sum(weights)
    logs = jnp.log(jnp.where(weights > 0, weights, 1.0))
    return jnp.exp(-jnp.sum(weights * logs))


def function_product(
    function: Callable[..., Array],
    system: Eigensystem,
    v: Float[Array, "n columns"],
    *args: Any,
) -> Float[Array, "n columns"]:
    """``f(A) v``, differentiable in A, v and args in forward and reverse mode.

    A second derivative in A needs distinct eigenvalues.

    Args:
        function: ``function(values, *args)``, elementwise in values (of any shape) and
            smooth but at 0. It closes over nothing that is traced.
        system: of A, from :func:`decompose`. Its null space is held fixed: derivatives
            are those of changes that keep the rank.
        v: (n, columns).
        args: pytrees of arrays.
    """
    return _product(function, system.matrix, system.values, system.vectors, v, args)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _product(
    function: Callable[..., Array],
    matrix: Array,
    values: Array,
    vectors: Array,
    v: Array,
    args: tuple,
) -> Array:
    along = jnp.matmul(vectors.T, v)
    return jnp.matmul(vectors, function(values, *args)[:, None] * along)


@_product.defjvp
def _product_jvp(function: Callable[..., Array], primals: Any, tangents: Any) -> Any:
    matrix, values, vectors, v, args = primals
    # Those of values and vectors are left out: the matrix' own say it all.
    d_matrix, _, _, d_v, d_args = tangents
    along = vectors.T @ v
    at_values, d_at_values = jax.jvp(lambda a: function(values, *a), (args,), (d_args,))
    change = vectors.T @ ((d_matrix + d_matrix.T) / 2) @ vectors
    slopes = _divided_differences(lambda x: function(x, *args), values)
    moved = at_values[:, None] * (vectors.T @ d_v) + d_at_values[:, None] * along
    moved = moved + (slopes * change) @ along
    return vectors @ (at_values[:, None] * along), vectors @ moved


def _divided_differences(function: Callable[[Array], Array], values: Array) -> Array:
    """(n, n): ``(f(a) - f(b)) / (a - b)``, and 0 where both are in the null space.

    Where f and its slope hardly change between a and b, the quotient would lose digits
    to cancellation; there it is the mean of the slope, by Simpson's rule.
    """
    a, b = jnp.broadcast_arrays(values[:, None], values[None, :])
    slope = lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]  # noqa: E731
    rise = function(a) - function(b)
    size = jnp.maximum(jnp.abs(function(a)), jnp.abs(function(b)))
    first, middle, last = slope(a), slope((a + b) / 2), slope(b)
    spread = jnp.maximum(jnp.abs(first - middle), jnp.abs(last - middle))
    smooth = (spread <= 0.1 * jnp.abs(middle)) & (jnp.abs(rise) <= 0.2 * size)
    smooth = smooth | (a == b)
    mean = (first + 4 * middle + last) / 6
    quotient = rise / jnp.where(smooth, 1.0, a - b)
    null = (a == 0) & (b == 0)
    return jnp.where(null, 0.0, jnp.where(smooth, mean, quotient))
