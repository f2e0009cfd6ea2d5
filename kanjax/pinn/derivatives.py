"""Differential operators as functions of functions of a point.

A field is a plain function ``u(z)`` of one point ``z`` (coordinates,); it gives a
number (a scalar field) or an array (a vector field), real or complex. An operator takes
a field and gives a field, so operators nest: ``laplacian(laplacian(u))``.

First and mixed derivatives are forward ones (``jax.jvp``); second and higher ones along
an axis, and Laplacians, run the field once on stacks of derivatives
(:mod:`kanjax.pinn.taylor`). All take every function that jax can differentiate, and
leave reverse mode to the parameters. Map them over points by ``jax.vmap``.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.pinn import taylor

Field = Callable[[Float[Array, " coordinates"]], Array]
"""A function of one point; its result has any shape, () for a scalar field."""

HIGHEST_ORDER = 4
LINES = 16
"""Of a Laplacian, in one part of its program."""


def partial(u: Field, axis: int | Sequence[int], order: int = 1) -> Field:
    """Differentiate a field along axes.

    ``partial(u, 0)`` is u_t of ``u(t, x)``; ``partial(u, 1, 2)`` is u_xx;
    ``partial(u, (0, 1, 1))`` is u_txx.

    Args:
        u: a field.
        axis: the coordinate to differentiate by, or a tuple of coordinates, of which
            each differentiates once.
        order: how often to differentiate by a single axis, 1 to 4.

    Raises:
        ValueError: if the order is not 1 to 4, is given beside several axes, or the
            point has no such coordinate.

    Examples:
        >>> import jax.numpy as jnp
        >>> u = lambda z: z[0] * z[1] ** 3
        >>> float(partial(u, (0, 1, 1))(jnp.array([2.0, 5.0])))
        30.0
    """
    axes = _axes_of(axis, order)

    def derivative(z: Float[Array, " coordinates"]) -> Array:
        directions = _directions(z, axes)
        if len(axes) > 1 and len(set(axes)) == 1:
            return taylor.along(u, z, directions[0], len(axes))[-1]
        v = u
        for direction in directions:
            v = _along(v, direction)
        return v(z)

    return derivative


def derivatives(u: Field, axis: int, order: int) -> Callable[..., tuple[Array, ...]]:
    """Evaluate a field and its derivatives along one axis, all in one pass.

    Args:
        u: a field.
        axis: the coordinate to differentiate by.
        order: the highest derivative, 1 to 4.

    Returns:
        A function of a point that gives ``(u, u_x, u_xx, ...)``, order + 1 arrays.

    Raises:
        ValueError: as in :func:`partial`.
    """
    _axes_of(axis, order)

    def all_orders(z: Float[Array, " coordinates"]) -> tuple[Array, ...]:
        (direction,) = _directions(z, (axis,))
        return taylor.along(u, z, direction, order)

    return all_orders


def gradient(u: Field, axes: Sequence[int] | None = None) -> Field:
    """Differentiate a field by each coordinate.

    Args:
        u: a field.
        axes: the coordinates to differentiate by; all by default.

    Returns:
        A field with one more, last axis: ``gradient(u)(z)[..., i]`` is du/dz_i. Of a
        vector field it is the Jacobian matrix.

    Raises:
        ValueError: if the point has no such coordinate.

    Examples:
        >>> import jax.numpy as jnp
        >>> gradient(lambda z: z[0] * z[1])(jnp.array([2.0, 5.0]))
        Array([5., 2.], dtype=float32)
    """

    def slopes(z: Float[Array, " coordinates"]) -> Array:
        directions = _directions(z, axes)
        along = jax.vmap(lambda e: jax.jvp(u, (z,), (e,))[1], out_axes=-1)
        return along(directions)

    return slopes


def hessian_diagonal(u: Field, axes: Sequence[int] | None = None) -> Field:
    """Differentiate a field twice by each coordinate.

    Args:
        u: a field.
        axes: the coordinates to differentiate by; all by default.

    Returns:
        A field with one more, last axis: entry i is d2u/dz_i^2.

    Raises:
        ValueError: if the point has no such coordinate.
    """

    def curvatures(z: Float[Array, " coordinates"]) -> Array:
        directions = _directions(z, axes)
        twice = jax.vmap(lambda e: taylor.along(u, z, e, 2)[2], out_axes=-1)
        return twice(directions)

    return curvatures


def laplacian(u: Field, axes: Sequence[int] | None = None) -> Field:
    """Sum the second derivatives of a field, of each component of a vector field.

    Args:
        u: a field.
        axes: the coordinates of space, e.g. ``(1, 2)`` if the first is time; all by
            default.

    Raises:
        ValueError: if the point has no such coordinate.

    Examples:
        >>> import jax.numpy as jnp
        >>> float(laplacian(lambda z: jnp.sum(z**2))(jnp.ones(3)))
        6.0
    """

    def second(z: Array, lines: Array) -> Array:
        return taylor.collapsed(u, z, lines, len(lines))[2]

    def total(z: Float[Array, " coordinates"]) -> Array:
        directions = _directions(z, axes)
        blocks, rest = divmod(len(directions), LINES)
        if blocks + (rest > 0) <= 1:
            return second(z, directions)
        # Each line is a part of the program: of many, blocks share one.
        last = second(z, directions[blocks * LINES :]) if rest else 0
        many = directions[: blocks * LINES].reshape(blocks, LINES, -1)
        return jnp.sum(jax.vmap(lambda lines: second(z, lines))(many), axis=0) + last

    return total


class Expansion(NamedTuple):
    """A field, its first derivatives and its Laplacian at a point.

    Attributes:
        value: of the field, (...).
        gradient: by all coordinates, (..., coordinates).
        laplacian: the sum of second derivatives by some of them, (...).
    """

    value: Array
    gradient: Array
    laplacian: Array


def expansion(
    u: Field, axes: Sequence[int] | None = None
) -> Callable[[Float[Array, " coordinates"]], Expansion]:
    """Evaluate a field, its gradient and its Laplacian, all in one pass.

    What an equation of second order needs, for less than the sum of its terms: of
    Burgers' equation ``u, (u_t, u_x), u_xx = expansion(u, axes=(1,))(z)``.

    Args:
        u: a field.
        axes: the coordinates whose second derivatives are summed; all by default.

    Raises:
        ValueError: if the point has no such coordinate.

    Examples:
        >>> import jax.numpy as jnp
        >>> u, (u_t, u_x), u_xx = expansion(lambda z: z[0] * z[1] ** 2, axes=(1,))(
        ...     jnp.array([2.0, 5.0])
        ... )
        >>> float(u), float(u_t), float(u_x), float(u_xx)
        (50.0, 25.0, 20.0, 4.0)
    """

    def expand(z: Float[Array, " coordinates"]) -> Expansion:
        chosen = _directions(z, axes)
        named = {axis % len(z) for axis in (range(len(z)) if axes is None else axes)}
        others = [axis for axis in range(len(z)) if axis not in named]
        # The lines whose second derivatives are summed go last, and come back.
        lines = jnp.concatenate([_directions(z, others), chosen]) if others else chosen
        value, slopes, summed = taylor.collapsed(u, z, lines, len(chosen))
        slopes = jnp.moveaxis(slopes, 0, -1) @ lines.astype(slopes.dtype)
        return Expansion(value, slopes, summed)

    return expand


def divergence(v: Field, axes: Sequence[int] | None = None) -> Field:
    """Sum the derivatives of a vector field's components by their own coordinates.

    Args:
        v: a field with values (..., components).
        axes: the coordinate of each component, e.g. ``(1, 2)`` if the first is time;
            all in order by default.

    Raises:
        ValueError: if there are not as many components as axes.
    """

    def sources(z: Float[Array, " coordinates"]) -> Array:
        directions = _directions(z, axes)
        jacobian = gradient(v, axes)(z)
        _check_components(jacobian.shape[:-1], len(directions), "divergence")
        return jnp.trace(jacobian, axis1=-2, axis2=-1)

    return sources


def curl(v: Field, axes: Sequence[int] | None = None) -> Field:
    """Take the rotation of a vector field in the plane or in space.

    Args:
        v: a field with values (2,) or (3,).
        axes: the coordinate of each component; all in order by default.

    Returns:
        In the plane the scalar field ``dv_y/dx - dv_x/dy``; in space the vector field
        of values (3,).

    Raises:
        ValueError: unless there are two or three components, and as many axes.
    """

    def rotation(z: Float[Array, " coordinates"]) -> Array:
        count = len(_directions(z, axes))
        if count not in (2, 3):
            raise ValueError(
                f"curl needs two or three axes; got {count}. If a coordinate is time, "
                "leave it out, e.g. axes=(1, 2)."
            )
        jacobian = gradient(v, axes)(z)
        _check_components(jacobian.shape[:-1], count, "curl")
        if count == 2:
            return jacobian[1, 0] - jacobian[0, 1]
        return jnp.stack(
            [
                jacobian[2, 1] - jacobian[1, 2],
                jacobian[0, 2] - jacobian[2, 0],
                jacobian[1, 0] - jacobian[0, 1],
            ]
        )

    return rotation


def _along(u: Field, direction: Array) -> Field:
    return lambda z: jax.jvp(u, (z,), (direction,))[1]


def _axes_of(axis: int | Sequence[int], order: int) -> tuple[int, ...]:
    if isinstance(axis, int):
        axes = (axis,) * order
    elif order == 1:
        axes = tuple(axis)
    else:
        raise ValueError(
            f"order counts derivatives by a single axis; got order {order} and axes "
            f"{tuple(axis)}. Repeat an axis instead, e.g. (0, 1, 1)."
        )
    if not 1 <= len(axes) <= HIGHEST_ORDER:
        raise ValueError(
            f"a derivative must be of order 1 to {HIGHEST_ORDER}; got {len(axes)}. "
            "Nest partial for a higher one."
        )
    return axes


def _directions(z: Array, axes: Sequence[int] | None) -> Array:
    """Return the unit vectors of axes: (axes, coordinates)."""
    if jnp.ndim(z) != 1:
        raise ValueError(
            "an operator's field is a function of one point, of shape (coordinates,); "
            f"got {jnp.shape(z)}. Map over points by jax.vmap."
        )
    size = z.shape[0]
    chosen = tuple(range(size)) if axes is None else tuple(axes)
    for axis in chosen:
        if not -size <= axis < size:
            raise ValueError(
                f"axis {axis} is out of range: the point has {size} coordinates."
            )
    return jnp.eye(size, dtype=z.dtype)[jnp.array(chosen, dtype=int)]


def _check_components(shape: tuple[int, ...], count: int, operator: str) -> None:
    if len(shape) == 0 or shape[-1] != count:
        raise ValueError(
            f"{operator} needs one component for each of {count} axes; the field's "
            f"values have shape {shape}. Name the axes, e.g. axes=(1, 2)."
        )
