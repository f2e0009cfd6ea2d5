"""Readers of tables: CSV, TSV, Parquet and NPZ."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kanjax.data import errors, examples, files, text_tables

if TYPE_CHECKING:
    import pandas as pd

_TEXT = (".csv", ".tsv", ".tab", ".txt")
_READABLE = ".csv, .tsv, .tab, .txt (each also .gz), .parquet or .npz"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A table with its target named, before any preprocessing.

    Attributes:
        frame: a pandas ``DataFrame``, features and targets.
        targets: the target columns; several only in regression.
        task: ``None`` where it is yet to be inferred.
        name: what reports call it.
        notes: what reading changed.
    """

    frame: "pd.DataFrame"
    targets: tuple[str, ...]
    task: examples.Task | None = None
    name: str = "table"
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        rows, columns = self.frame.shape
        return f"Table({self.name!r}, {rows} x {columns}, targets={self.targets})"


def read_table(
    source: "files.PathLike | pd.DataFrame",
    *,
    target: str | Sequence[str] | None = None,
    task: examples.Task | None = None,
    ignore: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> Table:
    """Read a table and name its target.

    Args:
        source: CSV, TSV (separators are recognised, gzip too), Parquet or NPZ; or a
            pandas ``DataFrame`` that was read already.
        target: the column to predict, or several to regress on; an NPZ file may leave
            it out and have an array ``y``.
        task: ``"regression"`` or ``"classification"``; inferred later if not given.
        ignore: columns to leave out.
        categorical: columns of a text table whose cells stay as they are written, such
            as codes that begin with zeros.

    Raises:
        DataError: when the file is missing, unreadable, empty, or has no such column.
    """
    if task is not None:
        examples.check_task(task)
    if isinstance(source, str | os.PathLike):
        path, shown = Path(source), repr(str(source))
        frame, notes = _read(files.existing(path), categorical=categorical)
    else:
        path, shown = Path("DataFrame"), "the DataFrame"
        frame, notes = source.rename(columns=str), ()
    absent = [name for name in ignore if name not in frame.columns]
    if absent:
        raise errors.DataError(
            f"ignore names {errors.listing(absent)}, which {shown} has not; its "
            f"columns are {errors.listing(frame.columns)}"
        )
    frame = frame.drop(columns=list(ignore))
    if target is None and path.suffix.lower() == ".npz":
        candidates = [name for name in frame.columns if _stem(name) in ("y", "Y")]
        target = candidates or None
    if target is None:
        raise errors.DataError(
            f"{shown} needs a target column; name one of "
            f"{errors.listing(frame.columns)}"
        )
    if path.suffix.lower() == ".npz":
        target = _npz_targets(frame, target)
    targets = target_columns(frame, target)
    return Table(frame, targets, task, path.stem, notes)


def read_frame(path: files.PathLike, *, text: bool = False) -> "pd.DataFrame":
    """Read a table without naming a target, e.g. new rows to predict.

    Args:
        path: as for :func:`read_table`.
        text: whether the cells of a text table stay as they are written. So a
            preprocessor takes ``007`` for what it was in training, a category or a
            number, whatever is in the other new rows.

    Raises:
        DataError: when the file is missing, unreadable or empty.
    """
    return _read(files.existing(path), text=text)[0]


def read_npz(
    path: files.PathLike,
    *,
    target: str = "y",
    task: examples.Task | None = None,
) -> examples.Dataset:
    """Read arrays ``x`` (or ``X``) and a target array from an NPZ file.

    Args:
        path: what ``numpy.savez(path, x=..., y=...)`` writes; x (n, features) or
            images (n, height, width, channels), y (n,), (n, outputs) or labels.
        target: the name of the target array.
        task: inferred from the target if not given.

    Raises:
        DataError: when the file is damaged or pickled, or an array is absent or of
            the wrong shape.
    """
    arrays = files.arrays(path)
    x = _features(arrays)
    if target == "y" and "Y" in arrays and "y" not in arrays:
        target = "Y"
    if x is None or target not in arrays:
        raise errors.DataError(
            f"{str(path)!r} has the arrays {errors.listing(arrays)}, expected 'x' and "
            f"{target!r}; read a table of named columns with read_table"
        )
    y = arrays[target]
    if x.ndim < 2 or x.dtype.kind not in "iufb" or y.ndim not in (1, 2):
        raise errors.DataError(
            f"{str(path)!r} has x {x.shape} ({x.dtype}) and {target} {y.shape}, "
            "expected numbers (n, ...) and a target (n,) or (n, outputs)"
        )
    if len(x) != len(y):
        raise errors.DataError(
            f"{str(path)!r} has {len(x)} rows in x and {len(y)} in {target}, expected "
            "as many"
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    task = task or ("regression" if y.ndim == 2 else infer_task(y))
    names = _feature_names(arrays, x)
    if task == "classification":
        if y.ndim != 1:
            raise errors.DataError(
                f"{str(path)!r} has {target} {y.shape}, expected one label a row (n,)"
            )
        labels, y = np.unique(y, return_inverse=True)
        outputs = tuple(str(label) for label in labels.tolist())
    else:
        outputs, y = _outputs(path, target, y)
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    return examples.Dataset(x, y, names, outputs, task, Path(path).stem)


def infer_task(values: np.ndarray) -> examples.Task:
    """Return the task that target values suggest; missing ones are left out beforehand.

    Text and booleans are classes. So are whole numbers with at most 20 distinct
    values, at least five rows to a value on average. All else is a quantity.
    """
    if values.dtype.kind not in "iuf":
        return "classification"
    if not np.array_equal(values, np.floor(values)):
        return "regression"
    few = np.unique(values).size <= min(20, len(values) // 5)
    return "classification" if few else "regression"


def target_columns(
    frame: "pd.DataFrame", target: str | Sequence[str]
) -> tuple[str, ...]:
    """Return the names of the target columns, which must be there.

    Raises:
        DataError: when one is absent (with the nearest name).
    """
    targets = (target,) if isinstance(target, str) else tuple(target)
    for name in targets:
        if name not in frame.columns:
            hint = errors.nearest(name, map(str, frame.columns))
            raise errors.DataError(f"there is no target column {name!r}; {hint}")
    if not targets or len(set(targets)) < len(targets):
        raise errors.DataError(
            f"target must name at least one column, each once, got {targets}"
        )
    return targets


def _read(
    path: Path, *, text: bool = False, categorical: Sequence[str] = ()
) -> tuple["pd.DataFrame", tuple[str, ...]]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-1] if suffixes else ""
    if suffix == ".gz" and len(suffixes) > 1:
        suffix = suffixes[-2]
    if suffix in _TEXT:
        frame, notes = text_tables.read(path, text=text, categorical=categorical)
    elif suffix in (".parquet", ".pq"):
        frame, notes = _read_parquet(path)
    elif suffix == ".npz":
        frame, notes = _read_npz(path)
    else:
        raise errors.DataError(
            f"{str(path)!r} ends in {suffix!r}, expected a table in {_READABLE}"
        )
    if frame.empty:
        raise errors.DataError(
            f"{str(path)!r} is an empty table ({frame.shape[0]} rows, "
            f"{frame.shape[1]} columns), expected a header and rows"
        )
    return frame, notes


def _read_parquet(path: Path) -> tuple["pd.DataFrame", tuple[str, ...]]:
    import pandas as pd

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except ImportError:
        raise errors.DataError(
            f"reading {str(path)!r} needs pyarrow; pip install kanjax[parquet], or "
            "save the table as CSV"
        ) from None
    except (*files.DAMAGE, NotImplementedError, KeyError) as error:
        raise errors.DataError(
            f"{str(path)!r} is not a readable Parquet file, or is cut off "
            f"({errors.one_line(error)}); fetch it again"
        ) from None
    notes = ()
    if frame.index.name is not None:
        notes = (f"the index {frame.index.name!r} is not used as a feature",)
    return frame.reset_index(drop=True), notes


def _read_npz(path: Path) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """Return a frame with a column for each column of ``x`` and of every other
    array.
    """
    import pandas as pd

    arrays = files.arrays(path)
    x = _features(arrays)
    names = arrays.pop("feature_names", None)
    sizes = {name: array.shape[:1] for name, array in arrays.items()}
    if len(set(sizes.values())) != 1 or () in sizes.values():
        raise errors.DataError(
            f"{str(path)!r} has arrays of different lengths ({_shapes(arrays)}), "
            "expected as many rows in each"
        )
    parts = []
    for name, array in arrays.items():
        flat = array.reshape(len(array), -1) if array.size else array[:, None]
        columns = [name] if flat.shape[1] == 1 else _numbered(name, flat.shape[1])
        if array is x and names is not None and names.shape == flat.shape[1:]:
            columns = [str(each) for each in names]
        parts.append(pd.DataFrame(flat, columns=columns))
    frame = pd.concat(parts, axis=1)
    text_tables.refuse_duplicates(path, list(frame.columns))
    return frame, ()


def _npz_targets(frame: "pd.DataFrame", target: str | Sequence[str]) -> Sequence[str]:
    """Return the names of an array's columns, made from its own."""
    names = [target] if isinstance(target, str) else list(target)
    targets: list[str] = []
    for name in names:
        spread = [each for each in frame.columns if _stem(each) == name]
        targets += [name] if name in frame.columns or not spread else spread
    return targets


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}{i}" for i in range(count)]


def _features(arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    return arrays["x"] if "x" in arrays else arrays.get("X")


def _feature_names(arrays: dict[str, np.ndarray], x: np.ndarray) -> tuple[str, ...]:
    if x.ndim != 2:
        return ()
    names = arrays.get("feature_names")
    if names is not None and names.shape == x.shape[1:]:
        return tuple(str(each) for each in names)
    return tuple(_numbered("x", x.shape[1]))


def _outputs(
    path: files.PathLike, target: str, y: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    if y.dtype.kind not in "iufb":
        raise errors.DataError(
            f"{str(path)!r}: the target {target!r} holds text ({y.dtype}), which "
            "cannot be regressed on; give numbers, or task='classification'"
        )
    y = y.reshape(len(y), -1).astype(float)
    count = y.shape[1]
    return ((target,) if count == 1 else tuple(_numbered(target, count))), y


def _shapes(arrays: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
