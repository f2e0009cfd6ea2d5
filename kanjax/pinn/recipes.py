"""Networks and numbers of steps by which problems of the library were solved."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from kanjax import bases, kan, model, nn, systems
from kanjax.pinn import flows, library, waves, windows
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


def _corner() -> Problem:
    """``lap u = 0`` on the L-shape, with its corner's singular function."""
    return library.l_shape(feature=True)


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
    "wave": Recipe(
        waves.wave, _waves(2, 20, 20, 20, 1), 3000, 1500, LINE, options=_broyden(200)
    ),
    "kovasznay": Recipe(
        flows.kovasznay,
        _tanh(2, 20, 20, 3),
        6000,
        800,
        PLANE,
        ("u", "v", "p"),
        options=_broyden(500),
    ),
    "allen_cahn": Recipe(
        library.allen_cahn,
        _periodic(2.0, 3, 20, 20, 20, 1),
        9000,
        2000,
        LINE,
        options=_broyden(500, adaptive=1.0),
    ),
    "taylor_green": Recipe(
        flows.taylor_green,
        _vortices(20, 20),
        150,
        500,
        ("t", "x", "y"),
        ("u", "v", "p"),
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


def _polynomials(duration: float, degree: int, count: int) -> kan.KANLayer:
    """Make polynomials of time: a layer whose best coefficients are soon found."""
    basis = bases.Chebyshev(degree, domain=(0.0, duration), squash=None)
    return kan.KANLayer(1, count, basis=basis, residual=None)


def _modes(duration: float, degree: int, harmonics: int) -> nn.Separable:
    """Make waves of period 2 whose amplitudes are polynomials of time."""
    shapes = nn.PeriodicEmbedding((2.0,), harmonics)
    return nn.Separable(_polynomials(duration, degree, shapes.features), shapes)


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


def _kuramoto_sivashinsky() -> windows.Windows:
    """``u_t + 5 u u_x + u_xx / 2 + 0.005 u_xxxx = 0``, periodic, until t = 1."""
    grid = systems.Grid(64, 2.0, -1.0)
    return windows.periodic_windows(waves.kuramoto_sivashinsky(), grid, 1 / 40)


def _korteweg_de_vries() -> windows.Windows:
    """``u_t + u u_x + 0.022^2 u_xxx = 0`` from ``cos(pi x)``, periodic, until t = 1."""
    grid = systems.Grid(192, 2.0, -1.0)
    return windows.periodic_windows(waves.korteweg_de_vries(), grid, 1 / 100)


ROUND = _periodic(2 * math.pi, 1, 16, 16, 1)

WINDOW_RECIPES: dict[str, WindowRecipe] = {
    "lorenz_20": WindowRecipe(
        _lorenz,
        _polynomials(0.2, 24, 3),
        100,
        30,
        48,
        ("t",),
        LORENZ,
        {"resample_every": 30},
    ),
    "advection_30": WindowRecipe(_slow_advection, ROUND, 20, 100, 300, LINE),
    "advection_50": WindowRecipe(_fast_advection, ROUND, 32, 100, 300, LINE),
    "kuramoto_sivashinsky": WindowRecipe(
        _kuramoto_sivashinsky,
        _modes(1 / 40, 6, 24),
        40,
        6,
        900,
        LINE,
        options={"resample_every": 3, "damping": 1e-9},
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
