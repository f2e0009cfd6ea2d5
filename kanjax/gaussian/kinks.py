"""Functions that are smooth but for kinks: where these are, and duals split at them."""

import functools
from collections.abc import Sequence

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.gaussian.quadrature import (
    Dual,
    Function,
    sum_over_nodes,
    value_and_slope,
)
from kanjax.square_root import safe_sqrt

# Beyond this a standard normal has a mass of e^-36.
_RANGE = 8.5
_SEARCHED = 12.0
_MOST = 24


def find_kinks(function: Function) -> tuple[float, ...] | None:
    """Where a function, its slope or its curvature jumps, between -12 and 12.

    Every jump is followed by bisection: those of a smooth function shrink with the
    interval, those at a kink stay.

    Args:
        function: elementwise, twice differentiable by jax off its kinks.

    Returns:
        Ascending places, to about 1e-5; None where they are more than 24, or where
        the function cannot be evaluated for closing over traced values.

    Examples:
        >>> import jax
        >>> find_kinks(jax.nn.hard_tanh)
        (-1.0, 1.0)
    """
    try:
        return _find_kinks(function)
    except TypeError:
        # It cannot be hashed.
        return _find_kinks.__wrapped__(function)


@functools.lru_cache(maxsize=128)
def _find_kinks(function: Function) -> tuple[float, ...] | None:
    def slope(x: Array) -> Array:
        return value_and_slope(function, x)[1]

    def curvature(x: Array) -> Array:
        return value_and_slope(slope, x)[1]

    places: list[float] = []
    with jax.ensure_compile_time_eval():
        for derivative in (function, slope, curvature):
            try:
                # Traced once: a sum of many functions takes longer to trace than to
                # evaluate at the fifteen sets of points.
                new = _jumps(jax.jit(derivative))
            except (jax.errors.TracerArrayConversionError, TypeError):
                # Traced, or without a derivative in forward mode.
                return None if derivative is function else tuple(sorted(places))
            places += [x for x in new if all(abs(x - y) > 1e-3 for y in places)]
            if len(places) > _MOST:
                return None
    return tuple(sorted(places))


def _jumps(function: Function) -> list[float]:
    # The grid has neither 0 nor any other round number: a kink on it has two sides.
    edges = np.linspace(-_SEARCHED, _SEARCHED, 1200) + 0.00317
    left, right = edges[:-1].astype(np.float32), edges[1:].astype(np.float32)
    at_left, at_right = (np.asarray(function(jnp.asarray(x))) for x in (left, right))
    if at_left.shape != left.shape:
        raise TypeError("not elementwise")
    first = np.abs(at_right - at_left)
    # What is left of a smooth function's jump after twelve halvings is a 4,096th.
    for _ in range(12):
        middle = (left + right) / 2
        at = np.asarray(function(jnp.asarray(middle)))
        to_left = np.abs(at - at_left) >= np.abs(at_right - at)
        right, at_right = (
            np.where(to_left, middle, right),
            np.where(to_left, at, at_right),
        )
        left, at_left = np.where(to_left, left, middle), np.where(to_left, at_left, at)
    with np.errstate(invalid="ignore"):
        size = np.max(np.abs(at_left), initial=0.0, where=np.isfinite(at_left))
        stays = np.abs(at_right - at_left) > np.maximum(0.2 * first, 1e-3 * size)
    kinks = ((left + right) / 2)[stays & np.isfinite(first)]
    rounded = np.round(kinks.astype(np.float64), 3)
    return [
        float(r if abs(r - x) < 1e-5 else x)
        for r, x in zip(rounded, kinks.astype(np.float64), strict=True)
    ]


def dual_by_pieces(
    function: Function,
    q11: Array,
    q12: Array,
    q22: Array,
    *,
    kinks: Sequence[float],
    nodes: int | None = None,
) -> Dual:
    """Return the dual of a function with kinks, by Gauss-Legendre on the pieces
    between.

    With ``u = sqrt(q11) x`` and ``v = a x + b y``, the integral over y is split where v
    meets a kink. What it leaves is smooth in x, but turns quickly, within ``b / a``,
    where ``a x`` is a kink; x is split there and where u meets a kink. A jump of the
    function itself is right in ``value``; ``slope`` misses it.

    Args:
        function: of each value, differentiable by jax off its kinks.
        q11: (...), the variance of u; all three broadcast.
        q12: (...), the covariance of u and v.
        q22: (...), the variance of v.
        kinks: where the function is not smooth.
        nodes: points on each piece, of four and one a kink in y, and of four and four a
            kink in x; 20 if None, or 10 for more than four kinks.
    """
    if nodes is None:
        nodes = 20 if len(kinks) <= 4 else 10
    q11, q12, q22 = jnp.broadcast_arrays(q11, q12, q22)
    places = jnp.asarray(kinks, q12.dtype).reshape(-1, *(1,) * q12.ndim)
    root = safe_sqrt(q11)
    along = q12 / jnp.where(root > 0, root, 1.0)
    across = safe_sqrt(q22 - along**2)
    u_meets = _over(places, root)
    v_turns = _over(places, along)
    width = jnp.broadcast_to(6 * _over(across, jnp.abs(along)), v_turns.shape)
    outer = _edges(u_meets, v_turns, v_turns - width, v_turns + width)
    x, weights = _rule(outer, nodes)

    def at(x: Array, weight: Array) -> tuple[Array, Array]:
        first, first_slope = value_and_slope(function, root * x)
        y, inner = _rule(_edges(_over(places - (along * x)[None], across)), nodes)
        second, second_slope = value_and_slope(
            function, (along * x)[None] + across[None] * y
        )
        return (
            weight * first * jnp.sum(inner * second, axis=0),
            weight * first_slope * jnp.sum(inner * second_slope, axis=0),
        )

    return sum_over_nodes(at, (x, weights), q12)


def rule_on_pieces(
    kinks: Sequence[float], reach: float, nodes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of the standard normal, split at kinks, up to a reach."""
    inside = [k for k in kinks if abs(k) < reach]
    pieces = np.linspace(-reach, reach, 1 + max(4, int(reach)))
    edges = np.unique([*pieces, *inside])
    points, weights = np.polynomial.legendre.leggauss(nodes)
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half) + half * points
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    return x.ravel(), (half * weights * density).ravel()


def _over(numerator: Array, denominator: Array) -> Array:
    """Return the quotient, far beyond the range where it would not be finite.

    Args:
        numerator: (..., *batch).
        denominator: (*batch).
    """
    denominator = jnp.broadcast_to(
        denominator, jnp.broadcast_shapes(numerator.shape, denominator.shape)
    )
    tiny = jnp.finfo(denominator.dtype).eps ** 2
    safe = jnp.abs(denominator) > tiny
    quotient = numerator / jnp.where(safe, denominator, 1.0)
    return jnp.where(safe, quotient, jnp.where(numerator < 0, -1.0, 1.0) * 1e4)


def _edges(*places: Array) -> Array:
    """(edges, ...): four pieces of the range, and the places within it."""
    shape = places[0].shape[1:]
    fixed = jnp.linspace(-_RANGE, _RANGE, 5, dtype=places[0].dtype)
    fixed = jnp.broadcast_to(fixed.reshape(-1, *(1,) * len(shape)), (5, *shape))
    inside = [jnp.clip(p, -_RANGE, _RANGE) for p in places]
    return jnp.sort(jnp.concatenate([fixed, *inside]), axis=0)


def _rule(edges: Array, nodes: int) -> tuple[Array, Array]:
    """(points, ...): Gauss-Legendre on each piece, for the standard normal density."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    column = (1, nodes) + (1,) * (edges.ndim - 1)
    points, weights = (
        jnp.asarray(v, edges.dtype).reshape(column) for v in (points, weights)
    )
    half = (edges[1:] - edges[:-1])[:, None] / 2
    x = edges[:-1, None] + half + half * points
    density = half * weights * jnp.exp(-(x**2) / 2) / jnp.sqrt(2 * jnp.pi)
    flat = (-1, *edges.shape[1:])
    return x.reshape(flat), density.reshape(flat)
