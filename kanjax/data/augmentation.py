"""Random changes of images while training, each a pure function of a key.

Images are (height, width, channels) on [0, 1]; what takes one image is for
``jax.vmap``. Mixing takes a batch and probabilities of classes.

Sources: Cubuk et al. (2019), RandAugment, arXiv 1909.13719; Zhang et al. (2017), mixup,
arXiv 1710.09412; Yun et al. (2019), CutMix, arXiv 1905.04899; Zhong et al. (2017),
Random Erasing, arXiv 1708.04896; Szegedy et al. (2015), arXiv 1512.00567 (smoothing).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy import ndimage
from jaxtyping import Float, Int

Image = Float[Array, "height width channels"]
Images = Float[Array, "batch height width channels"]
Probabilities = Float[Array, "batch classes"]


def flip(key: Array, image: Image) -> Image:
    """Return the image, or with probability 1/2 its mirror image from left to right."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def crop(key: Array, image: Image, *, padding: int = 4) -> Image:
    """Return a window of the image's size, from the image with a margin of zeros."""
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    corner = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    start = (corner[0], corner[1], jnp.zeros_like(corner[0]))
    return jax.lax.dynamic_slice(padded, start, image.shape)


def erase(
    key: Array,
    image: Image,
    *,
    probability: float = 0.25,
    area: tuple[float, float] = (0.02, 1 / 3),
    ratio: tuple[float, float] = (0.3, 3.3),
) -> Image:
    """Return the image, or with that probability a rectangle of it as uniform noise.

    Args:
        key: draws all that is random.
        image: the image.
        probability: of a rectangle.
        area: its least and largest share of the image.
        ratio: its least and largest height over width; what does not fit is cut.
    """
    keys = jax.random.split(key, 5)
    share = jax.random.uniform(keys[0], minval=area[0], maxval=area[1])
    low, high = map(math.log, ratio)
    shape = jnp.exp(jax.random.uniform(keys[1], minval=low, maxval=high))
    size = jnp.minimum(jnp.sqrt(share * jnp.stack([shape, 1 / shape])), 1)
    inside = _rectangle(keys[2], image.shape[:2], size)
    chosen = jax.random.bernoulli(keys[3], probability)
    noise = jax.random.uniform(keys[4], image.shape, image.dtype)
    return jnp.where((inside & chosen)[..., None], noise, image)


def rand_augment(
    key: Array,
    image: Image,
    *,
    operations: int = 2,
    magnitude: float = 0.9,
    spread: float = 0.05,
    probability: float = 0.5,
) -> Image:
    """Return a few random operations, one after the other.

    Each is drawn from thirteen: contrast stretched, inversion, rotation, posterising,
    solarising, colour, contrast, brightness, sharpness, and shears and shifts along
    both axes. RandAugment's equalisation and added solarising are left out.

    Args:
        key: draws all that is random.
        image: the image.
        operations: how many are drawn, with replacement.
        magnitude: from 0 (no change) to 1.
        spread: the standard deviation of the magnitude.
        probability: with which a drawn operation is applied.
    """
    for each in jax.random.split(key, operations):
        image = _one_operation(each, image, magnitude, spread, probability)
    return image


def smooth(
    labels: Int[Array, " batch"], classes: int, *, amount: float = 0.1
) -> Probabilities:
    """Classes as probabilities, of which ``amount`` is spread evenly over all."""
    return (1 - amount) * jax.nn.one_hot(labels, classes) + amount / classes


def mixup(
    key: Array, x: Images, y: Probabilities, *, alpha: float = 0.8
) -> tuple[Images, Probabilities]:
    """Each example mixed with its counterpart in the reversed batch.

    ``x = t x_i + (1 - t) x_j`` and likewise y, with one t ~ Beta(alpha, alpha).
    """
    t = jax.random.beta(key, alpha, alpha).astype(x.dtype)
    return t * x + (1 - t) * x[::-1], t * y + (1 - t) * y[::-1]


def cutmix(
    key: Array, x: Images, y: Probabilities, *, alpha: float = 1.0
) -> tuple[Images, Probabilities]:
    """Return a rectangle of each image from its counterpart in the reversed batch.

    The rectangle is of the image's shape, with a share of ``1 - t`` of its area, t ~
    Beta(alpha, alpha), cut at the edges; y is mixed by the share that is left of it.
    """
    draw, place = jax.random.split(key)
    edge = jnp.sqrt(1 - jax.random.beta(draw, alpha, alpha))
    inside = _rectangle(place, x.shape[1:3], jnp.stack([edge, edge]))
    share = jnp.mean(inside, dtype=y.dtype)
    mixed = jnp.where(inside[None, :, :, None], x[::-1], x)
    return mixed, (1 - share) * y + share * y[::-1]


def mix(
    key: Array,
    x: Images,
    y: Probabilities,
    *,
    mixup_alpha: float = 0.8,
    cutmix_alpha: float = 1.0,
) -> tuple[Images, Probabilities]:
    """Either :func:`mixup` or :func:`cutmix`, each with probability 1/2."""
    choose, draw = jax.random.split(key)
    return jax.lax.cond(
        jax.random.bernoulli(choose),
        lambda: mixup(draw, x, y, alpha=mixup_alpha),
        lambda: cutmix(draw, x, y, alpha=cutmix_alpha),
    )


def _rectangle(key: Array, shape: tuple[int, ...], size: Array) -> Array:
    """Which pixels lie in a rectangle of that size (2,), as shares, at random."""
    center = jax.random.uniform(key, (2,))
    height, width = (
        jnp.abs((jnp.arange(n) + 0.5) / n - center[i]) < size[i] / 2
        for i, n in enumerate(shape)
    )
    return height[:, None] & width[None, :]


def _one_operation(
    key: Array, image: Image, magnitude: float, spread: float, probability: float
) -> Image:
    keys = jax.random.split(key, 4)
    m = jnp.clip(magnitude + spread * jax.random.normal(keys[0]), 0, 1)
    signed = jnp.where(jax.random.bernoulli(keys[1]), m, -m)
    number = len(_COLORS) + len(_MOVES)
    index = jax.random.randint(keys[2], (), 0, number)
    # Operations on values first, then one resampling for those that move pixels.
    changed = jax.lax.switch(
        jnp.minimum(index, len(_COLORS)), [*_COLORS, _same], image, m, signed
    )
    moves = jnp.stack([jnp.eye(2, 3), *(move(signed) for move in _MOVES)])
    changed = _warp(changed, moves[jnp.maximum(index - len(_COLORS) + 1, 0)])
    keep = jax.random.bernoulli(keys[3], probability)
    return jnp.where(keep, jnp.clip(changed, 0, 1), image)


def _warp(image: Image, move: Float[Array, "2 3"]) -> Image:
    """Values at moved places, about the centre; shifts are shares of the edges."""
    height, width, _ = image.shape
    size = jnp.array([height, width], image.dtype)
    middle = (size - 1) / 2
    places = jnp.stack(jnp.mgrid[:height, :width], axis=-1) - middle
    places = places @ move[:, :2].T + middle + move[:, 2] * size
    coordinates = [places[..., 0], places[..., 1]]
    return jax.vmap(
        lambda channel: ndimage.map_coordinates(channel, coordinates, order=1),
        in_axes=-1,
        out_axes=-1,
    )(image)


def _same(image: Image, m: Array, signed: Array) -> Image:
    return image


def _stretch(image: Image, m: Array, signed: Array) -> Image:
    low, high = jnp.min(image, (0, 1)), jnp.max(image, (0, 1))
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


def _rotation(signed: Array) -> Array:
    c, s = jnp.cos(signed * math.pi / 6), jnp.sin(signed * math.pi / 6)
    return jnp.array([[c, -s, 0], [s, c, 0]])


def _shear(axis: int) -> Callable[[Array], Array]:
    return lambda signed: jnp.eye(2, 3).at[axis, 1 - axis].set(0.3 * signed)


def _shift(axis: int) -> Callable[[Array], Array]:
    return lambda signed: jnp.eye(2, 3).at[axis, 2].set(0.45 * signed)


_COLORS = (
    _stretch,
    _invert,
    _posterize,
    _solarize,
    _color,
    _contrast,
    _brightness,
    _sharpness,
)
_MOVES = (_rotation, _shear(0), _shear(1), _shift(0), _shift(1))
