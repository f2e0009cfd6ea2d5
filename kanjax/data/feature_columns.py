"""Which columns of a table become features, and what is said about the others."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kanjax.data import columns as columns_
from kanjax.data import errors, examples, identifiers

if TYPE_CHECKING:
    import pandas as pd


def check_kinds(
    frame: "pd.DataFrame", numeric: Sequence[str], categorical: Sequence[str]
) -> None:
    """Raise ``DataError`` unless the columns are there, and none is said to be both."""
    for name in (*numeric, *categorical):
        columns_.column(frame, name)
    both = [name for name in numeric if name in categorical]
    if both:
        raise errors.DataError(
            f"numeric and categorical both name {errors.listing(both)}, expected each "
            "column in one of them"
        )


def text_columns(
    targets: Sequence[str],
    task: examples.Task | None,
    composition: str | None,
    categorical: Sequence[str],
) -> tuple[str, ...]:
    """Return the columns that are no numbers, however they are written."""
    classes = targets if task == "classification" else ()
    return (*classes, *((composition,) if composition else ()), *categorical)


class Fit(NamedTuple):
    """How the feature columns of a table are fitted."""

    frame: "pd.DataFrame"
    rows: np.ndarray
    most: int
    composition: str | None
    numeric: Sequence[str]
    categorical: Sequence[str]

    def columns(
        self, targets: Sequence[str]
    ) -> tuple[tuple[columns_.Column, ...], tuple[str, ...]]:
        """Return the columns that are kept, and notes."""
        kept, notes, constant = [], [], []
        if self.composition is not None:
            columns_.column(self.frame, self.composition)
        for name in self.frame.columns:
            if name in targets:
                continue
            column, said = self._column(name)
            notes += said
            if column is not None:
                kept.append(column)
            elif not said:
                constant.append(name)
        if constant:
            notes.append(f"constant columns dropped: {errors.listing(constant)}")
        if not kept:
            raise errors.DataError(
                "no feature column is left: those beside the target are constant or "
                "identifiers; expected at least one that varies, or one of them named "
                "as numeric or categorical"
            )
        return tuple(kept), tuple(notes)

    def _column(self, name: str) -> tuple[columns_.Column | None, list[str]]:
        series = columns_.column(self.frame, name).iloc[self.rows]
        if name == self.composition:
            return columns_.fit_composition(series, name)
        if columns_.missing(series).all():
            raise errors.DataError(
                f"column {name!r} has no value in any of the {self.rows.size} training "
                "rows, expected some; leave the column out"
            )
        kind = columns_.kind(series, name)
        if name in self.numeric:
            return columns_.fit_numeric(series, name)
        if name in self.categorical:
            return columns_.fit_categorical(series, name, self.most)
        reason = identifiers.why(series, name, len(self.frame))
        if reason:
            note = f"column {name!r} dropped: {reason}; to keep it, name it as {kind}"
            return None, [note]
        if kind == "numeric":
            return columns_.fit_numeric(series, name)
        return columns_.fit_categorical(series, name, self.most)
