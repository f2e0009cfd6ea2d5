"""Balls in space and the spheres around them."""

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.pinn import domains
from kanjax.pinn.shapes import bounds_around, check_radius


@model.dataclass
class Ball:
    """A ball in space.

    Args:
        center: its middle, (x, y, z).
        radius: positive.
    """

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 1.0

    def __post_init__(self) -> None:
        check_radius(self.radius)

    @property
    def coordinates(self) -> int:
        """Three."""
        return 3

    @property
    def parameters(self) -> int:
        """The dimension of what is placed on it."""
        return 3

    @property
    def measure(self) -> float:
        """Its volume."""
        return 4 / 3 * math.pi * self.radius**3

    def place(self, s: Float[Array, "points 3"]) -> Float[Array, "points 3"]:
        """Map the unit cube to the ball: a cubed radius, a height and an angle."""
        center = jnp.array([self.center], s.dtype)
        return center + jnp.cbrt(s[:, :1]) * _round(s[:, 1:], self.radius)

    def distance(self, z: Float[Array, " 3"]) -> Float[Array, ""]:
        """Return the signed distance to the sphere. z: (3,)."""
        return jnp.linalg.norm(z - jnp.asarray(self.center, z.dtype)) - self.radius

    def factor(self, z: Float[Array, " 3"]) -> Float[Array, ""]:
        """``1 - |z - center|^2 / radius^2``."""
        offset = (z - jnp.asarray(self.center, z.dtype)) / self.radius
        return 1 - jnp.sum(offset**2)

    @property
    def bounds(self) -> domains.Bounds:
        """The cube around it."""
        return bounds_around(self.center, self.radius)

    @property
    def boundary(self) -> "Sphere":
        """The sphere around it."""
        return Sphere(self.center, self.radius)


@model.dataclass
class Sphere:
    """A sphere in space, the surface of a ball.

    Args:
        center: its middle, (x, y, z).
        radius: positive.
    """

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 1.0

    def __post_init__(self) -> None:
        check_radius(self.radius)

    @property
    def coordinates(self) -> int:
        """Three."""
        return 3

    @property
    def parameters(self) -> int:
        """The dimension of what is placed on it."""
        return 2

    @property
    def measure(self) -> float:
        """Its area."""
        return 4 * math.pi * self.radius**2

    def place(self, s: Float[Array, "points 2"]) -> Float[Array, "points 3"]:
        """Map the unit square to the sphere: a height and an angle."""
        return jnp.array([self.center], s.dtype) + _round(s, self.radius)

    def distance(self, z: Float[Array, " 3"]) -> Float[Array, ""]:
        """Return the distance to the sphere, at least 0. z: (3,)."""
        return jnp.abs(Ball(self.center, self.radius).distance(z))

    def factor(self, z: Float[Array, " 3"]) -> Float[Array, ""]:
        """Return 1: a sphere has no boundary."""
        return jnp.ones((), z.dtype)

    @property
    def bounds(self) -> domains.Bounds:
        """The cube around it."""
        return bounds_around(self.center, self.radius)

    @property
    def boundary(self) -> domains.Domain:
        """There is none."""
        raise ValueError("a sphere has no boundary.")


def _round(s: Array, radius: float) -> Array:
    """Zones of a sphere have areas as their heights (Archimedes)."""
    height, angle = 1 - 2 * s[:, 0], 2 * math.pi * s[:, 1]
    around = jnp.sqrt(jnp.maximum(1 - height**2, 0))
    points = (around * jnp.cos(angle), around * jnp.sin(angle), height)
    return radius * jnp.stack(points, axis=-1)
