"""Damaged images, to see what a classifier makes of them.

Nine of the corruptions of Hendrycks, Dietterich (2019), "Benchmarking neural network
robustness to common corruptions and perturbations", arXiv 1903.12261, with their five
severities; MedMNIST-C (Di Salvo et al. 2024, arXiv 2406.17536) has others for each kind
of medical image. Images are (height, width, channels) on [0, 1].
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from kanjax.checks import as_floating, check_image_range
from kanjax.data import image_operations

Image = Float[Array, "height width channels"]

SEVERITIES = (1, 2, 3, 4, 5)
# Of 224 pixels an edge, for which the deviations of blurs are given.
_EDGE = 224
# The table of JPEG's annex K.1 for luminance, at quality 50.
_JPEG = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def corrupt(
    key: Array,
    images: Float[Array, "batch height width channels"],
    name: str,
    severity: int,
) -> Float[Array, "batch height width channels"]:
    """Return images with one corruption, each drawn by itself.

    Args:
        key: draws what is random.
        images: (batch, height, width, channels) on [0, 1].
        name: of :data:`CORRUPTIONS`.
        severity: from 1 to 5.

    Raises:
        ValueError: for an unknown name or severity, or images of another shape, or with
            values outside [0, 1].

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> images = jnp.full((3, 16, 16, 1), 0.5)
        >>> corrupt(jax.random.key(0), images, "pixelate", 3).shape
        (3, 16, 16, 1)
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"name must be one of {tuple(CORRUPTIONS)}; got {name!r}.")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be from 1 to 5; got {severity!r}.")
    images = as_floating(images)
    if images.ndim != 4:
        raise ValueError(
            "images must have shape (batch, height, width, channels); got "
            f"{images.shape}."
        )
    check_image_range(images, "images")
    keys = jax.random.split(key, len(images))
    change = CORRUPTIONS[name]
    return jax.vmap(lambda key, image: change(key, image, severity))(keys, images)


def mean_corruption_error(
    errors: Mapping[str, ArrayLike], baseline: Mapping[str, ArrayLike] | None = None
) -> float:
    """Return the mean error over corruptions, of means over severities.

    Args:
        errors: for each corruption (severities,), the share of wrong classes.
        baseline: of another classifier, by whose sum each corruption's is divided
            first, so that hard ones do not weigh more; None is no division.

    Raises:
        ValueError: if there are no errors, or the baseline lacks a corruption.
    """
    if not errors:
        raise ValueError("errors must hold one corruption at least; it is empty.")
    absent = set(errors) - set(errors if baseline is None else baseline)
    if absent:
        raise ValueError(f"baseline has no errors of {sorted(absent)}.")
    shares = [
        np.mean(np.asarray(each))
        / (1.0 if baseline is None else np.mean(np.asarray(baseline[name])))
        for name, each in errors.items()
    ]
    return float(np.mean(shares))


def gaussian_noise(key: Array, image: Image, severity: int) -> Image:
    """Add normal noise.

    Args:
        key: draws it.
        image: the image.
        severity: from 1 to 5.
    """
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return _clip(image + deviation * jax.random.normal(key, image.shape, image.dtype))


def shot_noise(key: Array, image: Image, severity: int) -> Image:
    """Count photons: Poisson numbers with the image as their mean.

    Args:
        key: draws them.
        image: the image.
        severity: from 1 to 5.
    """
    photons = (60, 25, 12, 5, 3)[severity - 1]
    return _clip(jax.random.poisson(key, image * photons).astype(image.dtype) / photons)


def impulse_noise(key: Array, image: Image, severity: int) -> Image:
    """Set some values to 0 or 1.

    Args:
        key: draws which.
        image: the image.
        severity: from 1 to 5.
    """
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    u = jax.random.uniform(key, image.shape, image.dtype)
    return jnp.where(u < share / 2, 0, jnp.where(u < share, 1, image))


def speckle_noise(key: Array, image: Image, severity: int) -> Image:
    """Multiply by one plus normal noise.

    Args:
        key: draws it.
        image: the image.
        severity: from 1 to 5.
    """
    deviation = (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1]
    noise = deviation * jax.random.normal(key, image.shape, image.dtype)
    return _clip(image * (1 + noise))


def gaussian_blur(key: Array, image: Image, severity: int) -> Image:
    """Blur by a normal distribution, as wide for its size as on 224 pixels.

    Args:
        key: not used.
        image: the image.
        severity: from 1 to 5.
    """
    deviation = (1, 2, 3, 4, 6)[severity - 1] * max(image.shape[:2]) / _EDGE
    return image_operations.gaussian_blur(image, deviation)


def contrast(key: Array, image: Image, severity: int) -> Image:
    """Move every value towards its channel's mean.

    Args:
        key: not used.
        image: the image.
        severity: from 1 to 5.
    """
    left = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    return image_operations.mix_with(jnp.mean(image, axis=(0, 1)), image, left)


def brightness(key: Array, image: Image, severity: int) -> Image:
    """Add a constant.

    Args:
        key: not used.
        image: the image.
        severity: from 1 to 5.
    """
    return _clip(image + (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1])


def pixelate(key: Array, image: Image, severity: int) -> Image:
    """Make the image small, and large again in squares.

    Args:
        key: not used.
        image: the image.
        severity: from 1 to 5.
    """
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width, channels = image.shape
    small = (max(1, int(height * share)), max(1, int(width * share)), channels)
    return jax.image.resize(
        jax.image.resize(image, small, "linear"), image.shape, "nearest"
    )


def jpeg(key: Array, image: Image, severity: int) -> Image:
    """Round the cosine transform of squares of 8 pixels, as JPEG does with luminance.

    Every channel is taken for luminance; the edges are repeated to a multiple of 8.

    Args:
        key: not used.
        image: the image.
        severity: from 1 to 5.
    """
    quality = (25, 18, 15, 10, 7)[severity - 1]
    table = np.clip((_JPEG * (5000 // quality) + 50) // 100, 1, 255)
    angle = (2 * np.arange(8) + 1) * np.arange(8)[:, None] * np.pi / 16
    rows = np.cos(angle) / 2
    rows[0] /= np.sqrt(2)
    cosines = jnp.asarray(rows, image.dtype)
    height, width, channels = image.shape
    margins = ((0, -height % 8), (0, -width % 8), (0, 0))
    padded = jnp.pad(255 * image - 128, margins, "edge")
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8, channels)
    spectrum = jnp.einsum("ai,bj,yixjc->yxcab", cosines, cosines, blocks)
    step = jnp.broadcast_to(jnp.asarray(table, image.dtype), spectrum.shape)
    spectrum = jnp.round(spectrum / step) * step
    blocks = jnp.einsum("ai,bj,yxcab->yixjc", cosines, cosines, spectrum)
    back = (jnp.round(blocks.reshape(padded.shape)) + 128) / 255
    return _clip(back[:height, :width])


CORRUPTIONS: dict[str, Callable[[Array, Any, int], Array]] = {
    "gaussian noise": gaussian_noise,
    "shot noise": shot_noise,
    "impulse noise": impulse_noise,
    "speckle noise": speckle_noise,
    "gaussian blur": gaussian_blur,
    "contrast": contrast,
    "brightness": brightness,
    "pixelate": pixelate,
    "jpeg": jpeg,
}


def _clip(image: Array) -> Array:
    return jnp.clip(image, 0, 1)
