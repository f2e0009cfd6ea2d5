"""Systems of equations, and complex ones, on a periodic line.

Each is ``u_t = L u + N(u)`` as in :mod:`kanjax.systems.pdes`, for several components
that only the nonlinear term couples.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Inexact

from kanjax import model
from kanjax.systems import spectral


@model.dataclass
class Coupled:
    """``u_t = sum_j linear[j] d^j u / dx^j + nonlinear(u)`` of several components.

    Args:
        linear: for each component the coefficients of its derivatives, from the
            function itself upward; complex ones for a complex field.
        nonlinear: a function of the components (components, points), that acts point by
            point.
        start: the first point of the period.
        length: the period.
        initial: the initial values (components, points) as a function of x (points,);
            complex ones make the field complex.

    Examples:
        >>> import jax.numpy as jnp
        >>> free = Coupled(
        ...     ((0, 0, 0.5j),), jnp.zeros_like, 0.0, 2 * jnp.pi,
        ...     lambda x: jnp.exp(2j * x)[None],
        ... )
        >>> solution = free.solve(points=16, steps=4, duration=1.0)
        >>> bool(abs(solution.values[-1, 0, 0] - jnp.exp(-2j)) < 1e-5)
        True
    """

    linear: tuple[tuple[complex, ...], ...]
    nonlinear: Callable[[Array], Array]
    start: float
    length: float
    initial: Callable[[Array], Array]

    def grid(self, points: int) -> spectral.Grid:
        """Return that many points of the period."""
        return spectral.Grid(points, self.length, self.start)

    def solve(
        self, *, points: int, steps: int, duration: float, save_every: int = 1
    ) -> spectral.Evolution:
        """Integrate the equations from their initial values by ETDRK4.

        Args:
            points: grid points, even.
            steps: time steps.
            duration: the time to integrate.
            save_every: every how many steps to keep the solution.

        Raises:
            ValueError: for an odd grid, steps that save_every does not divide, or
                initial values of another number of components.
        """
        grid = self.grid(points)
        start = self.initial(grid.nodes)
        if start.shape != (len(self.linear), points):
            raise ValueError(
                f"initial must give {len(self.linear)} components at {points} points; "
                f"got shape {start.shape}."
            )
        if jnp.iscomplexobj(start):
            to_modes, back = jnp.fft.fft, jnp.fft.ifft
        else:
            to_modes = jnp.fft.rfft
            back = functools.partial(jnp.fft.irfft, n=points)
        return spectral.etdrk4(
            self._symbol(grid, jnp.iscomplexobj(start)),
            lambda modes: to_modes(self.nonlinear(back(modes))),
            start,
            duration=duration,
            steps=steps,
            save_every=save_every,
        )

    def interpolate(
        self, solution: spectral.Evolution, z: Float[Array, "places 2"]
    ) -> Inexact[Array, "places components"]:
        """Evaluate a solution at any points (t, x).

        Args:
            solution: of :meth:`solve`.
            z: places (t, x), (places, 2).
        """
        grid = self.grid(solution.values.shape[-1])
        return spectral.interpolate(grid, solution, z)

    def _symbol(self, grid: spectral.Grid, two_sided: bool) -> Array:
        """Return the linear term of each mode: (components, modes)."""
        modes = [grid.multipliers(j) for j in range(max(map(len, self.linear)))]
        if two_sided:
            # The modes of negative wavenumbers are the others' conjugates, backward.
            modes = [jnp.concatenate([m, jnp.conj(m[-2:0:-1])]) for m in modes]
        rows = [
            sum(c * m for c, m in zip(row, modes, strict=False)) for row in self.linear
        ]
        symbol = jnp.stack([jnp.asarray(row) for row in rows])
        odd = any(any(row[1::2]) for row in self.linear)
        coefficients = np.concatenate([np.asarray(row) for row in self.linear])
        return symbol if odd or np.iscomplexobj(coefficients) else jnp.real(symbol)


def gray_scott(
    diffusion: tuple[float, float] = (0.2, 0.1),
    feed: float = 40.0,
    decay: float = 100.0,
    rate: float = 1000.0,
) -> Coupled:
    """``u_t = a u_xx + F (1 - u) - r u v^2, v_t = b v_xx - d v + r u v^2``.

    On [-1, 1), where v is a bump beside a dent of u. Gray, Scott (1984), Chem. Eng.
    Sci. 39, 1087.

    Args:
        diffusion: a and b.
        feed: F.
        decay: d.
        rate: r.
    """
    a, b = diffusion

    def nonlinear(w: Array) -> Array:
        u, v = w
        reaction = rate * u * v**2
        return jnp.stack([feed - reaction, reaction])

    linear = ((-feed, 0.0, a), (-decay, 0.0, b))
    return Coupled(linear, nonlinear, -1.0, 2.0, _dent_and_bump)


def ginzburg_landau(
    dispersion: float = 0.0, rotation: float = 1.5, diffusion: float = 0.004
) -> Coupled:
    """``A_t = d (1 + i a) A_xx + k (A - (1 + i b) |A|^2 A)`` with k = 10, on [-1, 1).

    It starts at ``(2 cos(pi x) + i sin(2 pi x)) / 3``. Aranson, Kramer (2002), Rev.
    Mod. Phys. 74, 99.

    Args:
        dispersion: a.
        rotation: b.
        diffusion: d.
    """

    def nonlinear(w: Array) -> Array:
        return -10 * (1 + 1j * rotation) * jnp.abs(w) ** 2 * w

    linear = ((10.0, 0.0, diffusion * (1 + 1j * dispersion)),)
    return Coupled(linear, nonlinear, -1.0, 2.0, _two_waves)


def schroedinger(length: float, initial: Callable[[Array], Array]) -> Coupled:
    """``i h_t + h_xx / 2 + |h|^2 h = 0`` on a period around 0.

    Args:
        length: the period.
        initial: complex values (1, points) as a function of x.
    """
    return Coupled(((0.0, 0.0, 0.5j),), _self_focus, -length / 2, length, initial)


def _self_focus(h: Array) -> Array:
    return 1j * jnp.abs(h) ** 2 * h


def _dent_and_bump(x: Array) -> Array:
    def bump(center: float) -> Array:
        # As narrow as exp(-10 (x - center)^2), and periodic.
        return jnp.exp(-20 / jnp.pi**2 * (1 - jnp.cos(jnp.pi * (x - center))))

    return jnp.stack([1 - bump(-0.05), bump(0.05)])


def _two_waves(x: Array) -> Array:
    return ((2 * jnp.cos(jnp.pi * x) + 1j * jnp.sin(2 * jnp.pi * x)) / 3)[None]
