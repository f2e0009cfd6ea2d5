"""From a table or a data set to scaled, split examples, in one call."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jax import Array

from kanjax import pytrees
from kanjax.data import columns as columns_
from kanjax.data import (
    errors,
    examples,
    feature_columns,
    notation,
    preprocessing,
    splitting,
    tables,
)

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 20

Divide = Callable[
    [Array, np.ndarray, np.ndarray | None, Sequence[float]], splitting.Rows
]
"""From a key, the rows that are kept, their classes and fractions to three parts."""


class Prepared(NamedTuple):
    """Data that is ready to train on.

    Fields:
        split: scaled examples, x (n, features), y (n, outputs) standardised or (n,)
            classes; ``split.rows`` counts in the data as given, with the rows that
            were left out for want of a target.
        preprocessor: what scaled them; gives predictions their original units.
        task: ``"regression"`` or ``"classification"``.
        feature_names: one a feature.
        target_names: names of the outputs, or the class labels.
        notes: what was dropped, filled or clipped, one line each.
        name: what reports call the data.
    """

    split: examples.Split
    preprocessor: preprocessing.Preprocessor
    task: examples.Task
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    notes: tuple[str, ...]
    name: str

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr


def prepare(
    data: "pd.DataFrame | tables.Table | examples.Dataset",
    *,
    target: str | Sequence[str] | None = None,
    task: examples.Task | None = None,
    key: Array,
    fractions: Sequence[float] = splitting.FRACTIONS,
    domain: tuple[float, float] = (-1.0, 1.0),
    max_categories: int = 50,
    composition: str | None = None,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    test: "pd.DataFrame | None" = None,
    fold: tuple[int, int] | None = None,
) -> Prepared:
    """Check, split and scale data; everything is fitted on the training rows.

    Args:
        data: a pandas ``DataFrame``, a table from :func:`kanjax.data.read_table`, or
            a data set, whose images are flattened to features.
        target: the target column (several in regression) of a ``DataFrame``; the
            others know theirs.
        task: forces ``"regression"`` or ``"classification"``; inferred if not given
            (see :func:`kanjax.data.tables.infer_task`).
        key: drives the split, which is stratified in classification, unless a group or
            a time says how to split.
        fractions: of training, validation and test rows.
        domain: where numeric features lie after scaling.
        max_categories: how many categories of a column get a feature.
        composition: the column of alloys' compositions, such as "AlCoCrFeNi2", which
            becomes fractions and descriptors.
        numeric: columns that are numbers, though they look like identifiers, which are
            dropped otherwise.
        categorical: columns that are categories, whatever they look like.
        group: a column whose equal values stay in one part, such as a patient's rows;
            it is no feature.
        time: a column of numbers or dates: the first rows are trained on, the last
            tested; it is no feature.
        test: a table with the columns of ``data`` whose rows are tested on; the others
            are training and validation rows. They are counted on from those of
            ``data``.
        fold: which of how many folds is tested on, such as (0, 5): with one key the
            test rows of all of them are disjoint, and hold every row; see
            :func:`split_fold`. The shares of training and validation rows then go by
            the ratio of ``fractions``.

    Raises:
        ValueError: if more than one of group, time and test are given, or a fold
            beside a time or a test.
        DataError: one line on what is wrong with the data: a target column that is
            absent, text in regression or constant; fewer than 20 rows; duplicate
            columns; a column without values, with infinite ones, with numbers in most
            rows but not all, or numbers that could be read in two ways; a class with
            one member.
    """
    table = _as_table(data, target, task)
    if fold is not None and (test is not None or time is not None):
        raise ValueError(
            "fold says what is tested on, and so do test and time; give one."
        )
    if test is not None:
        if group is not None or time is not None:
            raise ValueError(
                "test says what is tested on, and so do group and time; give one."
            )
        table, divide = _tested_on(table, test)
    else:
        table, divide = _divided_by(table, group, time, fold)
    feature_columns.check_kinds(table.frame, numeric, categorical)
    notations, table = _with_numbers(table, composition, categorical)
    frame, notes = _known_targets(table)
    _check_columns(frame, table.targets)
    task = _task(frame, table)
    classes = _classes(frame, table.targets) if task == "classification" else None
    kept = _kept(table)
    if divide is None:
        parts = splitting.split_rows(
            key, len(frame), labels=classes, fractions=fractions
        )
    else:
        parts = divide(key, kept, classes, fractions)
    fitted = preprocessing.fit_preprocessor(
        table.frame,
        table.targets,
        task,
        kept[parts[0]],
        domain=domain,
        max_categories=max_categories,
        composition=composition,
        numeric=numeric,
        categorical=categorical,
    )
    fitted = dataclasses.replace(fitted, notations=notations)
    x, y = fitted.features(frame), fitted.target(frame)
    split = (examples.examples(x[p], y[p], task) for p in parts)
    rows = (kept[parts[0]], kept[parts[1]], kept[parts[2]])
    held_out = np.concatenate(parts[1:])
    remarks = fitted.remarks(frame.iloc[held_out]) if held_out.size else ()
    said = (f"validation and test rows: {remark}" for remark in remarks)
    return Prepared(
        examples.Split(*split, rows=rows),
        fitted,
        task,
        fitted.feature_names,
        fitted.target_names,
        tuple(dict.fromkeys((*notes, *fitted.notes, *said))),
        table.name,
    )


def _divided_by(
    table: tables.Table,
    group: str | None,
    time: str | None,
    fold: tuple[int, int] | None,
) -> tuple[tables.Table, Divide | None]:
    """Return the table without the column that divides it, and how that does.

    The latter is None where the rows are divided at random.
    """
    name = group if group is not None else time
    if name is None and fold is not None:
        return table, lambda key, rows, classes, fractions: splitting.split_fold(
            key, len(rows), fold, labels=classes, fractions=fractions
        )
    if name is None:
        return table, None
    if group is not None and time is not None:
        raise ValueError(
            f"group {group!r} and time {time!r} divide the rows in two ways; give one."
        )
    series = columns_.column(table.frame, name)
    if name in table.targets:
        raise errors.DataError(
            f"column {name!r} is the target, expected another one to divide the rows by"
        )
    absent = int(columns_.missing(series).sum())
    if absent:
        raise errors.DataError(
            f"column {name!r} has {absent} missing values, expected one in each row to "
            "divide these by; fill them or drop the rows"
        )
    rest = dataclasses.replace(table, frame=table.frame.drop(columns=[name]))
    if group is None:
        times = _times(series, name)
        return rest, lambda key, rows, classes, fractions: splitting.split_in_time(
            key, times[rows], fractions=fractions
        )
    groups = series.astype(str).to_numpy()
    if fold is not None:
        return rest, lambda key, rows, classes, fractions: splitting.split_fold(
            key, len(rows), fold, groups=groups[rows], fractions=fractions
        )
    return rest, lambda key, rows, classes, fractions: splitting.split_groups(
        key, groups[rows], fractions=fractions
    )


def _tested_on(
    table: tables.Table, test: "pd.DataFrame"
) -> tuple[tables.Table, Divide]:
    """Return the table with the test rows below, and what divides it so."""
    import pandas as pd

    columns = list(table.frame.columns)
    absent = [name for name in columns if name not in test.columns]
    if absent:
        raise errors.DataError(
            f"the test rows lack the columns {errors.listing(absent)} of {table.name!r}"
        )
    first = len(table.frame)
    frame = pd.concat([table.frame, test[columns]], ignore_index=True)

    def divide(
        key: Array,
        rows: np.ndarray,
        classes: np.ndarray | None,
        fractions: Sequence[float],
    ) -> splitting.Rows:
        known, last = np.flatnonzero(rows < first), np.flatnonzero(rows >= first)
        if not len(last):
            raise errors.DataError("no test row has a target, expected at least one")
        share = fractions[1] / (fractions[0] + fractions[1])
        train, validation, _ = splitting.split_rows(
            key,
            len(known),
            labels=None if classes is None else classes[known],
            fractions=(1 - share, share, 0.0),
        )
        return known[train], known[validation], last

    note = f"tested on {len(test)} rows of a table of their own"
    notes = (*table.notes, note)
    return dataclasses.replace(table, frame=frame, notes=notes), divide


def _times(series: "pd.Series", name: str) -> np.ndarray:
    """(rows,) numbers in the order of time."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series):
        return series.to_numpy(float)
    try:
        dates = pd.to_datetime(series, format="ISO8601")
    except (ValueError, TypeError):
        raise errors.DataError(
            f"column {name!r} holds {str(series.iloc[0])!r}, expected numbers or dates "
            "as 2026-11-29 to order the rows by"
        ) from None
    return dates.to_numpy("datetime64[ns]").astype(np.int64)


def _with_numbers(
    table: tables.Table, composition: str | None, categorical: Sequence[str]
) -> tuple[tuple[notation.Notation, ...], tables.Table]:
    """How columns of text write their numbers, and the table with these as such."""
    texts = feature_columns.text_columns(
        table.targets, table.task, composition, categorical
    )
    notations, notes = notation.recognized(table.frame, texts)
    frame = notation.converted(table.frame, notations)
    notes = (*table.notes, *notes)
    return notations, dataclasses.replace(table, frame=frame, notes=notes)


def _as_table(
    data: "pd.DataFrame | tables.Table | examples.Dataset",
    target: str | Sequence[str] | None,
    task: examples.Task | None,
) -> tables.Table:
    import pandas as pd

    if task is not None:
        examples.check_task(task)
    if isinstance(data, pd.DataFrame):
        if target is None:
            raise errors.DataError(
                "target must name the column to predict, one of "
                f"{errors.listing(map(str, data.columns))}"
            )
        if not all(isinstance(name, str) for name in data.columns):
            data = data.set_axis([str(name) for name in data.columns], axis=1)
        _refuse_duplicates(data)
        return tables.Table(data, tables.target_columns(data, target), task)
    if isinstance(data, examples.Dataset):
        data = _flattened(data)
    elif not isinstance(data, tables.Table):
        raise TypeError(
            "data must be a pandas DataFrame, a Table or a Dataset, got "
            f"{type(data).__name__}; load or read it first, e.g. with kanjax.data.load"
        )
    _refuse_duplicates(data.frame)
    targets = data.targets
    if target is not None:
        targets = tables.target_columns(data.frame, target)
    return tables.Table(data.frame, targets, task or data.task, data.name, data.notes)


def _flattened(data: examples.Dataset) -> tables.Table:
    import pandas as pd

    x = data.x.reshape(len(data.x), -1)
    names = data.feature_names or tuple(f"x{i}" for i in range(x.shape[1]))
    if data.task == "classification":
        # The declared order of categories keeps the class indices of the data set.
        classes = pd.Categorical.from_codes(data.y, categories=list(data.target_names))
        target = "class" if "class" not in names else "class of the row"
        targets, y = (target,), pd.DataFrame({target: classes})
    else:
        targets, y = data.target_names, pd.DataFrame(data.y, columns=data.target_names)
    frame = pd.concat([pd.DataFrame(x, columns=list(names)), y], axis=1)
    return tables.Table(frame, targets, data.task, data.name, data.notes)


def _classes(frame: "pd.DataFrame", targets: Sequence[str]) -> np.ndarray:
    """(rows,) the label of each row."""
    name = targets[0]
    codes, names = columns_.factorized(columns_.column(frame, name), name)
    return np.asarray(names)[codes]


def _kept(table: tables.Table) -> np.ndarray:
    """Positions of the rows whose targets are all known."""
    known = ~table.frame[list(table.targets)].isna().to_numpy().any(axis=1)
    return np.flatnonzero(known)


def _known_targets(table: tables.Table) -> tuple["pd.DataFrame", tuple[str, ...]]:
    frame, kept, notes = table.frame, _kept(table), table.notes
    if frame.empty:
        raise errors.DataError(
            f"{table.name!r} is an empty table {frame.shape}, expected rows and columns"
        )
    if set(frame.columns) == set(table.targets):
        raise errors.DataError(
            f"{table.name!r} has no column beside the target "
            f"{errors.listing(table.targets)}, expected at least one feature"
        )
    dropped = len(frame) - len(kept)
    if dropped == len(frame):
        raise errors.DataError(
            f"the target {errors.listing(table.targets)} is missing in every row; "
            "choose another target"
        )
    if dropped:
        frame = frame.iloc[kept]
        notes = (*notes, f"{dropped} rows without a target were left out")
    if len(kept) < MIN_ROWS:
        raise errors.DataError(
            f"{table.name!r} has {len(kept)} rows with a target, expected at least "
            f"{MIN_ROWS}; add rows"
        )
    return frame, notes


def _check_columns(frame: "pd.DataFrame", targets: Sequence[str]) -> None:
    for name in frame.columns:
        series = columns_.column(frame, name)
        if columns_.missing(series).all():
            raise errors.DataError(
                f"column {name!r} has no value in any of {len(frame)} rows, expected "
                "some; leave the column out"
            )
        if columns_.kind(series, name) == "numeric":
            columns_.numbers(series, name)
        if name in targets and len(columns_.factorized(series, name)[1]) < 2:
            raise errors.DataError(
                f"the target {name!r} is constant over {len(frame)} rows, expected at "
                "least 2 different values; choose another target"
            )


def _task(frame: "pd.DataFrame", table: tables.Table) -> examples.Task:
    """Return the forced task, or the one the target suggests; its kind must fit."""
    if table.task == "classification":
        if len(table.targets) > 1:
            raise errors.DataError(
                "classification takes one target column, got "
                f"{errors.listing(table.targets)}"
            )
        return table.task
    texts = [
        n
        for n in table.targets
        if columns_.kind(columns_.column(frame, n), n) == "categorical"
    ]
    if table.task is None and len(table.targets) == 1:
        (name,) = table.targets
        if texts:
            return "classification"
        return tables.infer_task(columns_.numbers(columns_.column(frame, name), name))
    for name in texts:
        try:
            columns_.numbers(columns_.column(frame, name), name)
        except errors.DataError as error:
            raise errors.DataError(
                f"the target {name!r} is text, which cannot be regressed on ({error}); "
                "or pass task='classification'"
            ) from None
    return "regression"


def _refuse_duplicates(frame: "pd.DataFrame") -> None:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise errors.DataError(
            f"there are several columns called {errors.listing(dict.fromkeys(twice))}, "
            "expected different names; rename or remove them"
        )
