"""Intervals that hold new targets, and the networks of folds that they may rest on."""

import dataclasses
import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from kanjax import compiling, training
from kanjax import data as data_
from kanjax.model import Model
from kanjax.study import checks, ensembles, evaluation, schedules
from kanjax.study.config import Config

FOLDS = 10
"""Of CV+: one is left out, one says when to stop, so that a network is trained on eight
tenths of the training and validation rows, about as many as a member of the ensemble.
"""


FEW_ROWS = 1000
"""Training and validation rows up to which CV+ is worth its ten networks."""


def use_folds(config: Config, prepared: data_.Prepared) -> bool:
    """Whether a study's intervals are those of CV+."""
    if config.intervals != "auto":
        return config.intervals == "cv+"
    rows = len(prepared.split.train.x) + len(prepared.split.validation.x)
    is_plain = config.model not in checks.OTHER_MODELS
    is_plain &= not config.group and not config.time
    return prepared.task == "regression" and is_plain and 2 * FOLDS <= rows < FEW_ROWS


class FoldNetworks(NamedTuple):
    """What CV+ needs of its folds.

    Attributes:
        params: of the network that was trained without each fold, with a leading axis.
        residuals: (rows, outputs) how far it is off on that fold, standardised values.
        fold: (rows,) of the training rows and, after them, the validation rows.
    """

    params: Any
    residuals: ArrayLike
    fold: Array


def train_folds(
    config: Config, model: Model, prepared: data_.Prepared, key: Array
) -> FoldNetworks:
    """Train a network without each fold of the rows, all in one program.

    A network's fold is its state, and rows have weight 0 or 1 by it; those of the next
    fold say when to stop, so that the fold itself has no say in anything.
    """
    train, held_out = prepared.split.train, prepared.split.validation
    x = np.concatenate([train.x, held_out.x])
    y = np.concatenate([train.y, held_out.y])
    fold, key_init, key_fit = _deal(key, rows=len(x))

    def error(params: Any, batch: Any, use: Array) -> Array:
        x, y, _ = batch
        squares = jnp.mean((model.apply(params, x) - y) ** 2, axis=-1)
        return jnp.sum(use * squares) / jnp.maximum(jnp.sum(use), 1)

    def loss(params: Any, batch: Any, key: Any, left_out: Array) -> Any:
        of_row = batch[2]
        use = (of_row != left_out) & (of_row != (left_out + 1) % FOLDS)
        return error(params, batch, use), {}, left_out

    def stopping_loss(params: Any, batch: Any, key: Any, left_out: Array) -> Any:
        use = batch[2] == (left_out + 1) % FOLDS
        return error(params, batch, use), {}, left_out

    alike = dataclasses.replace(config, members=FOLDS)
    initial = ensembles.initial_params(alike, model, prepared, key_init)
    plan = schedules.schedule(config, len(x))
    with warnings.catch_warnings():
        # A network that diverges keeps its last good parameters, and wide intervals.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        fit = training.fit_ensemble(
            loss,
            initial,
            (x, y, fold),
            **ensembles.optimizer(config),
            key=key_fit,
            state=np.arange(FOLDS),
            steps=plan.steps,
            batch_size=plan.batch_size,
            validation=(x, y, fold),
            validation_loss=stopping_loss,
            patience=config.patience,
            evaluate_every=plan.evaluate_every,
            compiler_options=schedules.compiler_options(len(x)),
        )
    outputs = evaluation.predict(model, fit.params, x)
    off = np.abs(np.asarray(y) - outputs[np.asarray(fold), np.arange(len(x))])
    return FoldNetworks(fit.params, off, fold)


@functools.partial(compiling.jit_soon, static_argnames="rows")
def _deal(key: Array, *, rows: int) -> tuple[Array, Array, Array]:
    """Return each row's fold, at random and as many of each, and two more keys."""
    key_fold, key_init, key_fit = jax.random.split(key, 3)
    fold = jax.random.permutation(key_fold, jnp.arange(rows) % FOLDS)
    return fold, key_init, key_fit


def find_ends(
    model: Model,
    output: np.ndarray,
    calibration: evaluation.Calibration,
    networks: FoldNetworks | None,
    x: ArrayLike,
) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper ends of the targets of rows, (n, outputs) each.

    Args:
        model: of all networks.
        output: (n, outputs), the ensemble's mean.
        calibration: with the radius of split conformal intervals around it.
        networks: those of CV+, or None.
        x: (n, features), the rows.
    """
    if networks is None:
        radius = np.asarray(calibration.radius, output.dtype)
        return output - radius, output + radius
    outputs = evaluation.predict(model, networks.params, x)
    ends = _cv_plus(outputs, networks.residuals, networks.fold)
    return np.asarray(ends[0]), np.asarray(ends[1])


_cv_plus = compiling.jit_balanced(
    functools.partial(training.cv_plus_interval, coverage=evaluation.COVERAGE)
)
