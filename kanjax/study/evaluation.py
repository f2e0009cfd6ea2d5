"""Predictions of an ensemble and how good they are, on rows it has not seen."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy import special

from kanjax import compiling, training
from kanjax.model import Model
from kanjax.training import metrics

LEVELS = tuple(i / 20 for i in range(1, 20))
COVERAGE = 0.9
RESAMPLES, SAMPLES = 1000, 50
"""How often test rows are drawn anew, and how many samples are held at once."""

ENSEMBLE = "ensemble"
METRICS = ("R2", "RMSE", "MAE", "accuracy", "macro F1", "log loss")
"""All scores, the one that is asked for first in front of the others of its task."""

HIGHER_IS_BETTER = ("R2", "accuracy", "macro F1")
Curve = tuple[list[float], list[float]]


class Calibration(NamedTuple):
    """What makes an ensemble's predictions hold for ``COVERAGE`` of new rows.

    Attributes:
        radius: (outputs,) half the width of the intervals in regression, standardised
            values, and infinite where there are too few validation rows; () otherwise.
        threshold: the least probability of the classes in a set; 0 in regression.
        temperature: what log probabilities are divided by; 1 in regression.
    """

    radius: tuple[float, ...] = ()
    threshold: float = 0.0
    temperature: float = 1.0


class Prediction(NamedTuple):
    """What an ensemble predicts: scores, figures and tables all take it from here.

    Attributes:
        output: the members' mean, (n, outputs) standardised values; in classification
            the logarithm of their mean probabilities, (n, classes).
        std: their spread, in standardised values or probabilities, of the same shape.
    """

    output: np.ndarray
    std: np.ndarray


class Scores(NamedTuple):
    """How good an ensemble is.

    Attributes:
        prediction: what is scored.
        members: each metric's value for every member.
        ensemble: each metric's value for the mean prediction (mean probability).
        spread: what the members' disagreement is worth.
        curve: nominal and observed values of the calibration curve.
    """

    prediction: Prediction
    members: dict[str, list[float]]
    ensemble: dict[str, float]
    spread: dict[str, float]
    curve: Curve


BLOCK = 512
"""Rows of a call of the one program that predicts, whatever the number of rows."""


def predict(model: Model, params: Any, x: ArrayLike) -> np.ndarray:
    """Return every member's outputs, (members, n, outputs)."""
    x = np.asarray(x)
    full = np.concatenate([x, np.zeros((-len(x) % BLOCK, *x.shape[1:]), x.dtype)])
    if not len(full):
        full = np.zeros((BLOCK, *x.shape[1:]), x.dtype)
    blocks = [
        np.asarray(_outputs(model, params, full[i : i + BLOCK]))
        for i in range(0, len(full), BLOCK)
    ]
    return np.concatenate(blocks, axis=1)[:, : len(x)]


@compiling.jit_balanced
def _outputs(model: Model, params: Any, x: Array) -> Array:
    return jax.vmap(lambda p: model.apply(p, x))(params)


def combine(task: str, outputs: ArrayLike, temperature: float = 1.0) -> Prediction:
    """Return the ensemble's prediction from its members' outputs, (members, n,
    outputs), with log probabilities divided by the temperature.
    """
    outputs = np.asarray(outputs)
    if task == "regression":
        return Prediction(np.mean(outputs, axis=0), np.std(outputs, axis=0, ddof=1))
    log_p = special.log_softmax(outputs, axis=-1)
    mean = special.logsumexp(log_p, axis=0) - np.log(len(log_p))
    scaled = special.log_softmax((mean / temperature).astype(log_p.dtype), axis=-1)
    return Prediction(scaled, np.std(np.exp(log_p), axis=0, ddof=1))


def calibrate(task: str, outputs: ArrayLike, y: ArrayLike) -> Calibration:
    """Return what the validation rows say; arguments as in :func:`score`."""
    output, y = combine(task, outputs).output, np.asarray(y)
    if task == "regression":
        radius = np.asarray(_quantile(np.abs(y - output)))
        return Calibration(radius=tuple(radius.tolist()))
    temperature = float(_temperature(output, y))
    p = np.exp(combine(task, outputs, temperature).output)
    wrong = 1 - np.take_along_axis(p, y[:, None], axis=-1)[:, 0]
    threshold = max(0.0, 1 - float(_quantile(wrong)))
    return Calibration(threshold=threshold, temperature=temperature)


_quantile = compiling.jit_soon(
    functools.partial(training.conformal_quantile, coverage=COVERAGE)
)
_temperature = compiling.jit_soon(training.fit_temperature)


def class_sets(p: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return which classes may be the true one, (n, classes), the likeliest always."""
    return (p >= calibration.threshold) | (p == np.max(p, axis=-1, keepdims=True))


def interval_coverage(
    ends: tuple[ArrayLike, ArrayLike], y: ArrayLike, scale: np.ndarray
) -> dict[str, Any]:
    """Return how often intervals hold the targets, and how wide they are on average.

    Args:
        ends: lower and upper, (n, outputs) standardised values.
        y: (n, outputs).
        scale: (outputs,), the target's units.
    """
    lower, upper, y = map(np.asarray, (*ends, y))
    width = np.mean(upper - lower, axis=0) * np.asarray(scale)
    return {
        "asked": COVERAGE,
        "measured": float(np.mean((lower <= y) & (y <= upper))),
        "width": width.tolist(),
    }


def set_coverage(
    prediction: Prediction, calibration: Calibration, y: ArrayLike
) -> dict[str, Any]:
    """Return how often sets hold the true class, and how many classes they have."""
    sets = class_sets(np.exp(prediction.output), calibration)
    inside = np.take_along_axis(sets, np.asarray(y)[:, None], axis=-1)
    return {
        "asked": COVERAGE,
        "measured": float(np.mean(inside)),
        "classes": float(np.mean(np.sum(sets, axis=-1))),
        "temperature": calibration.temperature,
    }


class Compared(NamedTuple):
    """A score's interval of 90 % over resampled test rows, and how it stands.

    Attributes:
        low, high: in the score's units.
        is_level: whether the best method is better in less than 95 % of the samples.
    """

    low: float
    high: float
    is_level: bool


def compare(
    task: str,
    outputs: Mapping[str, ArrayLike],
    y: ArrayLike,
    scale: np.ndarray,
    key: Array,
) -> dict[str, dict[str, Compared]]:
    """Return every method's metrics as they vary over resampled test rows.

    All methods are scored on the same samples, so that what they share cancels.

    Args:
        task: "regression" or "classification".
        outputs: of each method, (n, outputs) as in :func:`measure`.
        y: (n, outputs) standardised values, or (n,) classes.
        scale: (outputs,), the target's units; not used in classification.
        key: draws the samples.
    """
    unit, relative = _units(scale)
    stacked, y = np.stack([np.asarray(o) for o in outputs.values()]), np.asarray(y)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    parts = []
    for _ in range(RESAMPLES // SAMPLES):
        rows = rng.integers(len(y), size=(SAMPLES, len(y)))
        counts = np.stack([np.bincount(r, minlength=len(y)) for r in rows])
        parts.append(_measures(task, stacked, y, relative, counts))
    scored = _measures(task, stacked, y, relative, np.ones((1, len(y))))
    compared: dict[str, dict[str, Compared]] = {name: {} for name in outputs}
    for metric in scored:
        samples = np.concatenate([drawn[metric] for drawn in parts])
        samples = samples * _in(metric, unit)
        sign = 1.0 if metric in HIGHER_IS_BETTER else -1.0
        # What is no number is worse than every number.
        ranks = np.nan_to_num(sign * samples, nan=-np.inf)
        of_all = np.nan_to_num(sign * scored[metric][0], nan=-np.inf)
        best = int(np.argmax(of_all))
        for i, name in enumerate(outputs):
            low, high = np.quantile(samples[:, i], [0.05, 0.95])
            ahead = ranks[:, best] > ranks[:, i]
            compared[name][metric] = Compared(
                float(low), float(high), bool(np.mean(ahead) < 0.95)
            )
    return compared


def confusion(prediction: Prediction, y: ArrayLike) -> np.ndarray:
    """(classes, classes) test rows by true and by predicted class."""
    classes = prediction.output.shape[-1]
    counts = np.zeros((classes, classes), int)
    predicted = np.argmax(prediction.output, axis=-1)
    np.add.at(counts, (np.asarray(y), predicted), 1)
    return counts


def measure(
    task: str, output: ArrayLike, y: ArrayLike, scale: np.ndarray
) -> dict[str, float]:
    """Return the metrics of one model.

    Args:
        task: "regression" or "classification".
        output: (n, outputs), standardised values or unnormalised log probabilities.
        y: (n, outputs) standardised values, or (n,) classes.
        scale: (outputs,), the target's units; not used in classification.
    """
    scores = measure_all(task, np.asarray(output)[None], y, scale)
    return {name: value for name, (value,) in scores.items()}


def measure_all(
    task: str, outputs: ArrayLike, y: ArrayLike, scale: np.ndarray
) -> dict[str, list[float]]:
    """Return the metrics of several models, outputs with a leading axis over them."""
    outputs, y, (unit, relative) = np.asarray(outputs), np.asarray(y), _units(scale)
    measures = _measures(task, outputs, y, relative, np.ones((1, len(y))))
    return {n: (v[0] * _in(n, unit)).tolist() for n, v in measures.items()}


def score(
    task: str,
    outputs: ArrayLike,
    y: ArrayLike,
    scale: np.ndarray,
    temperature: float = 1.0,
) -> Scores:
    """Return the metrics of an ensemble; arguments as in :func:`measure`, outputs
    stacked.
    """
    unit, relative = _units(scale)
    prediction = combine(task, outputs, temperature)
    if task == "regression":
        spread, curve = _regression_spread(outputs, y, relative)
    else:
        spread, curve = _classification_spread(outputs, prediction, y)
    return Scores(
        prediction,
        measure_all(task, outputs, y, scale),
        measure(task, prediction.output, y, scale),
        {name: float(value) * _in(name, unit) for name, value in spread.items()},
        curve,
    )


def _units(scale: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the largest of the targets' units, and all of them in that one.

    Scores are made of numbers near 1, and given their units in double precision.
    """
    unit = float(np.max(scale, initial=0.0)) or 1.0
    return unit, np.asarray(scale, float) / unit


def _in(name: str, unit: float) -> float:
    """Return what a score is multiplied with; most have no unit."""
    return unit if name in ("RMSE", "MAE", "CRPS") else 1.0


def _measures(
    task: str, outputs: np.ndarray, y: np.ndarray, scale: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the metrics of models on samples of the rows, (samples, models) each.

    Each is made of sums over rows, so that samples are a product with their counts.

    Args:
        task: "regression" or "classification".
        outputs: (models, n, outputs).
        y: (n, outputs) or (n,) classes.
        scale: (outputs,).
        counts: (samples, n), how often a row is in a sample, n in all.
    """
    counts = counts.astype(float)

    def sums(values: np.ndarray) -> np.ndarray:
        """(models, n, ...) -> (samples, models, ...)."""
        return np.tensordot(counts, values, axes=(1, 1))

    if task == "regression":
        return _value_measures(outputs, y, scale, counts, sums)
    return _class_measures(outputs, y, counts, sums)


def _value_measures(
    outputs: np.ndarray, y: np.ndarray, scale: np.ndarray, counts: Any, sums: Any
) -> dict[str, np.ndarray]:
    targets = y * scale
    error = outputs * scale - targets
    # Less the first first: equal targets leave exact zeros.
    moved = targets - targets[:1]
    moved = moved - moved.mean(axis=0)
    squares, (total, square) = sums(error**2), (counts @ moved, counts @ moved**2)
    variation = square - total**2 / len(y)
    varies = variation > 1e-12 * square
    shares = squares / np.where(varies, variation, 1)[:, None]
    r2 = np.where(varies[:, None], 1 - shares, squares == 0)
    return {
        "R2": np.where(np.isnan(squares), np.nan, r2).mean(axis=-1),
        "RMSE": np.sqrt(squares.mean(axis=-1) / len(y)),
        "MAE": sums(np.abs(error)).mean(axis=-1) / len(y),
    }


def _class_measures(
    outputs: np.ndarray, y: np.ndarray, counts: Any, sums: Any
) -> dict[str, np.ndarray]:
    log_p = special.log_softmax(outputs.astype(float), axis=-1)
    predicted = np.argmax(log_p, axis=-1)
    classes = np.arange(outputs.shape[-1])
    hits = predicted == y
    is_true, is_predicted = y[:, None] == classes, predicted[..., None] == classes
    claims = (counts @ is_true)[:, None] + sums(is_predicted)
    f1 = 2 * sums(hits[..., None] & is_true) / np.maximum(claims, 1)
    return {
        "accuracy": sums(hits) / len(y),
        "macro F1": f1.sum(axis=-1) / np.sum(claims > 0, axis=-1),
        "log loss": -sums(log_p[:, np.arange(len(y)), y]) / len(y),
    }


def _regression_spread(
    outputs: ArrayLike, y: ArrayLike, scale: np.ndarray
) -> tuple[dict[str, Array], Curve]:
    spread, observed = _values_spread(outputs, y, scale)
    return spread, (list(LEVELS), np.asarray(observed).tolist())


@compiling.jit_soon
def _values_spread(
    outputs: Array, y: Array, scale: Array
) -> tuple[dict[str, Array], Array]:
    values = outputs * jnp.broadcast_to(scale, outputs.shape)
    targets = y * jnp.broadcast_to(scale, y.shape)
    mean, std = jnp.mean(values, axis=0), jnp.std(values, axis=0, ddof=1)
    observed = metrics.coverage(targets, mean, std, levels=LEVELS)
    spread = {
        "CRPS": metrics.crps_ensemble(targets, values),
        "coverage of its 90% interval": observed[LEVELS.index(0.9)],
        "spread / error": metrics.spread_error_ratio(targets, values),
    }
    return spread, observed


def _classification_spread(
    outputs: ArrayLike, prediction: Prediction, y: ArrayLike
) -> tuple[dict[str, Array], Curve]:
    spread, confidence, hit = _classes_spread(outputs, prediction, y)
    return spread, _reliability(np.asarray(confidence), np.asarray(hit))


@compiling.jit_soon
def _classes_spread(
    outputs: Array, prediction: Prediction, y: Array
) -> tuple[dict[str, Array], Array, Array]:
    uncertainty = metrics.predictive_uncertainty(jax.nn.softmax(outputs, axis=-1))
    mean = jnp.exp(prediction.output)
    wrong = jnp.argmax(prediction.output, axis=-1) != y
    disagreement = uncertainty.mutual_information
    spread = {
        "calibration error": metrics.expected_calibration_error(y, mean),
        "mean entropy (nats)": jnp.mean(uncertainty.total),
        "disagreement where right (nats)": _mean(disagreement, ~wrong),
        "disagreement where wrong (nats)": _mean(disagreement, wrong),
    }
    return spread, mean.max(axis=1), ~wrong


def _reliability(confidence: np.ndarray, hit: np.ndarray) -> Curve:
    """Mean confidence and accuracy in bins of equal numbers of rows."""
    bins = np.array_split(np.argsort(confidence), min(10, max(1, len(hit) // 10)))
    return (
        [float(confidence[b].mean()) for b in bins],
        [float(hit[b].mean()) for b in bins],
    )


def _mean(values: Array, where: Array) -> Array:
    """Return the mean of a part of the rows; NaN when there are none."""
    return jnp.sum(values * where) / jnp.sum(where)
