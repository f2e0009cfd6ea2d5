"""Networks and numbers of steps by which problems of the library were solved."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from kanjax import bases, kan, model, nn, systems
from kanjax.pinn import flows, library, patterns, samplers, waves, windows
from kanjax.pinn.polynomials import PolynomialProducts
from kanjax.pinn.problems import Problem


class Recipe(NamedTuple):
    """How to solve a problem.

    Attributes:
        problem: a function that makes it.
        net: the network, a model from its coordinates to its outputs.
        steps: of :func:`kanjax.pinn.solve`, before a third as many on more points.
        points: inside of the domain.
        coordinates: their names.
        outputs: theirs.
        options: others of :func:`kanjax.pinn.train`.
    """

    problem: Callable[[], Problem]
    net: model.Model
    steps: int
    points: int
    coordinates: tuple[str, ...]
    outputs: tuple[str, ...] = ("u",)
    options: Mapping[str, Any] = {}

    @property
    def about(self) -> str:
        """The equation, in a line."""
        return _first_line(self.problem)


class WindowRecipe(NamedTuple):
    """How to solve an equation in windows of time.

    Attributes:
        windows: a function that makes them.
        net: the network, one with parameters of its own for each window.
        count: of windows.
        steps: of :func:`kanjax.pinn.windows.solve_windows` in each.
        points: inside of each.
        coordinates: their names.
        outputs: theirs.
        options: others of :func:`kanjax.pinn.train`.
    """

    windows: Callable[[], windows.Windows]
    net: model.Model
    count: int
    steps: int
    points: int
    coordinates: tuple[str, ...]
    outputs: tuple[str, ...] = ("u",)
    options: Mapping[str, Any] = {}

    @property
    def about(self) -> str:
        """The equation, in a line."""
        return _first_line(self.windows)


AnyRecipe = Recipe | WindowRecipe


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").partition("\n")[0].replace("``", "")


def _tanh(*widths: int) -> nn.MLP:
    return nn.MLP(widths, jnp.tanh, kernel_scale=1.0)


def _waves(inputs: int, features: int, *widths: int) -> model.Sequential:
    """Put trained waves before a network."""
    embedding = nn.FourierFeatures(inputs, features, 3.0)
    return model.Sequential((embedding, _tanh(features, *widths)))


def _periodic(period: float, harmonics: int, *widths: int) -> model.Sequential:
    """Put a period of the second coordinate before a network."""
    embedding = nn.PeriodicEmbedding((None, period), harmonics)
    return model.Sequential((embedding, _tanh(embedding.features, *widths)))


def _vortices(*widths: int) -> model.Sequential:
    """Put two periods of 2 pi before a network of time, for a flow in the plane."""
    embedding = nn.PeriodicEmbedding((None, 2 * math.pi, 2 * math.pi))
    return model.Sequential((embedding, _tanh(embedding.features, *widths, 3)))


def _polynomials(domain: tuple[float, float], degree: int, count: int) -> kan.KANLayer:
    """Make polynomials of one coordinate, a layer that is linear in its parameters."""
    basis = bases.Chebyshev(degree, domain=domain, squash=None)
    return kan.KANLayer(1, count, basis=basis, residual=None)


def _modes(
    duration: float,
    degree: int,
    harmonics: int,
    *,
    outputs: int = 1,
    period: float = 2.0,
) -> nn.Separable:
    """Make waves of a period whose amplitudes are polynomials of time."""
    shapes = nn.PeriodicEmbedding((period,), harmonics)
    amplitudes = _polynomials((0.0, duration), degree, outputs * shapes.features)
    return nn.Separable(amplitudes, shapes, outputs)


def _corner() -> Problem:
    """``lap u = 0`` on the L-shape, with its corner's singular function."""
    return library.l_shape(feature=True)


def _cavity() -> Problem:
    """``w . grad w + grad p = lap w / 100, div w = 0``, a square under a moving lid."""
    return flows.lid_driven_cavity(stream=True)


def _broyden(resample_every: int, **options: Any) -> dict[str, Any]:
    return {"method": "broyden", "resample_every": resample_every, **options}


PLANE, LINE = ("x", "y"), ("t", "x")
LORENZ = ("x", "y", "z")

RECIPES: dict[str, Recipe] = {
    "poisson": Recipe(library.poisson, _tanh(2, 20, 20, 1), 300, 900, PLANE),
    "helmholtz": Recipe(
        library.helmholtz,
        _waves(2, 20, 20, 20, 1),
        3000,
        1500,
        PLANE,
        options=_broyden(200),
    ),
    "heat": Recipe(library.heat, _tanh(2, 20, 20, 1), 300, 900, LINE),
    "burgers": Recipe(
        library.burgers,
        _tanh(2, 20, 20, 20, 1),
        12000,
        2500,
        LINE,
        options=_broyden(500, adaptive=1.0),
    ),
    "inverse_burgers": Recipe(
        library.inverse_burgers,
        _tanh(2, 20, 20, 20, 1),
        3000,
        2000,
        LINE,
        options=_broyden(500, adaptive=1.0),
    ),
    "inverse_heat": Recipe(library.inverse_heat, _tanh(2, 12, 12, 1), 150, 400, LINE),
    "inverse_lorenz": Recipe(
        library.inverse_lorenz,
        _polynomials((0.0, 1.0), 44, 3),
        20,
        300,
        ("t",),
        LORENZ,
        # The data first: then the coefficients are those of a linear equation.
        {"resample_every": 10, "damping": 1e-6, "weights": {"data": 1e4}},
    ),
    "wave": Recipe(
        waves.wave, _waves(2, 20, 20, 20, 1), 3000, 1500, LINE, options=_broyden(200)
    ),
    "kovasznay": Recipe(
        flows.kovasznay,
        PolynomialProducts((-0.5, -0.5), (1.0, 1.5), (12, 20), 3),
        12,
        1000,
        PLANE,
        ("u", "v", "p"),
        {"resample_every": 4, "damping": 1e-6},
    ),
    "taylor_green": Recipe(
        flows.taylor_green,
        _vortices(20, 20),
        150,
        500,
        ("t", "x", "y"),
        ("u", "v", "p"),
    ),
    "cavity": Recipe(
        _cavity,
        PolynomialProducts((0.0, 0.0), (1.0, 1.0), (22, 22), 2),
        9,
        2000,
        PLANE,
        ("u", "v", "p"),
        {
            "resample_every": 3,
            "sampler": samplers.edge_dense,
            "damping": 1e-9,
            "weights": {"walls": 100.0, "pressure": 100.0},
        },
    ),
    "darcy": Recipe(flows.darcy, _tanh(2, 20, 20, 1), 300, 900, PLANE, ("pressure",)),
    "schroedinger": Recipe(
        waves.schroedinger,
        _tanh(2, 20, 20, 20, 2),
        6000,
        2000,
        LINE,
        ("real", "imaginary"),
        _broyden(500),
    ),
    "pendulum": Recipe(
        library.pendulum,
        _tanh(1, 20, 20, 2),
        300,
        200,
        ("t",),
        ("angle", "velocity"),
    ),
    "l_shape": Recipe(library.l_shape, _tanh(2, 20, 20, 1), 300, 900, PLANE),
    "l_shape_feature": Recipe(_corner, _tanh(2, 12, 12, 2), 150, 400, PLANE),
    "lorenz": Recipe(library.lorenz, _tanh(1, 20, 20, 3), 200, 100, ("t",), LORENZ),
}
"""Recipes by the name of the problem."""


def _lorenz() -> windows.Windows:
    """Lorenz' system with s = 10, r = 28, b = 8/3 from (1, 1, 1), until t = 20."""
    return windows.ordinary_windows(systems.lorenz, (1.0, 1.0, 1.0), 0.2)


def _slow_advection() -> windows.Windows:
    """``u_t + 30 u_x = 0`` on one period, from ``sin(x)``, until t = 1."""
    grid = systems.Grid(16, 2 * math.pi)
    return windows.periodic_windows(library.advection(30.0), grid, 1 / 20)


def _fast_advection() -> windows.Windows:
    """``u_t + 50 u_x = 0`` on one period, from ``sin(x)``, until t = 1."""
    grid = systems.Grid(16, 2 * math.pi)
    return windows.periodic_windows(library.advection(50.0), grid, 1 / 32)


def _allen_cahn() -> windows.Windows:
    """``u_t = 1e-4 u_xx + 5 (u - u^3)`` from ``x^2 cos(pi x)``, periodic, until t = 1.

    The grid has as many values as the waves below, so that no wave of the start is left
    which the network could not change.
    """
    grid = systems.Grid(320, 2.0, -1.0)
    return windows.periodic_windows(library.allen_cahn(), grid, 1 / 20)


def _kuramoto_sivashinsky() -> windows.Windows:
    """``u_t + 5 u u_x + u_xx / 2 + 0.005 u_xxxx = 0``, periodic, until t = 1."""
    grid = systems.Grid(64, 2.0, -1.0)
    return windows.periodic_windows(waves.kuramoto_sivashinsky(), grid, 1 / 40)


def _korteweg_de_vries() -> windows.Windows:
    """``u_t + u u_x + 0.022^2 u_xxx = 0`` from ``cos(pi x)``, periodic, until t = 1."""
    grid = systems.Grid(192, 2.0, -1.0)
    return windows.periodic_windows(waves.korteweg_de_vries(), grid, 1 / 100)


def _ginzburg_landau() -> windows.Windows:
    """``A_t = 0.004 A_xx + 10 (A - (1 + 1.5 i) |A|^2 A)``, periodic, until t = 1."""
    grid = systems.Grid(120, 2.0, -1.0)
    return windows.periodic_windows(patterns.ginzburg_landau(), grid, 1 / 25)


def _gray_scott() -> windows.Windows:
    """``u_t = 0.2 u_xx + 40 (1-u) - r, v_t = 0.1 v_xx - 100 v + r, r = 1000 u v^2``."""
    grid = systems.Grid(64, 2.0, -1.0)
    return windows.periodic_windows(patterns.gray_scott(), grid, 0.002)


ROUND = _periodic(2 * math.pi, 1, 16, 16, 1)

WINDOW_RECIPES: dict[str, WindowRecipe] = {
    "lorenz_20": WindowRecipe(
        _lorenz,
        _polynomials((0.0, 0.2), 24, 3),
        100,
        30,
        48,
        ("t",),
        LORENZ,
        {"resample_every": 30},
    ),
    "advection_30": WindowRecipe(_slow_advection, ROUND, 20, 100, 300, LINE),
    "advection_50": WindowRecipe(_fast_advection, ROUND, 32, 100, 300, LINE),
    "allen_cahn": WindowRecipe(
        _allen_cahn,
        _modes(1 / 20, 4, 160),
        20,
        4,
        3300,
        LINE,
        options={"resample_every": 4, "damping": 1e-9},
    ),
    "kuramoto_sivashinsky": WindowRecipe(
        _kuramoto_sivashinsky,
        _modes(1 / 40, 6, 24),
        40,
        6,
        900,
        LINE,
        options={"resample_every": 3, "damping": 1e-9},
    ),
    "ginzburg_landau": WindowRecipe(
        _ginzburg_landau,
        _modes(1 / 25, 5, 60, outputs=2),
        25,
        4,
        1500,
        LINE,
        ("real", "imaginary"),
        {"resample_every": 4, "damping": 1e-9},
    ),
    "gray_scott": WindowRecipe(
        _gray_scott,
        _modes(0.002, 6, 32, outputs=2),
        100,
        4,
        950,
        LINE,
        ("u", "v"),
        {"resample_every": 4, "damping": 1e-9},
    ),
    "korteweg_de_vries": WindowRecipe(
        _korteweg_de_vries,
        _modes(1 / 100, 6, 72),
        100,
        6,
        2200,
        LINE,
        options={"resample_every": 3, "damping": 1e-9},
    ),
}
"""Recipes in windows of time, by name."""
