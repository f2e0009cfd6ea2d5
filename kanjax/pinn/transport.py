"""Transport equations on periodic boxes, and the problem of each at fixed places.

Those on which Mojgani, Balajewicz, Hassanzadeh (2022), arXiv 2205.02902, compare
networks of (t, x) with networks along characteristics, :mod:`kanjax.pinn.lagrangian`.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import systems
from kanjax.pinn import constraints, domains, library
from kanjax.pinn.derivatives import Field, gradient, laplacian
from kanjax.pinn.problems import Problem, dirichlet


@dataclasses.dataclass(frozen=True, eq=False)
class Transport:
    """``u_t + c(u) . grad u = nu lap u + s(u)`` on a periodic box, from time 0.

    Attributes:
        speed: c, a function of u that gives a number or (dimensions,).
        initial: u0, a function of the coordinates of space, (dimensions,).
        viscosity: nu.
        source: s, a function of u; None for 0.
        periods: of each coordinate of space.
        duration: the final time.
        reference: the solution, a function of points (t, x), (points, 1 + dimensions).

    Examples:
        >>> import jax.numpy as jnp
        >>> inviscid = Transport(lambda u: u, lambda x: jnp.sin(x[0]), duration=0.5)
        >>> inviscid.domain.coordinates
        2
    """

    speed: Callable[[Array], Array | float | tuple[float, ...]]
    initial: Field
    viscosity: float = 0.0
    source: Callable[[Array], Array] | None = None
    periods: tuple[float, ...] = (2 * math.pi,)
    duration: float = 1.0
    reference: Callable[[Array], Array] | None = None

    @property
    def domain(self) -> domains.TimeSpace:
        """Time, and one period of space from 0."""
        box = domains.Box((0.0,) * len(self.periods), self.periods)
        return domains.TimeSpace(0.0, self.duration, box)

    @property
    def axes(self) -> range:
        """The coordinates of space in points (t, x)."""
        return range(1, 1 + len(self.periods))

    def velocity(self, u: Float[Array, ""]) -> Float[Array, " dimensions"]:
        """Return the components of c(u). u: ()."""
        c = jnp.asarray(self.speed(u), u.dtype)
        return jnp.broadcast_to(c, (len(self.periods),))

    def growth(self, u: Float[Array, ""]) -> Float[Array, ""]:
        """Return what the source adds: s(u), 0 without one. u: ()."""
        return jnp.zeros_like(u) if self.source is None else self.source(u)

    def travel(self, points: int = 32) -> Float[Array, " dimensions"]:
        """How far the initial speeds reach in the duration along each axis, at least 1.

        Args:
            points: of space along each axis at which speeds are compared.
        """
        axes = [p * jnp.arange(points) / points for p in self.periods]
        x = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)
        x = x.reshape(-1, len(axes))
        speeds = jax.vmap(lambda y: self.velocity(self.initial(y)))(x)
        return jnp.maximum(self.duration * jnp.max(jnp.abs(speeds), axis=0), 1.0)


def convection_diffusion(
    speed: float | tuple[float, ...] = 30.0, viscosity: float = 0.0
) -> Transport:
    """``u_t + c . grad u = nu lap u`` from the product of all ``sin(x_i)``, until 1.

    Args:
        speed: c, with an entry for each dimension; a number in one dimension.
        viscosity: nu.
    """
    speeds = speed if isinstance(speed, tuple) else (speed,)
    decay = len(speeds) * viscosity

    def reference(z: Array) -> Array:
        phases = z[:, 1:] - jnp.array([speeds], z.dtype) * z[:, :1]
        return jnp.exp(-decay * z[:, 0]) * jnp.prod(jnp.sin(phases), axis=1)

    return Transport(
        lambda u: speeds,
        lambda x: jnp.prod(jnp.sin(x)),
        viscosity,
        periods=(2 * math.pi,) * len(speeds),
        reference=reference,
    )


def burgers(
    offset: float = 1.0, viscosity: float = 0.1, duration: float = 1.0
) -> Transport:
    """``u_t + u u_x = nu u_xx`` from ``sin(x) + C``.

    Without viscosity characteristics cross at t = 1, and this form ends there.

    Args:
        offset: C, the speed at which the front moves.
        viscosity: nu, above 0 for a reference.
        duration: the final time.
    """

    def wave(x: Array) -> Array:
        return jnp.sin(x) + offset

    linear, flux = (0.0, 0.0, viscosity), (0.0, 0.0, -0.5)
    equation = systems.Semilinear(linear, flux, 1, 0.0, 2 * math.pi, wave)
    reference = library.spectral_reference(
        equation, points=256, steps=1000, duration=duration
    )
    return Transport(
        lambda u: u,
        lambda x: wave(x[0]),
        viscosity,
        duration=duration,
        reference=reference if viscosity > 0 else None,
    )


def reaction_diffusion(rate: float = 5.0, viscosity: float = 0.0) -> Transport:
    """``u_t = nu u_xx + r u (1 - u)`` from a bump, ``exp(-8 (x / pi - 1)^2)``, until 1.

    Args:
        rate: r.
        viscosity: nu.
    """

    def bump(x: Array) -> Array:
        return jnp.exp(-8 * (x / math.pi - 1) ** 2)

    def logistic(z: Array) -> Array:
        u, grown = bump(z[:, 1]), jnp.exp(rate * z[:, 0])
        return u * grown / (1 - u + u * grown)

    linear, nonlinear = (rate, 0.0, viscosity), (0.0, 0.0, -rate)
    equation = systems.Semilinear(linear, nonlinear, 0, 0.0, 2 * math.pi, bump)
    spectral = library.spectral_reference(equation, points=256, steps=1000)
    return Transport(
        lambda u: 0.0,
        lambda x: bump(x[0]),
        viscosity,
        lambda u: rate * u * (1 - u),
        reference=spectral if viscosity > 0 else logistic,
    )


def eulerian(equation: Transport, *, hard: bool = True) -> Problem:
    """State an equation at fixed places: the usual form, u of (t, x).

    Args:
        equation: the equation.
        hard: whether u is ``u0 + t net``; else there is a condition "values".
    """

    def residual(u: Field, z: Array) -> Array:
        slopes, v = gradient(u)(z), u(z)
        r = slopes[0] + jnp.dot(equation.velocity(v), slopes[1:]) - equation.growth(v)
        if equation.viscosity == 0:
            return r
        return r - equation.viscosity * laplacian(u, equation.axes)(z)

    soft = dirichlet(equation.domain.initial, lambda z: equation.initial(z[1:]))
    return Problem(
        equation.domain,
        residual,
        {} if hard else {"values": soft},
        constraints.initial(equation.initial) if hard else None,
        reference=equation.reference,
    )
