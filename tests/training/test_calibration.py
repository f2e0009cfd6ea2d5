"""Conformal quantiles and temperatures, held against counting and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from kanjax import training


@pytest.mark.parametrize("n", [9, 10, 19, 50])
def test_a_new_score_stays_below_as_often_as_is_said(n):
    """The rank of the new one is uniform: counted over all n + 1 places."""
    scores = jax.random.normal(jax.random.key(n), (n + 1,))
    below = [
        float(scores[i])
        <= float(training.conformal_quantile(jnp.delete(scores, i), 0.9))
        for i in range(n + 1)
    ]
    assert np.mean(below) == pytest.approx(np.ceil((n + 1) * 0.9) / (n + 1))


def test_quantiles_of_columns_and_of_too_few_rows():
    scores = jnp.stack([jnp.arange(20.0), 10 * jnp.arange(20.0)], axis=1)
    both = jax.jit(lambda s: training.conformal_quantile(s, 0.9))(scores)
    np.testing.assert_array_equal(both, [18.0, 180.0])
    assert np.isinf(training.conformal_quantile(jnp.ones(8), 0.9))
    # Counts are integers, of which none is infinite.
    assert np.isinf(training.conformal_quantile(jnp.arange(8), 0.9))
    assert training.conformal_quantile(np.arange(19), 0.9) == 17


def test_cv_plus_ends_are_order_statistics():
    """Of what each left-out row says, sorted by numpy."""
    rng = np.random.default_rng(0)
    fold = np.array([0, 2, 1] * 13)
    predictions = rng.normal(size=(3, 7, 2))
    residuals = rng.exponential(size=(39, 2))
    lower, upper = training.cv_plus_interval(predictions, residuals, fold, 0.9)
    by_row = predictions[fold]
    # floor(0.1 * 40) from below and ceil(0.9 * 40) of 39.
    exact = np.sort(by_row - residuals[:, None], axis=0)[3]
    np.testing.assert_allclose(lower, exact, rtol=1e-6)
    exact = np.sort(by_row + residuals[:, None], axis=0)[35]
    np.testing.assert_allclose(upper, exact, rtol=1e-6)
    few = training.cv_plus_interval(predictions, residuals[:8], fold[:8], 0.9)
    assert np.all(np.isneginf(few[0])) and np.all(np.isposinf(few[1]))


def test_cv_plus_covers_new_targets():
    """Least squares without each fold, on 60 rows of 20 features, 100 tables."""
    rng = np.random.default_rng(1)
    tables, rows, new, folds = 100, 60, 50, 6
    fold = np.arange(rows) % folds
    held, on_fit = [], []
    for _ in range(tables):
        x = rng.normal(size=(rows + new, 20))
        y = x.sum(axis=1) + rng.standard_t(3, size=rows + new)
        weights = np.stack(
            [
                np.linalg.lstsq(x[:rows][fold != k], y[:rows][fold != k])[0]
                for k in range(folds)
            ]
        )
        off = np.abs(y[:rows] - np.sum(x[:rows] * weights[fold], axis=1))
        lower, upper = training.cv_plus_interval(weights @ x[rows:].T, off, fold, 0.9)
        held.append(np.mean((lower <= y[rows:]) & (y[rows:] <= upper)))
        all_rows = np.linalg.lstsq(x[:rows], y[:rows])[0]
        radius = np.quantile(np.abs(y[:rows] - x[:rows] @ all_rows), 0.9)
        on_fit.append(np.mean(np.abs(y[rows:] - x[rows:] @ all_rows) <= radius))
    # Barber et al., figure 1: about the asked, where errors of the fit do not hold it.
    assert 0.88 < np.mean(held) < 0.96
    assert np.mean(on_fit) < 0.8


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_temperature_undoes_what_logits_were_multiplied_by(factor, x64):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    y = np.array([rng.choice(3, p=p) for p in scipy.special.softmax(logits, axis=1)])
    t = float(training.fit_temperature(factor * logits, y))
    assert t == pytest.approx(factor, rel=0.1)

    def loss(u):
        log_p = scipy.special.log_softmax(factor * logits * np.exp(-u), axis=1)
        return u**2 / 2 - log_p[np.arange(len(y)), y].sum()

    exact = scipy.optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded")
    assert t == pytest.approx(np.exp(exact.x), rel=1e-4)


def test_temperature_of_rows_that_are_all_right_is_finite():
    log_p = jnp.log(jnp.array([[0.9, 0.1]] * 5))
    t = float(training.fit_temperature(log_p, jnp.zeros(5, int)))
    assert 0.05 < t < 1


def test_temperature_of_impossible_classes():
    """As in the limit of a class that is nearly impossible."""
    rng = np.random.default_rng(0)
    log_p = scipy.special.log_softmax(rng.normal(size=(300, 3)) * 2, axis=1)
    y = np.argmax(log_p + 2 * rng.gumbel(size=log_p.shape), axis=1)
    log_p[np.arange(20), (y[:20] + 1) % 3] = -1e4
    limit = float(training.fit_temperature(log_p, y))
    assert 1.2 < limit < 10
    log_p[log_p == -1e4] = -np.inf
    assert float(training.fit_temperature(log_p, y)) == pytest.approx(limit, rel=1e-5)
    # A row whose own class is impossible says nothing at any temperature.
    more = np.append(log_p, [[-np.inf, 0.0, -np.inf]], axis=0)
    t = float(training.fit_temperature(more, np.append(y, 0)))
    assert t == pytest.approx(limit, rel=1e-5)
    log_p[0] = np.nan
    assert np.isnan(training.fit_temperature(log_p, y))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: training.conformal_quantile(jnp.ones(5), 1.0), "coverage must lie"),
        (lambda: training.conformal_quantile(jnp.ones(0), 0.9), "has no rows"),
        (
            lambda: training.cv_plus_interval(
                jnp.ones((2, 3)), jnp.ones(5), jnp.zeros(4, int), 0.9
            ),
            r"residuals .* got \(2, 3\), \(5,\) and \(4,\)",
        ),
        (
            lambda: training.cv_plus_interval(
                jnp.ones((2, 3)), jnp.ones(5), jnp.array([1, 2, 1, 2, 1]), 0.9
            ),
            "from 1 to 2; .* numbered from 0 to 1",
        ),
        (lambda: training.fit_temperature(jnp.ones((4, 2)), jnp.zeros(3, int)), "y "),
        (
            lambda: training.fit_temperature(jnp.ones((2, 2)), jnp.array([1, 2])),
            "numbered from 0 to 1",
        ),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
