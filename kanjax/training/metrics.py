"""Scores of predictions, and of an ensemble's spread, against targets.

All are pure functions ``score(y, predicted)`` of arrays, targets first, and give a
scalar (:func:`coverage`: one a level). The score of each member of an ensemble is
``jax.vmap(score, (None, 0))(y, predictions)``.

Units and offsets of targets do not matter: squares are of differences over the largest
of them, and numpy arrays of double precision or of integers lose their mean before they
are cut to single. Of classifiers with one output, scores (..., 1) are the logit of
class 1, and probabilities (..., 1) are its probability.

Sources: Brier score and calibration error: Guo, Pleiss, Sun, Weinberger (2017),
arXiv:1706.04599; CRPS: Gneiting and Raftery, JASA 102 (2007) 359-378; fair CRPS and
spread-error ratio: Fortin et al., J. Hydrometeorology 15 (2014) 1708-1713.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import checks
from kanjax.scales import safe_scale

LEVELS = (0.5, 0.8, 0.9, 0.95)


class Uncertainty(NamedTuple):
    """Predictive uncertainty of a classifier ensemble in nats, each (...).

    Attributes:
        total: entropy of the members' mean probabilities.
        mutual_information: its part from the members' disagreement.
    """

    total: Array
    mutual_information: Array


def mse(y: ArrayLike, prediction: ArrayLike) -> Float[Array, ""]:
    """Return the mean squared error over all entries; shapes must be equal.

    Args:
        y: (...) true values.
        prediction: of the same shape.
    """
    return jnp.square(rmse(y, prediction))


def rmse(y: ArrayLike, prediction: ArrayLike) -> Float[Array, ""]:
    """Return the root of the mean squared error over all entries; shapes must be
    equal.

    Args:
        y: (...) true values.
        prediction: of the same shape.
    """
    y, prediction = _same_shape(y, prediction)
    return _root_mean_square(prediction - y)


def mae(y: ArrayLike, prediction: ArrayLike) -> Float[Array, ""]:
    """Return the mean absolute error over all entries; shapes must be equal.

    Args:
        y: (...) true values.
        prediction: of the same shape.
    """
    y, prediction = _same_shape(y, prediction)
    return jnp.mean(jnp.abs(prediction - y))


def r2_score(y: ArrayLike, prediction: ArrayLike) -> Float[Array, ""]:
    """Return the coefficient of determination, averaged over outputs.

    Args:
        y: (examples,) or (examples, outputs). A constant output scores 1 if it is
            predicted exactly and 0 otherwise.
        prediction: of the same shape.
    """
    y, prediction = _same_shape(y, prediction)
    # Less the first first: equal targets leave exact zeros, and offsets no round-off.
    moved = y - y[:1]
    moved = moved - jnp.mean(moved, axis=0, keepdims=True)
    unit = jax.lax.stop_gradient(jnp.max(jnp.abs(moved), axis=0))
    varies = jnp.any(y != y[:1], axis=0) & (unit > 0)
    unit = jnp.where(varies, unit, 1)
    residual = jnp.sum(((prediction - y) / unit[None]) ** 2, axis=0)
    total = jnp.sum((moved / unit[None]) ** 2, axis=0)
    score = 1 - residual / jnp.where(varies, total, 1)
    exact = jnp.all(prediction == y, axis=0)
    return jnp.mean(jnp.where(varies, score, exact.astype(score.dtype)))


def accuracy(
    labels: Int[Array, "..."], scores: Float[Array, "... classes"]
) -> Float[Array, ""]:
    """Return the fraction of examples whose label has the highest score or logit.

    Args:
        labels: (...) classes.
        scores: (..., classes) scores or logits.
    """
    labels, scores = _labeled(labels, scores, two_logits)
    return jnp.mean(jnp.argmax(scores, axis=-1) == labels, dtype=scores.dtype)


def f1_score(
    labels: Int[Array, "..."], scores: Float[Array, "... classes"], *, positive: int = 1
) -> Float[Array, ""]:
    """Return the F1 score of one class: ``2 hits / (members + predicted members)``.

    It is 0 where the class neither occurs nor is predicted.

    Args:
        labels: (...) classes.
        scores: (..., classes) scores or logits.
        positive: the class.
    """
    labels, scores = _labeled(labels, scores, two_logits)
    true = labels == positive
    predicted = jnp.argmax(scores, axis=-1) == positive
    claims = jnp.sum(true) + jnp.sum(predicted)
    return (2 * jnp.sum(true & predicted) / jnp.maximum(claims, 1)).astype(scores.dtype)


def macro_f1(
    labels: Int[Array, "..."], scores: Float[Array, "... classes"]
) -> Float[Array, ""]:
    """Return the F1 score averaged over the classes that occur or are predicted.

    Args:
        labels: (...) classes.
        scores: (..., classes) scores or logits.
    """
    labels, scores = _labeled(labels, scores, two_logits)
    classes = jnp.arange(scores.shape[-1])
    true = jnp.ravel(labels)[:, None] == classes[None]
    predicted = jnp.ravel(jnp.argmax(scores, axis=-1))[:, None] == classes[None]
    hits = jnp.sum(true & predicted, axis=0)
    claims = jnp.sum(true, axis=0) + jnp.sum(predicted, axis=0)
    f1 = 2 * hits / jnp.maximum(claims, 1)
    return jnp.sum(f1) / jnp.sum(claims > 0)


def negative_log_likelihood(
    labels: Int[Array, "..."], log_probabilities: Float[Array, "... classes"]
) -> Float[Array, ""]:
    """Return the mean of ``-log p(label)`` in nats.

    Args:
        labels: (...).
        log_probabilities: (..., classes), e.g. ``jax.nn.log_softmax(logits)``, or
            ``logsumexp`` over members of that less ``log(members)`` for an ensemble.
    """
    labels, log_p = _labeled(labels, log_probabilities, _two_log_probabilities)
    chosen = jnp.take_along_axis(log_p, labels[..., None], axis=-1)
    return -jnp.mean(chosen)


def brier_score(
    labels: Int[Array, "..."], probabilities: Float[Array, "... classes"]
) -> Float[Array, ""]:
    """Return the mean squared distance of the probabilities from the one-hot label, 0
    to 2.

    Args:
        labels: (...) classes.
        probabilities: (..., classes).
    """
    labels, p = _labeled(labels, probabilities, _two_probabilities)
    target = jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)
    return jnp.mean(jnp.sum((p - target) ** 2, axis=-1))


def expected_calibration_error(
    labels: Int[Array, "..."],
    probabilities: Float[Array, "... classes"],
    *,
    bins: int = 15,
) -> Float[Array, ""]:
    """How far confidence is from accuracy, averaged over bins of equal width.

    ``sum_b (n_b / n) |accuracy_b - confidence_b|`` (Guo et al., eq. 3), with bins
    ``((b - 1) / bins, b / bins]`` of the highest probability.

    Args:
        labels: (...) classes.
        probabilities: (..., classes).
        bins: of confidence.

    Raises:
        ValueError: if ``bins`` is below 1, or the shapes do not fit.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; it must be 1 or more.")
    labels, p = _labeled(labels, probabilities, _two_probabilities)
    confidence = jnp.ravel(jnp.max(p, axis=-1))
    hit = jnp.ravel(jnp.argmax(p, axis=-1) == labels).astype(confidence.dtype)
    index = jnp.clip(jnp.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = jax.ops.segment_sum(hit - confidence, index, num_segments=bins)
    return jnp.sum(jnp.abs(gap)) / confidence.size


def predictive_uncertainty(
    probabilities: Float[Array, "members ... classes"],
) -> Uncertainty:
    """Entropy of the mean prediction, and the members' disagreement within it.

    Args:
        probabilities: (members, ..., classes).
    """
    p = _two_probabilities(_real(probabilities))
    total = jnp.sum(jax.scipy.special.entr(jnp.mean(p, axis=0)), axis=-1)
    expected = jnp.mean(jnp.sum(jax.scipy.special.entr(p), axis=-1), axis=0)
    return Uncertainty(total, jnp.maximum(total - expected, 0))


def gaussian_negative_log_likelihood(
    y: ArrayLike, mean: ArrayLike, std: ArrayLike
) -> Float[Array, ""]:
    """Return the mean of ``-log N(y; mean, std^2)`` in nats; equal shapes, ``std >
    0``.
    """
    y, mean = _same_shape(y, mean)
    y, std = _same_shape(y, std, "std")
    z = (y - mean) / std
    return jnp.mean(jnp.square(z) / 2 + jnp.log(std)) + 0.5 * jnp.log(2 * jnp.pi)


def crps_gaussian(y: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Float[Array, ""]:
    """Return the mean continuous ranked probability score of normal predictions.

    ``std (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))`` with ``z = (y - mean) / std``
    (Gneiting and Raftery, sec. 4.2, with the sign of a loss); in units of ``y``, and
    the absolute error where ``std`` is 0.
    """
    y, mean = _same_shape(y, mean)
    y, std = _same_shape(y, std, "std")
    positive = std > 0
    safe = jnp.where(positive, std, 1)
    z = (y - mean) / safe
    norm = jax.scipy.stats.norm
    score = safe * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / jnp.sqrt(jnp.pi))
    return jnp.mean(jnp.where(positive, score, jnp.abs(y - mean)))


def crps_ensemble(
    y: Float[Array, "..."], predictions: Float[Array, "members ..."]
) -> Float[Array, ""]:
    """Return the mean fair CRPS of an ensemble, in units of ``y``.

    ``mean_i |p_i - y| - sum_ij |p_i - p_j| / (2 m (m - 1))``: unbiased in the number
    ``m`` of members, so that small and large ensembles compare.

    Args:
        y: (...) true values.
        predictions: (members, ...) of one member each.

    Raises:
        ValueError: for fewer than 2 members.
    """
    y, p = _ensemble(y, predictions)
    members = p.shape[0]
    # Pairs differ by what their errors do, whose sums lose no digits to an offset.
    moved = p - y[None]
    # The sorted form needs no array of all pairs.
    ranks = (2 * jnp.arange(1, members + 1) - members - 1).astype(p.dtype)
    spread = jnp.tensordot(ranks, jnp.sort(moved, axis=0), axes=1)
    error = jnp.mean(jnp.abs(moved), axis=0)
    return jnp.mean(error - spread / (members * (members - 1)))


def coverage(
    y: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    levels: Sequence[float] = LEVELS,
) -> Float[Array, " levels"]:
    """Return the fraction of targets inside the central normal interval of each level.

    Args:
        y: (...).
        mean: of the prediction.
        std: of the prediction.
        levels: nominal coverages in (0, 1); a calibrated spread gives them back.

    Raises:
        ValueError: if a level is not inside (0, 1), or the shapes differ.
    """
    if not levels or not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels are {tuple(levels)}; each must lie in (0, 1).")
    y, mean = _same_shape(y, mean)
    y, std = _same_shape(y, std, "std")
    half_width = jax.scipy.stats.norm.ppf((1 + jnp.array(levels, y.dtype)) / 2)
    distance = jnp.ravel(jnp.abs(y - mean))
    inside = distance[None] <= half_width[:, None] * jnp.ravel(std)[None]
    return jnp.mean(inside, axis=1, dtype=y.dtype)


def coverage_error(
    y: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    levels: Sequence[float] = tuple(i / 20 for i in range(1, 20)),
) -> Float[Array, ""]:
    """Return the mean absolute difference of :func:`coverage` from its levels, 0 to
    1.

    Args:
        y: (...) true values.
        mean: of the prediction, of the same shape.
        std: its standard deviation, likewise.
        levels: of the central intervals, between 0 and 1.
    """
    covered = coverage(y, mean, std, levels=levels)
    return jnp.mean(jnp.abs(covered - jnp.array(levels, covered.dtype)))


def spread_error_ratio(
    y: Float[Array, "..."], predictions: Float[Array, "members ..."]
) -> Float[Array, ""]:
    """Return the ensemble's spread over the error of its mean; 1 if the spread is
    reliable.

    ``sqrt((m + 1) / m * mean variance) / rmse(mean)`` for ``m`` members, with the
    unbiased variance (Fortin et al.).

    Args:
        y: (...) true values.
        predictions: (members, ...) of one member each.

    Raises:
        ValueError: for fewer than 2 members.
    """
    y, p = _ensemble(y, predictions)
    members = p.shape[0]
    moved = p - y[None]
    spread = moved - jnp.mean(moved, axis=0, keepdims=True)
    error = _root_mean_square(jnp.mean(moved, axis=0))
    return (
        (members + 1) ** 0.5 / (members - 1) ** 0.5 * _root_mean_square(spread) / error
    )


def two_logits(scores: Float[Array, "... classes"]) -> Float[Array, "... logits"]:
    """Logits (..., 2) for one of them, (..., 1): softmax is then its sigmoid.

    Args:
        scores: (..., 1) or (..., classes) logits.
    """
    if scores.shape[-1:] != (1,):
        return scores
    return jnp.concatenate([jnp.zeros_like(scores), scores], axis=-1)


def _two_probabilities(p: Array) -> Array:
    return p if p.shape[-1:] != (1,) else jnp.concatenate([1 - p, p], axis=-1)


def _two_log_probabilities(log_p: Array) -> Array:
    if log_p.shape[-1:] != (1,):
        return log_p
    return jnp.concatenate([jnp.log(-jnp.expm1(log_p)), log_p], axis=-1)


def _root_mean_square(x: Array) -> Float[Array, ""]:
    unit = safe_scale(x)
    square = jnp.mean(jnp.square(x / unit))
    zero = square == 0
    return jnp.where(zero, 0.0, unit * jnp.sqrt(jnp.where(zero, 1.0, square)))


def _real(x: ArrayLike) -> Array:
    x = checks.as_floating(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _shift(y: ArrayLike) -> Any:
    """Return what to take off before numbers are cut to single precision: the mean of
    each output, of doubles and of integers, which may have more digits as well.
    """
    if not isinstance(y, np.ndarray | np.generic | float | int | list | tuple):
        return 0.0
    array, wide = np.asarray(y), jnp.result_type(float)
    exact = array.dtype == np.float64 or np.issubdtype(array.dtype, np.integer)
    if not exact or array.size == 0 or wide == np.float64:
        return 0.0
    return np.mean(array, axis=0, keepdims=True) if array.ndim else array


def _less(x: ArrayLike, shift: Any) -> Array:
    plain = isinstance(shift, float) or isinstance(x, jax.Array)
    return (
        _real(x) - jnp.asarray(shift, float) if plain else _real(np.asarray(x) - shift)
    )


def _same_shape(
    y: ArrayLike, other: ArrayLike, name: str = "prediction"
) -> tuple[Array, Array]:
    if jnp.shape(y) != jnp.shape(other):
        raise ValueError(
            f"y has shape {jnp.shape(y)} and the {name} {jnp.shape(other)}: they must "
            "be equal, or the difference would be broadcast."
        )
    shift = _shift(y) if name != "std" else 0.0
    y, other = _less(y, shift), _less(other, shift)
    if y.size == 0:
        raise ValueError("y is empty; there is nothing to score.")
    return y, other


def _labeled(
    labels: ArrayLike, scores: ArrayLike, two: Callable[[Array], Array]
) -> tuple[Array, Array]:
    labels, scores = jnp.asarray(labels), two(_real(scores))
    checks.check_labels(labels, scores.shape[-1])
    if labels.shape != scores.shape[:-1]:
        raise ValueError(
            f"labels have shape {labels.shape} and scores {scores.shape}: scores must "
            "be (..., classes) for labels of shape (...)."
        )
    return labels, scores


def _ensemble(y: ArrayLike, predictions: ArrayLike) -> tuple[Array, Array]:
    shift = _shift(y)
    y, p = _less(y, shift), _less(predictions, shift)
    if p.shape[1:] != y.shape:
        raise ValueError(
            f"y has shape {y.shape} and the predictions {p.shape}: predictions must "
            "have a leading member axis, then the shape of y."
        )
    if p.shape[0] < 2:
        raise ValueError(f"a spread needs 2 members or more, got {p.shape[0]}.")
    return y, p
