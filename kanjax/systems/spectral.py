"""Periodic functions by their Fourier coefficients, and their evolution in time.

Kassam, Trefethen (2005), "Fourth-Order Time-Stepping for Stiff PDEs", SIAM J. Sci.
Comput. 26, 1214.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Complex, Float, Inexact

from kanjax import model

CONTOUR_POINTS = 32


@model.dataclass
class Grid:
    """Equally spaced points of one period.

    Args:
        points: number of points, even.
        length: the period.
        start: the first point.
    """

    points: int
    length: float
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.points < 2 or self.points % 2:
            raise ValueError(f"points must be even and positive; got {self.points}.")
        if not self.length > 0:
            raise ValueError(f"length must be positive; got {self.length}.")

    @property
    def nodes(self) -> Float[Array, " points"]:
        """The points, the first of each period."""
        return self.start + self.length * jnp.arange(self.points) / self.points

    @property
    def wavenumbers(self) -> Float[Array, " modes"]:
        """The angular wavenumbers of real functions' modes: points / 2 + 1 of them."""
        return 2 * jnp.pi / self.length * jnp.arange(self.points // 2 + 1)

    def derivative(
        self, values: Float[Array, "*batch points"], order: int = 1
    ) -> Float[Array, "*batch points"]:
        """Differentiate a real function by its interpolant.

        Args:
            values: the function at the nodes, (..., points).
            order: how often.
        """
        return jnp.fft.irfft(
            self.multipliers(order) * jnp.fft.rfft(values), n=self.points
        )

    def multipliers(self, order: int = 1) -> Complex[Array, " modes"]:
        """Return what differentiation multiplies each mode with.

        Args:
            order: how often.
        """
        powers = (1j * self.wavenumbers) ** order
        # The highest mode is a cosine, and its sine vanishes at all nodes.
        return powers.at[-1].set(0) if order % 2 else powers


def evaluate(
    grid: Grid, values: Inexact[Array, "*batch points"], x: Float[Array, " places"]
) -> Inexact[Array, "*batch places"]:
    """Evaluate the trigonometric interpolant of a function anywhere.

    Args:
        grid: where the function is known.
        values: the function at the nodes, real or complex, (..., points).
        x: places, (places,).
    """
    if jnp.iscomplexobj(values):
        real, imaginary = (evaluate(grid, v, x) for v in (values.real, values.imag))
        return real + 1j * imaginary
    coefficients = jnp.fft.rfft(values) / grid.points
    # Real modes stand for themselves and for their conjugates.
    twice = jnp.full(grid.points // 2 + 1, 2.0).at[jnp.array([0, -1])].set(1)
    waves = jnp.exp(1j * jnp.outer(grid.wavenumbers, x - grid.start))
    return jnp.real(coefficients @ (twice[:, None] * waves))


class Coefficients(NamedTuple):
    """What a step of ETDRK4 multiplies with, one entry a mode."""

    full: Array
    half: Array
    stage: Array
    first: Array
    middle: Array
    last: Array


def coefficients(symbol: Array, step: float | Array) -> Coefficients:
    """Compute ETDRK4's coefficients by means over circles (section 3 of the paper).

    The closed forms lose all digits where the symbol is small; the mean over a circle
    around ``step * symbol`` in the complex plane does not.

    Args:
        symbol: the linear term of each mode, (modes,), real or complex.
        step: the time step.
    """
    z = step * symbol
    angles = jnp.pi * (2 * jnp.arange(CONTOUR_POINTS) + 1) / CONTOUR_POINTS
    r = jnp.add.outer(z, jnp.exp(1j * angles))
    exp = jnp.exp(r)

    def mean(values: Array) -> Array:
        average = jnp.mean(values, axis=-1)
        return average if jnp.iscomplexobj(symbol) else jnp.real(average)

    return Coefficients(
        full=jnp.exp(z),
        half=jnp.exp(z / 2),
        stage=step * mean((jnp.exp(r / 2) - 1) / r),
        first=step * mean((-4 - r + exp * (4 - 3 * r + r**2)) / r**3),
        middle=step * mean((2 + r + exp * (r - 2)) / r**3),
        last=step * mean((-4 - 3 * r - r**2 + exp * (4 - r)) / r**3),
    )


class Evolution(NamedTuple):
    """A solution on a grid at equally spaced times.

    Attributes:
        times: (times,), the first is the start.
        values: (times, points), of a system (times, components, points).
        rates: the time derivatives, shaped as values.
    """

    times: Float[Array, " times"]
    values: Inexact[Array, "times *components points"]
    rates: Inexact[Array, "times *components points"]


def etdrk4(
    symbol: Array,
    nonlinearity: Callable[[Complex[Array, " modes"]], Complex[Array, " modes"]],
    start: Inexact[Array, "*components points"],
    *,
    duration: float,
    steps: int,
    save_every: int = 1,
) -> Evolution:
    """Integrate ``v_t = L v + N(v)`` for the modes of periodic functions.

    Exponential time differencing with fourth-order Runge-Kutta steps: the linear term
    exactly, so its stiffness costs nothing (equations 26 to 29 of the paper).

    Args:
        symbol: the linear term L of each mode of ``jnp.fft.rfft``, of ``jnp.fft.fft``
            for a complex start, (modes,) or (components, modes).
        nonlinearity: N, from modes to modes.
        start: the function at time 0, (points,) or (components, points).
        duration: the time to integrate.
        steps: the number of steps.
        save_every: every how many steps to keep the solution; divides steps.

    Raises:
        ValueError: if steps is not a positive multiple of save_every.
    """
    if steps < 1 or save_every < 1 or steps % save_every:
        raise ValueError(
            "steps must be a positive multiple of save_every; got "
            f"{steps} and {save_every}."
        )
    c = coefficients(symbol, duration / steps)

    def step(v: Array, _: None) -> tuple[Array, None]:
        at_v = nonlinearity(v)
        a = c.half * v + c.stage * at_v
        at_a = nonlinearity(a)
        b = c.half * v + c.stage * at_a
        at_b = nonlinearity(b)
        end = c.half * a + c.stage * (2 * at_b - at_v)
        change = c.first * at_v + 2 * c.middle * (at_a + at_b)
        return c.full * v + change + c.last * nonlinearity(end), None

    def block(v: Array, _: None) -> tuple[Array, Array]:
        after, _ = jax.lax.scan(step, v, None, length=save_every)
        return after, after

    v = jnp.fft.fft(start) if jnp.iscomplexobj(start) else jnp.fft.rfft(start)
    _, later = jax.lax.scan(block, v, None, length=steps // save_every)
    modes = jnp.concatenate([v[None], later])
    rates = jax.vmap(lambda v: symbol * v + nonlinearity(v))(modes)
    times = jnp.linspace(0, duration, steps // save_every + 1)
    if jnp.iscomplexobj(start):
        return Evolution(times, jnp.fft.ifft(modes), jnp.fft.ifft(rates))
    real = [jnp.fft.irfft(m, n=start.shape[-1]) for m in (modes, rates)]
    return Evolution(times, real[0], real[1])


def interpolate(
    grid: Grid, solution: Evolution, z: Float[Array, "places 2"]
) -> Inexact[Array, "places *components"]:
    """Evaluate a solution at any points (t, x).

    By the trigonometric interpolant in space and cubic Hermite ones in time.

    Args:
        grid: of the solution.
        solution: of :func:`etdrk4`.
        z: places (t, x), (places, 2).
    """
    step = solution.times[1] - solution.times[0]
    last = solution.times.shape[0] - 2
    i = jnp.clip(jnp.floor(z[:, 0] / step).astype(int), 0, last)
    s = z[:, 0] / step - i

    def at(table: Array, index: Array, x: Array) -> Array:
        return evaluate(grid, table[index], x[None])[..., 0]

    def value(i: Array, s: Array, x: Array) -> Array:
        u, v = (at(solution.values, j, x) for j in (i, i + 1))
        p, q = (step * at(solution.rates, j, x) for j in (i, i + 1))
        left = (1 + 2 * s) * u + s * p
        right = (3 - 2 * s) * v - (1 - s) * q
        return (1 - s) ** 2 * left + s**2 * right

    return jax.lax.map(
        lambda row: value(*row), (i, s, z[:, 1]), batch_size=min(256, len(z))
    )
