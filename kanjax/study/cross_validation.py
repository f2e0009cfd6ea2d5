"""Scores on rows that rotate: every row is tested on once."""

import pathlib
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array

from kanjax import progress, training
from kanjax.study import baselines, ensembles, evaluation, models
from kanjax.study.config import Config

if TYPE_CHECKING:
    import pandas as pd

Scores = dict[str, dict[str, float]]
"""Of each method the value of each metric."""


def cross_validate(
    config: Config,
    metrics: dict[str, Any],
    *,
    frame: "pd.DataFrame | None",
    keys: tuple[Array, Array, Array],
    root: pathlib.Path | None,
    resume: bool,
    tell: progress.Report,
) -> dict[str, Any]:
    """Train and score an ensemble and the baselines on all folds but the first.

    Args:
        config: the study's, with ``cv`` folds.
        metrics: what the study itself measured, on its fold; its notes get what fails.
        frame: the table, where the config names none.
        keys: of the split, which all folds share, of the parameters and of training.
        root: the study's folder, for a checkpoint a fold; None keeps none.
        resume: go on from the checkpoints.
        tell: told before each fold.

    Returns:
        "folds", and by method and metric the "scores", one value a fold, of the methods
        that gave them in all folds.
    """
    key_split, key_init, key_fit = keys
    ensemble = {evaluation.ENSEMBLE: metrics["test"]["ensemble"]}
    first = {**ensemble, **metrics["baselines"]}
    scores = [first]
    for fold in range(1, config.cv):
        tell(f"cross-validating: fold {fold + 1} of {config.cv}", 0.8)
        prepared = ensembles.prepare(config, frame, key_split, fold=fold)
        model = models.build(config, prepared)
        initial = ensembles.initial_params(
            config, model, prepared, jax.random.fold_in(key_init, fold)
        )
        checkpoint = None
        if root is not None:
            checkpoint = training.Checkpoint(
                root / "checkpoint" / f"fold_{fold}",
                config=config.to_dict(),
                resume=resume,
            )
        fit = ensembles.fit(
            config,
            model,
            initial,
            prepared,
            jax.random.fold_in(key_fit, fold),
            checkpoint=checkpoint,
        )
        scores.append(_scores(config, model, fit.params, prepared, metrics["notes"]))
    methods = [name for name in first if all(name in of_fold for of_fold in scores)]
    return {
        "folds": config.cv,
        "scores": {
            method: {
                metric: [of_fold[method][metric] for of_fold in scores]
                for metric in first[method]
            }
            for method in methods
        },
    }


def _scores(
    config: Config, model: Any, params: Any, prepared: Any, notes: list[str]
) -> Scores:
    """Return the scores of an ensemble and the baselines on the test rows."""
    task, split = prepared.task, prepared.split
    held_out = evaluation.predict(model, params, split.validation.x)
    calibration = evaluation.calibrate(task, held_out, split.validation.y)
    temperature = calibration.temperature
    outputs = evaluation.predict(model, params, split.test.x)
    ensemble = evaluation.combine(task, outputs, temperature).output
    classes = len(prepared.target_names) if task == "classification" else 0
    others = baselines.baselines(task, split, classes, seed=config.seed, notes=notes)
    y, scale = np.asarray(split.test.y), np.asarray(prepared.preprocessor.std)
    return {
        name: evaluation.measure(task, values, y, scale)
        for name, values in {evaluation.ENSEMBLE: ensemble, **others}.items()
    }
