"""Trained networks as two seeds and a few numbers, saved and restored.

Li, Farkhoor, Liu, Yosinski 2018, arXiv 1804.08838, section 3: a solution found in a
random subspace has a description of ``dimension`` numbers, however many parameters
there are.
"""

import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import files, pytrees
from kanjax.landscape import subspaces

Params = pytrees.Params


class Description(NamedTuple):
    """All that is needed to draw a network's parameters anew.

    Attributes:
        start: the key that the initial parameters were drawn with.
        key: the key that the subspace was drawn with.
        kind: of the subspace.
        v: (dimension,), the coordinates, as they will be restored.
        bits: for each coordinate.
    """

    start: Array
    key: Array
    kind: str
    v: Float[Array, " dimension"]
    bits: int

    @property
    def total_bits(self) -> int:
        """The length of the description: coordinates, two keys, and a range."""
        keys = sum(jax.random.key_data(k).size * 32 for k in (self.start, self.key))
        return self.v.size * self.bits + keys + (64 if self.bits < 32 else 0)


def compress(
    start: Array,
    key: Array,
    v: Float[Array, " dimension"],
    *,
    kind: subspaces.Kind = "fastfood",
    bits: int = 32,
) -> Description:
    """Describe the parameters ``init(start) + P(key) v``.

    Args:
        start: the key that was given to init.
        key: the key that was given to subspace.
        v: the coordinates that were found.
        kind: of the subspace.
        bits: for each coordinate; fewer than 32 round them to as many evenly spaced
            values between their least and greatest.

    Raises:
        ValueError: for an unknown kind, or bits not from 1 to 32.
    """
    if kind not in subspaces.KINDS:
        raise ValueError(
            f"kind is {kind!r}; it must be one of {', '.join(subspaces.KINDS)}."
        )
    if not 1 <= bits <= 32:
        raise ValueError(f"bits is {bits}; it must be from 1 to 32.")
    v = jnp.asarray(v, jnp.float32)
    if bits < 32:
        codes, low, step = _quantize(np.asarray(v), bits)
        v = jnp.asarray(low + step * codes, jnp.float32)
    return Description(start, key, kind, v, bits)


def decompress(description: Description, init: Callable[[Array], Params]) -> Params:
    """Draw the parameters of a description anew.

    Args:
        description: what :func:`compress` returned.
        init: what drew the initial parameters.
    """
    params = init(description.start)
    kind = cast(subspaces.Kind, description.kind)
    dimension = description.v.size
    space = subspaces.subspace(description.key, params, dimension, kind=kind)
    return subspaces.place(space, params, description.v)


def save_description(description: Description, path: str | os.PathLike[str]) -> None:
    """Write a description to an ``.npz`` file, whole or not at all.

    Args:
        description: what to write.
        path: of the file.
    """
    v = np.asarray(description.v)
    arrays: dict[str, np.ndarray] = {"v": v}
    if description.bits < 32:
        codes, low, step = _quantize(v, description.bits)
        packed = np.packbits(
            (codes[:, None].astype(np.uint32) >> np.arange(description.bits)) & 1
        )
        arrays = {
            "codes": packed,
            "range": np.array([low, step], np.float32),
            "count": np.array(v.size),
        }
    for name in ("start", "key"):
        arrays[name] = np.asarray(jax.random.key_data(getattr(description, name)))
        arrays[f"{name}_type"] = np.array(
            str(jax.random.key_impl(getattr(description, name)))
        )
    arrays["kind"] = np.array(description.kind)
    arrays["bits"] = np.array(description.bits)
    with files.replacing(path) as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def load_description(path: str | os.PathLike[str]) -> Description:
    """Read a description that save_description wrote.

    Args:
        path: of the file.

    Raises:
        OSError: if the file cannot be opened.
        ValueError: if the file is damaged or holds something else.
    """
    try:
        return _read(path)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{os.fspath(path)} is damaged: {error}.") from error


def _read(path: str | os.PathLike[str]) -> Description:
    path = pathlib.Path(path)
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        lacking = {"kind", "bits", "start", "key"} - set(file.files)
        if lacking:
            raise ValueError(
                f"{os.fspath(path)} is no description: it lacks {sorted(lacking)}."
            )
        start, key = (
            jax.random.wrap_key_data(
                jnp.asarray(file[name]), impl=str(file[f"{name}_type"])
            )
            for name in ("start", "key")
        )
        bits = int(file["bits"])
        if bits == 32:
            v = file["v"]
        else:
            count, (low, step) = int(file["count"]), file["range"]
            flags = np.unpackbits(file["codes"], count=count * bits)
            codes = flags.reshape(count, bits) @ (1 << np.arange(bits, dtype=np.int64))
            v = low + step * codes
        v = jnp.asarray(v, jnp.float32)
        return Description(start, key, str(file["kind"]), v, bits)


def _quantize(v: np.ndarray, bits: int) -> tuple[np.ndarray, np.float32, np.float32]:
    """Integer codes, the least value, and the distance between two values."""
    low, high = np.float32(v.min()), np.float32(v.max())
    step = np.float32((high - low) / (2**bits - 1)) or np.float32(1.0)
    codes = np.rint((v.astype(np.float64) - low) / step)
    return np.clip(codes, 0, 2**bits - 1), low, step
