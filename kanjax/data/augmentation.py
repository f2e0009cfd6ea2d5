"""Random changes of images while training, each a pure function of a key.

Images are (height, width, channels) on [0, 1]; what takes one image is for
``jax.vmap``. Mixing takes a batch and probabilities of classes.

Sources: Cubuk et al. (2019), RandAugment, arXiv 1909.13719; Zhang et al. (2017), mixup,
arXiv 1710.09412; Yun et al. (2019), CutMix, arXiv 1905.04899; Zhong et al. (2017),
Random Erasing, arXiv 1708.04896; Szegedy et al. (2015), arXiv 1512.00567 (smoothing);
Chen et al. (2020), SimCLR, arXiv 2002.05709 (crops, colors and blur of two views).
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from kanjax.data import image_operations

Image = Float[Array, "height width channels"]
Images = Float[Array, "batch height width channels"]
Probabilities = Float[Array, "batch classes"]


def flip(key: Array, image: Image) -> Image:
    """Return the image, or with probability 1/2 its mirror image from left to right.

    Args:
        key: a random key.
        image: (height, width, channels).
    """
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def crop(key: Array, image: Image, *, padding: int = 4) -> Image:
    """Return a window of the image's size, from the image with a margin of zeros.

    Args:
        key: of the place.
        image: (height, width, channels).
        padding: width of the margin, in pixels.
    """
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


def resized_crop(
    key: Array,
    image: Image,
    *,
    area: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    size: tuple[int, int] | None = None,
) -> Image:
    """Return a random window of the image, stretched to one size.

    Ten windows are drawn, and the first that fits is taken, the image if none does;
    cubic interpolation.

    Args:
        key: draws all that is random.
        image: the image.
        area: the window's least and largest share of the image.
        ratio: its least and largest width over height.
        size: (height, width) of the result; the image's if None.
    """
    height, width, channels = image.shape
    size = (height, width) if size is None else size
    keys = jax.random.split(key)
    draws = jax.random.uniform(keys[0], (2, 10))
    low, high = map(math.log, ratio)
    shape = jnp.exp(low + (high - low) * draws[0])
    pixels = (area[0] + (area[1] - area[0]) * draws[1]) * height * width
    windows = jnp.stack([jnp.sqrt(pixels / shape), jnp.sqrt(pixels * shape)], axis=1)
    limits = jnp.array([height, width], windows.dtype)
    fits = jnp.all(windows <= limits[None], axis=1)
    window = jnp.where(jnp.any(fits), windows[jnp.argmax(fits)], limits)
    corner = jax.random.uniform(keys[1], (2,)) * (limits - window)
    scale = jnp.array(size, window.dtype) / window
    resized = jax.image.scale_and_translate(
        image, (*size, channels), (0, 1), scale, -corner * scale, "cubic"
    )
    return jnp.clip(resized, 0, 1)


def affine(
    key: Array,
    image: Image,
    *,
    degrees: float = 0.0,
    scale: tuple[float, float] = (1.0, 1.0),
    shift: float = 0.0,
) -> Image:
    """Return the image rotated, scaled and shifted at random, zeros around it.

    Args:
        key: draws all that is random.
        image: the image.
        degrees: the largest rotation, either way.
        scale: the least and largest factor of its size.
        shift: the largest shift along each axis, as a share of the edge.
    """
    low, high = scale
    draws = jax.random.uniform(key, (4,), minval=-1)
    angle, move = math.radians(degrees) * draws[0], shift * draws[1:3, None]
    factor = (low + high) / 2 + (high - low) / 2 * draws[3]
    c, s = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.array([[c, -s], [s, c]]) / factor
    return image_operations.warp(image, jnp.concatenate([turn, move], axis=1))


def jitter_color(
    key: Array,
    image: Image,
    *,
    probability: float = 0.8,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.2,
    hue: float = 0.1,
) -> Image:
    """Return the image, or with that probability with other colors.

    Four changes in random order, each by a factor of 1 more or less its option; hue
    turns by so many rounds more or less. An image without colors has no hue.

    Args:
        key: draws all that is random.
        image: the image.
        probability: of any change.
        brightness: of the distance from black.
        contrast: of the distance from the mean gray.
        saturation: of the distance from the pixel's gray.
        hue: the largest turn, at most 1/2.
    """
    keys = jax.random.split(key, 3)
    options = jnp.array([brightness, contrast, saturation, hue])
    amounts = options * jax.random.uniform(keys[0], (4,), minval=-1)
    factors = jnp.maximum(1 + amounts, 0)

    gray, mix_with = image_operations.gray, image_operations.mix_with
    changes = (
        lambda x: mix_with(jnp.zeros(()), x, factors[0]),
        lambda x: mix_with(jnp.mean(gray(x)), x, factors[1]),
        lambda x: mix_with(gray(x), x, factors[2]),
        lambda x: image_operations.turn_hue(x, amounts[3]),
    )
    changed, _ = jax.lax.scan(
        lambda x, i: (jax.lax.switch(i, changes, x), None),
        image,
        jax.random.permutation(keys[1], 4),
    )
    return jnp.where(jax.random.bernoulli(keys[2], probability), changed, image)


def grayscale(key: Array, image: Image, *, probability: float = 0.2) -> Image:
    """Return the image, or with that probability its luma in all channels.

    Args:
        key: draws whether.
        image: the image.
        probability: of gray.
    """
    gray = jnp.broadcast_to(image_operations.gray(image), image.shape)
    return jnp.where(jax.random.bernoulli(key, probability), gray, image)


def blur(
    key: Array,
    image: Image,
    *,
    probability: float = 0.5,
    width: tuple[float, float] = (0.1, 2.0),
) -> Image:
    """Return the image, or with that probability under a Gaussian of random width.

    Weights sum to 1 inside of the image, so that edges do not darken.

    Args:
        key: draws all that is random.
        image: the image.
        probability: of blur.
        width: the Gaussian's least and largest standard deviation, in pixels.
    """
    keys = jax.random.split(key)
    sigma = jax.random.uniform(keys[0], minval=width[0], maxval=width[1])
    blurred = image_operations.gaussian_blur(image, sigma)
    return jnp.where(jax.random.bernoulli(keys[1], probability), blurred, image)


def solarize(
    key: Array, image: Image, *, probability: float = 0.2, threshold: float = 0.5
) -> Image:
    """Return the image, or with that probability with bright values inverted.

    Args:
        key: draws whether.
        image: the image.
        probability: of inversion.
        threshold: values from it on become 1 less themselves.
    """
    inverted = jnp.where(image < threshold, image, 1 - image)
    return jnp.where(jax.random.bernoulli(key, probability), inverted, image)


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
    """Classes as probabilities, of which ``amount`` is spread evenly over all.

    Args:
        labels: (batch,) classes from 0.
        classes: how many there are.
        amount: the probability that is spread, 0 to 1.
    """
    return (1 - amount) * jax.nn.one_hot(labels, classes) + amount / classes


def mixup(
    key: Array, x: Images, y: Probabilities, *, alpha: float = 0.8
) -> tuple[Images, Probabilities]:
    """Each example mixed with its counterpart in the reversed batch.

    ``x = t x_i + (1 - t) x_j`` and likewise y, with one t ~ Beta(alpha, alpha).

    Args:
        key: of t.
        x: (batch, height, width, channels).
        y: (batch, classes).
        alpha: of the Beta distribution; small ones mix little.
    """
    t = jax.random.beta(key, alpha, alpha).astype(x.dtype)
    return t * x + (1 - t) * x[::-1], t * y + (1 - t) * y[::-1]


def cutmix(
    key: Array, x: Images, y: Probabilities, *, alpha: float = 1.0
) -> tuple[Images, Probabilities]:
    """Return a rectangle of each image from its counterpart in the reversed batch.

    The rectangle is of the image's shape, with a share of ``1 - t`` of its area, t ~
    Beta(alpha, alpha), cut at the edges; y is mixed by the share that is left of it.

    Args:
        key: of t and of the place.
        x: (batch, height, width, channels).
        y: (batch, classes).
        alpha: of the Beta distribution.
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
    """Either :func:`mixup` or :func:`cutmix`, each with probability 1/2.

    Args:
        key: a random key.
        x: (batch, height, width, channels).
        y: (batch, classes).
        mixup_alpha: the alpha of :func:`mixup`.
        cutmix_alpha: that of :func:`cutmix`.
    """
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
    colors = image_operations.COLORS
    number = len(colors) + len(image_operations.MOVES)
    index = jax.random.randint(keys[2], (), 0, number)
    # Operations on values first, then one resampling for those that move pixels.
    changed = jax.lax.switch(
        jnp.minimum(index, len(colors)),
        [*colors, image_operations.unchanged],
        image,
        m,
        signed,
    )
    moves = jnp.stack(
        [jnp.eye(2, 3), *(move(signed) for move in image_operations.MOVES)]
    )
    changed = image_operations.warp(
        changed, moves[jnp.maximum(index - len(colors) + 1, 0)]
    )
    keep = jax.random.bernoulli(keys[3], probability)
    return jnp.where(keep, jnp.clip(changed, 0, 1), image)
