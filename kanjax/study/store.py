"""The folder of a study: written whole, read back without running anything of it."""

import html
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kanjax import data as data_
from kanjax import files, pytrees, training
from kanjax.model import Model
from kanjax.study import evaluation, intervals, models, search, summary
from kanjax.study.checks import check
from kanjax.study.config import Config, StudyError

PARTS = ("train", "validation", "test")


class Predictions(NamedTuple):
    """Predictions of an ensemble in the target's units.

    Attributes:
        mean: (n, outputs) in regression; (n, classes) mean probabilities otherwise.
        spread: the members' standard deviation, of the same shape: what they disagree
            on, which is not how wrong they are.
        lower, upper: (n, outputs) ends of intervals that hold 90 % of new targets;
            None in classification.
        sets: (n, classes) whether a class is in the set that holds the true one for
            90 % of new rows; None in regression.
        labels: (n,) the most probable classes' names; None in regression.
        notes: what was filled, clipped or unknown in these rows.
    """

    mean: np.ndarray
    spread: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    sets: np.ndarray | None
    labels: np.ndarray | None
    notes: tuple[str, ...]

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr


class Study(NamedTuple):
    """A finished study.

    Attributes:
        config: its settings.
        model: the model that all members share.
        params: the members' parameters, with a leading member axis.
        initial_params: the same before training.
        data: the scaled and split data, with what scaled them.
        calibration: what makes intervals and sets hold as often as they say.
        metrics: all figures of the report.
        directory: where it is stored, or None.
        folds: the networks of CV+, if the config asks for its intervals.
    """

    config: Config
    model: Model
    params: Any
    initial_params: Any
    data: data_.Prepared
    calibration: evaluation.Calibration
    metrics: dict[str, Any]
    directory: pathlib.Path | None
    folds: intervals.FoldNetworks | None = None

    __repr__ = pytrees.short_repr

    def _repr_html_(self) -> str:
        """Say in a notebook what the top of the report says."""
        told = summary.summarize(files.to_json(self.metrics))
        if self.directory is not None:
            told.append(f"Report: {self.directory / 'report.html'}")
        return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in told)

    def member(self, index: int) -> Any:
        """Return the parameters of one member."""
        return jax.tree.map(lambda leaf: leaf[index], self.params)

    def predict(self, frame: Any) -> Predictions:
        """Predict rows of a table with the columns that the study was trained on.

        Args:
            frame: a pandas ``DataFrame``.

        Raises:
            DataError: if a column is absent or of another kind.
        """
        scaler = self.data.preprocessor
        x = scaler.features(frame)
        outputs = evaluation.predict(self.model, self.params, x)
        notes = scaler.remarks(frame)
        calibration = self.calibration
        predicted = evaluation.combine(self.data.task, outputs, calibration.temperature)
        output, spread = predicted
        if self.data.task == "regression":
            mean = scaler.inverse_target(output)
            spread = spread * np.asarray(scaler.std)
            ends = intervals.find_ends(self.model, output, calibration, self.folds, x)
            ends = [scaler.inverse_target(end) for end in ends]
            return Predictions(mean, spread, *ends, None, None, notes)
        p = np.exp(output)
        sets = evaluation.class_sets(p, calibration)
        labels = scaler.inverse_target(output.argmax(-1))
        return Predictions(p, spread, None, None, sets, labels, notes)


def read_config(directory: pathlib.Path) -> Config:
    """Return the config of a study's folder.

    Raises:
        StudyError: if there is none, or it is damaged.
    """
    return check(Config.from_dict(_read_json(directory / "config.json")))


def save(study: Study, directory: pathlib.Path) -> None:
    """Write the arrays, the data and the figures of a study."""
    arrays: dict[str, Any] = {
        f"{subset}_{name}": np.asarray(values)
        for subset in PARTS
        for name, values in getattr(study.data.split, subset)._asdict().items()
    }
    for subset, rows in zip(PARTS, study.data.split.rows, strict=True):
        arrays[f"{subset}_rows"] = np.asarray(rows)
    with files.replacing(directory / "data.npz") as file:
        np.savez_compressed(file, **arrays)
    described = {
        "task": study.data.task,
        "feature_names": study.data.feature_names,
        "target_names": study.data.target_names,
        "notes": study.data.notes,
        "name": study.data.name,
        "calibration": study.calibration._asdict(),
        "preprocessor": study.data.preprocessor.to_dict(),
    }
    files.write_json(directory / "data.json", described)
    training.checkpoints.save(
        directory / "checkpoint" / "ensemble",
        {"params": study.params, "initial_params": study.initial_params},
        metadata={"config": study.config.to_dict()},
    )
    if study.folds is not None:
        training.checkpoints.save(
            directory / "checkpoint" / "folds", study.folds._asdict()
        )
    files.write_json(directory / "metrics.json", study.metrics)


def load(directory: str | os.PathLike[str]) -> Study:
    """Read a study back: model, parameters, data split and metrics.

    Nothing in the folder is executed or unpickled.

    Args:
        directory: of a finished study.

    Raises:
        StudyError: if the folder is not a finished study, or a file is damaged.
        CheckpointError: if the parameters are damaged or of another config.
    """
    root = pathlib.Path(directory)
    config = read_config(root)
    metrics = _read_json(root / "metrics.json")
    if config.search:
        config = search.choose(config, metrics["search"])
    data, calibration = _load_data(root)
    model = models.build(config, data)
    like = _empty_params(model, config.members)
    restored = training.checkpoints.restore(
        root / "checkpoint" / "ensemble",
        {"params": like, "initial_params": like},
        metadata={"config": config.to_dict()},
    )
    return Study(
        config,
        model,
        data=data,
        calibration=calibration,
        folds=_load_folds(root, model, data),
        metrics=metrics,
        directory=root,
        **restored,
    )


def _load_folds(
    root: pathlib.Path, model: Model, data: data_.Prepared
) -> intervals.FoldNetworks | None:
    path = root / "checkpoint" / "folds"
    if not training.checkpoints.exists(path):
        return None
    y = jnp.concatenate([data.split.train.y, data.split.validation.y])
    like = intervals.FoldNetworks(
        _empty_params(model, intervals.FOLDS), y, jnp.zeros(len(y), int)
    )
    return intervals.FoldNetworks(**training.checkpoints.restore(path, like._asdict()))


def _empty_params(model: Model, count: int) -> Any:
    """Return zeros of the shapes of so many networks' parameters."""
    keys = jax.random.split(jax.random.key(0), count)
    shapes = jax.eval_shape(jax.vmap(model.init), keys)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def _load_data(
    root: pathlib.Path,
) -> tuple[data_.Prepared, evaluation.Calibration]:
    described = _read_json(root / "data.json")
    path = root / "data.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            parts = {
                subset: data_.Examples(
                    jnp.asarray(arrays[f"{subset}_x"]),
                    jnp.asarray(arrays[f"{subset}_y"]),
                )
                for subset in PARTS
            }
            rows = tuple(arrays[f"{subset}_rows"] for subset in PARTS)
        prepared = data_.Prepared(
            data_.Split(**parts, rows=rows),
            data_.Preprocessor.from_dict(described["preprocessor"]),
            described["task"],
            tuple(described["feature_names"]),
            tuple(described["target_names"]),
            tuple(described["notes"]),
            described["name"],
        )
        fields = dict(described["calibration"])
        # JSON has no infinity.
        fields["radius"] = tuple(
            math.inf if end is None else float(end) for end in fields["radius"]
        )
        return prepared, evaluation.Calibration(**fields)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StudyError(
            f"{path} is not a study's data ({error}); run the study again with "
            "--overwrite."
        ) from None


def _read_json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(
            f"{path.parent} holds no finished study: {path.name} is missing."
        ) from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is damaged: {error}.") from None
