"""What comes after a training and may fail, without losing the training."""

from collections.abc import Callable
from typing import TypeVar

from kanjax.data import errors

Found = TypeVar("Found")


def attempted(
    notes: list[str], what: str, compute: Callable[[], Found]
) -> Found | None:
    """Return what is computed; or None if that fails, and a note on why."""
    try:
        return compute()
    except Exception as error:
        reason = f"{type(error).__name__}: {errors.one_line(error)}"
        notes.append(f"{what} left out, since it failed with {reason}")
        return None
