"""Readers of image sets in their published formats: IDX, CIFAR binary, MedMNIST.

Pixels stored as bytes are returned as float32 on [0, 1], images as
(n, height, width, channels).
"""

import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np

from kanjax.data import errors, examples, files

_IDX_TYPES = {
    0x08: ">u1",
    0x09: ">i1",
    0x0B: ">i2",
    0x0C: ">i4",
    0x0D: ">f4",
    0x0E: ">f8",
}
_CIFAR_PIXELS = 3 * 32 * 32
_CIFAR_10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_PARTS = ("train", "val", "test")
_MOST_CLASSES = 65_536


@overload
def read_idx(images_path: files.PathLike) -> np.ndarray: ...
@overload
def read_idx(
    images_path: files.PathLike, labels_path: files.PathLike
) -> examples.Dataset: ...
def read_idx(
    images_path: files.PathLike, labels_path: files.PathLike | None = None
) -> examples.Dataset | np.ndarray:
    """Read IDX files, as MNIST and its relatives ship, plain or gzipped.

    Args:
        images_path: an IDX file.
        labels_path: the IDX file of its labels, integers from 0.

    Returns:
        With labels a data set, x (n, height, width, 1); without, the array as it
        is stored.

    Raises:
        DataError: when a file is missing, cut off or not IDX, or the two do not match.

    Source: LeCun, Cortes and Burges, the MNIST database, "file formats".
    """
    images = _idx(images_path)
    if labels_path is None:
        return images
    labels = _idx(labels_path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise errors.DataError(
            f"{str(labels_path)!r} has the shape {labels.shape} and type "
            f"{labels.dtype}, expected integer labels (n,); are the two paths swapped?"
        )
    if images.ndim < 2 or len(images) != len(labels):
        raise errors.DataError(
            f"{str(images_path)!r} has the shape {images.shape} and "
            f"{str(labels_path)!r} {len(labels)} labels, expected one label an image; "
            "give the two files of the same part"
        )
    y, names = _classes(labels, labels_path)
    return examples.Dataset(
        _pixels(images), y, (), names, "classification", Path(images_path).name
    )


def read_cifar(
    paths: files.PathLike | Sequence[files.PathLike],
    *,
    labels: Literal["fine", "coarse"] = "fine",
) -> examples.Dataset:
    """Read batches of the binary version of CIFAR-10 or CIFAR-100.

    Which of the two it is shows in the size of a record: 3,073 bytes (label, red,
    green, blue) or 3,074 (coarse label, fine label, red, green, blue).

    Args:
        paths: one or more ``*.bin`` files, concatenated in this order.
        labels: which labels of CIFAR-100 to take.

    Returns:
        A data set with x (n, 32, 32, 3).

    Raises:
        DataError: when a file is missing, cut off, or of another format; the "python
            version" is pickled and refused.

    Source: Krizhevsky, the CIFAR-10 and CIFAR-100 data sets, "binary version".
    """
    if labels not in ("fine", "coarse"):
        raise ValueError(f"labels must be 'fine' or 'coarse', got {labels!r}")
    single = isinstance(paths, str | os.PathLike)
    batches = [_cifar(path) for path in ([paths] if single else paths)]
    if not batches:
        raise ValueError("paths must name at least one file, got none")
    if len({batch.shape[1] for batch in batches}) > 1:
        raise errors.DataError(
            "the files mix CIFAR-10 and CIFAR-100; read the two apart"
        )
    records = np.concatenate(batches)
    before = records.shape[1] - _CIFAR_PIXELS
    x = records[:, before:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    if before == 1:
        column, names, name = 0, _CIFAR_10, "cifar10"
    else:
        column, classes = (1, 100) if labels == "fine" else (0, 20)
        names, name = tuple(map(str, range(classes))), "cifar100"
    y = records[:, column].astype(np.int32)
    return examples.Dataset(_pixels(x), y, (), names, "classification", name)


def read_medmnist(path: files.PathLike) -> examples.Split:
    """Read a MedMNIST file, with its own training, validation and test part.

    Args:
        path: of the ``.npz`` file.

    Returns:
        The three parts, x (n, height, width, channels) or, for a 3D set,
        (n, depth, height, width, 1); y (n,) int32 classes, or (n, labels) float32 of
        0 and 1 for a set with several labels an image. ``rows`` counts in each part.

    Raises:
        DataError: when it is missing, damaged, pickled, or lacks one of its arrays.

    Source: Yang et al., MedMNIST v2, 2023 (arXiv 2110.14795).
    """
    stored = files.arrays(path)
    wanted = [f"{split}_{kind}" for split in _PARTS for kind in ("images", "labels")]
    absent = [name for name in wanted if name not in stored]
    if absent:
        raise errors.DataError(
            f"{str(path)!r} lacks the arrays {errors.listing(absent)} and has "
            f"{errors.listing(stored)}, expected a MedMNIST file"
        )
    parts = []
    for split in _PARTS:
        images, labels = stored[f"{split}_images"], stored[f"{split}_labels"]
        labels = labels[:, None] if labels.ndim == 1 else labels
        if images.ndim not in (3, 4, 5) or labels.ndim != 2:
            raise _medmnist_shapes(path, split, images, labels)
        if len(images) != len(labels) or labels.dtype.kind not in "iub":
            raise _medmnist_shapes(path, split, images, labels)
        single = labels.shape[1] == 1
        y = _classes(labels[:, 0], path)[0] if single else labels
        task = "classification" if single else "regression"
        parts.append(examples.examples(_pixels(images), y, task))
    train, validation, test = parts
    rows = tuple(np.arange(len(split.y)) for split in parts)
    return examples.Split(train, validation, test, (rows[0], rows[1], rows[2]))


def _idx(path: files.PathLike) -> np.ndarray:
    path = files.existing(path)
    try:
        with files.opened(path) as stream:
            return _idx_array(stream, path)
    except errors.DataError:
        raise
    except files.DAMAGE as error:
        raise errors.DataError(
            f"{str(path)!r} is damaged or cut off ({errors.one_line(error)}); fetch "
            "it again"
        ) from None


def _idx_array(stream, path: Path) -> np.ndarray:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES or not head[3]:
        raise errors.DataError(
            f"{str(path)!r} begins with the bytes {head.hex(' ') or '(none)'}, "
            "expected an IDX file (00 00, a type, a number of axes); unpack archives "
            "other than gzip first"
        )
    dtype, axes = np.dtype(_IDX_TYPES[head[2]]), head[3]
    sizes = stream.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise errors.DataError(
            f"{str(path)!r} is cut off within its header; fetch it again"
        )
    shape = struct.unpack(f">{axes}I", sizes)
    expected = math.prod(shape) * dtype.itemsize
    body = files.at_most(stream, expected + 1)
    if len(body) != expected:
        came = f"{len(body)} bytes" if len(body) < expected else "more"
        raise errors.DataError(
            f"{str(path)!r} promises {expected} bytes of shape {shape} and has {came}, "
            "so it is cut off or damaged; fetch it again"
        )
    array = np.frombuffer(body, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _cifar(path: files.PathLike) -> np.ndarray:
    path = files.existing(path)
    raw = np.fromfile(path, np.uint8)
    first = int(raw[0]) if raw.size else -1
    # Labels are below 100, so neither a pickle nor an archive begins like a record.
    if first == 0x80 or bytes(raw[:2]) == b"(d":
        raise errors.DataError(
            f"{str(path)!r} is CIFAR's python version, a pickle, which is never "
            "loaded; take the binary version (data_batch_1.bin or train.bin)"
        )
    if bytes(raw[:2]) == b"\x1f\x8b":
        raise errors.DataError(
            f"{str(path)!r} is a gzip archive, expected the *.bin files in it; unpack "
            "it first"
        )
    for before, limits in ((1, (10,)), (2, (20, 100))):
        size = before + _CIFAR_PIXELS
        if raw.size and raw.size % size == 0:
            records = raw.reshape(-1, size)
            if np.all(records[:, :before] < np.asarray(limits)):
                return records
    raise errors.DataError(
        f"{str(path)!r} has {raw.size} bytes, expected whole records of 3073 "
        "(CIFAR-10) or 3074 (CIFAR-100) with valid labels, so it is cut off or another "
        "format; fetch it again"
    )


def _pixels(images: np.ndarray) -> np.ndarray:
    """Bytes to [0, 1], other numbers as they are; with a channel axis, in float32."""
    x = images.astype(np.float32)
    if images.dtype == np.uint8:
        x /= np.float32(255)
    volume = images.ndim == 4 and images.shape[-1] not in (1, 3, 4)
    return x[..., None] if images.ndim == 3 or volume else x


def _classes(
    labels: np.ndarray, path: files.PathLike
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices as stored, so that the parts of a set agree, and their names."""
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high >= _MOST_CLASSES:
        raise errors.DataError(
            f"{str(path)!r} has labels from {low} to {high}, expected classes counted "
            f"from 0, at most {_MOST_CLASSES}"
        )
    return labels.astype(np.int32), tuple(map(str, range(high + 1)))


def _medmnist_shapes(
    path: files.PathLike, split: str, images: np.ndarray, labels: np.ndarray
) -> errors.DataError:
    return errors.DataError(
        f"{str(path)!r}: {split}_images {images.shape} and {split}_labels "
        f"{labels.shape} ({labels.dtype}) do not match, expected images "
        "(n, 28, 28[, 3]) and integer labels (n, 1)"
    )
