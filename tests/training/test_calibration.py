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


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: training.conformal_quantile(jnp.ones(5), 1.0), "coverage must lie"),
        (lambda: training.conformal_quantile(jnp.ones(0), 0.9), "has no rows"),
        (lambda: training.fit_temperature(jnp.ones((4, 2)), jnp.zeros(3, int)), "y "),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
