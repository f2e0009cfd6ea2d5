"""The fast Walsh-Hadamard transform.

Fino, Algazi 1976, "Unified Matrix Treatment of the Fast Walsh-Hadamard Transform".
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

# One product with a small Hadamard matrix does the work of so many butterflies, each of
# which would go through memory once.
_RADIX = 4


def fwht(x: ArrayLike, *, axis: int = -1, normalize: bool = False) -> Array:
    """Return the product with the Hadamard matrix in natural (Sylvester) order along
    an axis.

    ``H_1 = [1]`` and ``H_2n = [[H_n, H_n], [H_n, -H_n]]``. In O(L log L), with nothing
    of size L x L; linear, its own transpose, and L times its own inverse.

    Args:
        x: (..., L, ...) with L a power of two.
        axis: the axis of length L.
        normalize: whether to divide by sqrt(L), which makes it orthogonal.

    Raises:
        ValueError: if L is not a power of two.

    Examples:
        >>> fwht(jnp.array([1.0, 0.0, 1.0, 1.0])).astype(int).tolist() == [3, 1, -1, 1]
        True
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        x = x.astype(float)
    length = x.shape[axis]
    if length < 1 or length & (length - 1):
        raise ValueError(
            f"x has length {length} along axis {axis}; it must be a power of two. Pad "
            "with zeros."
        )
    y = jnp.moveaxis(x, axis, -1)
    shape = y.shape
    inner = 1
    while inner < length:
        size = min(2**_RADIX, length // inner)
        matrix = jnp.asarray(_hadamard(size), y.dtype)
        if normalize:
            matrix = matrix / math.sqrt(size)
        if inner == 1:
            y = jnp.matmul(y.reshape(-1, size), matrix, precision="highest")
        else:
            y = jnp.matmul(matrix, y.reshape(-1, size, inner), precision="highest")
        inner *= size
    return jnp.moveaxis(y.reshape(shape), -1, axis)


@functools.cache
def _hadamard(size: int) -> np.ndarray:
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix
