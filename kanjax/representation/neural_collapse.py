"""Neural collapse: features shrink to class means, which form a frame.

The measures are those of Papyan, Han, Donoho (2020), "Prevalence of neural collapse",
arXiv 2008.08186, and of Dang et al. (2023), "Neural Collapse in Deep Linear Networks:
From Balanced to Imbalanced Data", arXiv 2301.00437, whose frames have lengths of their
own where classes differ in size.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import checks, linalg
from kanjax.representation import collapse_frames, samples
from kanjax.representation.linear_optima import Optimum
from kanjax.scales import safe_scale


class ClassMoments(NamedTuple):
    """Counts, means and scatter of features by class.

    Attributes:
        counts: (classes,) samples.
        means: (classes, width).
        scatter: (width, width) sums of products of deviations from the class means.
    """

    counts: Float[Array, " classes"]
    means: Float[Array, "classes width"]
    scatter: Float[Array, "width width"]


class Collapse(NamedTuple):
    """How far features and classifier are from collapse: 0 where it is complete.

    Attributes:
        nc1: variability in classes over that between them.
        nc2_weights: distance of the classifier's Gram matrix from the target's.
        nc2_means: of the class means'.
        nc3: of the classifier at the class means.
        duality: of the classifier from the class means themselves.
        nc4: share of samples whose class, by the classifier, is not that of the nearest
            class mean.
        equinorm: deviation of the lengths of centered class means over their mean.
        equiangle: mean difference of their cosines from ``-1 / (classes - 1)``.
    """

    nc1: Float[Array, ""]
    nc2_weights: Float[Array, ""]
    nc2_means: Float[Array, ""]
    nc3: Float[Array, ""]
    duality: Float[Array, ""]
    nc4: Float[Array, ""]
    equinorm: Float[Array, ""]
    equiangle: Float[Array, ""]


class FeatureCollapse(NamedTuple):
    """How far features alone are from collapse: 0 where it is complete.

    Attributes:
        nc1: as of :class:`Collapse`, like all of these.
        nc2_means: distance from a simplex.
        nc4: by the network's outputs, whatever made them of the features.
        equinorm: of the class means.
        equiangle: of the class means.
    """

    nc1: Float[Array, ""]
    nc2_means: Float[Array, ""]
    nc4: Float[Array, ""]
    equinorm: Float[Array, ""]
    equiangle: Float[Array, ""]


class Recorder:
    """A callback of a fit that keeps measures of the parameters on the way.

    Attributes:
        steps: at which was measured.
        measures: what came out, as numpy arrays.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import training
        >>> from kanjax.representation import neural_collapse
        >>> recorder = neural_collapse.Recorder(lambda w: {"size": jnp.abs(w)})
        >>> fit = training.fit(
        ...     lambda w, x, key: jnp.mean((w - x) ** 2), jnp.zeros(()), jnp.ones(4),
        ...     optimizer="sgd", learning_rate=0.5, steps=4, evaluate_every=2,
        ...     key=jax.random.key(0), callback=recorder)
        >>> recorder.steps, recorder.stack()["size"].tolist()
        ([0, 2, 4], [0.0, 1.0, 1.0])
    """

    def __init__(self, measure: Callable[[Any], Any]):
        """Keep ``measure(params)``, any pytree; compile it before, or it runs as is.

        Args:
            measure: such as a jitted ``lambda p: collapse(...)``, under ``jax.vmap``
                for an ensemble.
        """
        self.measure = measure
        self.steps: list[int] = []
        self.measures: list[Any] = []

    def __call__(self, event: Any) -> None:
        """Measure the parameters of a :class:`kanjax.training.Progress`."""
        self.steps.append(event.step)
        self.measures.append(jax.device_get(self.measure(event.params)))

    def stack(self) -> Any:
        """Give all measures with a leading axis over the steps."""
        return jax.tree.map(lambda *v: np.stack(v), *self.measures)


def class_moments(
    features: ArrayLike, labels: Int[Array, " samples"], classes: int
) -> ClassMoments:
    """Take counts, means and scatter by class, of one batch.

    Args:
        features: (samples, ...); what is behind the first axis is flattened.
        labels: (samples,) from 0 to classes - 1.
        classes: how many there are.

    Raises:
        ValueError: for labels that are no class or do not fit.
    """
    features = jnp.asarray(features)
    features = samples.as_rows(features.reshape(len(features), -1), "features")
    if jnp.shape(labels) != features.shape[:1]:
        raise ValueError(
            f"labels have shape {jnp.shape(labels)} and there are {len(features)} "
            "features; give each a label."
        )
    checks.check_labels(labels, classes)
    labels = jnp.asarray(labels)
    total = jax.ops.segment_sum(jnp.ones_like(features[:, 0]), labels, classes)
    # A class that a batch lacks has no mean, and no weight when batches are joined.
    divisor = jnp.maximum(total, 1.0)[:, None]
    means = jax.ops.segment_sum(features, labels, classes) / divisor
    rest = features - means[labels]
    return ClassMoments(total, means, samples.matmul(rest.T, rest))


def join(a: ClassMoments, b: ClassMoments) -> ClassMoments:
    """Give the moments of the samples of both.

    Args:
        a: of some samples.
        b: of others, of the same classes.
    """
    counts = a.counts + b.counts
    divisor = jnp.maximum(counts, 1.0)[:, None]
    step = b.means - a.means
    means = a.means + step * (b.counts[:, None] / divisor)
    weight = (a.counts * b.counts)[:, None] / divisor
    between = samples.matmul((weight * step).T, step)
    return ClassMoments(counts, means, a.scatter + b.scatter + between)


def stream(
    batches: Iterable[tuple[ArrayLike, Int[Array, " samples"]]], classes: int
) -> ClassMoments:
    """Take the moments of all batches, of which one at a time is held.

    Args:
        batches: pairs (features, labels), as for :func:`class_moments`.
        classes: how many there are.

    Raises:
        ValueError: if there is no batch.
    """
    total: ClassMoments | None = None
    for features, labels in batches:
        moments = class_moments(features, labels, classes)
        total = moments if total is None else join(total, moments)
    if total is None:
        raise ValueError("batches is empty; give at least one batch.")
    return total


def nc1(moments: ClassMoments) -> Float[Array, ""]:
    """Return ``tr(S_W S_B^+) / classes``; NaN if all class means are equal.

    The pseudo-inverse is taken of the (classes, classes) dual, and leaves out what is
    null to round-off.

    Args:
        moments: of :func:`class_moments` or :func:`stream`, every class with samples.
    """
    centered = _centered_means(moments)
    unit = safe_scale(centered)
    centered = centered / unit
    # S_B = A A^T / classes, whose pseudo-inverse is classes A (A^T A)^-2 A^T.
    dual = linalg.decompose(samples.matmul(centered, centered.T))
    inside = moments.scatter / unit / unit / jnp.sum(moments.counts)
    seen = samples.matmul(samples.matmul(centered, inside), centered.T)
    trace = jnp.trace(linalg.function_product(_inverse_square, dual, seen))
    return jnp.where(jnp.any(dual.positive), trace, jnp.nan)


def frame_distance(
    gram: Float[Array, "n m"], wanted: Float[Array, "n m"]
) -> Float[Array, ""]:
    """Return the distance of two matrices of norm 1: from 0 to 2, whatever their scale.

    Args:
        gram: (n, m).
        wanted: (n, m).
    """
    return jnp.linalg.norm(_unit(gram) - _unit(wanted))


def nc4(
    features: Float[Array, "samples width"],
    means: Float[Array, "classes width"],
    weights: Float[Array, "width classes"],
    bias: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    """Return the share of samples that the nearest class mean labels otherwise.

    Args:
        features: (samples, width).
        means: (classes, width).
        weights: (width, classes) of the classifier.
        bias: (classes,) of the classifier, or None.
    """
    return _disagreement(features, means, _logits(features, weights, bias))


def collapse(
    features: ArrayLike,
    labels: Int[Array, " samples"],
    weights: Float[Array, "width classes"],
    bias: Float[Array, " classes"] | None = None,
    *,
    kind: Literal["etf", "orthogonal"] | Optimum = "etf",
) -> Collapse:
    """Measure the collapse of features and of the linear classifier on them.

    Works under jit, vmap and grad.

    Args:
        features: (samples, width) what enters the classifier, for all samples.
        labels: (samples,) from 0 to classes - 1, each of which has samples.
        weights: (width, classes); of several linear layers their product.
        bias: (classes,) of the classifier, or None.
        kind: the frame that it is held against, as for
            :func:`kanjax.representation.collapse_frames.target`.

    Raises:
        ValueError: for labels that are no class, classes without samples, or shapes
            that do not fit.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax.representation import collapse_frames, neural_collapse
        >>> frame = collapse_frames.simplex_etf(3, 8, key=jax.random.key(0))
        >>> labels = jnp.arange(12) % 3
        >>> result = neural_collapse.collapse(5 * frame[labels] + 1, labels, frame.T)
        >>> float(result.nc2_means) < 1e-6, float(result.duality) < 1e-6
        (True, True)
    """
    features = samples.as_rows(features, "features")
    if jnp.ndim(weights) != 2 or jnp.shape(weights)[0] != features.shape[1]:
        raise ValueError(
            f"weights have shape {jnp.shape(weights)}; they must be "
            f"({features.shape[1]}, classes) for features of that width."
        )
    classes = weights.shape[1]
    frame = collapse_frames.target(kind, classes)
    logits = _logits(features, weights, bias)
    features = features / safe_scale(features)
    moments = class_moments(features, labels, classes)
    _check_present(moments.counts)
    centered = _centered_means(moments)
    means = centered if frame.centered else moments.means
    return Collapse(
        nc1(moments),
        frame_distance(samples.matmul(weights.T, weights), frame.weights),
        frame_distance(samples.matmul(means, means.T), frame.means),
        frame_distance(samples.matmul(means, weights), frame.outputs),
        frame_distance(weights.T, frame.ratios[:, None] * means),
        _disagreement(features, moments.means, logits),
        *_unevenness(centered),
    )


def feature_collapse(
    features: ArrayLike,
    labels: Int[Array, " samples"],
    outputs: Float[Array, "samples classes"],
) -> FeatureCollapse:
    """Measure the collapse of features where the layer on them is not linear.

    Works under jit, vmap and grad.

    Args:
        features: (samples, width) what enters the last layer, for all samples.
        labels: (samples,) from 0 to classes - 1, each of which has samples.
        outputs: (samples, classes), the network's logits.

    Raises:
        ValueError: for labels that are no class, fewer than two classes or some without
            samples, or shapes that do not fit.
    """
    features = samples.as_rows(features, "features")
    if jnp.ndim(outputs) != 2 or len(outputs) != len(features) or outputs.shape[1] < 2:
        raise ValueError(
            f"outputs have shape {jnp.shape(outputs)}; they must be ({len(features)}, "
            "classes), of 2 classes or more."
        )
    classes, features = outputs.shape[1], features / safe_scale(features)
    moments = class_moments(features, labels, classes)
    _check_present(moments.counts)
    centered = _centered_means(moments)
    simplex = collapse_frames.target("etf", classes).means
    return FeatureCollapse(
        nc1(moments),
        frame_distance(samples.matmul(centered, centered.T), simplex),
        _disagreement(features, moments.means, outputs),
        *_unevenness(centered),
    )


def _logits(features: Array, weights: Array, bias: Array | None) -> Array:
    logits = features @ weights
    return logits if bias is None else logits + jnp.broadcast_to(bias, logits.shape)


def _disagreement(features: Array, means: Array, logits: Array) -> Array:
    """Give the share of samples whose class is not that of the nearest mean."""
    # About the middle of the means: far from 0 differences of squares lose digits.
    middle = jnp.mean(means, axis=0, keepdims=True)
    features, means = features - middle, means - middle
    # Squared distances less what a sample has in common with all classes.
    distances = jnp.sum(means**2, axis=1)[None] - 2 * samples.matmul(features, means.T)
    return jnp.mean(jnp.argmax(logits, axis=1) != jnp.argmin(distances, axis=1))


def _unevenness(centered: Float[Array, "classes width"]) -> tuple[Array, Array]:
    """Give how far the class means are from equal lengths and from equal angles."""
    classes = len(centered)
    lengths = jnp.linalg.norm(centered, axis=1)
    cosines = samples.matmul(centered, centered.T) / (lengths[:, None] * lengths[None])
    gaps = jnp.abs(cosines + 1 / (classes - 1))
    pairs = jnp.triu_indices(classes, 1)
    return jnp.std(lengths) / jnp.mean(lengths), jnp.mean(gaps[pairs])


def _inverse_square(values: Array) -> Array:
    positive = values > 0
    return jnp.where(positive, 1 / jnp.where(positive, values, 1.0) ** 2, 0.0)


def _centered_means(moments: ClassMoments) -> Array:
    """Give class means less that of all samples, which larger classes weigh more in."""
    shares = (moments.counts / jnp.sum(moments.counts))[:, None]
    centered = moments.means - jnp.sum(shares * moments.means, axis=0)[None]
    # Twice: the rounding of means far from 0 is else a direction of its own, between
    # classes that do not vary there.
    return centered - jnp.sum(shares * centered, axis=0)[None]


def _unit(matrix: Array) -> Array:
    matrix = matrix / safe_scale(matrix)
    return matrix / jnp.linalg.norm(matrix)


def _check_present(counts: Array) -> None:
    if isinstance(counts, jax.core.Tracer):
        return
    absent = np.flatnonzero(np.asarray(counts) == 0)
    if absent.size:
        raise ValueError(
            f"there are no samples of class {', '.join(map(str, absent))}, of "
            f"{len(counts)} classes; collapse is measured on samples of all."
        )
