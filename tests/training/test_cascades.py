"""A cascade of two closed-form models, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import training


def classify(x):
    return jnp.stack([jnp.zeros(len(x)), x[:, 0]], axis=1)


def regress(x):
    return 3 * x[:, 1:]


def test_only_members_get_a_value(key):
    x = jax.random.normal(key, (50, 2))
    found = jax.jit(lambda v: training.cascade(classify, regress, v, threshold=0.6))(x)
    probability = 1 / (1 + np.exp(-np.asarray(x[:, 0], float)))
    np.testing.assert_allclose(found.probability, probability, rtol=1e-5)
    member = probability >= 0.6
    assert np.array_equal(found.member, member) and 0 < member.sum() < 50
    np.testing.assert_allclose(found.value[member], 3 * x[member, 1:])
    assert np.all(np.isnan(found.value[~member]))


def test_the_regressor_sees_true_members_alone(key):
    x = jax.random.normal(key, (20, 2))
    member = (x[:, 0] > 0).astype(int)
    y = jnp.where(member[:, None] == 1, x[:, 1:], jnp.nan)
    seen = []

    def fit(loss, params, data):
        seen.append(data)
        return params + loss

    found = training.fit_cascade(fit, (1.0, 10.0), (2.0, 20.0), x, member, y)
    assert found == (11.0, 22.0)
    assert np.array_equal(seen[0][1], member)
    np.testing.assert_array_equal(seen[1][0], x[np.asarray(member) == 1])
    assert np.all(np.isfinite(seen[1][1]))


def test_bad_input():
    x = jnp.ones((4, 2))
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\]; got 2"):
        training.cascade(classify, regress, x, threshold=2)
    with pytest.raises(ValueError, match=r"logits \(n, 2\); got shape \(4, 1\)"):
        training.cascade(regress, regress, x)
    with pytest.raises(ValueError, match="as many rows; got 4, 3 and 4"):
        training.fit_cascade(None, (), (), x, jnp.ones(3), x)
    with pytest.raises(ValueError, match="member has no 1"):
        training.fit_cascade(None, (), (), x, jnp.zeros(4), x)
