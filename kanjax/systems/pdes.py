"""Semilinear equations on a periodic line, and their reference solutions.

Every equation is ``u_t = L u + N(u)`` with a linear term that multiplies each Fourier
mode and a nonlinear one that acts point by point, in flux form or not. The references
are Fourier solutions by ETDRK4, and closed forms where there are any.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.systems import spectral


@model.dataclass
class Semilinear:
    """``u_t = sum_j linear[j] d^j u / dx^j + d^flux / dx^flux sum_j nonlinear[j] u^j``.

    Args:
        linear: the coefficient of each derivative, from the function itself upward.
        nonlinear: the coefficient of each power of u, from the constant upward.
        flux: how often the nonlinear term is differentiated by x: 0, 1 or 2.
        start: the first point of the period.
        length: the period.
        initial: the initial values as a function of x.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> heat = Semilinear((0, 0, 0.1), (), 0, 0.0, 2 * jnp.pi, jnp.sin)
        >>> solution = heat.solve(points=16, steps=4, duration=1.0)
        >>> bool(abs(jnp.max(solution.values[-1]) - jnp.exp(-0.1)) < 1e-6)
        True
    """

    linear: tuple[float, ...]
    nonlinear: tuple[float, ...]
    flux: int
    start: float
    length: float
    initial: Callable[[Array], Array]

    def symbol(self, grid: spectral.Grid) -> Array:
        """Return the linear term of each mode, real if only even derivatives enter."""
        total = sum(
            (c * grid.multipliers(j) for j, c in enumerate(self.linear)),
            start=jnp.zeros_like(grid.wavenumbers),
        )
        return total if any(self.linear[1::2]) else jnp.real(total)

    def solve(
        self, *, points: int, steps: int, duration: float, save_every: int = 1
    ) -> spectral.Evolution:
        """Integrate the equation from its initial values by ETDRK4.

        Args:
            points: grid points, even.
            steps: time steps.
            duration: the time to integrate.
            save_every: every how many steps to keep the solution.

        Raises:
            ValueError: for an odd grid, or steps that save_every does not divide.
        """
        grid = self.grid(points)
        outer = grid.multipliers(self.flux) if self.flux else 1

        def nonlinearity(modes: Array) -> Array:
            u = jnp.fft.irfft(modes, n=points)
            powers = jnp.zeros_like(u)
            for coefficient in reversed(self.nonlinear):
                powers = powers * u + coefficient
            return outer * jnp.fft.rfft(powers)

        return spectral.etdrk4(
            self.symbol(grid),
            nonlinearity,
            self.initial(grid.nodes),
            duration=duration,
            steps=steps,
            save_every=save_every,
        )

    def grid(self, points: int) -> spectral.Grid:
        """Return that many points of the period."""
        return spectral.Grid(points, self.length, self.start)

    def interpolate(
        self, solution: spectral.Evolution, z: Float[Array, "places 2"]
    ) -> Float[Array, " places"]:
        """Evaluate a solution at any points (t, x).

        As :func:`kanjax.systems.spectral.interpolate` does.

        Args:
            solution: of :meth:`solve`.
            z: places (t, x), (places, 2).
        """
        grid = self.grid(solution.values.shape[-1])
        return spectral.interpolate(grid, solution, z)


def allen_cahn(diffusion: float = 1e-4, reaction: float = 5.0) -> Semilinear:
    """``u_t = d u_xx + r (u - u^3)`` on [-1, 1) from ``x^2 cos(pi x)``.

    The initial values have a jump of slope at the ends of the period, which the Fourier
    solution resolves slowly there.

    Args:
        diffusion: d.
        reaction: r.
    """
    return Semilinear(
        (reaction, 0.0, diffusion),
        (0.0, 0.0, 0.0, -reaction),
        0,
        -1.0,
        2.0,
        _quadratic_cosine,
    )


def burgers(viscosity: float = 0.01 / math.pi) -> Semilinear:
    """``u_t + u u_x = nu u_xx`` on [-1, 1) from ``-sin(pi x)``.

    The solution is odd, so that it vanishes at both ends as well.

    Args:
        viscosity: nu.
    """
    return Semilinear(
        (0.0, 0.0, viscosity), (0.0, 0.0, -0.5), 1, -1.0, 2.0, _minus_sine
    )


def korteweg_de_vries(
    nonlinearity: float = 1.0, dispersion: float = 0.022**2
) -> Semilinear:
    """``u_t + a u u_x + b u_xxx = 0`` on [-1, 1) from ``cos(pi x)``.

    The default is Zabusky and Kruskal's (1965) experiment.

    Args:
        nonlinearity: a.
        dispersion: b.
    """
    return Semilinear(
        (0.0, 0.0, 0.0, -dispersion),
        (0.0, 0.0, -nonlinearity / 2),
        1,
        -1.0,
        2.0,
        _cosine,
    )


def kuramoto_sivashinsky(
    nonlinearity: float = 5.0, diffusion: float = 0.5, hyperdiffusion: float = 0.005
) -> Semilinear:
    """``u_t + a u u_x + b u_xx + c u_xxxx = 0`` on [-1, 1) from ``-sin(pi x)``.

    Args:
        nonlinearity: a.
        diffusion: b, which feeds long waves.
        hyperdiffusion: c, which damps short ones.
    """
    return Semilinear(
        (0.0, 0.0, -diffusion, 0.0, -hyperdiffusion),
        (0.0, 0.0, -nonlinearity / 2),
        1,
        -1.0,
        2.0,
        _minus_sine,
    )


def chaotic_kuramoto_sivashinsky() -> Semilinear:
    """Kuramoto-Sivashinsky's equation on [0, 2 pi) from ``cos(x) (1 + sin(x))``.

    With coefficients 100/16, 100/16^2 and 100/16^4, where it turns chaotic near t =
    0.4: Wang, Sankaran, Perdikaris (2022), arXiv 2203.07404, section 4.3.
    """
    return Semilinear(
        (0.0, 0.0, -100 / 16**2, 0.0, -100 / 16**4),
        (0.0, 0.0, -100 / 32),
        1,
        0.0,
        2 * math.pi,
        _two_slopes,
    )


def cahn_hilliard(mobility: float = 0.01, width: float = 0.01) -> Semilinear:
    """``u_t = m (u^3 - u - w^2 u_xx)_xx`` on [-1, 1) from ``-cos(2 pi x)``.

    Wight, Zhao (2020), "Solving Allen-Cahn and Cahn-Hilliard equations using the
    adaptive physics informed neural networks", arXiv 2007.04542.

    Args:
        mobility: m.
        width: w, of the fronts between the phases.
    """
    return Semilinear(
        (0.0, 0.0, -mobility, 0.0, -mobility * width**2),
        (0.0, 0.0, 0.0, mobility),
        2,
        -1.0,
        2.0,
        _minus_two_waves,
    )


def cole_hopf(
    z: Float[Array, "places 2"], viscosity: float = 0.01 / math.pi, nodes: int = 100
) -> Float[Array, " places"]:
    """Evaluate the closed form of Burgers' equation from ``-sin(pi x)``.

    Cole (1951), Hopf (1950): a ratio of Gaussian integrals, here by Gauss-Hermite
    quadrature (Basdevant et al. 1986, equation 2.5).

    Args:
        z: places (t, x), (places, 2), with t of at least 0.
        viscosity: nu.
        nodes: of the quadrature.
    """
    eta, weights = np.polynomial.hermite.hermgauss(nodes)
    t, x = z[:, :1], z[:, 1:]
    y = x - jnp.sqrt(4 * viscosity * t) * eta[None]
    # The outer weights vanish in single precision, their logarithms do not.
    exponent = np.log(weights)[None] - jnp.cos(jnp.pi * y) / (2 * jnp.pi * viscosity)
    # The largest exponent is taken out of the ratio, or the exponentials overflow.
    largest = jax.lax.stop_gradient(jnp.max(exponent, axis=1, keepdims=True))
    heights = jnp.exp(exponent - largest)
    slopes = jnp.sum(heights * jnp.sin(jnp.pi * y), axis=1)
    return -slopes / jnp.sum(heights, axis=1)


def soliton(
    z: Float[Array, "places 2"], speed: float, *, nonlinearity: float, dispersion: float
) -> Float[Array, " places"]:
    """Evaluate the solitary wave of ``u_t + a u u_x + b u_xxx = 0`` on the line.

    ``3 c / a sech^2(sqrt(c / b) (x - c t) / 2)``: it moves at speed c unchanged.

    Args:
        z: places (t, x), (places, 2).
        speed: c, positive.
        nonlinearity: a.
        dispersion: b, positive.
    """
    phase = jnp.sqrt(speed / dispersion) * (z[:, 1] - speed * z[:, 0]) / 2
    # sech^2 by sigmoids: cosh overflows far from the wave, and slopes would be NaN.
    height = 4 * jax.nn.sigmoid(2 * phase) * jax.nn.sigmoid(-2 * phase)
    return 3 * speed / nonlinearity * height


def _minus_sine(x: Array) -> Array:
    return -jnp.sin(jnp.pi * x)


def _cosine(x: Array) -> Array:
    return jnp.cos(jnp.pi * x)


def _two_slopes(x: Array) -> Array:
    return jnp.cos(x) * (1 + jnp.sin(x))


def _minus_two_waves(x: Array) -> Array:
    return -jnp.cos(2 * jnp.pi * x)


def _quadratic_cosine(x: Array) -> Array:
    return x**2 * jnp.cos(jnp.pi * x)
