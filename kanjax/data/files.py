"""Opening files: what is missing, unreadable, damaged or pickled gets one line."""

import gzip
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from kanjax.data import errors

PathLike = str | os.PathLike[str]

_CHUNK = 1 << 20
DAMAGE = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile)
"""What reading a damaged file or archive may raise."""


def existing(path: PathLike) -> Path:
    """Return the path, if a file is there.

    Raises:
        DataError: when there is none (with the nearest name), or it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise errors.DataError(f"{str(path)!r} is a folder, expected a file in it")
    if not path.is_file():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        names = sorted(each.name for each in beside if each.is_file())
        hint = errors.nearest(path.name, names)
        near = hint if hint.startswith("did") else "check the path"
        raise errors.DataError(f"there is no file {str(path)!r}; {near}")
    if not os.access(path, os.R_OK):
        raise errors.DataError(
            f"the file {str(path)!r} may not be read; check its permissions"
        )
    return path


def at_most(stream: IO[bytes], size: int) -> bytes:
    """Up to ``size`` bytes, without believing a header that promises too many."""
    parts: list[bytes] = []
    while size > 0 and (chunk := stream.read(min(size, _CHUNK))):
        parts.append(chunk)
        size -= len(chunk)
    return b"".join(parts)


def opened(path: Path) -> IO[bytes]:
    """Return the file for reading, through gzip when it begins as gzip does."""
    stream = path.open("rb")
    gzipped = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    if not gzipped:
        return stream
    stream.close()
    return gzip.open(path, "rb")  # pyright: ignore[reportReturnType]


def arrays(path: PathLike) -> dict[str, np.ndarray]:
    """All arrays of an NPZ file by name; pickled ones are refused.

    Raises:
        DataError: when the file is missing, damaged, empty, not NPZ, or holds Python
            objects (which only unpickling could read).
    """
    path = existing(path)
    if not zipfile.is_zipfile(path):
        raise errors.DataError(
            f"{str(path)!r} is not an NPZ file, or is cut off; expected what "
            "numpy.savez writes, check or fetch it again"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays_ = {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise errors.DataError(
                f"{str(path)!r} holds pickled Python objects, which are never loaded; "
                "save arrays of numbers or of text (dtype 'U') instead"
            ) from None
        raise errors.DataError(
            f"{str(path)!r} is damaged ({errors.one_line(error)}); fetch it again"
        ) from None
    if not arrays_:
        raise errors.DataError(f"{str(path)!r} holds no arrays, expected some")
    return arrays_
