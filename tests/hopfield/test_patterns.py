import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield


def test_random_patterns_are_fair_coins(key):
    patterns = np.asarray(hopfield.random_patterns(key, 100, 400))
    assert set(np.unique(patterns)) == {-1, 1}
    # Four standard errors of the mean of 40,000 fair coins.
    assert abs(patterns.mean()) < 4 / 200


def test_a_fraction_of_spins_is_turned(key):
    patterns = hopfield.random_patterns(key, 50, 400)
    turned = hopfield.corrupt(jax.random.key(1), patterns, 0.2) != patterns
    error = 4 * np.sqrt(0.2 * 0.8 / turned.size)
    np.testing.assert_allclose(np.mean(turned), 0.2, atol=error)
    np.testing.assert_array_equal(hopfield.corrupt(key, patterns, 0.0), patterns)
    np.testing.assert_array_equal(hopfield.corrupt(key, patterns, 1.0), -patterns)


def test_overlaps_are_cosines_of_spins(key):
    patterns = hopfield.random_patterns(key, 4, 30)
    expected = np.corrcoef(np.asarray(patterns))
    mean = np.asarray(patterns).mean(axis=1)
    variance = np.sqrt(np.outer(1 - mean**2, 1 - mean**2))
    found = hopfield.overlaps(patterns, patterns)
    np.testing.assert_allclose(
        found, expected * variance + np.outer(mean, mean), atol=1e-5
    )


def test_bad_input_is_named(key):
    with pytest.raises(ValueError, match=r"fraction must lie in \[0, 1\]; got 2"):
        hopfield.corrupt(key, jnp.ones(3), 2)
    with pytest.raises(ValueError, match="patterns have 4 features, the state has 3"):
        hopfield.overlaps(jnp.ones(3), jnp.ones((2, 4)))
