"""The main job: from data to an understood ensemble, in one call."""

import dataclasses
import os
import pathlib
import shutil
import time
import warnings
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from kanjax import data as data_
from kanjax import files, training
from kanjax.model import Model
from kanjax.study import boosted, findings, models, schedules, store
from kanjax.study.attempts import attempted
from kanjax.study.checks import check
from kanjax.study.config import Config, StudyError

if TYPE_CHECKING:
    import pandas as pd

_TRAINING_SHARE = (0.05, 0.5)


def run(
    config: Config,
    *,
    frame: "pd.DataFrame | None" = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: findings.Report | None = None,
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
        StudyError: for bad settings, or a folder that is not fit for the study.
        DataError: for data that cannot be used; nothing is written then.
        CheckpointError: if the checkpoint is damaged or of another config.
        Interrupted: on Ctrl-C during training; the checkpoint is saved.
        TrainingDiverged: if no member's loss stayed finite.
    """
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
    prepared = _prepare(config, frame, key_split)
    model = models.build(config, prepared)
    initial = _initial_params(config, model, prepared, key_init)
    tell("compiling the training", _TRAINING_SHARE[0])
    _open_folder(root, config, overwrite and not resume)

    fit = _train(config, model, initial, prepared, key_fit, root, resume, tell)
    _refuse_divergence(fit, root)
    results = findings.analyze(config, model, initial, fit, prepared, key_plane, tell)

    metrics = findings.metrics(config, prepared, results)
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


def _prepare(
    config: Config, frame: "pd.DataFrame | None", key: jax.Array
) -> data_.Prepared:
    path = pathlib.Path(config.data)
    is_file = path.suffix != "" and not config.data.startswith("feynman:")
    if frame is not None or is_file or config.target is not None:
        if config.target is None:
            kind = "file" if frame is None else "table"
            raise StudyError(
                f"{config.data} is a {kind}; name its target column with --target."
            )
        source: Any = data_.read_table(
            path if frame is None else frame,
            target=config.target,
            task=config.task,
            ignore=config.ignore,
            categorical=config.categorical,
        )
    elif config.ignore:
        raise StudyError(
            f"ignore is for the columns of a file; {config.data!r} is a bundled set."
        )
    else:
        source = data_.load(config.data)
    return data_.prepare(
        source,
        task=config.task,
        key=key,
        domain=models.domain(config),
        composition=config.composition,
        numeric=config.numeric,
        categorical=config.categorical,
        group=config.group,
        time=config.time,
    )


def _initial_params(
    config: Config, model: Model, prepared: data_.Prepared, key: jax.Array
) -> Any:
    params = jax.jit(jax.vmap(model.init))(jax.random.split(key, config.members))
    if config.model == "boosted":
        return boosted.switched_off(params, prepared)
    return params


def _train(
    config: Config,
    model: Model,
    initial: Any,
    prepared: data_.Prepared,
    key: jax.Array,
    root: pathlib.Path | None,
    resume: bool,
    tell: findings.Report,
) -> training.Fit:
    if config.model == "boosted":
        return boosted.train(config, prepared, key)
    train = prepared.split.train
    low, high = _TRAINING_SHARE

    def show(event: training.Progress) -> None:
        tell(
            f"training: {training.describe(event)}",
            low + (high - low) * event.step / event.steps,
        )

    plan = schedules.schedule(config, len(train.x))
    with warnings.catch_warnings():
        # Told by _refuse_divergence and in the report, not beside a progress bar.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        checkpoint = root and training.Checkpoint(
            root / "checkpoint" / "training", config=config.to_dict(), resume=resume
        )
        return training.fit_ensemble(
            findings.loss_of(prepared.task, model),
            initial,
            train,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            steps=plan.steps,
            batch_size=plan.batch_size,
            key=key,
            validation=prepared.split.validation,
            patience=config.patience,
            evaluate_every=plan.evaluate_every,
            checkpoint=checkpoint,
            callback=show,
        )


def _refuse_divergence(fit: training.Fit, root: pathlib.Path | None) -> None:
    if np.all(fit.diverged >= 0):
        kept = "" if root is None else f" in {root / 'checkpoint' / 'training'}"
        raise TrainingDiverged(
            "the loss of every member became non-finite, the first at step "
            f"{int(np.min(fit.diverged))}; the last good parameters are saved{kept}. "
            "Try a smaller --learning-rate."
        )
