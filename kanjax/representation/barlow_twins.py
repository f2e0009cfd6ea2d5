"""Self-supervision from two views of each image, without negatives or a teacher.

Zbontar, Jing, Misra, LeCun, Deny (2021), "Barlow Twins: Self-Supervised Learning via
Redundancy Reduction", arXiv 2103.03230. Beside its loss those of VICReg (Bardes, Ponce,
LeCun 2022, arXiv 2105.04906) and SimCLR (Chen et al. 2020, arXiv 2002.05709), which
take the same two sets of embeddings.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from kanjax import model, nn
from kanjax.data import augmentation
from kanjax.representation import samples

Embeddings = Float[Array, "batch features"]
View = Callable[[Array, Array], Array]
"""``view(key, image)``: one random change of one image."""
Terms = tuple[Float[Array, ""], dict[str, Array]]

# Of ImageNet's red, green and blue.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def standardize_batch(
    z: Embeddings, *, eps: float = 1e-5, axis_name: str | None = None
) -> Embeddings:
    """Return embeddings with mean 0 and variance 1 of each feature over the batch.

    The variance is the biased one, and ``eps`` is added to it: a constant feature
    becomes 0.

    Args:
        z: (batch, features), in float32 at least from here on.
        eps: what keeps the division finite.
        axis_name: under ``shard_map`` or ``vmap``, the axis over which the batch is
            spread evenly; statistics are those of all of it.
    """
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    centered = z - _mean(z, axis_name)
    return centered * jax.lax.rsqrt(_mean(centered**2, axis_name) + eps)


def cross_correlation(
    za: Embeddings,
    zb: Embeddings,
    *,
    eps: float = 1e-5,
    axis_name: str | None = None,
) -> Float[Array, "features features"]:
    """Return the correlations over the batch of one view's features with the other's.

    Args:
        za: (batch, features), of one view of each image.
        zb: (batch, features), of the other, in the same order.
        eps: as for :func:`standardize_batch`.
        axis_name: as for :func:`standardize_batch`.

    Returns:
        Entries in [-1, 1], a row for each feature of ``za``; not symmetric.

    Raises:
        ValueError: if the views differ in shape, or are no batch of two or more.
    """
    _check_views(za, zb)
    a, b = (standardize_batch(z, eps=eps, axis_name=axis_name) for z in (za, zb))
    return _correlate(a, b, axis_name)


def barlow_twins_loss(
    za: Embeddings,
    zb: Embeddings,
    *,
    redundancy_weight: float | Array = 0.0051,
    eps: float = 1e-5,
    axis_name: str | None = None,
) -> Terms:
    """Return how far the cross-correlation is from the identity.

    ``sum_i (1 - C_ii)^2 + redundancy_weight sum_{i != j} C_ij^2`` (equation 1). The
    sums grow with the features, the second as their square: a weight for 8,192 is small
    for 128. Constant embeddings have the loss ``features``, which is no minimum.

    Fewer examples than features: no (features, features) array is made, and time is
    ``batch^2 features``.

    Args:
        za: as for :func:`cross_correlation`.
        zb: as for :func:`cross_correlation`.
        redundancy_weight: of the sum off the diagonal.
        eps: as for :func:`standardize_batch`.
        axis_name: as for :func:`standardize_batch`; the loss is the same everywhere.

    Returns:
        ``(loss, {"invariance": first sum, "redundancy": second sum})``.

    Raises:
        ValueError: as :func:`cross_correlation`.

    Examples:
        >>> import jax.numpy as jnp
        >>> za = jnp.array([[1.0, 2], [2, 1], [3, 5], [4, 3]])
        >>> zb = jnp.array([[1.5, 1], [2, 2], [2.5, 4], [5, 3]])
        >>> value, terms = barlow_twins_loss(za, zb)
        >>> round(float(value), 5), round(float(terms["redundancy"]), 5)
        (0.03954, 0.71979)
    """
    _check_views(za, zb)
    a, b = (standardize_batch(z, eps=eps, axis_name=axis_name) for z in (za, zb))
    if axis_name is None and len(a) < a.shape[1]:
        # sum_ij C_ij^2 = sum_mn (a_m . a_n) (b_m . b_n) / batch^2. The diagonal is
        # subtracted from it: no digits are lost, as C of this rank is far from I.
        diagonal = jnp.mean(a * b, axis=0)
        squares = jnp.sum(samples.matmul(a, a.T) * samples.matmul(b, b.T)) / len(a) ** 2
        redundancy = squares - jnp.sum(diagonal**2)
    else:
        correlation = _correlate(a, b, axis_name)
        diagonal = jnp.diagonal(correlation)
        redundancy = jnp.sum(_off_diagonal(correlation) ** 2)
    invariance = jnp.sum((1 - diagonal) ** 2)
    terms = {"invariance": invariance, "redundancy": redundancy}
    return invariance + redundancy_weight * redundancy, terms


def mean_redundancy(
    correlation: Float[Array, "features features"],
) -> Float[Array, ""]:
    """Return the mean magnitude of a correlation off the diagonal.

    Args:
        correlation: (features, features), of :func:`cross_correlation`.
    """
    size = len(correlation)
    return jnp.sum(jnp.abs(_off_diagonal(correlation))) / (size * (size - 1))


def vicreg_loss(
    za: Embeddings,
    zb: Embeddings,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
) -> Terms:
    """Return VICReg's loss: distance of the views, lack of variance, covariances.

    Variances are unbiased, and asked to be 1 (its equations 1 to 6).

    Args:
        za: as for :func:`cross_correlation`.
        zb: as for :func:`cross_correlation`.
        invariance_weight: of the mean squared distance of the views.
        variance_weight: of the mean hinge of the standard deviations.
        covariance_weight: of the covariances' squares over the features.

    Returns:
        ``(loss, {"invariance": ..., "variance": ..., "covariance": ...})``.

    Raises:
        ValueError: as :func:`cross_correlation`.
    """
    _check_views(za, zb)
    views = [z.astype(jnp.promote_types(z.dtype, jnp.float32)) for z in (za, zb)]
    deviations = [jnp.sqrt(jnp.var(z, axis=0, ddof=1) + 1e-4) for z in views]
    centered = [z - jnp.mean(z, axis=0, keepdims=True) for z in views]
    covariances = [samples.matmul(z.T, z) / (len(z) - 1) for z in centered]
    terms = {
        "invariance": jnp.mean((views[0] - views[1]) ** 2),
        "variance": sum(jnp.mean(jax.nn.relu(1 - d)) for d in deviations) / 2,
        "covariance": sum(jnp.sum(_off_diagonal(c) ** 2) for c in covariances)
        / za.shape[1],
    }
    weights = invariance_weight, variance_weight, covariance_weight
    value = sum(w * t for w, t in zip(weights, terms.values(), strict=True))
    return jnp.asarray(value), terms


def nt_xent_loss(za: Embeddings, zb: Embeddings, *, temperature: float = 0.5) -> Terms:
    """Return SimCLR's loss: which of all other embeddings is the other view.

    Args:
        za: as for :func:`cross_correlation`.
        zb: as for :func:`cross_correlation`.
        temperature: that divides the cosines; above 0.

    Returns:
        ``(loss, {"accuracy": share of embeddings nearest to their other view})``.

    Raises:
        ValueError: as :func:`cross_correlation`, or if temperature is not positive.
    """
    _check_views(za, zb)
    if not temperature > 0:
        raise ValueError(f"temperature must be positive; got {temperature}.")
    z = jnp.concatenate([za, zb]).astype(jnp.promote_types(za.dtype, jnp.float32))
    z = z * jax.lax.rsqrt(jnp.sum(z**2, axis=1, keepdims=True) + 1e-12)
    cosines = samples.matmul(z, z.T)
    logits = jnp.where(jnp.eye(len(z), dtype=bool), -jnp.inf, cosines / temperature)
    other = jnp.roll(jnp.arange(len(z)), len(za))
    each = optax.softmax_cross_entropy_with_integer_labels(logits, other)
    hits = jnp.argmax(logits, axis=1) == other
    return jnp.mean(each), {"accuracy": jnp.mean(hits, dtype=z.dtype)}


def twin_loss(
    embed: Callable[..., Any],
    views: tuple[View, View],
    *,
    compare: Callable[[Embeddings, Embeddings], Terms] = barlow_twins_loss,
) -> Callable[..., Any]:
    """Return a loss on images alone, for :func:`kanjax.training.fit` or ``descend``.

    Each view goes through the network by itself, so that batch norm takes the
    statistics of each.

    Args:
        embed: ``embed(params, x)``, encoder and projector; with a state
            ``embed(params, x, state=state, train=True)``, giving (z, new state).
        views: two changes of an image at random.
        compare: of the two views' embeddings, ``(loss, metrics)``.

    Returns:
        ``loss(params, images, key) -> (scalar, metrics)`` of images (batch, ...); with
        a state, ``loss(params, images, key, state) -> (scalar, metrics, new state)``.
    """

    def loss(params: Any, images: Array, key: Array, state: Any = None) -> Any:
        keys = jax.random.split(key, (2, len(images)))
        if views[0] is views[1]:
            # One program of the view serves both: it may take long to compile.
            pair = jax.vmap(jax.vmap(views[0]), (0, None))(keys, images)
        else:
            pair = [jax.vmap(v)(k, images) for v, k in zip(views, keys, strict=True)]
        if state is None:
            za, zb = (embed(params, x) for x in pair)
            return compare(za, zb)
        za, state = embed(params, pair[0], state=state, train=True)
        zb, state = embed(params, pair[1], state=state, train=True)
        return *compare(za, zb), state

    return loss


def projector(widths: Sequence[int]) -> model.Sequential:
    """Return the network from representation to embedding, a model with a state.

    Dense layers without biases; batch norm and ReLU after each but the last.

    Args:
        widths: of the representation, of each layer, and of the embedding; (2048, 8192,
            8192, 8192) in the paper.

    Raises:
        ValueError: unless there are two widths.
    """
    if len(widths) < 2:
        raise ValueError(
            f"widths must be those of the input and of each layer; got {widths!r}."
        )
    layers: list[model.Model] = []
    for inputs, outputs in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [
            nn.Dense(inputs, outputs, use_bias=False),
            nn.BatchNorm(outputs),
            nn.Activation(jax.nn.relu),
        ]
    return model.Sequential((*layers, nn.Dense(*widths[-2:], use_bias=False)))


def imagenet_views(size: tuple[int, int] = (224, 224)) -> tuple[View, View]:
    """Return the paper's two views of a color image on [0, 1] (its appendix A).

    A resized crop, a mirror image, other colors, gray, blur and solarizing, each with
    its probability, then ImageNet's mean and deviation taken out. The first is
    blurred; of the second one in ten is, and one in five is solarized.

    Args:
        size: (height, width) of the views.
    """

    def view(key: Array, image: Array, *, blurred: float, solarized: float) -> Array:
        keys = jax.random.split(key, 6)
        image = augmentation.resized_crop(keys[0], image, size=size)
        image = augmentation.flip(keys[1], image)
        image = augmentation.jitter_color(keys[2], image)
        image = augmentation.grayscale(keys[3], image)
        image = augmentation.blur(keys[4], image, probability=blurred)
        image = augmentation.solarize(keys[5], image, probability=solarized)
        return (image - jnp.array([[_MEAN]])) / jnp.array([[_DEVIATION]])

    return (
        functools.partial(view, blurred=1.0, solarized=0.0),
        functools.partial(view, blurred=0.1, solarized=0.2),
    )


def learning_rate(
    batch_size: int, steps_per_epoch: int, epochs: int, *, warmup_epochs: int = 10
) -> optax.Schedule:
    """Return the paper's rate: a rise to batch_size / 256, then half a cosine.

    It ends at a thousandth of the peak. :func:`lars` has factors on it.

    Args:
        batch_size: images of a step.
        steps_per_epoch: steps of a round through the images.
        epochs: rounds in all.
        warmup_epochs: of which the rise takes so many.

    Raises:
        ValueError: if the rise takes all epochs.
    """
    if not 0 <= warmup_epochs < epochs:
        raise ValueError(
            f"warmup_epochs is {warmup_epochs}; it must be at least 0 and below the "
            f"{epochs} epochs."
        )
    peak = batch_size / 256
    return optax.warmup_cosine_decay_schedule(
        0.0,
        peak,
        warmup_epochs * steps_per_epoch,
        epochs * steps_per_epoch,
        end_value=1e-3 * peak,
    )


def lars(
    rate: float | optax.Schedule,
    *,
    weight_factor: float = 0.2,
    bias_factor: float = 0.0048,
    weight_decay: float = 1e-6,
    trust: float = 1e-3,
    momentum: float = 0.9,
) -> optax.GradientTransformation:
    """Return the paper's optimizer: steps in proportion to the norm of each weight.

    Leaves with two axes or more are weights; others, biases and scales of batch norm,
    have neither decay nor trust ratio, and a factor of their own. ``optax.lars`` is
    not the same: it gathers momentum of steps already multiplied by the rate, which
    differs while the rate changes.

    Args:
        rate: a number or a schedule, such as :func:`learning_rate`.
        weight_factor: of the rate, for weights.
        bias_factor: of the rate, for the rest.
        weight_decay: of weights, before the trust ratio.
        trust: the norm of a step over the norm of its weight.
        momentum: the share of the past that a step keeps.
    """

    def label(params: Any) -> Any:
        return jax.tree.map(lambda v: "weight" if jnp.ndim(v) >= 2 else "rest", params)

    of_weights = optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_trust_ratio(trust_coefficient=trust),
        optax.scale(weight_factor),
    )
    steps = optax.partition(
        {"weight": of_weights, "rest": optax.scale(bias_factor)}, label
    )
    return optax.chain(
        steps,
        optax.trace(momentum),
        optax.scale_by_learning_rate(rate),
    )


def _mean(x: Array, axis_name: str | None) -> Array:
    mean = jnp.mean(x, axis=0, keepdims=True)
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)


def _correlate(a: Array, b: Array, axis_name: str | None) -> Array:
    here = samples.matmul(a.T, b) / len(a)
    return here if axis_name is None else jax.lax.pmean(here, axis_name)


def _off_diagonal(matrix: Array) -> Array:
    return jnp.where(jnp.eye(len(matrix), dtype=bool), 0.0, matrix)


def _check_views(za: Array, zb: Array) -> None:
    if za.shape != zb.shape:
        raise ValueError(
            f"za has shape {za.shape} and zb {zb.shape}; both must be (batch, "
            "features), of two views of the same images in the same order."
        )
    if za.ndim != 2 or len(za) < 2:
        raise ValueError(
            f"the views have shape {za.shape}; they must be (batch, features) with two "
            "or more images."
        )
