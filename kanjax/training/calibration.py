"""Statements about new rows that hold as often as they say, from held-out rows.

Split conformal prediction asks nothing of the model: if the held-out and the new rows
are exchangeable, an interval or a set of coverage 0.9 holds the target of a new row
with probability 0.9 at least, over the draw of all rows. CV+ needs no held-out rows
beside those of its folds, for which it trains once more a fold.

Sources: Vovk, Gammerman, Shafer (2005), Algorithmic Learning in a Random World;
Barber, Candes, Ramdas, Tibshirani (2021), Predictive inference with the jackknife+,
arXiv:1905.02928 (CV+); Sadinle, Lei, Wasserman (2019), arXiv:1609.00451 (sets of
classes); Guo, Pleiss, Sun and
Weinberger (2017), arXiv:1706.04599 (temperature).
"""

import math

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import checks
from kanjax.linalg import bisect


def conformal_quantile(
    scores: Float[ArrayLike, "n ..."], coverage: float
) -> Float[Array, "..."]:
    """Return the score that a new row's stays below with the asked probability.

    It is the ceil((n + 1) coverage)-th smallest: the rank of a new score among n + 1
    exchangeable ones is uniform. Infinite where n is too small for the coverage.

    Args:
        scores: (n, ...) what each held-out row is off by, such as ``abs(y - mean)``,
            or 1 minus the probability of the true class.
        coverage: the probability, between 0 and 1.

    Raises:
        ValueError: for a coverage outside of (0, 1), or without scores.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax import training
        >>> residuals = jnp.arange(1.0, 20.0)       # 19 of them
        >>> float(training.conformal_quantile(residuals, 0.9))
        18.0
        >>> float(training.conformal_quantile(residuals, 0.96))
        inf
    """
    scores = checks.as_floating(scores)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1; got {coverage!r}.")
    if scores.ndim == 0 or len(scores) == 0:
        raise ValueError("scores has no rows; give one score for each held-out row.")
    # A product of 18 but for rounding, such as 18.000000000000004, is not 19.
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    if rank > len(scores):
        return jnp.full(scores.shape[1:], jnp.inf, scores.dtype)
    return jnp.sort(scores, axis=0)[rank - 1]


def cv_plus_interval(
    predictions: Float[ArrayLike, "folds n ..."],
    residuals: Float[ArrayLike, "rows ..."],
    fold: Int[ArrayLike, " rows"],
    coverage: float,
) -> tuple[Float[Array, "n ..."], Float[Array, "n ..."]]:
    """Return intervals that hold new targets, from models that each left a fold out.

    A row that was left out says how far its model's prediction of a new row may be off:
    the ends are conformal quantiles of that prediction minus and plus its residual. For
    exchangeable rows they hold a target with probability 2 coverage - 1 at least, less
    ``sqrt(2 / rows)``, and with about the coverage where the models are stable.

    Args:
        predictions: (folds, n, ...) of n new rows, by the model without each fold.
        residuals: (rows, ...) absolute error of every row of the folds, by the model
            that was trained without it.
        fold: (rows,) the fold of each, from 0.
        coverage: the probability, between 0 and 1.

    Returns:
        Lower and upper ends, (n, ...) each; infinite where the rows are too few.

    Raises:
        ValueError: if the shapes do not belong together, if a row is of no fold, and
            as :func:`conformal_quantile`.

    Source: Barber et al. (2021), section 3 and theorem 4.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax import training
        >>> fold = jnp.arange(20) % 2                # of 20 rows, two folds
        >>> predictions = jnp.array([[0.0], [1.0]])  # of one row, by two models
        >>> lower, upper = training.cv_plus_interval(
        ...     predictions, jnp.ones(20), fold, 0.9)
        >>> float(lower[0]), float(upper[0])
        (-1.0, 2.0)
    """
    predictions, residuals, fold = map(jnp.asarray, (predictions, residuals, fold))
    if (
        predictions.ndim < 2
        or residuals.shape != (*fold.shape, *predictions.shape[2:])
        or fold.ndim != 1
    ):
        raise ValueError(
            "predictions must be (folds, n, ...), residuals (rows, ...) with the same "
            f"outputs and fold (rows,); got {predictions.shape}, {residuals.shape} and "
            f"{fold.shape}."
        )
    _check_fold(fold, len(predictions))

    def of_row(predicted: Array) -> tuple[Array, Array]:
        by_row = predicted[fold]
        below = conformal_quantile(residuals - by_row, coverage)
        return -below, conformal_quantile(residuals + by_row, coverage)

    return jax.lax.map(of_row, jnp.moveaxis(predictions, 1, 0), batch_size=1024)


def fit_temperature(
    log_p: Float[ArrayLike, "n classes"], y: Int[ArrayLike, " n"]
) -> Float[Array, ""]:
    """Return the temperature T for which softmax(log_p / T) is the best calibrated.

    T has the least negative log likelihood on held-out rows; a standard normal prior
    on log T keeps it finite where every row is predicted right, and does not matter
    beside many rows. Classes keep their order, so accuracy does not change.

    Args:
        log_p: (n, classes) logarithms of probabilities, or logits; -inf where a
            class is impossible.
        y: (n,) true classes. Rows whose true class is impossible have no say: no
            temperature makes it possible.

    Returns:
        T, between 0.05 and 20; above 1 for predictions that were too sure. NaN if one
        of log_p is.

    Raises:
        TypeError: if classes are not integers.
        ValueError: if the shapes do not belong together, or a label is no class.
    """
    log_p, y = jnp.asarray(log_p), jnp.asarray(y)
    if log_p.ndim != 2 or y.shape != log_p.shape[:1]:
        raise ValueError(
            "log_p must be (n, classes) and y (n,); got "
            f"{np.shape(log_p)} and {np.shape(y)}."
        )

    checks.check_labels(y, log_p.shape[1])
    # Both selections are needed: the inner one keeps -inf times 0 out of the slope.
    impossible = jnp.isneginf(log_p)
    finite = jnp.where(impossible, 0.0, log_p)

    def loss(log_t: Array) -> Array:
        scaled = jnp.where(impossible, -jnp.inf, finite * jnp.exp(-log_t))
        log_q = jax.nn.log_softmax(scaled, axis=-1)
        chosen = jnp.take_along_axis(log_q, y[:, None], axis=-1)
        return log_t**2 / 2 - jnp.sum(jnp.where(jnp.isneginf(chosen), 0.0, chosen))

    slope = jax.grad(loss)
    # The likelihood is convex in 1/T, so that its slope changes its sign once.
    limit = math.log(20.0)
    temperature = jnp.exp(bisect(lambda log_t: slope(log_t) > 0, -limit, limit))
    return jnp.where(jnp.isnan(loss(jnp.zeros(()))), jnp.nan, temperature)


def _check_fold(fold: Array, folds: int) -> None:
    if isinstance(fold, jax.core.Tracer) or not fold.size:
        return
    known = np.asarray(fold)
    if known.min() < 0 or known.max() >= folds:
        raise ValueError(
            f"fold goes from {known.min()} to {known.max()}; with predictions of "
            f"{folds} models folds are numbered from 0 to {folds - 1}."
        )
