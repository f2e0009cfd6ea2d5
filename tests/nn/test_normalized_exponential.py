import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


def test_is_the_size_times_the_exponential_of_each_channel(key):
    x = np.asarray(jax.random.normal(key, (5, 3, 4)))
    size = np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
    expected = size * np.exp(0.8 * x / size + 0.64 * (-0.3 - 1) / 2)
    layer = nn.NormalizedExponential(0.64, -0.3)
    np.testing.assert_allclose(layer.apply((), x), expected, rtol=1e-5)


def test_bytes_are_numbers_whose_squares_are_not_cut():
    x = np.array([[20, 39, 3, 0]], np.uint8)
    size = np.sqrt(np.mean(np.float64(x) ** 2))
    expected = size * np.exp(x / size - 1)
    found = nn.NormalizedExponential().apply((), jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_is_0_with_a_finite_gradient_where_all_channels_are():
    layer, x = nn.NormalizedExponential(), jnp.zeros((2, 3)).at[1].set(1.0)
    slope = jax.grad(lambda x: jnp.sum(layer.apply((), x)))(x)
    np.testing.assert_array_equal(layer.apply((), x)[0], 0)
    assert np.all(np.isfinite(slope))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="gamma must be at least 0 and finite; got -1"):
        nn.NormalizedExponential(-1)
