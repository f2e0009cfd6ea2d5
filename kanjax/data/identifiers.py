"""Columns that number or name the rows: no feature can be learned from them.

Sorted rows make such a column tell the target.
"""

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_NAMES = ("id", "idx", "index", "no", "nr", "row", "rows")
_NEARLY_ALL = 0.95
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?\b|\d\d?[./-]\d\d?[./-](\d{4}|\d\d)\b")


def why(series: "pd.Series", name: str, rows: int) -> str:
    """Return what makes a column an identifier; empty if it is none.

    Text is one when nearly all of its values differ. Whole numbers are one when nearly
    all differ and the name's last word is "id", "index", "no" or the like, or when all
    differ and lie as close as numbers that count the rows.

    Args:
        series: values of some of the table's rows.
        name: the column's.
        rows: how many rows the whole table has.
    """
    import pandas as pd

    known = series.dropna()
    if known.size < 2 or isinstance(series.dtype, pd.CategoricalDtype):
        return ""
    inferred = pd.api.types.infer_dtype(known)
    is_named = _last_word(name) in _NAMES
    if inferred == "floating" and is_named and (known % 1 == 0).all():
        # A gap makes whole numbers floats.
        inferred = "integer"
    if inferred not in ("string", "integer"):
        return ""
    distinct = known.nunique()
    if distinct < _NEARLY_ALL * known.size:
        return ""
    all_differ = f"{distinct} of its {known.size} training values differ"
    if inferred == "string" and known.str.match(_DATE).all():
        return f"{all_differ}, and they are dates, of which nothing is learned"
    if inferred == "string":
        return f"{all_differ}, as identifiers do"
    if is_named:
        return f"{all_differ}, and its name is an identifier's"
    span = int(known.max()) - int(known.min()) + 1
    if distinct == known.size and span <= rows:
        return f"{all_differ}, as numbers that count the rows do"
    return ""


def row_labels(series: "pd.Series") -> str:
    """Return what a first column without a name is: row numbers, row names, or
    neither.
    """
    import pandas as pd

    inferred = pd.api.types.infer_dtype(series)
    if inferred not in ("string", "integer") or not series.is_unique:
        return ""
    if inferred == "string":
        return "names the rows"
    ranks = np.sort(series.to_numpy())
    counts = any(np.array_equal(ranks, np.arange(s, s + len(ranks))) for s in (0, 1))
    return "counts the rows" if counts else "numbers the rows"


def _last_word(name: str) -> str:
    """In lower case; ``PatientID`` and ``patient_id`` end in ``id``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = re.findall(r"[^\W_]+", spaced.lower())
    return words[-1] if words else ""
