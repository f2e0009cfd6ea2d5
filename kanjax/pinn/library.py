"""Problems with solutions to compare with.

Each is a function of the equation's coefficients that gives a
:class:`kanjax.pinn.Problem`. References are closed forms, or solutions of
:mod:`kanjax.systems` that are computed when they are first asked for.
"""

import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import systems
from kanjax.pinn import constraints, domains, samplers, shapes
from kanjax.pinn.derivatives import Field, expansion, gradient, laplacian, partial
from kanjax.pinn.problems import Problem, dirichlet, observations


def poisson(dimension: int = 2, *, hard: bool = True) -> Problem:
    """``lap u = -d pi^2 prod sin(pi x_i)`` on the unit cube, 0 on its boundary.

    Args:
        dimension: d.
        hard: whether the network is multiplied by a factor of the boundary; else there
            is a condition "boundary".
    """
    cube = domains.Box((0.0,) * dimension, (1.0,) * dimension)

    def exact(z: Array) -> Array:
        return jnp.prod(jnp.sin(jnp.pi * z), axis=-1)

    def residual(u: Field, z: Array) -> Array:
        return laplacian(u)(z) + dimension * jnp.pi**2 * exact(z)

    return _stationary(cube, residual, exact, hard)


def helmholtz(
    waves: tuple[int, int] = (1, 4), wavenumber: float = 1.0, *, hard: bool = True
) -> Problem:
    """``lap u + k^2 u = q`` on [-1, 1]^2, 0 on its boundary.

    The solution is ``sin(a pi x) sin(b pi y)``.

    Args:
        waves: a and b.
        wavenumber: k.
        hard: as in :func:`poisson`.
    """
    square = domains.Box((-1.0, -1.0), (1.0, 1.0))
    a, b = waves
    shift = wavenumber**2 - (a**2 + b**2) * math.pi**2

    def exact(z: Array) -> Array:
        return jnp.sin(a * jnp.pi * z[..., 0]) * jnp.sin(b * jnp.pi * z[..., 1])

    def residual(u: Field, z: Array) -> Array:
        return laplacian(u)(z) + wavenumber**2 * u(z) - shift * exact(z)

    return _stationary(square, residual, exact, hard)


def heat(diffusivity: float = 0.25) -> Problem:
    """``u_t = d u_xx`` on [0, 1]^2 from ``sin(pi x)``, 0 at both ends.

    Args:
        diffusivity: d.
    """
    domain = domains.TimeSpace(0.0, 1.0, domains.interval(0, 1))

    def residual(u: Field, z: Array) -> Array:
        _, (u_t, _), u_xx = expansion(u, axes=(1,))(z)
        return u_t - diffusivity * u_xx

    def exact(z: Array) -> Array:
        decay = jnp.exp(-diffusivity * jnp.pi**2 * z[..., 0])
        return decay * jnp.sin(jnp.pi * z[..., 1])

    start = constraints.initial_and_boundary(domain, lambda x: jnp.sin(jnp.pi * x[0]))
    return Problem(domain, residual, constrain=start, reference=exact)


def advection(speed: float = 30.0) -> Problem:
    """``u_t + c u_x = 0`` on one period, [0, 2 pi], from ``sin(x)``, until t = 1.

    It is for networks on a :class:`kanjax.nn.PeriodicEmbedding` with periods ``(None,
    2 pi)``.

    Args:
        speed: c.
    """
    domain = domains.TimeSpace(0.0, 1.0, domains.interval(0, 2 * math.pi))

    def residual(u: Field, z: Array) -> Array:
        u_t, u_x = gradient(u)(z)
        return u_t + speed * u_x

    return Problem(
        domain,
        residual,
        constrain=constraints.initial(lambda x: jnp.sin(x[0])),
        reference=lambda z: jnp.sin(z[:, 1] - speed * z[:, 0]),
    )


def burgers(viscosity: float = 0.01 / math.pi) -> Problem:
    """``u_t + u u_x = nu u_xx`` on [-1, 1] from ``-sin(pi x)``, until t = 1.

    Args:
        viscosity: nu.
    """
    domain = domains.TimeSpace(0.0, 1.0, domains.interval(-1, 1))

    def residual(u: Field, z: Array) -> Array:
        value, (u_t, u_x), u_xx = expansion(u, axes=(1,))(z)
        return u_t + value * u_x - viscosity * u_xx

    start = constraints.initial_and_boundary(domain, lambda x: -jnp.sin(jnp.pi * x[0]))
    return Problem(
        domain,
        residual,
        constrain=start,
        reference=lambda z: systems.cole_hopf(z, viscosity),
    )


def inverse_burgers(
    viscosity: float = 0.01 / math.pi, rows: int = 1000, *, seed: int = 0
) -> Problem:
    """``u_t + a u u_x = b u_xx`` with unknown a and b, from values of u.

    The values are of Burgers' equation, where a is 1 and b the viscosity; neither the
    start nor the walls are told. Raissi, Perdikaris, Karniadakis (2017), "Physics
    Informed Deep Learning (Part II)", arXiv 1711.10566.

    Args:
        viscosity: of the solution that is observed.
        rows: how many values.
        seed: of the places where they are.
    """
    domain = domains.TimeSpace(0.0, 1.0, domains.interval(-1, 1))
    z = samplers.sobol(domain, rows, key=jax.random.key(seed))
    data = observations(z, systems.cole_hopf(z, viscosity))

    def residual(u: Field, z: Array, c: Mapping[str, Array]) -> Array:
        value, (u_t, u_x), u_xx = expansion(u, axes=(1,))(z)
        return u_t + c["advection"] * value * u_x - c["viscosity"] * u_xx

    return Problem(
        domain,
        residual,
        {"data": data},
        coefficients={"advection": 0.5, "viscosity": 0.01},
        reference=lambda z: systems.cole_hopf(z, viscosity),
    )


def inverse_heat(
    diffusivity: float = 0.25, rows: int = 200, *, seed: int = 0
) -> Problem:
    """``u_t = d u_xx`` with unknown d, from values of u.

    Of the solution of :func:`heat`.

    Args:
        diffusivity: of the solution that is observed.
        rows: how many values.
        seed: of the places where they are.
    """
    forward = heat(diffusivity)
    assert forward.reference is not None
    z = samplers.sobol(forward.domain, rows, key=jax.random.key(seed))

    def residual(u: Field, z: Array, c: Mapping[str, Array]) -> Array:
        _, (u_t, _), u_xx = expansion(u, axes=(1,))(z)
        return u_t - c["diffusivity"] * u_xx

    return Problem(
        forward.domain,
        residual,
        {"data": observations(z, forward.reference(z))},
        coefficients={"diffusivity": 1.0},
        reference=forward.reference,
    )


def inverse_lorenz(duration: float = 1.0, rows: int = 50) -> Problem:
    """``x' = s (y - x), y' = x (r - z) - y, z' = x y - b z`` with unknown s, r and b.

    From states at equal times, of the trajectory from (1, 1, 1) with 10, 28 and 8/3.

    Args:
        duration: of the trajectory.
        rows: how many states.
    """
    forward = lorenz(duration=duration)
    assert forward.reference is not None
    with jax.enable_x64(True):
        # The integrator's tolerance is below what single precision can tell apart.
        states = forward.reference(jnp.linspace(0.0, duration, rows)[:, None])
    times = jnp.linspace(0.0, duration, rows)[:, None]

    def residual(s: Field, z: Array, c: Mapping[str, Array]) -> Array:
        rates = systems.lorenz(s(z), sigma=c["sigma"], rho=c["rho"], beta=c["beta"])
        return partial(s, 0)(z) - rates

    return Problem(
        forward.domain,
        residual,
        {"data": observations(times, jnp.asarray(np.asarray(states), float))},
        outputs=3,
        coefficients={"sigma": 5.0, "rho": 20.0, "beta": 1.0},
        reference=forward.reference,
    )


def l_shape(*, feature: bool = False) -> Problem:
    """``lap u = 0`` on the L-shape, solved by ``r^(2/3) sin(2 a / 3)``.

    Its derivatives are infinite at the corner, which no smooth network is. With the
    feature the network has two outputs, of which u is the first plus the second times
    that function: they have to become 0 and 1.

    Args:
        feature: whether the singular function is known.
    """
    domain = shapes.LShape()

    def exact(z: Array) -> Array:
        # The angle from the positive x axis, 0 to 3 pi / 2 inside.
        angle = jnp.arctan2(z[..., 1], z[..., 0])
        angle = jnp.where(angle < -1e-9, angle + 2 * jnp.pi, angle)
        return jnp.sum(z**2, axis=-1) ** (1 / 3) * jnp.sin(2 * angle / 3)

    def combine(net: Field) -> Field:
        return lambda z: jnp.dot(net(z), jnp.stack([jnp.ones(()), exact(z)]))

    return Problem(
        domain,
        lambda u, z: laplacian(u)(z),
        {"boundary": dirichlet(domain.boundary, exact)},
        constrain=combine if feature else None,
        outputs=2 if feature else 1,
        reference=exact,
    )


def allen_cahn(diffusion: float = 1e-4, reaction: float = 5.0) -> Problem:
    """``u_t = d u_xx + r (u - u^3)`` from ``x^2 cos(pi x)``, periodic, until t = 1.

    It is for networks on a :class:`kanjax.nn.PeriodicEmbedding` with periods ``(None,
    2.0)``. The slope of the initial values jumps at the ends of the period. No
    collocation point sees that, and a smooth network added to them keeps the jump: the
    error stayed at 4e-4. Here they spread and decay as the linear equation there has
    it.

    Args:
        diffusion: d.
        reaction: r.
    """
    domain = domains.TimeSpace(0.0, 1.0, domains.interval(-1, 1))
    equation = systems.allen_cahn(diffusion, reaction)

    def residual(u: Field, z: Array) -> Array:
        v, (u_t, _), u_xx = expansion(u, axes=(1,))(z)
        return u_t - diffusion * u_xx - reaction * (v - v**3)

    def constrain(net: Field) -> Field:
        def u(z: Array) -> Array:
            # Near the ends the values are -1 + 2 |distance|; -1 attracts with rate 2 r.
            t, distance = z[0], 1 - jnp.abs(z[1])
            spread = equation.initial(z[1]) + 2 * _rounding(distance, diffusion * t)
            return jnp.exp(-2 * reaction * t) * spread + t * net(z)

        return u

    return Problem(
        domain,
        residual,
        constrain=constrain,
        reference=spectral_reference(equation, points=512, steps=1000),
    )


def _rounding(x: Array, time: Array) -> Array:
    """Return what the heat equation ``v_t = v_xx`` adds to ``|x|``, for x >= 0."""
    width = 2 * jnp.sqrt(jnp.maximum(time, jnp.finfo(time.dtype).tiny ** 0.5))
    s = x / width
    peak = jnp.exp(-(s**2)) / math.sqrt(math.pi)
    return width * (peak - s * jax.scipy.special.erfc(s))


def pendulum(angle: float = 2.0, duration: float = 8.0) -> Problem:
    """``theta'' = -sin(theta)``: a pendulum that is let go, as a system of two.

    Args:
        angle: of the start, in radians.
        duration: how long it swings.
    """
    return ordinary(systems.pendulum, (angle, 0.0), duration)


def lorenz(
    initial: tuple[float, float, float] = (1.0, 1.0, 1.0),
    duration: float = 0.5,
    *,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
) -> Problem:
    """``x' = s (y - x), y' = x (r - z) - y, z' = x y - b z``: Lorenz' system.

    One window of time; see :func:`kanjax.pinn.march` for more.

    Args:
        initial: x, y and z at the start.
        duration: of the window.
        sigma: the Prandtl number.
        rho: the Rayleigh number, as a multiple of the critical one.
        beta: the aspect of the rolls.
    """
    rates = functools.partial(systems.lorenz, sigma=sigma, rho=rho, beta=beta)
    return ordinary(rates, initial, duration)


def ordinary(
    rates: Callable[[Array], Array],
    initial: tuple[float, ...] | Float[Array, " outputs"],
    duration: float,
) -> Problem:
    """Any autonomous system ``s' = rates(s)`` from an initial state.

    Args:
        rates: the right-hand side, of a state (outputs,), at least two entries.
        initial: the state at time 0, (outputs,).
        duration: the time to integrate.
    """

    def residual(s: Field, z: Array) -> Array:
        return partial(s, 0)(z) - rates(s(z))

    def reference(z: Array) -> Array:
        # Sorted times for the integrator, and back.
        order = jnp.argsort(z[:, 0])
        times = jnp.concatenate([jnp.zeros(1, z.dtype), z[order, 0]])
        start = jnp.asarray(initial, z.dtype)
        states = systems.odes.integrate(rates, start, times, rtol=1e-10, atol=1e-12)
        return jnp.zeros_like(states[1:]).at[order].set(states[1:])

    start = constraints.initial(lambda _: jnp.asarray(initial, float))
    return Problem(
        domains.interval(0, duration),
        residual,
        constrain=start,
        outputs=len(initial),
        reference=reference,
    )


def _stationary(
    domain: domains.Box,
    residual: Callable[[Field, Array], Array],
    exact: Callable[[Array], Array],
    hard: bool,
) -> Problem:
    if hard:
        constrain = constraints.boundary(domain)
        return Problem(domain, residual, constrain=constrain, reference=exact)
    conditions = {"boundary": dirichlet(domain.boundary)}
    return Problem(domain, residual, conditions, reference=exact)


def spectral_reference(
    equation: systems.Semilinear | systems.Coupled,
    *,
    points: int,
    steps: int,
    duration: float = 1.0,
    save_every: int = 1,
) -> Callable[[Array], Array]:
    """Return a solution on a grid as a function of points, computed when first asked
    for.

    Args:
        equation: a periodic one, or a system, whose values are (points, components).
        points: of the grid, even.
        steps: of time.
        duration: the time to integrate.
        save_every: every how many steps to keep the solution; divides steps.
    """

    @functools.cache
    def solution(dtype: str) -> systems.Evolution:
        with jax.ensure_compile_time_eval():
            return equation.solve(
                points=points, steps=steps, duration=duration, save_every=save_every
            )

    def reference(z: Array) -> Array:
        return equation.interpolate(solution(str(z.dtype)), z)

    return reference
