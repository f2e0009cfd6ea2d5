"""The models and bases that a study can be told to use, by name."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kanjax import bases, kan, nn, ntk, training
from kanjax.data import Prepared
from kanjax.model import Model
from kanjax.study import schedules
from kanjax.study.config import Config
from kanjax.training.losses import Loss


def _hopfield(widths: tuple[int, ...], basis: Any) -> Model:
    # Imported when asked for: most studies need none of that room.
    from kanjax import hopfield

    return hopfield.lookup_network(widths)


MODELS: dict[str, Callable[[tuple[int, ...], Any], Model]] = {
    "kan": lambda widths, basis: kan.KAN(widths, basis),
    "skan": lambda widths, basis: kan.SelectableKAN(widths),
    "afkan": lambda widths, basis: kan.AFKAN(widths, norm=None, layer_norm=False),
    "mlp": lambda widths, basis: nn.MLP(widths),
    "boosted": lambda widths, basis: nn.MLP(widths, jax.nn.sigmoid),
    "hopfield": _hopfield,
    # Units of a layer are its width relative to the outputs'.
    "dkm": lambda widths, basis: ntk.DeepKernelMachine(
        jnp.zeros((1, widths[0])), widths[-1], widths[1:-1]
    ),
}
"""Models by name, from their widths and a basis; a new model adds a line here."""


def build(config: Config, data: Prepared) -> Model:
    """Return the model of a study of these data."""
    rows, inputs = data.split.train.x.shape
    outputs = len(data.target_names)
    widths = (inputs, *schedules.hidden_units(config, rows, outputs), outputs)
    basis = bases.family(config.basis, config.resolution)
    model = MODELS[config.model](widths, basis)
    if isinstance(model, ntk.DeepKernelMachine):
        # A machine of kernels holds the rows that it predicts from.
        likelihood = "gaussian" if data.task == "regression" else "categorical"
        x = data.split.train.x
        model = dataclasses.replace(model, inputs=x, likelihood=likelihood)
    return model


def domain(config: Config) -> tuple[float, float]:
    """Where the features are scaled to: the domain of the model's basis."""
    if config.model != "kan":
        return (-1.0, 1.0)
    return bases.family(config.basis, config.resolution).domain


def loss_of(task: str, model: Model) -> Loss:
    """Return the loss that members are trained with."""
    if isinstance(model, ntk.DeepKernelMachine):
        return model.loss
    return loss_maker(task)(model.apply)


def loss_maker(task: str) -> Callable[[Any], Loss]:
    """Return what makes the task's loss of ``apply(params, x)``."""
    return training.regression if task == "regression" else training.classification
