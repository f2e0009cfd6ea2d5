"""How a table writes its numbers: decimal commas, thousands, percent signs.

A column of text that is numbers in one way of writing, and in one way only, is read
that way, and a note says so. A column that is mostly numbers but not wholly is refused
with how many values are none and the first of them: as categories it would be a feature
for each of its numbers.
"""

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kanjax.data import columns, errors

if TYPE_CHECKING:
    import pandas as pd


class Notation(NamedTuple):
    """How a column's numbers are written.

    Attributes:
        name: the column's.
        decimal: the mark before the decimals.
        thousands: the mark between groups of three digits, or none.
        unit: a percent sign behind each number, or none.
    """

    name: str
    decimal: str = "."
    thousands: str = ""
    unit: str = ""


_MARKS = ((".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "))
_MARKS += ((".", "'"), (",", "'"))
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2019": "'", "\u2212": "-"})


def recognized(
    frame: "pd.DataFrame", skip: Collection[str] = ()
) -> tuple[tuple[Notation, ...], tuple[str, ...]]:
    """Return the notations of the columns of text that hold numbers, and notes about
    them.

    Args:
        frame: a table.
        skip: columns that are categories whatever they hold.

    Raises:
        DataError: when a column is mostly numbers, or its numbers could be read in two
            ways.
    """
    notations, notes = [], []
    for name in frame.columns:
        series = columns.column(frame, name)
        if name in skip or not _is_text(series):
            continue
        notation, note = _recognized(series, name)
        notations += [] if notation is None else [notation]
        notes += [note] if note else []
    return tuple(notations), tuple(notes)


def converted(frame: "pd.DataFrame", notations: Iterable[Notation]) -> "pd.DataFrame":
    """Return the table with the columns of these notations as numbers.

    Columns that are absent, or numbers already, stay as they are.

    Raises:
        DataError: when a value is not a number so written.
    """
    changed = {}
    for notation in notations:
        name = notation.name
        if name not in frame.columns:
            continue
        series = columns.column(frame, name)
        if not _is_text(series):
            continue
        known = ~columns.missing(series)
        cells = series.to_numpy(object)[known]
        values = _parsed(cells, notation)
        if np.isnan(values).any():
            raise _refusal(name, cells, np.isnan(values))
        changed[name] = np.full(len(series), np.nan)
        changed[name][known] = values
    return frame.assign(**changed) if changed else frame


def _is_text(series: "pd.Series") -> bool:
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        return False
    types = pd.api.types
    if types.is_object_dtype(series.dtype):
        return types.infer_dtype(series, skipna=True) == "string"
    return types.is_string_dtype(series.dtype)


def _recognized(series: "pd.Series", name: str) -> tuple[Notation | None, str]:
    """Return the notation of a column of text, or None if it is categories; and a
    note.
    """
    cells = series.to_numpy(object)[~columns.missing(series)]
    if not len(cells):
        return None, ""
    read = [
        (notation, _parsed(cells, notation))
        for unit in ("", "%")
        for notation in (Notation(name, *marks, unit) for marks in _MARKS)
    ]
    complete = [(notation, v) for notation, v in read if not np.isnan(v).any()]
    if not complete:
        best = min((v for _, v in read), key=lambda v: int(np.isnan(v).sum()))
        if np.isnan(best).mean() > 0.5:
            return None, ""
        raise _refusal(name, cells, np.isnan(best))
    (notation, values), *others = complete
    if notation == Notation(name):
        note = "text, so categories, though all its values are numbers"
        return None, f"column {name!r} is {note}; convert it to have them as such"
    first = str(cells[0])
    for _, other in others:
        if not np.array_equal(values, other):
            i = int(np.argmax(values != other))
            raise errors.DataError(
                f"column {name!r} has numbers that could be read in two ways: "
                f"{str(cells[i])!r} is {values[i]:g} or {other[i]:g}; write them "
                "with a decimal point and without marks between thousands"
            )
    return notation, f"column {name!r}: numbers read as {first!r} is {values[0]:g}"


def _parsed(cells: np.ndarray, notation: Notation) -> np.ndarray:
    """(cells,) their values, NaN for those that are no numbers of this notation.

    ``007`` is none: what begins with a zero like that is a code.
    """
    import pandas as pd

    mark, point = re.escape(notation.thousands), re.escape(notation.decimal)
    digits = r"(?:0|[1-9]\d*)"
    if mark:
        digits = rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|{digits})"
    pattern = re.compile(
        rf"[+-]?(?:{digits}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"
        rf"\s*{re.escape(notation.unit)}"
    )

    def value(cell: str) -> float:
        text = cell.strip().translate(_SPACES)
        if not pattern.fullmatch(text):
            return np.nan
        if notation.unit:
            text = text.rstrip(notation.unit)
        if notation.thousands:
            text = text.replace(notation.thousands, "")
        return float(text.replace(notation.decimal, "."))

    codes, distinct = pd.factorize(cells)
    return np.array([value(str(cell)) for cell in distinct])[codes]


def _refusal(name: str, cells: np.ndarray, wrong: np.ndarray) -> errors.DataError:
    first = str(cells[int(np.argmax(wrong))])
    is_unit = wrong[0] and wrong.sum() == 1
    return errors.DataError(
        f"column {name!r} is mostly numbers, but {int(wrong.sum())} of {len(cells)} "
        f"values are not, the first is {first[:40]!r}"
        f"{' in the first row (units?)' if is_unit else ''}; correct them, leave them "
        "blank, or name the column as categorical or to be ignored"
    )
