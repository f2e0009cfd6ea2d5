"""Checkpoints of any pytree of arrays, on orbax: whole or absent, and checked.

A checkpoint is a directory that holds one numbered version: the arrays, as orbax writes
them, and ``metadata.json`` with the shape and type of each array, the digest of each
file and what the caller adds. A new version is written beside the old one, which goes
only when the new one is complete. Nothing in it is ever executed (no pickle).
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_FORMAT = 1
_DRAFT = ".draft"


class CheckpointError(ValueError):
    """A checkpoint that is absent, damaged, or of another run."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where and when a fit is stored, and whether to go on from what is there.

    Attributes:
        path: a directory. What it held is replaced, unless ``resume`` is set.
        every: steps between checkpoints, rounded up to the next evaluation; about ten
            in all if None. There is one at the end and one on Ctrl-C besides.
        config: what JSON can express; stored, and going on refuses another.
        resume: go on from the checkpoint, if there is one, as if never interrupted, bit
            for bit. ``steps`` may be larger than before; all else must be the same.
    """

    path: str | os.PathLike[str]
    every: int | None = None
    config: Mapping[str, Any] | None = None
    resume: bool = False


def save(
    path: str | os.PathLike[str],
    tree: Any,
    *,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint, replacing the one at ``path`` once the new one is complete.

    Args:
        path: a directory; made if absent.
        tree: a pytree of arrays held by this process; PRNG keys are stored as their
            data.
        metadata: what JSON can express, to be checked by :func:`restore`.

    Raises:
        CheckpointError: if ``path`` cannot be written; the old version is kept.
    """
    root = pathlib.Path(path).absolute()
    named = [(name, *_to_numpy(leaf)) for name, leaf in _named_leaves(tree)]
    described = {
        name: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "key": key,
        }
        for name, array, key in named
    }
    document = {
        "format": _FORMAT,
        "arrays": described,
        "metadata": dict(metadata or {}),
    }
    # Orbax refuses arrays without elements; the description alone restores those.
    arrays = {str(i): array for i, (_, array, _) in enumerate(named) if array.size}
    try:
        _write(root, document, arrays)
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {root}: {error}") from error


def restore(
    path: str | os.PathLike[str],
    like: Any,
    *,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """Read a checkpoint back as a pytree built like ``like``, bit for bit.

    Args:
        path: the directory given to :func:`save`.
        like: a pytree of arrays or ``jax.ShapeDtypeStruct`` with the structure, shapes
            and types to expect. A leaf that is a jax array says where to put the
            restored one; any other leaf comes back as a NumPy array.
        metadata: entries that the stored metadata must agree with.

    Raises:
        CheckpointError: if there is none, it is damaged, or it is of another run: an
            entry of ``metadata``, a shape, a type or the structure differs.
    """
    version = _version(path)
    document = _read_document(version)
    if metadata is not None:
        _check_same_run(path, document["metadata"], metadata)
    described, leaves = document["arrays"], _named_leaves(like)
    _check_structure(path, described, leaves)
    stored = _read_arrays(version, document["files"])
    restored = []
    for i, (name, leaf) in enumerate(leaves):
        about = described[name]
        shape, dtype = tuple(about["shape"]), jnp.dtype(about["dtype"])
        array = np.asarray(stored.get(str(i), np.empty(shape, dtype)))
        if array.shape != shape or array.dtype != dtype:
            raise _damaged(version, f"the array {name!r} is not what was written")
        restored.append(_like(array, leaf))
    return jax.tree.unflatten(jax.tree.structure(like), restored)


def metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the metadata given to :func:`save`.

    Raises:
        CheckpointError: if there is no checkpoint at ``path`` or it is damaged.
    """
    return _read_document(_version(path))["metadata"]


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` holds a complete checkpoint (which may be damaged)."""
    return bool(_versions(pathlib.Path(path)))


def _write(
    root: pathlib.Path, document: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    root.mkdir(parents=True, exist_ok=True)
    old = _versions(root)
    draft = root / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    if arrays:
        with _orbax() as checkpointer:
            checkpointer.save(draft / "arrays", arrays)
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    digests = {path.relative_to(draft).as_posix(): _digest(path) for path in files}
    text = json.dumps({**document, "files": digests}, indent=1)
    (draft / "metadata.json").write_text(text, encoding="utf-8")
    draft.rename(root / f"{old[-1][0] + 1 if old else 1:06d}")
    for _, version in old:
        shutil.rmtree(version, ignore_errors=True)


def _versions(root: pathlib.Path) -> list[tuple[int, pathlib.Path]]:
    if not root.is_dir():
        return []
    return sorted((int(p.name), p) for p in root.iterdir() if p.name.isdecimal())


def _version(path: str | os.PathLike[str]) -> pathlib.Path:
    versions = _versions(pathlib.Path(path).absolute())
    if not versions:
        raise CheckpointError(f"there is no checkpoint at {os.fspath(path)}.")
    return versions[-1][1]


def _read_document(version: pathlib.Path) -> dict[str, Any]:
    try:
        document = json.loads((version / "metadata.json").read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise CheckpointError(
                f"the checkpoint {version} has format {document['format']}; this "
                f"version of kanjax reads format {_FORMAT}."
            )
        for entry in ("arrays", "files"):
            if not isinstance(document[entry], dict):
                raise TypeError(f"no description of the {entry}")
        document["metadata"] = dict(document["metadata"])
    except (OSError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise _damaged(version, error) from error
    except json.JSONDecodeError as error:
        raise _damaged(version, error) from error
    return document


def _read_arrays(version: pathlib.Path, digests: dict[str, str]) -> dict[str, Any]:
    # Before orbax opens them: on damaged files its readers leave failures behind that
    # surface later, in whatever runs then.
    for name, digest in digests.items():
        try:
            is_whole = _digest(version / name) == digest
        except OSError as error:
            raise _damaged(version, error) from error
        if not is_whole:
            raise _damaged(version, f"{name} is not what was written")
    if not digests:
        return {}
    try:
        with _orbax() as checkpointer:
            return dict(checkpointer.restore(version / "arrays"))
    # The storage libraries below raise whatever they like on damaged files.
    except Exception as error:
        raise _damaged(version, error) from error


def _damaged(version: pathlib.Path, why: object) -> CheckpointError:
    first_line = (str(why).splitlines() or [type(why).__name__])[0][:200]
    return CheckpointError(
        f"the checkpoint {version} is damaged ({first_line}). Delete it and start anew."
    )


def _check_same_run(
    path: str | os.PathLike[str], stored: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    # What JSON cannot tell apart, a tuple from a list, does not differ.
    expected = json.loads(json.dumps(dict(expected)))
    differing = [
        f"{name} was {stored.get(name)!r} and is now {value!r}"
        for name, value in expected.items()
        if stored.get(name) != value
    ]
    if differing:
        raise CheckpointError(
            f"the checkpoint {os.fspath(path)} is of another config: "
            + "; ".join(differing)
            + "."
        )


def _check_structure(
    path: str | os.PathLike[str],
    described: dict[str, Any],
    leaves: list[tuple[str, Any]],
) -> None:
    where = f"the checkpoint {os.fspath(path)} is of another config"
    names = [name for name, _ in leaves]
    if names != list(described):
        odd = sorted(set(names) ^ set(described)) or names
        raise CheckpointError(
            f"{where}: it holds {len(described)} arrays where {len(names)} are "
            f"expected; {odd[0]!r} is in one only."
        )
    for name, leaf in leaves:
        about = described[name]
        shape, dtype, key = _signature(leaf)
        came = (tuple(about["shape"]), about["dtype"], about["key"])
        if came != (shape, dtype, key):
            raise CheckpointError(
                f"{where}: {name!r} is {about['dtype']}{about['shape']} in it, "
                f"{dtype}{list(shape)} is expected."
            )


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    paths, _ = jax.tree.flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _is_key(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _to_numpy(leaf: Any) -> tuple[np.ndarray, str | None]:
    if _is_key(leaf):
        return np.asarray(jax.random.key_data(leaf)), str(jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        raise CheckpointError(
            "an array is spread over several processes; bring it together first, "
            "e.g. with kanjax.training.sharding.gather."
        )
    return np.asarray(leaf), None


def _signature(leaf: Any) -> tuple[tuple[int, ...], str, str | None]:
    if _is_key(leaf):
        data = jax.eval_shape(jax.random.key_data, leaf)
        impl = str(jax.random.key_impl(leaf)) if isinstance(leaf, jax.Array) else None
        return data.shape, str(data.dtype), impl
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return tuple(leaf.shape), str(leaf.dtype), None


def _like(array: np.ndarray, leaf: Any) -> Any:
    if _is_key(leaf):
        wrapped = jax.random.wrap_key_data(
            jnp.asarray(array), impl=jax.random.key_impl(leaf)
        )
        return jax.device_put(wrapped, leaf.sharding)
    if isinstance(leaf, jax.Array):
        # Only a leaf that was placed on purpose stays tied to its devices.
        return jax.device_put(array, leaf.sharding if leaf.committed else None)
    return array


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Open a checkpointer, with the library's advice on its own use kept off the
    screen.
    """
    import orbax.checkpoint

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with orbax.checkpoint.PyTreeCheckpointer() as checkpointer:
            yield checkpointer
    finally:
        logger.setLevel(level)
