import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn


def test_vectors_of_positions_have_the_covariance(x64):
    covariance = jnp.array([[1.0, 0.4, 0.1], [0.4, 1.0, 0.4], [0.1, 0.4, 1.0]])
    layer = nn.Positions((3,), 20_000, 0.5, covariance)
    vectors = layer.apply(layer.init(jax.random.key(0)), jnp.ones((2, 3, 1)))
    assert vectors.shape == (2, 3, 20_000)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    found = vectors[0] @ vectors[0].T / 20_000
    np.testing.assert_allclose(found, 0.25 * covariance, atol=0.01)


def test_they_are_added_or_joined(key):
    layer, x = nn.Positions((3, 2), 4, 0.3), jax.random.normal(key, (5, 3, 2, 4))
    params = layer.init(key)
    vectors = 0.3 * params["embedding"]
    added = model.Residual(layer).apply(params, x)
    np.testing.assert_allclose(added, x + vectors[None], rtol=1e-6)
    joined = model.Concatenate((layer, nn.Activation(jax.nn.identity)))
    y = joined.apply((params, ()), x)
    assert y.shape == (5, 3, 2, 8)
    np.testing.assert_array_equal(y[2, ..., :4], vectors)
    np.testing.assert_array_equal(y[..., 4:], x)


def test_bad_input_is_named(key):
    layer = nn.Positions((3,), 4)
    with pytest.raises(ValueError, match=r"must have positions \(3,\)"):
        layer.apply(layer.init(key), jnp.ones((2, 4, 4)))
    with pytest.raises(ValueError, match=r"shape\[0\] must be a positive integer"):
        nn.Positions((0,), 4)
