"""The orthonormal Haar transform of images.

Source: Haar (1910), Zur Theorie der orthogonalen Funktionensysteme; the order and signs
of the bands are those of Nikonorov et al. (2025), cmKAN, arXiv 2503.11781.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.checks import as_floating


def haar_transform(x: Array) -> Float[Array, "*batch height width bands"]:
    """Return the means and differences of every 2 x 2 pixels, each at half the size.

    A channel becomes four: twice the mean, then the differences of rows, of columns and
    of diagonals. The transform is orthonormal.

    Args:
        x: (..., height, width, channels), both extents even.

    Raises:
        ValueError: if an extent is odd.

    Examples:
        >>> haar_transform(jnp.ones((4, 6, 3)))[0, 0, :4].tolist()
        [2.0, 0.0, 0.0, 0.0]
    """
    x = as_floating(x)
    if x.ndim < 3 or x.shape[-3] % 2 or x.shape[-2] % 2:
        raise ValueError(
            "x must have shape (..., height, width, channels) with even height and "
            f"width; got {x.shape}. Pad it by reflection."
        )
    a, b = x[..., 0::2, 0::2, :], x[..., 0::2, 1::2, :]
    c, d = x[..., 1::2, 0::2, :], x[..., 1::2, 1::2, :]
    bands = jnp.stack([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], -1)
    return (bands / 2).reshape(*a.shape[:-1], -1)


def inverse_haar_transform(y: Array) -> Float[Array, "*batch height width channels"]:
    """Return the image whose transform this is.

    Args:
        y: (..., height, width, 4 channels), as :func:`haar_transform` gives it.

    Raises:
        ValueError: if the last axis is not a multiple of four.
    """
    y = as_floating(y)
    if y.ndim < 3 or y.shape[-1] % 4:
        raise ValueError(
            "y must have shape (..., height, width, bands) with four bands for each "
            f"channel; got {y.shape}."
        )
    *batch, height, width, bands = y.shape
    mean, rows, columns, both = jnp.moveaxis(y.reshape(*y.shape[:-1], -1, 4) / 2, -1, 0)
    a, b = mean + rows + columns + both, mean + rows - columns - both
    c, d = mean - rows + columns - both, mean - rows - columns + both
    upper, lower = jnp.stack([a, b], axis=-2), jnp.stack([c, d], axis=-2)
    pairs = jnp.stack([upper, lower], axis=-4)
    return pairs.reshape(*batch, 2 * height, 2 * width, bands // 4)
