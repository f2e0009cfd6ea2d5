import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from kanjax.study import evaluation, intervals


@pytest.mark.parametrize("unit", [1e-45, 1e-21, 1.0, 1e30])
def test_scores_in_any_unit(unit):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 2)).astype(np.float32)
    outputs = (y + 0.5 * rng.normal(size=(3, 50, 2))).astype(np.float32)
    scale = unit * np.array([1.0, 3.0])
    found = evaluation.score("regression", jnp.asarray(outputs), jnp.asarray(y), scale)
    np.testing.assert_allclose(
        found.members["R2"], [sk.r2_score(y, p) for p in outputs], rtol=1e-5
    )
    exact = [
        np.sqrt(np.mean((scale / unit * (y.astype(float) - p)) ** 2)) for p in outputs
    ]
    np.testing.assert_allclose(np.array(found.members["RMSE"]) / unit, exact, rtol=1e-5)
    plain = evaluation.score(
        "regression", jnp.asarray(outputs), jnp.asarray(y), scale / unit
    )
    assert found.curve == plain.curve
    assert found.spread["spread / error"] == plain.spread["spread / error"]
    np.testing.assert_allclose(found.spread["CRPS"] / unit, plain.spread["CRPS"])


def test_an_ensemble_predicts_by_its_mean_probability():
    """Two unsure members outvote one that is sure, whatever its logits."""
    outputs = jnp.array([[[9.0, 0.0]], [[0.0, 2.0]], [[0.0, 2.0]]])
    assert int(jnp.argmax(jnp.mean(outputs, axis=0))) == 0
    found = evaluation.score("classification", outputs, jnp.array([1]), np.ones(0))
    p = [1 / (1 + np.exp(-d)) for d in (-9.0, 2.0, 2.0)]
    np.testing.assert_allclose(
        np.exp(found.prediction.output)[0, 1], np.mean(p), rtol=1e-6
    )
    np.testing.assert_allclose(found.prediction.std[0, 1], np.std(p, ddof=1), rtol=1e-5)
    assert list(found.ensemble) == list(found.members)
    assert list(found.ensemble) == ["accuracy", "macro F1", "log loss"]
    assert found.ensemble["accuracy"] == 1
    counts = evaluation.confusion(found.prediction, jnp.array([1]))
    assert counts.tolist() == [[0, 0], [0, 1]]


def test_intervals_and_sets_hold_what_they_say():
    """Rows to calibrate on and new ones from one distribution, 400 of each."""
    rng = np.random.default_rng(1)
    y = jnp.asarray(rng.normal(size=(800, 2)), jnp.float32)
    noise = jnp.asarray(rng.normal(size=(1, 800, 2)) * [0.5, 2.0], jnp.float32)
    outputs = y[None] + noise + jnp.zeros((3, 1, 1))
    calibration = evaluation.calibrate("regression", outputs[:, :400], y[:400])
    mean = evaluation.combine("regression", outputs[:, 400:]).output
    ends = intervals.find_ends(None, mean, calibration, None, None)
    held = evaluation.interval_coverage(ends, y[400:], np.array([10.0, 1.0]))
    assert held["measured"] == pytest.approx(0.9, abs=0.04)
    # The 0.9 quantile of |N(0, s)| is 1.645 s.
    np.testing.assert_allclose(held["width"], [16.45, 6.58], rtol=0.15)

    logits = jnp.asarray(rng.normal(size=(1, 800, 4)) * 2, jnp.float32)
    p = np.asarray(jnp.exp(logits[0]) / jnp.sum(jnp.exp(logits[0]), -1, keepdims=True))
    classes = jnp.asarray([rng.choice(4, p=row / row.sum()) for row in p.astype(float)])
    sure = 3 * logits + jnp.zeros((3, 1, 1))
    calibration = evaluation.calibrate("classification", sure[:, :400], classes[:400])
    assert calibration.temperature == pytest.approx(3.0, rel=0.25)
    predicted = evaluation.combine(
        "classification", sure[:, 400:], calibration.temperature
    )
    held = evaluation.set_coverage(predicted, calibration, classes[400:])
    assert held["measured"] == pytest.approx(0.9, abs=0.04)
    assert 1 < held["classes"] < 4


def test_resampled_scores_tell_what_rows_can_tell():
    rng = np.random.default_rng(2)
    y = jnp.asarray(rng.normal(size=(60, 1)), jnp.float32)
    outputs = {
        "good": y + jnp.asarray(0.3 * rng.normal(size=(60, 1)), jnp.float32),
        "like it": y + jnp.asarray(0.31 * rng.normal(size=(60, 1)), jnp.float32),
        "bad": y + jnp.asarray(2 * rng.normal(size=(60, 1)), jnp.float32),
    }
    compared = evaluation.compare(
        "regression", outputs, y, np.array([7.0]), jax.random.key(0)
    )
    levels = {name: scores["RMSE"].is_level for name, scores in compared.items()}
    assert levels == {"good": True, "like it": True, "bad": False}
    error = 7.0 * np.asarray(outputs["bad"] - y)[:, 0]
    samples = error[rng.integers(60, size=(4000, 60))]
    ends = np.quantile(np.sqrt(np.mean(samples**2, axis=1)), [0.05, 0.95])
    np.testing.assert_allclose(compared["bad"]["RMSE"][:2], ends, rtol=0.05)


def test_what_is_no_number_is_never_level_with_the_best():
    y = jnp.arange(20.0)[:, None]
    outputs = {"lost": jnp.full_like(y, jnp.nan), "known": y + 1}
    compared = evaluation.compare(
        "regression", outputs, y, np.ones(1), jax.random.key(0)
    )
    assert compared["known"]["MAE"].is_level and not compared["lost"]["MAE"].is_level
    assert np.isnan(compared["lost"]["MAE"].low) and compared["known"]["MAE"].low == 1
