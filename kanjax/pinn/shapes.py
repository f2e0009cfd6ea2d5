"""Shapes in the plane: disks, circles and the L-shape."""

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.pinn import domains, polygons

CORNERS = (
    *((-1.0, -1.0), (0.0, -1.0), (0.0, 0.0)),
    *((1.0, 0.0), (1.0, 1.0), (-1.0, 1.0)),
)
"""Of the L-shape, in order around it."""


@model.dataclass
class Disk:
    """A disk in the plane.

    Args:
        center: its middle, (x, y).
        radius: positive.
    """

    center: tuple[float, float] = (0.0, 0.0)
    radius: float = 1.0

    def __post_init__(self) -> None:
        check_radius(self.radius)

    @property
    def coordinates(self) -> int:
        """Two, x and y."""
        return 2

    @property
    def parameters(self) -> int:
        """The dimension of what is placed on it."""
        return 2

    @property
    def measure(self) -> float:
        """Its area."""
        return math.pi * self.radius**2

    def place(self, s: Float[Array, "points 2"]) -> Float[Array, "points 2"]:
        """Map the unit square to the disk: a squared radius and an angle."""
        center = jnp.array([self.center], s.dtype)
        return center + jnp.sqrt(s[:, :1]) * _round(s[:, 1], self.radius)

    def distance(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return the signed distance to the circle. z: (2,)."""
        return jnp.linalg.norm(z - jnp.asarray(self.center, z.dtype)) - self.radius

    def factor(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """``1 - |z - center|^2 / radius^2``."""
        offset = (z - jnp.asarray(self.center, z.dtype)) / self.radius
        return 1 - jnp.sum(offset**2)

    @property
    def bounds(self) -> domains.Bounds:
        """The square around it."""
        return bounds_around(self.center, self.radius)

    @property
    def boundary(self) -> "Circle":
        """The circle around it."""
        return Circle(self.center, self.radius)


@model.dataclass
class Circle:
    """A circle in the plane.

    Args:
        center: its middle, (x, y).
        radius: positive.
    """

    center: tuple[float, float] = (0.0, 0.0)
    radius: float = 1.0

    def __post_init__(self) -> None:
        check_radius(self.radius)

    @property
    def coordinates(self) -> int:
        """Two, x and y."""
        return 2

    @property
    def parameters(self) -> int:
        """The dimension of what is placed on it."""
        return 1

    @property
    def measure(self) -> float:
        """Its length."""
        return 2 * math.pi * self.radius

    def place(self, s: Float[Array, "points 1"]) -> Float[Array, "points 2"]:
        """Return the angle. s: (points, 1)."""
        return jnp.array([self.center], s.dtype) + _round(s[:, 0], self.radius)

    def distance(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return the distance to the circle, at least 0. z: (2,)."""
        return jnp.abs(Disk(self.center, self.radius).distance(z))

    def factor(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return 1: a circle has no boundary."""
        return jnp.ones((), z.dtype)

    @property
    def bounds(self) -> domains.Bounds:
        """The square around it."""
        return bounds_around(self.center, self.radius)

    @property
    def boundary(self) -> domains.Domain:
        """There is none."""
        raise ValueError("a circle has no boundary.")


@model.dataclass
class LShape:
    """The square [-1, 1]^2 without its lower right quarter, ``x > 0`` and ``y < 0``."""

    @property
    def coordinates(self) -> int:
        """Two, x and y."""
        return 2

    @property
    def parameters(self) -> int:
        """The dimension of what is placed on it."""
        return 2

    @property
    def measure(self) -> float:
        """Its area."""
        return 3.0

    def place(self, s: Float[Array, "points 2"]) -> Float[Array, "points 2"]:
        """Return the left half, then the upper right quarter."""
        left = domains.Box((-1.0, -1.0), (0.0, 1.0))
        return domains.Pieces((left, domains.Box((0.0, 0.0), (1.0, 1.0)))).place(s)

    def distance(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return the signed distance to the edges. z: (2,)."""
        return polygons.Polygon(CORNERS).distance(z)

    def factor(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return the factor of the square times that of the missing corner.

        The corner's is the R-function ``a + b + sqrt(a^2 + b^2)`` of ``a = -x`` and ``b
        = y``, positive where either is; it has a kink at the corner alone.
        """
        a, b = -z[0], z[1]
        length = jnp.sqrt(a**2 + b**2)
        square = domains.Box((-1.0, -1.0), (1.0, 1.0)).factor(z)
        return square * (a + b + length)

    @property
    def bounds(self) -> domains.Bounds:
        """The square's."""
        return (-1.0, -1.0), (1.0, 1.0)

    @property
    def boundary(self) -> domains.Pieces:
        """The six edges."""
        return domains.Pieces(
            tuple(
                domains.Box(tuple(map(min, a, b)), tuple(map(max, a, b)))
                for a, b in self._edges
            )
        )

    @property
    def _edges(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        return list(zip(CORNERS, CORNERS[1:] + CORNERS[:1], strict=True))


def _round(turns: Array, radius: float) -> Array:
    angle = 2 * math.pi * turns
    return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def bounds_around(center: tuple[float, ...], radius: float) -> domains.Bounds:
    """Return the box around a disk or a ball.

    Args:
        center: its middle.
        radius: positive.
    """
    return tuple(c - radius for c in center), tuple(c + radius for c in center)


def check_radius(radius: float) -> None:
    """Raise unless a radius is positive and finite.

    Args:
        radius: what came.

    Raises:
        ValueError: if it is not.
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius must be positive and finite; got {radius!r}.")
