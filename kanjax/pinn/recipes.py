"""Networks and numbers of steps by which problems of the library were solved."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from kanjax import model, nn
from kanjax.pinn import library
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


PLANE, LINE = ("x", "y"), ("t", "x")

RECIPES: dict[str, Recipe] = {
    "poisson": Recipe(library.poisson, _tanh(2, 20, 20, 1), 300, 900, PLANE),
    "helmholtz": Recipe(library.helmholtz, _tanh(2, 24, 24, 1), 400, 1500, PLANE),
    "heat": Recipe(library.heat, _tanh(2, 20, 20, 1), 300, 900, LINE),
    "burgers": Recipe(
        library.burgers,
        _tanh(2, 20, 20, 20, 1),
        500,
        1500,
        LINE,
        options={"resample_every": 50},
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
