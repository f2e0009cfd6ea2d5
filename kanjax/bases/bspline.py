"""B-splines on uniform or arbitrary knots.

Source: de Boor, A Practical Guide to Splines (1978); as the basis of a KAN: Liu et
al. (2024), arXiv 2404.19756.
"""

import functools
import math
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.bases.basis import Domain, all_functions, check_at_least, check_domain
from kanjax.checks import as_floating


@model.dataclass
class BSpline:
    """All B-splines of a degree over a grid of intervals.

    The grid is extended by ``degree`` knots on each side, so that the functions sum to
    one on the whole domain and fall smoothly to zero outside it.

    Without ``knots`` the grid is uniform over the domain and a closed form serves.
    With ``knots`` (as ``kanjax.kan.update_grid`` makes them) the recursion of Cox and
    de Boor serves: knots (intervals + 2 * degree + 1,) are shared by all inputs,
    knots (in, intervals + 2 * degree + 1) are each input's own; they increase, and
    equal ones are allowed.

    Derivatives of any order are exact; at a knot where one jumps, it is the one from
    the right.

    Args:
        intervals: number of grid intervals, at least 1.
        degree: polynomial degree, at least 0.
        domain: (low, high) of the uniform grid; not used where knots are given.
        knots: the extended knots, or None for the uniform grid.

    Raises:
        ValueError: for knots of another number, at once, or that decrease, when the
            basis is evaluated.

    Examples:
        >>> import jax.numpy as jnp
        >>> basis = BSpline(intervals=5)
        >>> basis(jnp.array([0.3])).shape
        (1, 8)
    """

    intervals: int = 5
    degree: int = 3
    domain: Domain = (-1.0, 1.0)
    knots: Array | None = model.child(default=None)

    def __post_init__(self) -> None:
        check_at_least("intervals", self.intervals, 1)
        check_at_least("degree", self.degree, 0)
        check_domain(self.domain)
        number = self.intervals + 2 * self.degree + 1
        knots: Any = self.knots
        # While jax rebuilds the model anything may stand in for knots, and kernels
        # lay them out in their own way.
        is_array = isinstance(knots, jax.Array | np.ndarray)
        is_known = is_array and not isinstance(knots, jax.core.Tracer)
        if is_known and knots.shape[-1] != number:
            raise ValueError(
                f"knots has shape {knots.shape}; for intervals={self.intervals} and "
                f"degree={self.degree} its last axis must have intervals + 2 degree "
                f"+ 1 = {number} knots, {self.degree} of them beyond each end."
            )

    @property
    def size(self) -> int:
        """intervals + degree."""
        return self.intervals + self.degree

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all splines at x (...,) -> (..., size), or where ``axis`` says."""
        x = as_floating(x)
        if self.knots is not None:
            _check_order(self.knots)
            return cox_de_boor(x, self.knots, self.degree, axis=axis)
        return all_functions(self, x, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one spline at x."""
        x = as_floating(x)
        if self.knots is not None:
            number = self.degree + 2
            t = [self.knots[..., index + j].astype(x.dtype) for j in range(number)]
            return _recursion(x, t)
        low, high = self.domain
        position = (x - low) * (self.intervals / (high - low))
        # The centre of the spline, in intervals from the low end of the domain.
        center = jnp.asarray(index, x.dtype) - (self.degree - 1) / 2
        return cardinal(self.degree, position - center)

    def extended_knots(self) -> Float[Array, "*in knots"]:
        """Return the knots in use, uniform or given."""
        if self.knots is not None:
            return self.knots
        low, high = self.domain
        steps = jnp.arange(-self.degree, self.intervals + self.degree + 1)
        return low + steps * ((high - low) / self.intervals)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def cardinal(degree: int, t: Array) -> Array:
    """Return the B-spline on integer knots, centred at 0: support |t| <= (degree +
    1) / 2.

    By symmetry a sum of truncated powers of |t| has half the terms of the textbook
    form and none of its cancellation at the far end.
    """
    half = (degree + 1) / 2
    if degree == 0:
        return ((-half <= t) & (t < half)).astype(t.dtype)
    distance, value = jnp.abs(t), jnp.zeros_like(t)
    for j in range(degree // 2 + 1):
        weight = (-1) ** j * math.comb(degree + 1, j) / math.factorial(degree)
        value = value + weight * jnp.maximum(half - j - distance, 0) ** degree
    return value


@cardinal.defjvp
def _cardinal_jvp(
    degree: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    # The derivative of a spline is a difference of two of one degree less; stated
    # here, since autodiff of |t| would lose the second derivative at t = 0.
    (t,), (dt,) = primals, tangents
    value = cardinal(degree, t)
    if degree == 0:
        return value, jnp.zeros_like(dt)
    slope = cardinal(degree - 1, t + 0.5) - cardinal(degree - 1, t - 0.5)
    return value, slope * dt


def cox_de_boor(x: Array, knots: Array, degree: int, *, axis: int = -1) -> Array:
    """All B-splines on arbitrary non-decreasing knots, by the recursion.

    Args:
        x: (..., in), or any shape where knots are shared.
        knots: (n,) shared, or (in, n) with one row an input; equal knots count as
            intervals of length zero, on which 0 / 0 is 0.
        degree: polynomial degree, less than n - 1.
        axis: where the axis over the n - degree - 1 splines goes, -1 or -2.

    Returns:
        (..., n - degree - 1) or (..., n - degree - 1, in).
    """
    x = as_floating(x)
    t = knots.astype(x.dtype)
    if axis == -2:
        t = t[:, None] if t.ndim == 1 else t.T
    x = jnp.expand_dims(x, axis)
    t = jnp.expand_dims(t, tuple(range(x.ndim - t.ndim)))

    def cut(values: Array, start: int, stop: int) -> Array:
        length = values.shape[axis]
        return jax.lax.slice_in_dim(values, start, length + stop, axis=axis)

    b = ((cut(t, 0, -1) <= x) & (x < cut(t, 1, 0))).astype(x.dtype)
    for p in range(1, degree + 1):
        rising = _ratio(x - cut(t, 0, -p - 1), cut(t, p, -1) - cut(t, 0, -p - 1))
        falling = _ratio(cut(t, p + 1, 0) - x, cut(t, p + 1, 0) - cut(t, 1, -p))
        b = rising * cut(b, 0, -1) + falling * cut(b, 1, 0)
    return b


def _check_order(knots: Array) -> None:
    """Raise ``ValueError`` for knots that decrease, where they are known."""
    if not isinstance(knots, jax.core.Tracer) and np.any(np.diff(knots, axis=-1) < 0):
        raise ValueError(
            "knots decrease; they must be in order, equal ones allowed: give "
            "jnp.sort(knots)."
        )


def _recursion(x: Array, t: list[Array]) -> Array:
    """Return the one B-spline on the knots t, whose degree is their number less two."""
    degree = len(t) - 2
    b = [((t[j] <= x) & (x < t[j + 1])).astype(x.dtype) for j in range(degree + 1)]
    for p in range(1, degree + 1):
        b = [
            _ratio(x - t[j], t[j + p] - t[j]) * b[j]
            + _ratio(t[j + p + 1] - x, t[j + p + 1] - t[j + 1]) * b[j + 1]
            for j in range(degree + 1 - p)
        ]
    return b[0]


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Return the quotient, 0 where the denominator is; the inner where keeps grad
    finite.
    """
    is_zero = denominator == 0
    safe = jnp.where(is_zero, 1, denominator)
    return jnp.where(is_zero, 0, numerator / safe)
