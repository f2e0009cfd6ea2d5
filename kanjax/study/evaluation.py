"""Predictions of an ensemble and how good they are, on rows it has not seen."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import training
from kanjax.model import Model
from kanjax.training import metrics

LEVELS = tuple(i / 20 for i in range(1, 20))
COVERAGE = 0.9
RESAMPLES = 1000
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

    output: Array
    std: Array


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


def predict(model: Model, params: Any, x: Array, *, rows: int = 2048) -> Array:
    """Every member's outputs, (members, n, outputs), in blocks of rows."""

    def of_row(row: Array) -> Array:
        return jax.vmap(lambda p: model.apply(p, row))(params)

    outputs = jax.jit(lambda v: jax.lax.map(of_row, v, batch_size=rows))(x)
    return jnp.moveaxis(outputs, 1, 0)


@functools.partial(jax.jit, static_argnames="task")
def combine(task: str, outputs: Array, temperature: float = 1.0) -> Prediction:
    """Return the ensemble's prediction from its members' outputs, (members, n,
    outputs), with log probabilities divided by the temperature.
    """
    if task == "regression":
        return Prediction(jnp.mean(outputs, axis=0), jnp.std(outputs, axis=0, ddof=1))
    log_p = jax.nn.log_softmax(outputs, axis=-1)
    mean = jax.nn.logsumexp(log_p, axis=0) - jnp.log(len(log_p))
    scaled = jax.nn.log_softmax(mean / temperature, axis=-1)
    return Prediction(scaled, jnp.std(jnp.exp(log_p), axis=0, ddof=1))


def calibrate(task: str, outputs: Array, y: Array) -> Calibration:
    """Return what the validation rows say; arguments as in :func:`score`."""
    if task == "regression":
        return Calibration(radius=tuple(map(float, _radius(outputs, y))))
    temperature, quantile = map(float, _temperature(outputs, y))
    return Calibration(threshold=max(0.0, 1 - quantile), temperature=temperature)


@jax.jit
def _radius(outputs: Array, y: Array) -> Array:
    off = jnp.abs(y - combine("regression", outputs).output)
    return training.conformal_quantile(off, COVERAGE)


@jax.jit
def _temperature(outputs: Array, y: Array) -> tuple[Array, Array]:
    """Return the temperature, and with it the quantile of what is missed."""
    output = combine("classification", outputs).output
    temperature = training.fit_temperature(output, y)
    p = jnp.exp(combine("classification", outputs, temperature).output)
    wrong = 1 - jnp.take_along_axis(p, y[:, None], axis=-1)[:, 0]
    return temperature, training.conformal_quantile(wrong, COVERAGE)


def class_sets(p: Array, calibration: Calibration) -> Array:
    """Return which classes may be the true one, (n, classes), the likeliest always."""
    return (p >= calibration.threshold) | (p == jnp.max(p, axis=-1, keepdims=True))


def interval_coverage(
    ends: tuple[Array, Array], y: Array, scale: np.ndarray
) -> dict[str, Any]:
    """Return how often intervals hold the targets, and how wide they are on average.

    Args:
        ends: lower and upper, (n, outputs) standardised values.
        y: (n, outputs).
        scale: (outputs,), the target's units.
    """
    lower, upper = ends
    width = np.mean(np.asarray(upper - lower), axis=0) * np.asarray(scale)
    return {
        "asked": COVERAGE,
        "measured": float(jnp.mean((lower <= y) & (y <= upper))),
        "width": width.tolist(),
    }


def set_coverage(
    prediction: Prediction, calibration: Calibration, y: Array
) -> dict[str, Any]:
    """Return how often sets hold the true class, and how many classes they have."""
    sets = class_sets(jnp.exp(prediction.output), calibration)
    inside = jnp.take_along_axis(sets, y[:, None], axis=-1)
    return {
        "asked": COVERAGE,
        "measured": float(jnp.mean(inside)),
        "classes": float(jnp.mean(jnp.sum(sets, axis=-1))),
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
    task: str, outputs: dict[str, Array], y: Array, scale: np.ndarray, key: Array
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
    stacked = np.stack([np.asarray(values) for values in outputs.values()])
    drawn, scored = _resampled(task, stacked, y, relative, key)
    compared: dict[str, dict[str, Compared]] = {name: {} for name in outputs}
    for metric in drawn:
        samples = np.asarray(drawn[metric], float) * _in(metric, unit)
        sign = 1.0 if metric in HIGHER_IS_BETTER else -1.0
        # What is no number is worse than every number.
        ranks = np.nan_to_num(sign * samples, nan=-np.inf)
        of_all = np.nan_to_num(sign * np.asarray(scored[metric]), nan=-np.inf)
        best = int(np.argmax(of_all))
        for i, name in enumerate(outputs):
            low, high = np.quantile(samples[:, i], [0.05, 0.95])
            ahead = ranks[:, best] > ranks[:, i]
            compared[name][metric] = Compared(
                float(low), float(high), bool(np.mean(ahead) < 0.95)
            )
    return compared


@functools.partial(jax.jit, static_argnames="task")
def _resampled(
    task: str, outputs: Array, y: Array, scale: Array, key: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the metrics, (samples, methods), and those of the rows as they are."""

    def of_rows(rows: Array) -> dict[str, Array]:
        return jax.vmap(lambda o: _measures(task, o, y[rows], scale))(outputs[:, rows])

    def of_sample(key: Array) -> dict[str, Array]:
        return of_rows(jax.random.randint(key, (len(y),), 0, len(y)))

    keys = jax.random.split(key, RESAMPLES)
    return jax.lax.map(of_sample, keys, batch_size=16), of_rows(jnp.arange(len(y)))


def confusion(prediction: Prediction, y: Array) -> np.ndarray:
    """(classes, classes) test rows by true and by predicted class."""
    classes = prediction.output.shape[-1]
    counts = np.zeros((classes, classes), int)
    predicted = np.asarray(jnp.argmax(prediction.output, axis=-1))
    np.add.at(counts, (np.asarray(y), predicted), 1)
    return counts


def measure(task: str, output: Array, y: Array, scale: np.ndarray) -> dict[str, float]:
    """Return the metrics of one model.

    Args:
        task: "regression" or "classification".
        output: (n, outputs), standardised values or unnormalised log probabilities.
        y: (n, outputs) standardised values, or (n,) classes.
        scale: (outputs,), the target's units; not used in classification.
    """
    unit, relative = _units(scale)
    measures = _measures(task, output, y, relative)
    # A compiled function gives them back in the order of the alphabet.
    return {n: float(measures[n]) * _in(n, unit) for n in METRICS if n in measures}


def score(
    task: str, outputs: Array, y: Array, scale: np.ndarray, temperature: float = 1.0
) -> Scores:
    """Return the metrics of an ensemble; arguments as in :func:`measure`, outputs
    stacked.
    """
    unit, relative = _units(scale)
    members = _member_measures(task, outputs, y, relative)
    prediction = combine(task, outputs, temperature)
    if task == "regression":
        spread, curve = _regression_spread(outputs, y, relative)
    else:
        spread, curve = _classification_spread(outputs, prediction, y)
    return Scores(
        prediction,
        {
            name: (np.asarray(members[name], float) * _in(name, unit)).tolist()
            for name in METRICS
            if name in members
        },
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


@functools.partial(jax.jit, static_argnames="task")
def _member_measures(
    task: str, outputs: Array, y: Array, scale: Array
) -> dict[str, Array]:
    return jax.vmap(lambda member: _measures(task, member, y, scale))(outputs)


@functools.partial(jax.jit, static_argnames="task")
def _measures(
    task: str, output: Array, y: Array, scale: np.ndarray | Array
) -> dict[str, Array]:
    if task == "regression":
        targets, prediction = y * jnp.asarray(scale), output * jnp.asarray(scale)
        return {
            "R2": metrics.r2_score(targets, prediction),
            "RMSE": metrics.rmse(targets, prediction),
            "MAE": metrics.mae(targets, prediction),
        }
    log_p = jax.nn.log_softmax(output, axis=-1)
    return {
        "accuracy": metrics.accuracy(y, log_p),
        "macro F1": metrics.macro_f1(y, log_p),
        "log loss": metrics.negative_log_likelihood(y, log_p),
    }


def _regression_spread(
    outputs: Array, y: Array, scale: np.ndarray
) -> tuple[dict[str, Array], Curve]:
    spread, observed = _values_spread(outputs, y, jnp.asarray(scale))
    return spread, (list(LEVELS), np.asarray(observed).tolist())


@jax.jit
def _values_spread(
    outputs: Array, y: Array, scale: Array
) -> tuple[dict[str, Array], Array]:
    values, targets = outputs * jnp.asarray(scale), y * jnp.asarray(scale)
    mean, std = jnp.mean(values, axis=0), jnp.std(values, axis=0, ddof=1)
    observed = metrics.coverage(targets, mean, std, levels=LEVELS)
    spread = {
        "CRPS": metrics.crps_ensemble(targets, values),
        "coverage of its 90% interval": observed[LEVELS.index(0.9)],
        "spread / error": metrics.spread_error_ratio(targets, values),
    }
    return spread, observed


def _classification_spread(
    outputs: Array, prediction: Prediction, y: Array
) -> tuple[dict[str, Array], Curve]:
    spread, confidence, hit = _classes_spread(outputs, prediction, y)
    return spread, _reliability(np.asarray(confidence), np.asarray(hit))


@jax.jit
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
