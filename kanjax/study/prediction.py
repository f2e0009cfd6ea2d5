"""Predictions as tables: of one study, or of a classifier and what follows it.

Cascades are those of Bandyopadhyay, Avlani, Zhuang (2024), arXiv 2410.08452: of a table
of alloys, which are of a kind, and how hard those are.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from kanjax.study.config import StudyError
from kanjax.study.store import Study

if TYPE_CHECKING:
    import pandas as pd

Noted = tuple["pd.DataFrame", tuple[str, ...]]


def prediction_table(study: Study, frame: "pd.DataFrame") -> Noted:
    """Return what a study predicts for rows, and notes on what was unusual about them.

    Columns that are neither features nor targets of the study, such as identifiers,
    come first, as they are.

    In regression the columns are each target's ``NAME_mean``, the ends ``NAME_lower``
    and ``NAME_upper`` of an interval that holds 90 % of new targets, and the members'
    ``NAME_spread``. In classification they are the most probable class "prediction",
    the "set" of classes, ``A|B``, that holds the true one for 90 % of new rows, and
    mean and spread of each class's probability.

    Args:
        study: a finished one.
        frame: rows, with the study's feature columns.

    Raises:
        DataError: if a column is absent or of another kind.
    """
    import pandas as pd

    predicted, notes = _predicted(study, frame)
    scaler = study.data.preprocessor
    known = {column.name for column in scaler.columns} | {*scaler.targets}
    labels = [c for c in frame if c not in known and c not in predicted]
    rows = frame[labels].reset_index(drop=True)
    return pd.concat([rows, predicted], axis=1), notes


def _predicted(study: Study, frame: "pd.DataFrame") -> Noted:
    import pandas as pd

    predictions = study.predict(frame)
    columns: dict[str, Any] = {}
    if predictions.labels is not None and predictions.sets is not None:
        columns["prediction"] = predictions.labels
        names = np.asarray(study.data.target_names)
        columns["set"] = ["|".join(names[row]) for row in predictions.sets]
    for i, name in enumerate(study.data.target_names):
        columns[f"{name}_mean"] = predictions.mean[:, i]
        if predictions.lower is not None and predictions.upper is not None:
            columns[f"{name}_lower"] = predictions.lower[:, i]
            columns[f"{name}_upper"] = predictions.upper[:, i]
        columns[f"{name}_spread"] = predictions.spread[:, i]
    return pd.DataFrame(columns), predictions.notes


def cascade(first: Study, then: Study, frame: "pd.DataFrame", *, when: str) -> Noted:
    """Return the first study's predictions, and the second's of rows in one class.

    A table in which only rows of that class have a value to regress on serves both:
    a study leaves rows out whose target is missing.

    Args:
        first: a classification.
        then: any study.
        frame: rows with the columns of both.
        when: the class, as the first study names it.

    Raises:
        StudyError: if the first study has no such class.
        DataError: if a column is absent or of another kind.
    """
    import pandas as pd

    if first.data.task != "classification" or when not in first.data.target_names:
        known = ", ".join(first.data.target_names)
        known = known if first.data.task == "classification" else "none, but numbers"
        raise StudyError(f"the first study has no class {when!r}; it knows {known}.")
    first_table, notes = prediction_table(first, frame)
    chosen = np.flatnonzero(first_table["prediction"].astype(str) == when)
    if not len(chosen):
        remark = f"no row was put in class {when!r}, so that none went on"
        return first_table, (*notes, remark)
    then_table, more = _predicted(then, frame.iloc[chosen])
    then_table = then_table.rename(
        columns=lambda name: f"then_{name}" if name in first_table else name
    )
    then_table = then_table.set_axis(chosen).reindex(range(len(first_table)))
    return pd.concat([first_table, then_table], axis=1), (*notes, *more)
