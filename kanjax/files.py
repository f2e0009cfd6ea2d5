"""Files that are there whole or not at all."""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import jax
import numpy as np

Path = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a draft that takes the place of a file when all is written.

    If the block raises, the draft goes and the old file stays as it was. The draft lies
    beside the file, since a rename is atomic within one file system only.

    Args:
        path: the file; its folder must exist.

    Examples:
        >>> import pathlib, tempfile
        >>> from kanjax import files
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "greeting"
        >>> with files.replacing(path) as file:
        ...     _ = file.write(b"hello")
        >>> path.read_text()
        'hello'
    """
    target = pathlib.Path(path)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        # mkstemp keeps a file for its owner; a result is for everybody.
        os.chmod(draft, 0o644)
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise


def why_not_writable(path: Path) -> str:
    """Say why nothing can be written at a path; empty if its folder is or can be made.

    Args:
        path: of a file or a folder that may be absent, as may the folders around it.
    """
    folder = pathlib.Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    if folder == pathlib.Path(path).absolute() and not folder.is_dir():
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is a file, not a folder"
    return "" if os.access(folder, os.W_OK) else f"the folder {folder} is read-only"


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; numbers that are not finite become null."""
    write_text(path, json.dumps(to_json(value), indent=1, allow_nan=False) + "\n")


def to_json(value: Any) -> Any:
    """Express a value in terms of JSON.

    Args:
        value: dicts, lists, tuples, arrays, strings, numbers, booleans, None. A number
            that is not finite becomes None.
    """
    if isinstance(value, Mapping):
        return {str(name): to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, np.ndarray | jax.Array):
        return to_json(np.asarray(value).tolist())
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
