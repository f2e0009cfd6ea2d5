"""Measures of how far colors of images lie apart.

Images are (..., height, width, 3), sRGB on [0, 1] where nothing else is said.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax.checks import as_floating, check_image_range
from kanjax.square_root import safe_sqrt


def psnr(
    image: Array, target: Array, *, data_range: float = 1.0
) -> Float[Array, "*batch"]:
    """Return the peak signal-to-noise ratio ``10 log10(range^2 / MSE)``, in decibels.

    Args:
        image: (..., height, width, channels).
        target: of the same shape.
        data_range: the greatest value less the least.
    """
    _check_same(image, target)
    difference = as_floating(image) - as_floating(target)
    error = jnp.mean(jnp.square(difference), axis=(-3, -2, -1))
    return 10 * jnp.log10(data_range**2 / error)


def ssim(
    image: Array, target: Array, *, data_range: float = 1.0
) -> Float[Array, "*batch"]:
    """Return the mean structural similarity, over all windows inside and channels.

    Windows are Gaussian, 11 x 11 with a deviation of 1.5, and covariances those of the
    population. Source: Wang et al. (2004), Image quality assessment: from error
    visibility to structural similarity.

    Args:
        image: (..., height, width, channels), at least 11 x 11.
        target: of the same shape.
        data_range: the greatest value less the least.

    Raises:
        ValueError: if shapes differ, or an image is smaller than the window.
    """
    _check_same(image, target)
    x, y = as_floating(image), as_floating(target)
    if min(x.shape[-3:-1]) < 11:
        raise ValueError(f"images must be at least 11 x 11; got shape {x.shape}.")

    def mean(values: Array) -> Array:
        return _smooth(_smooth(values, -3), -2)

    mean_x, mean_y = mean(x), mean(y)
    var_x = mean(x * x) - mean_x**2
    var_y = mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return jnp.mean(above / below, axis=(-3, -2, -1))


def _smooth(x: Array, axis: int) -> Array:
    """Average along an axis with 11 Gaussian weights, where all of them fit."""
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = weights / weights.sum()
    size = x.shape[axis] - 10
    return sum(
        float(weight) * jax.lax.slice_in_dim(x, i, i + size, axis=axis % x.ndim)
        for i, weight in enumerate(weights)
    )  # type: ignore[return-value]


def srgb_to_lab(image: Array) -> Float[Array, "*batch 3"]:
    """Return CIE 1976 L*a*b* for the white of D65 and the observer of 2 degrees.

    Source: IEC 61966-2-1 (sRGB).

    Args:
        image: (..., 3), sRGB on [0, 1], or somewhat beyond.

    Raises:
        ValueError: for values that are no such colors, such as bytes.
    """
    x = as_floating(image)
    check_image_range(x, "colors", slack=1.0)
    # A power of zero has no slope, even where the other case is taken.
    bright = ((jnp.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4
    linear = jnp.where(x > 0.04045, bright, x / 12.92)
    matrix = jnp.array(
        [
            [0.412453, 0.357580, 0.180423],
            [0.212671, 0.715160, 0.072169],
            [0.019334, 0.119193, 0.950227],
        ],
        x.dtype,
    )
    xyz = jnp.matmul(linear, matrix.T, precision="highest")
    white = jnp.array([0.95047, 1.0, 1.08883], x.dtype)
    ratio = xyz / jnp.broadcast_to(white, xyz.shape)
    root = jnp.cbrt(jnp.maximum(ratio, 0.008856))
    f = jnp.where(ratio > 0.008856, root, 7.787 * ratio + 16 / 116)
    fx, fy, fz = f[..., 0], f[..., 1], f[..., 2]
    return jnp.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def delta_e_2000(lab: Array, other: Array) -> Float[Array, "*batch"]:
    """Return the color difference CIEDE2000.

    Source: Sharma, Wu, Dalal (2005), The CIEDE2000 color-difference formula. It jumps
    where hues are opposite; the slope of two equal colors is taken as zero.

    Args:
        lab: (..., 3), L*a*b*.
        other: broadcasts against lab.
    """
    lab, other = jnp.broadcast_arrays(as_floating(lab), as_floating(other))
    light1, a1, b1 = jnp.moveaxis(lab, -1, 0)
    light2, a2, b2 = jnp.moveaxis(other, -1, 0)
    mean = (safe_sqrt(a1**2 + b1**2) + safe_sqrt(a2**2 + b2**2)) / 2
    stretch = 1.5 - 0.5 * safe_sqrt(mean**7 / (mean**7 + 25.0**7))
    a1, a2 = stretch * a1, stretch * a2
    chroma1, chroma2 = safe_sqrt(a1**2 + b1**2), safe_sqrt(a2**2 + b2**2)
    hue1, hue2 = _hue(a1, b1), _hue(a2, b2)
    is_gray = chroma1 * chroma2 == 0
    turn = hue2 - hue1
    turn = turn - 360 * jnp.where(turn > 180, 1, jnp.where(turn < -180, -1, 0))
    turn = jnp.where(is_gray, 0, turn)
    d_light, d_chroma = light2 - light1, chroma2 - chroma1
    d_hue = 2 * safe_sqrt(chroma1 * chroma2) * jnp.sin(jnp.radians(turn) / 2)
    light, chroma = (light1 + light2) / 2, (chroma1 + chroma2) / 2
    total = hue1 + hue2
    wide = jnp.where(total < 360, total + 360, total - 360) / 2
    hue = jnp.where(jnp.abs(hue1 - hue2) > 180, wide, total / 2)
    hue = jnp.where(is_gray, total, hue)
    t = (
        1
        - 0.17 * jnp.cos(jnp.radians(hue - 30))
        + 0.24 * jnp.cos(jnp.radians(2 * hue))
        + 0.32 * jnp.cos(jnp.radians(3 * hue + 6))
        - 0.20 * jnp.cos(jnp.radians(4 * hue - 63))
    )
    offset = (light - 50) ** 2
    s_light = 1 + 0.015 * offset / jnp.sqrt(20 + offset)
    s_chroma, s_hue = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    angle = 30 * jnp.exp(-(((hue - 275) / 25) ** 2))
    rotation = -2 * safe_sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rotation = rotation * jnp.sin(jnp.radians(2 * angle))
    parts = d_light / s_light, d_chroma / s_chroma, d_hue / s_hue
    square = sum(term**2 for term in parts) + rotation * parts[1] * parts[2]
    return safe_sqrt(square)


def _hue(a: Array, b: Array) -> Array:
    """Return the angle in degrees in [0, 360), 0 for gray."""
    is_gray = (a == 0) & (b == 0)
    angle = jnp.degrees(jnp.arctan2(b, jnp.where(is_gray, 1, a)))
    return jnp.where(angle < 0, angle + 360, angle)


def angular_error(image: Array, target: Array) -> Float[Array, "*batch"]:
    """Return the angle between colors as vectors, in degrees; 0 with black.

    Args:
        image: (..., 3).
        target: broadcasts against image.
    """
    x, y = jnp.broadcast_arrays(as_floating(image), as_floating(target))
    # The arc cosine of nearly 1 would lose half of the digits.
    cross = safe_sqrt(jnp.sum(jnp.cross(x, y) ** 2, axis=-1))
    dot = jnp.sum(x * y, axis=-1)
    is_black = (cross == 0) & (dot == 0)
    return jnp.degrees(jnp.arctan2(cross, jnp.where(is_black, 1, dot)))


def rgb_uv_histogram(
    image: Array, *, bins: int = 64, limit: float = 3.0, sigma: float = 0.02
) -> Float[Array, "3 bins bins"]:
    """Return smooth histograms of log-chroma, of each channel against the other two.

    Source: Afifi, Brubaker, Brown (2021), HistoGAN, arXiv 2011.11731. Each pixel
    weighs as its length, the kernel is the inverse quadratic one, and all sums to 1.
    ``bins`` numbers a pixel are held twice: take a small copy of a large image.

    Args:
        image: (..., 3), all pixels together.
        bins: along each side.
        limit: the histogram spans [-limit, limit].
        sigma: the kernel's width.
    """
    pixels = as_floating(image).reshape(-1, 3)
    logs = jnp.log(jnp.maximum(pixels, 0) + 1e-6)
    weights = safe_sqrt(jnp.sum(jnp.square(pixels), axis=-1))
    centers = jnp.linspace(-limit, limit, bins, dtype=pixels.dtype)

    def kernel(values: Array) -> Array:
        return 1 / (1 + jnp.square((values[:, None] - centers[None]) / sigma))

    def of_channel(i: int) -> Array:
        j, k = (channel for channel in range(3) if channel != i)
        u, v = kernel(logs[:, i] - logs[:, j]), kernel(logs[:, i] - logs[:, k])
        return jnp.einsum("n,nu,nv->uv", weights, u, v)

    histogram = jnp.stack([of_channel(i) for i in range(3)])
    return histogram / (jnp.sum(histogram) + 1e-6)


def hellinger_distance(p: Array, q: Array) -> Float[Array, ""]:
    """Return ``|sqrt(p) - sqrt(q)| / sqrt(2)`` of two distributions, from 0 to 1.

    Args:
        p: of any shape, not negative, summing to 1.
        q: of the same shape.
    """
    square = jnp.sum(jnp.square(safe_sqrt(as_floating(p)) - safe_sqrt(as_floating(q))))
    return safe_sqrt(square) / math.sqrt(2)


def _check_same(image: Array, target: Array) -> None:
    if jnp.shape(image) != jnp.shape(target) or jnp.ndim(image) < 3:
        raise ValueError(
            "image and target must have one shape (..., height, width, channels); got "
            f"{jnp.shape(image)} and {jnp.shape(target)}."
        )
