"""Changes of one image by a known amount: what :mod:`kanjax.data.augmentation` draws.

Images are (height, width, channels) on [0, 1]. Those in ``COLORS`` and ``MOVES`` are
RandAugment's (Cubuk et al. 2019, arXiv 1909.13719), of a magnitude m in [0, 1] and the
same with a sign.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy import ndimage
from jax.typing import ArrayLike
from jaxtyping import Float

Image = Float[Array, "height width channels"]


def warp(image: Image, move: Float[Array, "2 3"]) -> Image:
    """Return values at moved places, about the center, zeros outside.

    Args:
        image: the image.
        move: (2, 3), a matrix of (row, column) and a shift, as a share of the edges.
    """
    height, width, _ = image.shape
    size = jnp.array([height, width], image.dtype)
    middle = (size - 1) / 2
    places = jnp.stack(jnp.mgrid[:height, :width], axis=-1) - middle[None, None]
    target = middle + move[:, 2] * size
    places = places @ move[:, :2].T + target[None, None]
    coordinates = [places[..., 0], places[..., 1]]
    return jax.vmap(
        lambda channel: ndimage.map_coordinates(channel, coordinates, order=1),
        in_axes=-1,
        out_axes=-1,
    )(image)


def unchanged(image: Image, m: Array, signed: Array) -> Image:
    """Return the image, whatever the magnitude.

    Args:
        image: the image.
        m: the magnitude.
        signed: the same with a sign.
    """
    return image


def _stretch(image: Image, m: Array, signed: Array) -> Image:
    low, high = (
        extreme(image, (0, 1), keepdims=True) for extreme in (jnp.min, jnp.max)
    )
    return jnp.where(
        high > low, (image - low) / jnp.where(high > low, high - low, 1), image
    )


def _invert(image: Image, m: Array, signed: Array) -> Image:
    return 1 - image


def _posterize(image: Image, m: Array, signed: Array) -> Image:
    shades = 2 ** jnp.round(8 - 4 * m)
    return jnp.floor(jnp.minimum(image * shades, shades - 1)) / shades


def _solarize(image: Image, m: Array, signed: Array) -> Image:
    return jnp.where(image < 1 - m, image, 1 - image)


def _color(image: Image, m: Array, signed: Array) -> Image:
    return _blend(jnp.mean(image, axis=-1, keepdims=True), image, signed)


def _contrast(image: Image, m: Array, signed: Array) -> Image:
    return _blend(jnp.mean(image), image, signed)


def _brightness(image: Image, m: Array, signed: Array) -> Image:
    return _blend(jnp.zeros(()), image, signed)


def _sharpness(image: Image, m: Array, signed: Array) -> Image:
    kernel = jnp.array([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), "edge")
    height, width, _ = image.shape
    blurred = sum(
        kernel[i, j] * padded[i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
    )
    return _blend(jnp.asarray(blurred), image, signed)


def _blend(other: Array, image: Image, signed: Array) -> Image:
    return other + (1 + 0.9 * signed) * (image - other)


def gaussian_blur(image: Image, deviation: ArrayLike) -> Image:
    """Blur by a Gaussian whose weights sum to 1 inside of the image.

    Edges do not darken.

    Args:
        image: the image.
        deviation: the Gaussian's standard deviation in pixels, positive.
    """

    def weights(length: int) -> Array:
        places = jnp.arange(length)
        squares = (places[:, None] - places[None, :]) ** 2
        return jax.nn.softmax(-squares / (2 * deviation**2), axis=1).astype(image.dtype)

    rows, columns = (weights(length) for length in image.shape[:2])
    return jnp.einsum("hi,wj,ijc->hwc", rows, columns, image)


def mix_with(other: Array, image: Image, factor: Array | float) -> Image:
    """Return the image with its distance from another times a factor, on [0, 1].

    Args:
        other: of a shape that broadcasts to the image's.
        image: the image.
        factor: 1 for no change.
    """
    other = jnp.broadcast_to(other, image.shape)
    return jnp.clip(other + factor * (image - other), 0, 1)


def gray(image: Image) -> Float[Array, "height width 1"]:
    """Return the luma of red, green and blue (ITU-R 601), or the channels' mean.

    Args:
        image: the image.
    """
    if image.shape[-1] != 3:
        return jnp.mean(image, axis=-1, keepdims=True)
    return image @ jnp.array([[0.299], [0.587], [0.114]], image.dtype)


def turn_hue(image: Image, turn: Array) -> Image:
    """Turn the hue by a share of its circle; value and saturation stay.

    Args:
        image: the image; without three channels it has no hue, and stays.
        turn: from -1 to 1.
    """
    if image.shape[-1] != 3:
        return image
    red, green, blue = jnp.moveaxis(image, -1, 0)
    value, chroma = jnp.max(image, axis=-1), jnp.ptp(image, axis=-1)
    divisor = jnp.where(chroma > 0, chroma, 1)
    sextant = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(
            value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor
        ),
    )
    k = (sextant[None] + 6 * turn + jnp.array([5.0, 3, 1])[:, None, None]) % 6
    ramp = jnp.clip(jnp.minimum(k, 4 - k), 0, 1)
    return jnp.moveaxis(value[None] - chroma[None] * ramp, 0, -1).astype(image.dtype)


def _rotation(signed: Array) -> Array:
    c, s = jnp.cos(signed * math.pi / 6), jnp.sin(signed * math.pi / 6)
    return jnp.array([[c, -s, 0], [s, c, 0]])


def _shear(axis: int) -> Callable[[Array], Array]:
    return lambda signed: jnp.eye(2, 3).at[axis, 1 - axis].set(0.3 * signed)


def _shift(axis: int) -> Callable[[Array], Array]:
    return lambda signed: jnp.eye(2, 3).at[axis, 2].set(0.45 * signed)


COLORS = (
    _stretch,
    _invert,
    _posterize,
    _solarize,
    _color,
    _contrast,
    _brightness,
    _sharpness,
)
MOVES = (_rotation, _shear(0), _shear(1), _shift(0), _shift(1))
