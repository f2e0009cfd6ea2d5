"""The models and bases that a study can be told to use, by name."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from kanjax import bases, hopfield, kan, nn, ntk
from kanjax import data as data_
from kanjax.model import Model
from kanjax.study.config import Config

MODELS: dict[str, Callable[[tuple[int, ...], Any], Model]] = {
    "kan": lambda widths, basis: kan.KAN(widths, basis),
    "skan": lambda widths, basis: kan.SelectableKAN(widths),
    "afkan": lambda widths, basis: kan.AFKAN(widths, norm=None, layer_norm=False),
    "mlp": lambda widths, basis: nn.MLP(widths),
    "hopfield": lambda widths, basis: hopfield.lookup_network(widths),
    # Units of a layer are its width relative to the outputs'.
    "dkm": lambda widths, basis: ntk.DeepKernelMachine(
        jnp.zeros((1, widths[0])), widths[-1], widths[1:-1]
    ),
}
"""Models by name, from their widths and a basis; a new model adds a line here."""


def build(config: Config, inputs: int, outputs: int) -> Model:
    """Return the model of a study of data with so many features and outputs."""
    hidden = (max(8, outputs),) if config.hidden is None else config.hidden
    widths = (inputs, *hidden, outputs)
    return MODELS[config.model](widths, bases.family(config.basis, config.resolution))


def on_data(model: Model, prepared: data_.Prepared) -> Model:
    """Return the model with what it takes from the data: a kernel machine does."""
    if not isinstance(model, ntk.DeepKernelMachine):
        return model
    likelihood = "gaussian" if prepared.task == "regression" else "categorical"
    return dataclasses.replace(
        model, inputs=prepared.split.train.x, likelihood=likelihood
    )


def domain(config: Config) -> tuple[float, float]:
    """Where the features are scaled to: the domain of the model's basis."""
    if config.model != "kan":
        return (-1.0, 1.0)
    return bases.family(config.basis, config.resolution).domain
