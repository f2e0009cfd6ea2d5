"""Extreme eigenpairs of a symmetric map on pytrees, with their residuals.

Wu, Simon 2000, "Thick-Restart Lanczos Method for Large Symmetric Eigenvalue Problems";
two passes of Gram-Schmidt against the whole basis, without which float32 loses
orthogonality and eigenvalues come out several times.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax.linalg import products
from kanjax.linalg.krylov import norm

Params = Any
Which = Literal["magnitude", "largest", "smallest"]
"""Which eigenvalues are wanted: largest in magnitude, most positive, most negative."""


class Eigenpairs(NamedTuple):
    """Eigenvalues and eigenvectors of a symmetric map.

    Attributes:
        values: (k,), in the order asked for: the largest magnitude, the largest or the
            smallest first.
        vectors: a pytree with a leading axis over the k vectors, each of norm 1.
        residuals: (k,), ``|A v - value v|`` of these vectors; each value is within this
            distance of an eigenvalue.
        converged: whether all residuals are within the tolerance.
        products: how many products with the map were made.
    """

    values: Float[Array, " k"]
    vectors: Params
    residuals: Float[Array, " k"]
    converged: Bool[Array, ""]
    products: Int[Array, ""]


def eigenpairs(
    product: products.Product,
    like: Params,
    k: int,
    key: Array,
    *,
    which: Which = "magnitude",
    tolerance: float | None = None,
    basis: int | None = None,
    max_restarts: int = 50,
) -> Eigenpairs:
    """Return the k extreme eigenpairs of a symmetric map on pytrees.

    Lanczos' method with full re-orthogonalisation, restarted from the best Ritz
    vectors until their residuals are small.

    Args:
        product: ``v -> A v`` on pytrees like ``like``; A is symmetric.
        like: a pytree that gives structure, shapes and dtypes.
        k: how many, at least 1.
        key: draws the starting vector. Of an eigenvalue of multiplicity m, one vector
            is found in exact arithmetic.
        which: "magnitude" (as power iteration does), "largest" or "smallest".
        tolerance: of the residuals, relative to the largest magnitude found; by
            default 1e-4 in float32 and 1e-8 in float64, and at least the rounding of
            the coarsest leaf, as residuals are of the vectors that are returned.
        basis: how many vectors are held at a time; ``max(2 k + 10, 20)`` by default,
            at most the dimension. Memory is (basis + 1) copies of ``like``.
        max_restarts: the most restarts; if they do not suffice, ``converged`` is False.

    Works under jit and vmap. Has no derivative.

    Raises:
        ValueError: if k or basis does not fit the dimension, or for an unknown which.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> scale = jnp.arange(1.0, 51.0)
        >>> found = eigenpairs(lambda v: scale * v, scale, 2, jax.random.key(0))
        >>> round(float(found.values[1]), 2)
        49.0
    """
    flat, start, unravel = products.on_vectors(product, like)
    size, dtype = start.size, start.dtype
    held = _check(k, size, basis, which, max_restarts)
    if tolerance is None:
        coarsest = max(jnp.finfo(jnp.result_type(v)).eps for v in jax.tree.leaves(like))
        root = math.sqrt(float(jnp.finfo(dtype).eps))
        limit = max(1e-8, root / 3, float(coarsest))
    else:
        limit = tolerance

    rows = jnp.zeros((held + 1, size), dtype)
    state = _State(
        rows.at[0].set(_unit(jax.random.normal(key, (size,), dtype))),
        jnp.zeros((held, held), dtype),
        jnp.array(0, jnp.int32),
        jnp.array(0, jnp.int32),
        jnp.array(0, jnp.int32),
        jnp.array(False),
    )
    # A basis of the dimension needs no restart, and every one of its vectors may be
    # asked for; any other needs place for one new direction.
    fills = held == size
    keep = held if fills else min(held - 1, k + max(2, (held - k) // 3))

    def cycle(state: _State) -> _State:
        return _restart(_extend(flat, state, key), k, keep, which, limit)

    def goes_on(state: _State) -> Array:
        return ~state.done & (state.restarts < max_restarts)

    state = cycle(state) if fills else jax.lax.while_loop(goes_on, cycle, state)
    # All that is said is said of the vectors that are returned, rounded as they are.
    returned = jax.vmap(unravel)(jax.vmap(_unit)(state.rows[:k]))
    vectors = jax.vmap(lambda v: jax.flatten_util.ravel_pytree(v)[0])(returned)
    vectors = vectors.astype(dtype)
    images = jax.lax.map(flat, vectors)
    squares = jnp.sum(jnp.square(vectors), axis=1)
    values = jnp.sum(vectors * images, axis=1) / squares
    residuals = jax.vmap(norm)(images - values[:, None] * vectors)
    residuals = residuals / jnp.sqrt(squares)
    order = _order(values, which)
    values, residuals = values[order], residuals[order]
    # A residual that is not finite fails the comparison, as it should.
    small = residuals <= limit * jnp.max(jnp.abs(values))
    return Eigenpairs(
        values,
        jax.tree.map(lambda v: v[order], returned),
        residuals,
        jnp.all(small),
        state.products + k,
    )


class _State(NamedTuple):
    rows: Float[Array, "held+1 size"]
    projected: Float[Array, "held held"]
    filled: Int[Array, ""]
    restarts: Int[Array, ""]
    products: Int[Array, ""]
    done: Bool[Array, ""]


def _extend(flat: Any, state: _State, key: Array) -> tuple[_State, Array]:
    """Grow the basis to its full size; also the norm of what lies outside of it."""
    held = state.projected.shape[0]
    tiny = 10 * jnp.finfo(state.rows.dtype).eps

    def step(i: Array, carry: Any) -> Any:
        rows, projected, _ = carry
        image = flat(rows[i])
        shares = jnp.matmul(rows, image, precision=jax.lax.Precision.HIGHEST)
        rest = image - shares @ rows
        again = jnp.matmul(rows, rest, precision=jax.lax.Precision.HIGHEST)
        rest, shares = rest - again @ rows, (shares + again)[:held]
        projected = projected.at[i, :].set(shares).at[:, i].set(shares)
        size = norm(rest)
        # The basis spans an invariant subspace: go on from a new direction.
        largest = jnp.maximum(norm(image), jnp.max(jnp.abs(projected)))
        stuck = size <= tiny * largest
        following = jax.lax.cond(
            stuck,
            lambda: _fresh(rows, i, jax.random.fold_in(key, i)),
            lambda: rest / jnp.where(stuck, 1.0, size),
        )
        return rows.at[i + 1].set(following), projected, jnp.where(stuck, 0.0, size)

    first = (state.rows, state.projected, jnp.zeros((), state.rows.dtype))
    rows, projected, outside = jax.lax.fori_loop(state.filled, held, step, first)
    made = state.products + held - state.filled
    return state._replace(rows=rows, projected=projected, products=made), outside


def _fresh(rows: Array, filled: Array, key: Array) -> Array:
    """Return a random unit vector across the basis; zeros where the basis fills the
    space.
    """
    fresh = jax.random.normal(key, rows.shape[1:], rows.dtype)
    for _ in range(2):
        fresh = _unit(fresh - (rows @ fresh) @ rows)
    # There is none left then, only its round-off.
    return jnp.where(filled + 1 >= rows.shape[1], jnp.zeros_like(fresh), fresh)


def _restart(
    extended: tuple[_State, Array], k: int, keep: int, which: Which, limit: float
) -> _State:
    """Replace the basis by its best Ritz vectors and the residual's direction."""
    state, outside = extended
    held = state.projected.shape[0]
    values, vectors = jnp.linalg.eigh(state.projected)
    order = _order(values, which)[:keep]
    values, vectors = values[order], vectors[:, order]
    estimates = outside * jnp.abs(vectors[-1, :k])
    done = jnp.all(estimates <= 0.5 * limit * jnp.max(jnp.abs(values)))
    ritz = jnp.matmul(vectors.T, state.rows[:held], precision=jax.lax.Precision.HIGHEST)
    rows = jnp.zeros_like(state.rows).at[:keep].set(ritz)
    rows = rows.at[keep].set(state.rows[held])
    projected = jnp.zeros_like(state.projected)
    projected = projected.at[jnp.arange(keep), jnp.arange(keep)].set(values)
    return state._replace(
        rows=rows,
        projected=projected,
        filled=jnp.array(keep, jnp.int32),
        restarts=state.restarts + 1,
        # Values that are not finite never become so.
        done=done | ~jnp.all(jnp.isfinite(values)),
    )


def _order(values: Array, which: Which) -> Array:
    if which == "smallest":
        return jnp.argsort(values)
    return jnp.argsort(-(jnp.abs(values) if which == "magnitude" else values))


def _unit(v: Array) -> Array:
    return v / norm(v)


def _check(k: int, size: int, basis: int | None, which: str, max_restarts: int) -> int:
    if which not in ("magnitude", "largest", "smallest"):
        raise ValueError(
            f"which is {which!r}; it must be 'magnitude', 'largest' or 'smallest'."
        )
    if not 1 <= k <= size:
        raise ValueError(f"k is {k}; it must be from 1 to the dimension, {size}.")
    if max_restarts < 1:
        raise ValueError(f"max_restarts is {max_restarts}; it must be at least 1.")
    held = min(size, max(2 * k + 10, 20) if basis is None else basis)
    if held < min(k + 1, size):
        raise ValueError(
            f"basis is {basis}; it must be at least k + 1 = {k + 1}, or the dimension."
        )
    return held
