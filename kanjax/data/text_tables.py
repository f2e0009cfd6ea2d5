"""Text tables: the separator, the header, and a first column without a name."""

import csv
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kanjax.data import columns, errors, files, identifiers

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = ",;\t|"
# pandas knows the usual spellings of a missing value, but not this one of UCI's.
_MISSING = ["?"]
_LOOKED_AT = 20
_LONGEST = 1 << 20


def read(
    path: Path, *, text: bool = False, categorical: Sequence[str] = ()
) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """Return the table, and notes on what reading changed.

    Args:
        path: CSV and the like, gzip too.
        text: whether all cells stay as they are written.
        categorical: columns whose cells do.

    Raises:
        DataError: when the file is empty, damaged or of another kind.
    """
    import pandas as pd

    header: list[str] = []
    try:
        separator, header = _layout(path)
        if not any(name.strip() for name in header):
            raise errors.DataError(
                f"{str(path)!r} is empty, expected a header and rows"
            )
        refuse_duplicates(path, header)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                na_values=_MISSING,
                skipinitialspace=True,
                index_col=False,
                low_memory=False,
                encoding="utf-8-sig",
                dtype=str if text else dict.fromkeys(categorical, str),
            )
    except errors.DataError:
        raise
    except pd.errors.ParserWarning:
        raise errors.DataError(
            f"{str(path)!r} has more fields in its rows than the {len(header)} names "
            "in its header; give every column a name"
        ) from None
    except (*files.DAMAGE, csv.Error) as error:
        raise errors.DataError(
            f"{str(path)!r} is not a readable table ({errors.one_line(error)}), "
            "expected UTF-8 text with a header and as many fields in each row"
        ) from None
    first = frame.columns[0]
    # pandas calls it so, and what pandas wrote and read again has the name.
    if not text and len(frame) and header[0].strip() in ("", "Unnamed: 0"):
        is_of_rows = identifiers.row_labels(columns.column(frame, first))
        if is_of_rows:
            note = f"a first column without a name that {is_of_rows} was dropped"
            return frame.drop(columns=first), (f"{note}; give it a name to keep it",)
    return frame, ()


def refuse_duplicates(path: Path, header: Sequence[str]) -> None:
    """Raise ``DataError`` when two columns have one name."""
    named = [name.strip() for name in header if name.strip()]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise errors.DataError(
            f"{str(path)!r} has several columns called {errors.listing(twice)}, "
            "expected different names; rename or remove them"
        )


def _layout(path: Path) -> tuple[str, list[str]]:
    """Return the separator of a text table, and its header.

    It is the one that gives the first records as many fields each, more than one; of
    several the one with most, and where there is none, the one with most in the header.
    """
    with files.opened(path) as stream:
        sample = files.at_most(stream, _LONGEST)
    is_complete = len(sample) < _LONGEST
    # A character that is cut is none of the first records'.
    decoded = sample.decode("utf-8-sig", errors="strict" if is_complete else "ignore")
    records = {s: _records(decoded, s) for s in _SEPARATORS}

    def quality(separator: str) -> tuple[bool, int]:
        counts = [len(record) for record in records[separator]]
        is_even = len(set(counts)) == 1 and counts[0] > 1
        return is_even, counts[0] if counts else 0

    best = max(_SEPARATORS, key=quality)
    return best, records[best][0] if records[best] else []


def _records(text: str, separator: str) -> list[list[str]]:
    """Return the first records; a quoted field may hold separators and ends of
    lines.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True
    )
    records = []
    for record in reader:
        if any(field.strip() for field in record):
            records.append(record)
        if len(records) == _LOOKED_AT:
            break
    return records
