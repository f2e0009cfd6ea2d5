"""The loss on two-dimensional slices of parameter space.

Random planes: Li et al. 2018, arXiv 1712.09913. Planes through three models: Garipov
et al. 2018, arXiv 1802.10026, appendix.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Float

from kanjax import checks, pytrees
from kanjax.landscape import linear_combinations, paths

Params = pytrees.Params


class Plane(NamedTuple):
    """The loss on a rectangle of ``origin + x direction_0 + y direction_1``.

    Attributes:
        x: (columns,), coordinates along the first direction.
        y: (rows,), coordinates along the second direction.
        losses: what the loss returned, with two leading axes (rows, columns), as
            matplotlib's ``contour(x, y, losses)`` takes it.
        marks: (marks, 2), the coordinates (x, y) of the points the plane was laid
            through.
        origin: the parameters at (0, 0).
        directions: two pytrees like it.
    """

    x: Float[Array, " columns"]
    y: Float[Array, " rows"]
    losses: Any
    marks: Float[Array, "marks 2"]
    origin: Params
    directions: tuple[Params, Params]


def plane(
    loss: paths.Loss,
    origin: Params,
    d1: Params,
    d2: Params,
    *,
    extent: float | tuple[float, float] = 1.0,
    points: int | tuple[int, int] = 51,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Plane:
    """Return the loss at ``origin + x d1 + y d2`` on a grid around the origin.

    Args:
        loss: ``loss(params)``, a scalar or a pytree of values.
        origin: the parameters at (0, 0).
        d1: a pytree like origin, e.g. of random_directions; used as it is.
        d2: likewise.
        extent: x and y run from -extent to extent; a pair gives each its own.
        points: grid points along x and y; a pair gives each its own. An odd number has
            the origin on the grid.
        batch_size: how many points are evaluated at once; if None, as many as keep
            their values within some megabytes.
        mesh: spread the points over its devices.

    Non-finite losses are kept as they are.

    Raises:
        ValueError: if the pytrees do not match, if a direction is zero or both are
            parallel (checked outside of transformations only), or for a bad extent
            or number of points.
    """
    pytrees.check_same(origin, d1, "origin", "d1")
    pytrees.check_same(origin, d2, "origin", "d2")
    if pytrees.concrete(d1, d2):
        # Under an enclosing jit even operations on known values would be traced.
        with jax.ensure_compile_time_eval():
            _check_directions(d1, d2)
    extents = extent if isinstance(extent, tuple) else (extent, extent)
    if not all(e > 0 for e in extents):
        raise ValueError(f"extent is {extent}; it must be positive.")
    x, y = (
        jnp.linspace(-e, e, n) for e, n in zip(extents, _sizes(points), strict=True)
    )
    losses = _grid(loss, origin, d1, d2, x, y, batch_size, mesh)
    return Plane(x, y, losses, jnp.zeros((1, 2)), origin, (d1, d2))


def plane_through(
    loss: paths.Loss,
    a: Params,
    b: Params,
    c: Params,
    *,
    points: int | tuple[int, int] = 51,
    margin: float = 0.2,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Plane:
    """Return the loss on the plane through three sets of parameters.

    The basis is orthonormal, so distances in the plane are distances between
    parameters: a is the origin, x runs from a towards b, and y is the part of c - a
    across it. The rectangle holds all three with a margin, relative to their spread.
    ``marks`` are the coordinates of a, b and c; options are as in plane.

    Args:
        loss: of parameters alone.
        a: the origin.
        b: where x points to.
        c: the third point.
        points: of the grid, along both axes or each.
        margin: around the three, relative to their spread.
        batch_size: as in plane.
        mesh: as in plane.

    Raises:
        ValueError: if the pytrees do not match, if the three points lie on one line
            (checked outside of transformations only; the losses are NaN inside), or
            for a negative margin or a bad number of points.
    """
    pytrees.check_same(a, b, "a", "b")
    pytrees.check_same(a, c, "a", "c")
    if margin < 0:
        raise ValueError(f"margin is {margin}; it must not be negative.")
    to_b = pytrees.combine((1.0, -1.0), (b, a))
    to_c = pytrees.combine((1.0, -1.0), (c, a))
    if pytrees.concrete(a, b, c):
        with jax.ensure_compile_time_eval():
            _check_three(a, b, c)
    width = pytrees.norm(to_b)
    e1 = pytrees.combine((1 / width,), (to_b,))
    along = pytrees.inner(to_c, e1)
    across = pytrees.combine((1.0, -along), (to_c, e1))
    height = pytrees.norm(across)
    e2 = pytrees.combine((1 / height,), (across,))
    zero = jnp.zeros_like(width)
    marks = jnp.stack(
        [
            jnp.stack([zero, zero]),
            jnp.stack([width, zero]),
            jnp.stack([along, height]),
        ]
    )
    low, high = jnp.min(marks, axis=0), jnp.max(marks, axis=0)
    pad = margin * (high - low)
    x, y = (
        jnp.linspace(low[i] - pad[i], high[i] + pad[i], n)
        for i, n in enumerate(_sizes(points))
    )
    losses = _grid(loss, a, e1, e2, x, y, batch_size, mesh)
    return Plane(x, y, losses, marks, a, (e1, e2))


def trajectory_plane(
    loss: paths.Loss,
    trajectory: Params,
    *,
    points: int | tuple[int, int] = 51,
    margin: float = 0.2,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Plane:
    """Return the loss on the plane that holds most of a training run.

    The directions are the first two principal components of the differences from the
    last point, which is the origin (Li et al. 2018, section 7). ``marks`` are the
    coordinates of all points of the run. The components follow from the Gram matrix of
    the differences, so nothing larger than the run itself is held.

    Args:
        loss: ``loss(params)``, a scalar or a pytree of values.
        trajectory: a pytree with a leading axis over the points of the run.
        points: grid points along x and y; a pair gives each its own.
        margin: as in plane_through.
        batch_size: as in plane.
        mesh: spread the points over its devices.

    Raises:
        ValueError: if there are fewer than 3 points, for a negative margin or a bad
            number of grid points, or if the run lies on a line (checked outside of
            transformations only; the losses are NaN inside).
    """
    checks.check_real(trajectory, "trajectory")
    count = jax.tree.leaves(trajectory)[0].shape[0]
    if count < 3:
        raise ValueError(f"trajectory has {count} points; a plane needs at least 3.")
    if margin < 0:
        raise ValueError(f"margin is {margin}; it must not be negative.")
    last = jax.tree.map(lambda v: v[-1], trajectory)
    shifts = jax.tree.map(lambda v: v - v[-1:], trajectory)
    rows = [leaf.reshape(count, -1) for leaf in jax.tree.leaves(shifts)]
    gram = sum(jnp.matmul(r, r.T, precision="highest") for r in rows)
    values, vectors = jnp.linalg.eigh(gram)
    if pytrees.concrete(trajectory):
        eps = jnp.finfo(values.dtype).eps
        if not values[-2] > 10 * count * eps * values[-1]:
            raise ValueError(
                "the points of trajectory lie on one line; they span no plane."
            )

    def component(i: int) -> Params:
        shares = vectors[:, i] / jnp.sqrt(values[i])
        return jax.tree.map(lambda v: jnp.tensordot(shares, v, axes=1), shifts)

    d1, d2 = component(-1), component(-2)
    marks = jnp.sqrt(values[None, [-1, -2]]) * vectors[:, [-1, -2]]
    low, high = jnp.min(marks, axis=0), jnp.max(marks, axis=0)
    pad = margin * (high - low)
    x, y = (
        jnp.linspace(low[i] - pad[i], high[i] + pad[i], n)
        for i, n in enumerate(_sizes(points))
    )
    losses = _grid(loss, last, d1, d2, x, y, batch_size, mesh)
    return Plane(x, y, losses, marks, last, (d1, d2))


def project(plane: Plane, params: Params) -> Float[Array, "2"]:
    """Return the coordinates (x, y) of the point of the plane that is nearest to
    params.

    For a point of the plane these are its coordinates, whatever the directions'
    lengths and angle.
    """
    pytrees.check_same(plane.origin, params, "plane.origin", "params")
    shift = pytrees.combine((1.0, -1.0), (params, plane.origin))
    d1, d2 = plane.directions
    gram = jnp.stack(
        [jnp.stack([pytrees.inner(d, e) for e in (d1, d2)]) for d in (d1, d2)]
    )
    shares = jnp.stack([pytrees.inner(d, shift) for d in (d1, d2)])
    return jnp.linalg.solve(gram, shares)


def _grid(
    loss: paths.Loss,
    origin: Params,
    d1: Params,
    d2: Params,
    x: Array,
    y: Array,
    batch_size: int | None,
    mesh: Mesh | None,
) -> Any:
    columns, rows = (v.ravel() for v in jnp.meshgrid(x, y))
    losses = linear_combinations.evaluate(
        loss,
        (jnp.ones_like(rows), columns, rows),
        (origin, d1, d2),
        batch_size=batch_size,
        mesh=mesh,
    )
    return jax.tree.map(lambda v: v.reshape(y.size, x.size, *v.shape[1:]), losses)


def _sizes(points: int | tuple[int, int]) -> tuple[int, int]:
    sizes = points if isinstance(points, tuple) else (points, points)
    if not all(n >= 2 for n in sizes):
        raise ValueError(f"points is {points}; a plane needs at least 2 along each.")
    return sizes


def _check_directions(d1: Params, d2: Params) -> None:
    for name, d in (("d1", d1), ("d2", d2)):
        if not pytrees.norm(d) > 0:
            raise ValueError(f"{name} is zero; a plane needs two directions.")
    if _parallel(d1, d2):
        raise ValueError("d1 and d2 are parallel; they span a line and not a plane.")


def _check_three(a: Params, b: Params, c: Params) -> None:
    to_b = pytrees.combine((1.0, -1.0), (b, a))
    to_c = pytrees.combine((1.0, -1.0), (c, a))
    for name, d in (("b", to_b), ("c", to_c)):
        if not pytrees.norm(d) > 0:
            raise ValueError(f"a and {name} are equal; give three different points.")
    if _parallel(to_b, to_c):
        raise ValueError(
            "a, b and c lie on one line; they span no plane. Use line for two of them."
        )


def _parallel(u: Params, v: Params) -> bool:
    u = pytrees.combine((1 / pytrees.norm(u),), (u,))
    v = pytrees.combine((1 / pytrees.norm(v),), (v,))
    cosine = pytrees.inner(u, v)
    across = pytrees.norm(pytrees.combine((1.0, -cosine), (v, u)))
    return bool(across <= 100 * jnp.finfo(across.dtype).eps)
