"""Networks and numbers of steps by which problems of the library were solved."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from kanjax import model, nn
from kanjax.pinn import flows, library, waves
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
        return (self.problem.__doc__ or "").partition("\n")[0].replace("``", "")


def _tanh(*widths: int) -> nn.MLP:
    return nn.MLP(widths, jnp.tanh, kernel_scale=1.0)


def _waves(inputs: int, features: int, *widths: int) -> model.Sequential:
    """Put trained waves before a network."""
    embedding = nn.FourierFeatures(inputs, features, 3.0)
    return model.Sequential((embedding, _tanh(features, *widths)))


def _broyden(resample_every: int, **options: Any) -> dict[str, Any]:
    return {"method": "broyden", "resample_every": resample_every, **options}


PLANE, LINE = ("x", "y"), ("t", "x")

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
    "pendulum": Recipe(
        library.pendulum,
        _tanh(1, 20, 20, 2),
        300,
        200,
        ("t",),
        ("angle", "velocity"),
    ),
    "lorenz": Recipe(
        library.lorenz, _tanh(1, 20, 20, 3), 200, 100, ("t",), ("x", "y", "z")
    ),
}
"""Recipes by the name of the problem."""
