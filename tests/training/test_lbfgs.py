"""L-BFGS on one batch by scipy, with only the loss compiled."""

import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import training


def squares(params, batch, key=None):
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"][None] - y) ** 2), {"unused": 0.0}


def test_least_squares(x64):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    start = {"w": jnp.zeros((3, 2)), "b": jnp.ones(2)}
    found = training.minimize(squares, start, (x, y), steps=100)
    exact = np.linalg.lstsq(np.c_[x, np.ones(30)], y)[0]
    np.testing.assert_allclose(found["w"], exact[:3], atol=1e-6)
    np.testing.assert_allclose(found["b"], exact[3], atol=1e-6)
    untouched = training.minimize(squares, start, (x, y), steps=0)
    np.testing.assert_array_equal(untouched["b"], start["b"])


def test_steps_back_from_where_the_loss_is_not_finite():
    def loss(p, batch, key=None):
        return jnp.sum(p - batch * jnp.log(p))

    batch = jnp.array([1e-3, 2.0])
    found = training.minimize(loss, jnp.array([1.0, 1.0]), batch, steps=200)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, batch, rtol=1e-2)


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e12])
def test_units_of_the_loss_do_not_matter(unit):
    def loss(w, batch, key=None):
        return unit * jnp.sum((w - batch) ** 4)

    found = training.minimize(loss, jnp.zeros(3), jnp.arange(3.0), steps=100)
    np.testing.assert_allclose(found, [0, 1, 2], atol=0.02)
