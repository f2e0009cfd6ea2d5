import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from kanjax.study import evaluation


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
    assert found.ensemble["accuracy"] == 1
    counts = evaluation.confusion(found.prediction, jnp.array([1]))
    assert counts.tolist() == [[0, 0], [0, 1]]
