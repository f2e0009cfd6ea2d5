"""Preprocessing as a fitted, pure description that is saved as JSON.

It is fitted on training rows only, so nothing of the validation and test rows can
reach a model through the medians, ranges, categories or target scale.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kanjax.data import columns as columns_
from kanjax.data import errors, examples, feature_columns, notation, tables

if TYPE_CHECKING:
    import pandas as pd

_KINDS: dict[str, type[columns_.Column]] = {
    "numeric": columns_.NumericColumn,
    "categorical": columns_.CategoricalColumn,
    "composition": columns_.CompositionColumn,
}


@dataclasses.dataclass(frozen=True)
class Preprocessor:
    """How a table becomes arrays, and predictions become values in original units.

    Numeric features are mapped linearly from their training range to ``domain``. The
    range leaves out far outliers (beyond three widths of the central 98% on either
    side of it), and what lies outside of it, here or in new data, is clipped to it: a
    basis such as B-splines is zero outside its domain. Categories are one-hot (0 and
    1), and a category that training did not have is all zeros.

    Attributes:
        columns: the feature columns in order.
        targets: the target columns.
        task: ``"regression"`` or ``"classification"``.
        domain: where numeric features lie.
        labels: class labels by index; empty in regression.
        mean, std: of each target over the training rows; empty in classification.
        notes: what was dropped, filled or clipped, one line each.
        notations: how columns of text write their numbers.
    """

    columns: tuple[columns_.Column, ...]
    targets: tuple[str, ...]
    task: examples.Task
    domain: tuple[float, float] = (-1.0, 1.0)
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    notations: tuple[notation.Notation, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name for each feature; ``column=category`` for those of categories."""
        return tuple(name for c in self.columns for name in c.feature_names)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The class labels, or the target columns of a regression."""
        return self.labels if self.task == "classification" else self.targets

    def features(self, frame: "pd.DataFrame") -> np.ndarray:
        """Return the features of a table: (rows, features) float32; targets not needed.

        Raises:
            TypeError: for what is no table.
            DataError: when a column is absent, holds text in place of numbers, or
                has infinite values.
        """
        if not hasattr(frame, "columns"):
            raise TypeError(
                f"frame must be a pandas DataFrame; got a {type(frame).__name__}. "
                "kj.data.read_frame(path, text=True) reads a file into one."
            )
        frame = notation.converted(frame, self.notations)
        out = np.empty((len(frame), len(self.feature_names)), np.float32)
        start = 0
        for column in self.columns:
            series = columns_.column(frame, column.name)
            stop = start + len(column.feature_names)
            column.write(series, self.domain, out[:, start:stop])
            start = stop
        return out

    def in_units(self, x: Any) -> np.ndarray:
        """Return features in the units of their columns: what ``features`` scaled.

        Args:
            x: (rows, features); those of categories are 0 and 1 here as there.
        """
        x, parts, start = np.asarray(x, float), [], 0
        for column in self.columns:
            stop = start + len(column.feature_names)
            parts.append(column.in_units(x[:, start:stop], self.domain))
            start = stop
        return np.concatenate(parts, axis=1)

    @property
    def of_categories(self) -> np.ndarray:
        """(features,) whether a feature is 0 or 1, for a category."""
        kinds = [
            [isinstance(column, columns_.CategoricalColumn)] * len(column.feature_names)
            for column in self.columns
        ]
        return np.array([kind for column in kinds for kind in column])

    def target(self, frame: "pd.DataFrame") -> np.ndarray:
        """Return the targets: (rows, outputs) standardised float32, or (rows,) int32
        classes.

        Raises:
            DataError: when a target is absent, missing in a row, not a number, or a
                class that training did not have.
        """
        frame = notation.converted(frame, self.notations)
        if self.task == "classification":
            return self._classes(frame)
        values = np.stack([_target(frame, name) for name in self.targets], axis=-1)
        return ((values - self.mean) / self.std).astype(np.float32)

    def inverse_target(self, y: Any) -> np.ndarray:
        """Targets or predictions in original units.

        Args:
            y: (..., outputs) standardised values in regression; (...) class indices
                in classification.

        Returns:
            The same shape, in the target's units; or the class labels as text.
        """
        if self.task == "classification":
            return np.asarray(self.labels)[np.asarray(y)]
        return np.asarray(y, float) * self.std + self.mean

    def remarks(self, frame: "pd.DataFrame") -> tuple[str, ...]:
        """Return what ``features`` fills, clips or does not know in these rows, by
        line.
        """
        frame = notation.converted(frame, self.notations)
        notes, clipped, beyond = [], 0, []
        for column in self.columns:
            series = columns_.column(frame, column.name)
            if isinstance(column, columns_.CompositionColumn):
                notes += _composition_remarks(series, column)
                continue
            absent = columns_.missing(series)
            if absent.any():
                fill = column.fill
                value = f"{fill:g}" if isinstance(fill, float) else repr(fill)
                notes.append(
                    f"column {column.name!r}: {int(absent.sum())} of {len(frame)} "
                    f"values missing, filled with {value}"
                )
            if isinstance(column, columns_.CategoricalColumn):
                index = columns_.positions(series, column.name, column.categories)
                unseen = int(np.count_nonzero((index < 0) & ~absent))
                if unseen:
                    notes.append(
                        f"column {column.name!r}: {unseen} of {len(frame)} values are "
                        "of no category kept in training, encoded as zeros"
                    )
            else:
                values = columns_.numbers(series, column.name)
                outside = (values < column.low) | (values > column.high)
                clipped += int(outside.sum())
                beyond += [column.name] if outside.any() else []
        if clipped:
            notes.append(
                f"values outside the training range clipped to it: {clipped}, in "
                f"{errors.listing(beyond)}"
            )
        return tuple(notes)

    def to_dict(self) -> dict[str, Any]:
        """Return a description of plain lists, texts and numbers, for JSON."""
        described = dataclasses.asdict(self)
        described["columns"] = [
            {"kind": _kind_name(column), **dataclasses.asdict(column)}
            for column in self.columns
        ]
        return _plain(described)

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Preprocessor":
        """Return the preprocessor that ``to_dict`` described.

        Raises:
            DataError: when the description lacks something or is damaged.
        """
        try:
            fields = {name: _frozen(value) for name, value in described.items()}
            fields["columns"] = tuple(map(_described, described["columns"]))
            written = described.get("notations", ())
            fields["notations"] = tuple(notation.Notation(*each) for each in written)
            made = cls(**fields)
            examples.check_task(made.task)
            return made
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise errors.DataError(
                f"this is not a preprocessor's description ({errors.one_line(error)}), "
                "expected what Preprocessor.to_dict gives"
            ) from None

    def _classes(self, frame: "pd.DataFrame") -> np.ndarray:
        (name,) = self.targets
        series = columns_.column(frame, name)
        _refuse_missing(columns_.missing(series), name)
        index = columns_.positions(series, name, self.labels)
        unknown = np.flatnonzero(index < 0)
        if unknown.size:
            raise errors.DataError(
                f"the target {name!r} has the class {str(series.iloc[unknown[0]])!r}, "
                f"expected one of those in training: {errors.listing(self.labels)}"
            )
        return index.astype(np.int32)


def fit_preprocessor(
    frame: "pd.DataFrame",
    target: str | Sequence[str],
    task: examples.Task,
    train_rows: np.ndarray | Sequence[int],
    *,
    domain: tuple[float, float] = (-1.0, 1.0),
    max_categories: int = 50,
    composition: str | None = None,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> Preprocessor:
    """Fit a preprocessor on the training rows of a table.

    Args:
        frame: the features and the target; of other rows than ``train_rows`` only
            their number counts, and how numbers in columns of text are written.
        target: the target column, or several in regression.
        task: ``"regression"`` or ``"classification"``.
        train_rows: (rows,), positions of the training rows.
        domain: lower and upper end of the scaled numeric features.
        max_categories: how many categories of a column get a feature, the most
            frequent ones.
        composition: the column of alloys' compositions, such as "AlCoCrFeNi2".
        numeric: columns that are numbers, though they look like identifiers, which are
            dropped otherwise.
        categorical: columns that are categories, whatever they look like.

    Raises:
        DataError: when a column has no value or an infinite one, is mostly numbers but
            not wholly, or is written so that its numbers could be two; when no feature
            is left, or when the target is constant or text in regression.
    """
    examples.check_task(task)
    low, high = (float(end) for end in domain)
    if not low < high:
        raise ValueError(f"domain must be (low, high) with low < high, got {domain}")
    if max_categories < 2:
        raise ValueError(f"max_categories must be at least 2, got {max_categories}")
    targets = tables.target_columns(frame, target)
    rows = np.asarray(train_rows, int)
    feature_columns.check_kinds(frame, numeric, categorical)
    texts = feature_columns.text_columns(targets, task, composition, categorical)
    notations, said = notation.recognized(frame, texts)
    frame = notation.converted(frame, notations)
    fit = feature_columns.Fit(
        frame, rows, max_categories, composition, numeric, categorical
    )
    kept, notes = fit.columns(targets)
    notes = (*said, *notes)
    if task == "classification":
        name, *others = targets
        if others:
            raise errors.DataError(
                f"classification takes one target column, got {errors.listing(targets)}"
            )
        labels = columns_.labels(columns_.column(frame, name).iloc[rows], name)
        _refuse_constant(name, len(labels))
        return Preprocessor(
            kept,
            targets,
            task,
            (low, high),
            tuple(labels),
            notes=notes,
            notations=notations,
        )
    train = [_target(frame, name, rows) for name in targets]
    for name, values in zip(targets, train, strict=True):
        _refuse_constant(name, np.unique(values).size)
    return Preprocessor(
        kept,
        targets,
        task,
        (low, high),
        mean=tuple(float(values.mean()) for values in train),
        std=tuple(float(values.std()) for values in train),
        notes=notes,
        notations=notations,
    )


def _target(
    frame: "pd.DataFrame", name: str, rows: np.ndarray | None = None
) -> np.ndarray:
    series = columns_.column(frame, name)
    values = columns_.numbers(series if rows is None else series.iloc[rows], name)
    _refuse_missing(np.isnan(values), name)
    return values


def _refuse_missing(absent: np.ndarray, name: str) -> None:
    if absent.any():
        raise errors.DataError(
            f"the target {name!r} is missing in {int(absent.sum())} rows, expected a "
            "value in each; drop these rows"
        )


def _refuse_constant(name: str, distinct: int) -> None:
    if distinct < 2:
        raise errors.DataError(
            f"the target {name!r} is constant, expected at least 2 different values; "
            "choose another target"
        )


def _composition_remarks(
    series: "pd.Series", column: columns_.CompositionColumn
) -> list[str]:
    """Elements that training did not have, which are no features."""
    parsed = columns_.parsed_compositions(series, column.name)
    new = [symbol for symbol in parsed.elements if symbol not in column.elements]
    if not new:
        return []
    return [
        f"column {column.name!r}: the elements {errors.listing(new)} are in no "
        "training row; they count in the descriptors alone"
    ]


def _kind_name(column: columns_.Column) -> str:
    return next(name for name, kind in _KINDS.items() if isinstance(column, kind))


def _described(column: Mapping[str, Any]) -> columns_.Column:
    fields = {name: _frozen(value) for name, value in column.items()}
    return _KINDS[fields.pop("kind")](**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, tuple | list) else value
