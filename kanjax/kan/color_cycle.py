"""Colors of one camera for another's without pairs: two maps in a cycle, and judges.

The unsupervised training of cmKAN: Nikonorov et al. (2025), arXiv 2503.11781, and its
published code. Two generators map images of kind a to b and back; a discriminator of
each kind tells patches of real images from mapped ones. A generator is any model from
images to images, such as :class:`kanjax.kan.ColorMatcher`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax import model, nn
from kanjax.checks import as_floating
from kanjax.kan.color_matching import restoration_loss
from kanjax.nn.checks import check_positive

Images = Float[Array, "batch height width 3"]
Networks = dict[str, Any]
"""Parameters by "a_to_b", "b_to_a", "judge_a" and "judge_b"."""

_GENERATORS, _JUDGES = ("a_to_b", "b_to_a"), ("judge_a", "judge_b")
_CYCLE, _IDENTITY = 10.0, 0.5


@model.dataclass
class PatchDiscriminator:
    """Say of each patch of an image how real it is (PatchGAN).

    Convolutions of 4 x 4 points: one of stride 2 for each width but the last, whose
    stride is 1, and one to a single channel. All but the first and last are normalized
    over the pixels of each channel.

    Args:
        widths: channels of the convolutions.
        channels: of the images.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> judge = PatchDiscriminator()
        >>> params = judge.init(jax.random.key(0))
        >>> judge.apply(params, jnp.ones((2, 64, 64, 3))).shape
        (2, 6, 6)
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    channels: int = 3

    def __post_init__(self) -> None:
        if len(self.widths) < 2:
            raise ValueError(
                f"widths must have two entries or more; got {self.widths}."
            )

    @property
    def layers(self) -> tuple[nn.Conv, ...]:
        """The convolutions, first to last."""
        edges = [self.channels, *self.widths, 1]
        strides = [2] * (len(self.widths) - 1) + [1, 1]
        pads = ((1, 1), (1, 1))
        return tuple(
            nn.Conv(inputs, outputs, (4, 4), strides=stride, padding=pads)
            for inputs, outputs, stride in zip(edges, edges[1:], strides, strict=False)
        )

    def init(self, key: Array) -> tuple[dict[str, Array], ...]:
        """Draw the parameters: a tuple with one dictionary a convolution."""
        return model.Sequential(self.layers).init(key)

    def apply(
        self, params: Any, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch rows columns"]:
        """Return how real each patch of images (..., height, width, channels) is."""
        x = as_floating(x)
        last = len(self.widths)
        for i, (layer, p) in enumerate(zip(self.layers, params, strict=True)):
            x = layer.apply(p, x)
            if 0 < i < last:
                x = jax.nn.standardize(x, axis=(-3, -2), epsilon=1e-5)
            if i < last:
                x = jax.nn.leaky_relu(x, 0.2)
        return x[..., 0]


class Pool(NamedTuple):
    """Mapped images of earlier steps, from which discriminators learn as well.

    Attributes:
        images: (size, height, width, 3).
        count: how many are there.
    """

    images: Images
    count: Int[Array, ""]


def empty_pool(size: int, image: Float[Array, "height width 3"]) -> Pool:
    """Return a pool without images.

    Args:
        size: for how many there is room.
        image: (height, width, 3), for the shape and type of all.
    """
    check_positive(size=size)
    return Pool(jnp.zeros((size, *image.shape), image.dtype), jnp.array(0))


def exchange(key: Array, pool: Pool, images: Images) -> tuple[Pool, Images]:
    """Put images into a pool, and take as many out of it.

    Until it is full, an image is kept and comes back. From then on, with probability
    1/2, it takes the place of one at random, which comes back instead.

    Args:
        key: for the choices.
        pool: as :func:`empty_pool` or this function gives it.
        images: (batch, height, width, 3).
    """
    size = len(pool.images)

    def put(pool: Pool, entry: tuple[Array, Array]) -> tuple[Pool, Array]:
        key, image = entry
        keys = jax.random.split(key)
        is_full: Bool[Array, ""] = pool.count >= size
        place = jnp.where(is_full, jax.random.randint(keys[0], (), 0, size), pool.count)
        stays = ~is_full | jax.random.bernoulli(keys[1])
        back = jnp.where(is_full & stays, pool.images[place], image)
        kept = jnp.where(stays, image, pool.images[place])
        after = Pool(pool.images.at[place].set(kept), pool.count + ~is_full)
        return after, back

    return jax.lax.scan(put, pool, (jax.random.split(key, len(images)), images))


def recolor(
    key: Array, image: Float[Array, "height width 3"], *, strength: float = 0.3
) -> Float[Array, "height width 3"]:
    """Mix an image's channels and bend their curves at random.

    Each channel becomes a power of a mixture with the others; how far is our choice.

    Args:
        key: for the mixing and the powers.
        image: (height, width, 3) on [0, 1].
        strength: the largest weight of another channel and, as a logarithm, the
            farthest power from 1; 0 changes nothing.
    """
    keys = jax.random.split(key)
    weights = jax.random.uniform(keys[0], (3, 3), maxval=strength)
    mixing = jnp.where(jnp.eye(3, dtype=bool), 1.0, weights)
    mixing = mixing / jnp.sum(mixing, axis=1, keepdims=True)
    power = jnp.exp(jax.random.uniform(keys[1], (3,), minval=-1.0) * strength)
    # The slope of a power below 1 is infinite at 0.
    return jnp.maximum(image @ mixing.T, 1e-6) ** power[None, None]


def recoloring(apply: Callable[..., Array], *, strength: float = 0.3) -> Any:
    """Return the loss of the first stage: to restore randomly recolored images.

    Args:
        apply: ``apply(params, images)`` of a generator.
        strength: as for :func:`recolor`.

    Returns:
        ``loss(params, images, key)``, for :mod:`kanjax.training`.
    """

    def loss(params: Any, images: Images, key: Array) -> Float[Array, ""]:
        keys = jax.random.split(key, len(images))
        changed = jax.vmap(lambda k, x: recolor(k, x, strength=strength))(keys, images)
        return restoration_loss(apply(params, changed), images)

    return loss


def init(net: model.Model, judge: model.Model, key: Array) -> Networks:
    """Draw two generators and two discriminators.

    Args:
        net: the generators' model, from images to images.
        judge: the discriminators', such as :class:`PatchDiscriminator`.
        key: for all four.
    """
    keys = jax.random.split(key, 4)
    models = (net, net, judge, judge)
    names = (*_GENERATORS, *_JUDGES)
    return {n: m.init(k) for n, m, k in zip(names, models, keys, strict=True)}


def generator_loss(
    net: model.Model, judge: model.Model, networks: Networks, a: Images, b: Images
) -> tuple[Float[Array, ""], tuple[Images, Images]]:
    """Return what generators minimize, and their images.

    Mapped images should pass for real, come back through the other generator, and
    images that are of the wanted kind already should stay:
    ``(D_b(G a) - 1)^2 + (D_a(F b) - 1)^2 + 10 (c(F G a, a) + c(G F b, b)
    + (|G b - b| + |F a - a|) / 2)``, with c the loss of supervised training.

    Args:
        net: the generators' model.
        judge: the discriminators' model.
        networks: parameters of all four.
        a: (batch, height, width, 3).
        b: (batch, height, width, 3), no pairs of a.

    Returns:
        ``(loss, (images of a as b, images of b as a))``.
    """
    forth, back = (networks[name] for name in _GENERATORS)
    fake_b, fake_a = net.apply(forth, a), net.apply(back, b)
    fooled = jnp.mean((judge.apply(networks["judge_b"], fake_b) - 1) ** 2)
    fooled += jnp.mean((judge.apply(networks["judge_a"], fake_a) - 1) ** 2)
    cycle = restoration_loss(net.apply(back, fake_b), a)
    cycle += restoration_loss(net.apply(forth, fake_a), b)
    same = jnp.mean(jnp.abs(net.apply(forth, b) - b))
    same += jnp.mean(jnp.abs(net.apply(back, a) - a))
    return fooled + _CYCLE * (cycle + _IDENTITY * same), (fake_b, fake_a)


def discriminator_loss(
    judge: model.Model,
    networks: Networks,
    real: tuple[Images, Images],
    fake: tuple[Images, Images],
) -> Float[Array, ""]:
    """Return what discriminators minimize: half the squared errors of their verdicts.

    Args:
        judge: the discriminators' model.
        networks: parameters of all four.
        real: images of kind a, and of kind b.
        fake: images mapped to a, and to b.
    """
    total = jnp.zeros(())
    for name, images, mapped in zip(_JUDGES, real, fake, strict=True):
        total += jnp.mean((judge.apply(networks[name], images) - 1) ** 2)
        total += jnp.mean(judge.apply(networks[name], mapped) ** 2)
    return total / 2


def train(
    net: model.Model,
    judge: model.Model,
    networks: Networks,
    a: Float[Array, "n height width 3"],
    b: Float[Array, "m height width 3"],
    *,
    key: Array,
    steps: int,
    batch_size: int = 2,
    learning_rate: float = 2e-4,
    pool_size: int = 50,
) -> tuple[Networks, dict[str, Float[Array, " steps"]]]:
    """Train generators and discriminators in turn, on images that are no pairs.

    Adam with a rate that is constant for half of the steps and then falls to 0. One
    scan: it runs under ``jit``. The published training has 300 epochs of
    :func:`recoloring` before.

    Args:
        net: the generators' model.
        judge: the discriminators' model.
        networks: where to start, as :func:`init` gives them.
        a: (n, height, width, 3), images or crops of one kind.
        b: (m, height, width, 3), of the other.
        key: draws batches and what comes out of the pools.
        steps: how many.
        batch_size: images of either kind at a step.
        learning_rate: of both, at first.
        pool_size: mapped images of either kind that are kept for discriminators.

    Returns:
        Parameters of all four, and losses before each step by "generators" and
        "discriminators".

    Raises:
        ValueError: if images differ in shape, or there are fewer than a batch.

    Examples:
        >>> import jax
        >>> from kanjax import nn
        >>> from kanjax.kan import color_cycle
        >>> a, b = jax.random.uniform(jax.random.key(0), (2, 4, 16, 16, 3))
        >>> net, judge = nn.Dense(3, 3), color_cycle.PatchDiscriminator((4, 4))
        >>> start = color_cycle.init(net, judge, jax.random.key(1))
        >>> networks, losses = color_cycle.train(
        ...     net, judge, start, a, b, key=jax.random.key(2), steps=2)
        >>> net.apply(networks["a_to_b"], a).shape, losses["generators"].shape
        ((4, 16, 16, 3), (2,))
    """
    check_positive(steps=steps, batch_size=batch_size, pool_size=pool_size)
    a, b = as_floating(a), as_floating(b)
    if a.ndim != 4 or a.shape[1:] != b.shape[1:] or a.shape[-1] != 3:
        raise ValueError(
            f"a has shape {a.shape} and b {b.shape}; both must be (images, height, "
            "width, 3) of one size. Cut crops of one size."
        )
    if batch_size > min(len(a), len(b)):
        raise ValueError(
            f"batch_size is {batch_size}, and there are {len(a)} and {len(b)} images; "
            "give as many at least, or a smaller batch."
        )
    half = steps // 2
    rate = optax.linear_schedule(learning_rate, 0.0, steps - half, half)
    optimizer = optax.adam(rate, b1=0.5)

    def update(
        function: Callable[..., Any], names: tuple[str, ...], networks: Networks, m: Any
    ) -> tuple[Array, Any, Networks, Any]:
        """Move the networks of these names down; function gives loss and more."""
        moving = {name: networks[name] for name in names}
        value = lambda moving: function({**networks, **moving})  # noqa: E731
        (loss, more), slope = jax.value_and_grad(value, has_aux=True)(moving)
        change, m = optimizer.update(slope, m, moving)
        moved: Any = optax.apply_updates(moving, change)
        return loss, more, networks | moved, m

    def step(carry: Any, key: Array) -> Any:
        networks, moments, pools = carry
        keys = jax.random.split(key, 4)
        real = (
            jax.random.choice(keys[0], a, (batch_size,), replace=False),
            jax.random.choice(keys[1], b, (batch_size,), replace=False),
        )
        made, (fake_b, fake_a), networks, first = update(
            lambda n: generator_loss(net, judge, n, *real),
            _GENERATORS,
            networks,
            moments[0],
        )
        pool_a, fake_a = exchange(keys[2], pools[0], fake_a)
        pool_b, fake_b = exchange(keys[3], pools[1], fake_b)
        judged, _, networks, second = update(
            lambda n: (discriminator_loss(judge, n, real, (fake_a, fake_b)), ()),
            _JUDGES,
            networks,
            moments[1],
        )
        carry = networks, (first, second), (pool_a, pool_b)
        return carry, {"generators": made, "discriminators": judged}

    moments = tuple(
        optimizer.init({name: networks[name] for name in names})
        for names in (_GENERATORS, _JUDGES)
    )
    pool = empty_pool(pool_size, a[0])
    start = networks, moments, (pool, pool)
    (networks, *_), losses = jax.lax.scan(step, start, jax.random.split(key, steps))
    return networks, losses
