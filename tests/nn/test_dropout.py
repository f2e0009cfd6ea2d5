import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn


def test_dropout_keeps_the_mean_and_drops_the_share_asked_for(key):
    x = jnp.full((100, 1_000), 2.0)
    y = np.asarray(nn.Dropout(0.2).apply((), x, key=key))
    np.testing.assert_allclose(np.unique(y), [0, 2.5], rtol=1e-6)
    # Five standard errors of the mean of 100,000 draws.
    assert abs(np.mean(y == 0) - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 1e5)


def test_dropout_without_a_key_or_a_rate_is_the_identity(key):
    x = jax.random.normal(key, (3, 4))
    np.testing.assert_array_equal(nn.Dropout(0.5).apply((), x), x)
    np.testing.assert_array_equal(nn.Dropout(0.0).apply((), x, key=key), x)


def test_the_key_reaches_dropout_through_a_chain(key):
    chain = model.Sequential((nn.Dropout(0.5), nn.Dropout(0.5)))
    y = jax.jit(chain.apply)(chain.init(key), jnp.ones(10_000), key=key)
    # Two layers with one mask would keep a half, not a quarter.
    assert np.mean(y == 4) == pytest.approx(0.25, abs=0.03)


def test_dropped_values_have_no_gradient(key):
    dropout = nn.Dropout(0.5)
    x = jnp.ones(100)
    slope = jax.grad(lambda x: jnp.sum(dropout.apply((), x, key=key)))(x)
    np.testing.assert_array_equal(slope, dropout.apply((), x, key=key))


def test_a_dropped_path_takes_a_whole_example(key):
    x = jax.random.normal(key, (2, 5_000, 3, 4))
    y = np.asarray(nn.DropPath(0.2).apply((), x, key=key))
    dropped = np.all(y == 0, axis=(2, 3))
    # Five standard errors of the mean of 10,000 draws.
    assert abs(np.mean(dropped) - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 1e4)
    np.testing.assert_allclose(y[~dropped], np.asarray(x)[~dropped] / 0.8, rtol=1e-6)
    np.testing.assert_array_equal(nn.DropPath(0.2).apply((), x), x)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 50, float("nan")])
@pytest.mark.parametrize("layer", [nn.Dropout, nn.DropPath])
def test_rates_that_are_no_probability_are_refused(layer, rate):
    with pytest.raises(
        ValueError, match="rate must be at least 0 and less than 1; got"
    ):
        layer(rate)
