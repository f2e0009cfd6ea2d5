"""The one error that bad files and bad tables raise, and what its message needs."""

import difflib
from collections.abc import Iterable


class DataError(ValueError):
    """Bad input in a file or a table.

    The message is one line: the file or column, what came, what was expected, and
    what to do.
    """


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a clause naming the nearest of ``names``, or the first few where none is
    near.
    """
    names = list(names)
    lowered: dict[str, str] = {}
    for each in names:
        lowered.setdefault(each.lower(), each)
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    return f"there are {listing(names)}" if names else "there are none"


def listing(names: Iterable[str], limit: int = 8) -> str:
    """Return the names quoted and joined by commas, cut after ``limit`` of them."""
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:limit])
    rest = len(names) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown


def one_line(error: BaseException) -> str:
    """Return what another library's error says, on one line of at most 200
    characters.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
