"""Handwritten digits: MNIST from a folder, or scikit-learn's small set without one."""

import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from kanjax.data import bundled, images
from kanjax.data.examples import Examples

_TRAIN = 1347
"""Three quarters of scikit-learn's 1,797 digits."""


def handwritten_digits(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[Examples, Examples]:
    """Read digits to train on and to test on, each a row of numbers from 0 to 1.

    Args:
        folder: with MNIST's four files (``train-images-idx3-ubyte`` and its like); None
            takes scikit-learn's digits of 8 x 8, 1,347 and 450 in a fixed order.

    Returns:
        ``(train, test)``: x (n, pixels) of float32, y (n,) of the classes 0 to 9.

    Raises:
        DataError: if a file is absent or damaged.

    Examples:
        >>> from kanjax import data
        >>> train, test = data.handwritten_digits()
        >>> train.x.shape, test.y.shape
        ((1347, 64), (450,))
    """
    if folder is not None:
        train, test = (
            _read(pathlib.Path(folder), prefix) for prefix in ("train", "t10k")
        )
        return train, test
    digits = bundled.load("digits")
    # Indexed by NumPy, where it needs no programs.
    order = np.asarray(jax.random.permutation(jax.random.key(0), len(digits.x)))
    x = np.asarray(digits.x / 16, np.float32)[order]
    y = np.asarray(digits.y)[order]
    train, test = (
        Examples(jnp.asarray(x[rows]), jnp.asarray(y[rows]))
        for rows in (slice(_TRAIN), slice(_TRAIN, None))
    )
    return train, test


def _read(folder: pathlib.Path, prefix: str) -> Examples:
    pixels = images.read_idx(folder / f"{prefix}-images-idx3-ubyte")
    labels = images.read_idx(folder / f"{prefix}-labels-idx1-ubyte")
    x = jnp.asarray(pixels, jnp.float32).reshape(len(pixels), -1) / 255
    return Examples(x, jnp.asarray(labels, jnp.int32))
