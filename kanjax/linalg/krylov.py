"""Lanczos' method from a given vector: a symmetric map as a small tridiagonal matrix.

Golub, Van Loan 2013, "Matrix Computations", section 10.1; two passes of Gram-Schmidt
against the whole basis (Parlett 1998, "The Symmetric Eigenvalue Problem", section 6.9),
so that Ritz values never leave the range of the spectrum.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from kanjax.linalg import products

Params = Any


class Tridiagonal(NamedTuple):
    """A symmetric map in an orthonormal basis of a Krylov space.

    Attributes:
        diagonal: (steps,), of the tridiagonal matrix; 0 beyond the rank.
        offdiagonal: (steps - 1,), beside it; 0 from the rank on.
        basis: a pytree like the start with a leading axis over steps: orthonormal
            vectors, the first of them the start over its norm; 0 beyond the rank.
        remainder: the norm of what the last product has outside of the basis, 0 after
            a breakdown.
        rank: how many vectors there are. Fewer than steps after a breakdown: then they
            span an invariant subspace, and Ritz values are eigenvalues.
    """

    diagonal: Float[Array, " steps"]
    offdiagonal: Float[Array, " steps-1"]
    basis: Params
    remainder: Float[Array, ""]
    rank: Int[Array, ""]


def lanczos(product: products.Product, start: Params, steps: int) -> Tridiagonal:
    """Return the tridiagonal matrix ``T = Q A Q^T`` of a symmetric map and its basis Q.

    ``A q_i = b_(i-1) q_(i-1) + a_i q_i + b_i q_(i+1)`` with the rows q of Q. It breaks
    down where ``b_i`` is not above round-off, ten times eps times the largest norm of a
    product so far: then the space has no further direction.

    Args:
        product: ``v -> A v`` on pytrees like ``start``; A is symmetric.
        start: a pytree of real floating-point arrays, not all zero.
        steps: products, at most the dimension. Memory is as many copies of ``start``.

    Works under jit, vmap and grad.

    Raises:
        ValueError: if steps is not from 1 to the dimension.
        TypeError: if a leaf of start is not of real floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> scale = jnp.array([1.0, 1.0, 3.0])
        >>> int(lanczos(lambda v: scale * v, jnp.ones(3), 3).rank)
        2
    """
    flat, vector, unravel = products.on_vectors(product, start)
    if not 1 <= steps <= vector.size:
        raise ValueError(
            f"steps is {steps}; it must be from 1 to the dimension, {vector.size}."
        )
    tridiagonal = lanczos_on_vectors(flat, vector, steps)
    return tridiagonal._replace(basis=jax.vmap(unravel)(tridiagonal.basis))


def lanczos_on_vectors(flat: Any, start: Array, steps: int) -> Tridiagonal:
    """Lanczos' method on a vector, whose product is a vector of its dtype."""
    eps = jnp.finfo(start.dtype).eps

    def step(i: Array, carry: tuple) -> tuple:
        rows, diagonal, beside, following, size, scale, rank = carry
        rows = rows.at[i].set(following)
        image = flat(following)
        shares = jnp.matmul(rows, image, precision="highest")
        rest = image - jnp.matmul(shares, rows, precision="highest")
        again = jnp.matmul(rows, rest, precision="highest")
        rest = rest - jnp.matmul(again, rows, precision="highest")
        scale = jnp.maximum(scale, norm(image))
        alive = i < rank
        diagonal = diagonal.at[i].set(jnp.where(alive, (shares + again)[i], 0.0))
        size = norm(rest)
        # A row of zeros has a product of zeros: nothing follows a breakdown. Values
        # that are not finite go on, so that they show.
        ends = size <= 10 * eps * scale
        beside = beside.at[i].set(jnp.where(ends, 0.0, size))
        following = jnp.where(ends, 0.0, rest / jnp.where(ends, 1.0, size))
        rank = jnp.where(ends & alive, i + 1, rank)
        return rows, diagonal, beside, following, size, scale, rank

    zeros = jnp.zeros((steps,), start.dtype)
    zero = jnp.zeros((), start.dtype)
    first = (
        jnp.zeros((steps, start.size), start.dtype),
        zeros,
        zeros,
        start / norm(start),
        zero,
        zero,
        jnp.array(steps, jnp.int32),
    )
    rows, diagonal, beside, *_, rank = jax.lax.fori_loop(0, steps, step, first)
    return Tridiagonal(diagonal, beside[:-1], rows, beside[-1], rank)


def norm(v: Array) -> Array:
    """Return the Euclidean norm of a vector in any units, with derivative 0 at 0.

    Squares of numbers below 1e-19 or above 1e19 do not fit into float32.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(v)))
    unit = jnp.where(largest > 0, largest, 1.0)
    square = jnp.sum(jnp.square(v / unit))
    root = jnp.sqrt(jnp.where(largest > 0, square, 1.0))
    return jnp.where(largest > 0, unit * root, largest)
