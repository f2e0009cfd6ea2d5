"""The main job: from data to an understood ensemble, in one call."""

import dataclasses
import os
import pathlib
import shutil
import time
from typing import TYPE_CHECKING

import jax
import numpy as np

from kanjax import files, training
from kanjax import progress as progress_
from kanjax.study import (
    cross_validation,
    ensembles,
    findings,
    models,
    search,
    store,
)
from kanjax.study.attempts import attempted
from kanjax.study.checks import check
from kanjax.study.config import Config, StudyError

if TYPE_CHECKING:
    import pandas as pd


def run(
    config: Config,
    *,
    frame: "pd.DataFrame | None" = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: progress_.Report | None = None,
) -> store.Study:
    """Train an ensemble on a data set and find out what it has learned.

    Args:
        config: the settings.
        frame: a table, in the place of the one that ``config.data`` names; the report
            then calls it "DataFrame".
        out: the result folder; None keeps everything in memory.
        overwrite: whether a folder that is not empty is replaced.
        resume: go on from the checkpoint that an interrupted study left in ``out``.
        progress: told what is being done, before each stage. A KeyboardInterrupt that
            it raises ends the study there: nothing is written up to the first call
            with a share above 0, and ``resume`` goes on from any later one.

    Returns:
        The finished study; with ``out``, also in the folder, with ``report.html``.

    Raises:
        TypeError: for what is no config.
        StudyError: for bad settings, or a folder that is not fit for the study.
        DataError: for data that cannot be used; nothing is written then.
        CheckpointError: if the checkpoint is damaged or of another config.
        Interrupted: on Ctrl-C during training; the checkpoint is saved.
        TrainingDiverged: if no member's loss stayed finite.
    """
    if not isinstance(config, Config):
        raise TypeError(
            f"config must be a Config; got a {type(config).__name__}. A table goes in "
            'by its name: run(Config(target="y"), frame=table).'
        )
    tell = progress or (lambda what, share: None)
    started = time.perf_counter()
    if frame is not None:
        config = dataclasses.replace(config, data="DataFrame")
    check(config)
    root = None if out is None else pathlib.Path(out)
    _check_folder(root, config, overwrite, resume)

    tell("reading the data", 0.0)
    key_split, key_init, key_fit, key_plane = jax.random.split(
        jax.random.key(config.seed), 4
    )
    prepared = ensembles.prepare(config, frame, key_split)
    if config.intervals == "cv+" and prepared.task != "regression":
        raise StudyError(
            "intervals 'cv+' are for a regression; a classification has sets of "
            "classes, from the validation rows. Take 'split'."
        )
    tried = None
    if config.search:
        _open_folder(root, config, overwrite and not resume)
        tried = search.find(
            config,
            prepared,
            jax.random.fold_in(key_init, 1),
            root=root,
            resume=resume,
            tell=tell,
        )
        config = search.choose(config, tried)
    model = models.build(config, prepared)
    initial = ensembles.initial_params(config, model, prepared, key_init)
    tell("compiling the training", ensembles.TRAINING_SHARE[0])
    if tried is None:
        _open_folder(root, config, overwrite and not resume)

    checkpoint = None
    if root is not None:
        checkpoint = training.Checkpoint(
            root / "checkpoint" / "training", config=config.to_dict(), resume=resume
        )
    fit = ensembles.fit(
        config, model, initial, prepared, key_fit, checkpoint=checkpoint, tell=tell
    )
    _refuse_divergence(fit, root)
    results = findings.analyze(config, model, initial, fit, prepared, key_plane, tell)
    results = results._replace(search=tried)

    metrics = findings.metrics(config, prepared, results)
    if config.cv:
        rotated = attempted(
            metrics["notes"],
            "cross-validation",
            lambda: cross_validation.cross_validate(
                config,
                metrics,
                frame=frame,
                keys=(key_split, key_init, key_fit),
                root=root,
                resume=resume,
                tell=tell,
            ),
        )
        if rotated is not None:
            metrics["cross_validation"] = rotated
    metrics["seconds"] = {"total": time.perf_counter() - started}
    study = store.Study(
        config,
        model,
        fit.params,
        initial,
        prepared,
        results.calibration,
        metrics,
        root,
        results.folds,
    )
    if root is not None:
        from kanjax.study import report

        tell("drawing the figures", 0.85)
        attempted(
            metrics["notes"], "report", lambda: report.write(study, results, root)
        )
        # Last, since metrics.json is what makes it a finished study.
        store.save(study, root)
    tell("done", 1.0)
    return study


class TrainingDiverged(RuntimeError):
    """No member's loss stayed finite; the last good parameters were kept."""


def _check_folder(
    root: pathlib.Path | None, config: Config, overwrite: bool, resume: bool
) -> None:
    if root is not None and (reason := files.why_not_writable(root)):
        raise StudyError(f"{root} cannot be written: {reason}.")
    if resume:
        if root is None or not (root / "config.json").exists():
            raise StudyError(
                f"nothing to resume in {root}: it holds no config.json of a study."
            )
        if store.read_config(root) != config:
            raise training.CheckpointError(
                f"{root} holds the checkpoint of another config; resume with the "
                "settings in its config.json, or start anew with --overwrite."
            )
    elif root is not None and root.exists():
        if not root.is_dir():
            raise StudyError(f"{root} is a file; name a folder for the results.")
        if any(root.iterdir()) and not overwrite:
            raise StudyError(
                f"the folder {root} is not empty; choose another, or pass --overwrite "
                "to replace it or --resume to go on with it."
            )
        if any(root.iterdir()) and not (root / "config.json").exists():
            raise StudyError(
                f"the folder {root} holds something that is not a study; "
                "--overwrite replaces studies only."
            )


def _open_folder(root: pathlib.Path | None, config: Config, clear: bool) -> None:
    if root is None:
        return
    if clear and root.exists():
        # The config goes last: without it the rest would be no study to replace.
        for path in root.iterdir():
            if path.name == "config.json":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    root.mkdir(parents=True, exist_ok=True)
    files.write_json(root / "config.json", config.to_dict())


def _refuse_divergence(fit: training.Fit, root: pathlib.Path | None) -> None:
    if np.all(fit.diverged >= 0):
        kept = "" if root is None else f" in {root / 'checkpoint' / 'training'}"
        raise TrainingDiverged(
            "the loss of every member became non-finite, the first at step "
            f"{int(np.min(fit.diverged))}; the last good parameters are saved{kept}. "
            "Try a smaller --learning-rate."
        )
