"""No temperature at all, and nothing to look at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield
from kanjax.hopfield import bounds, modern

PATTERNS = jnp.array([[1.0, 0.0, 0.2], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
STATES = jnp.array([[0.9, 0.1, 0.0], [0.3, 0.3001, 0.5], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_an_infinite_inverse_temperature_takes_the_nearest_pattern(scale):
    X, states = scale * PATTERNS, scale * STATES
    expected = np.array([[1, 0, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    for beta in (jnp.inf, jnp.full(3, jnp.inf)):
        p = modern.weights(states, X, beta)
        np.testing.assert_allclose(p, expected, atol=1e-6)
    for options in ({}, {"batch_size": 2}):
        found = hopfield.associate(states, X, beta=jnp.inf, **options)
        np.testing.assert_allclose(found, expected @ X, rtol=1e-5, atol=1e-6 * scale)
    mixed = modern.weights(states, X, jnp.array([jnp.inf, 2.0, jnp.inf]))
    np.testing.assert_allclose(mixed[1], modern.weights(states[1], X, 2.0), rtol=1e-6)
    under_jit = jax.jit(modern.weights)(states, X, jnp.inf)
    np.testing.assert_allclose(under_jit, expected, atol=1e-6)


def test_the_energy_without_temperature_is_that_of_the_maximum():
    found = modern.energy(STATES, PATTERNS, jnp.inf)
    squares = 0.5 * np.sum(STATES**2, axis=1) + 0.5 * 1.04
    expected = squares - np.max(STATES @ PATTERNS.T, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    slope = jax.grad(lambda s: modern.energy(s, PATTERNS, jnp.inf))(STATES[0])
    np.testing.assert_allclose(slope, STATES[0] - PATTERNS[0], atol=1e-6)
    end = modern.retrieve(STATES[0], PATTERNS, jnp.inf)
    np.testing.assert_allclose(end.state, PATTERNS[0], atol=1e-6)
    moved = modern.jacobian_product(STATES[0], PATTERNS, jnp.inf, jnp.ones(3))
    np.testing.assert_array_equal(moved, 0)


def test_a_layer_without_temperature(key):
    layer = hopfield.Hopfield(4, heads=2, beta=(jnp.inf, 1.0))
    params, x = layer.init(key), jax.random.normal(key, (5, 4))
    found = layer.association(params, x).weights
    assert jnp.all(jnp.isfinite(found))
    np.testing.assert_allclose(found[0].max(axis=-1), 1.0)
    large = hopfield.Hopfield(4, heads=2, beta=(1e6, 1.0))
    np.testing.assert_allclose(found, large.association(params, x).weights, atol=1e-5)


def test_bounds_without_temperature():
    assert jnp.all(bounds.well_separated(PATTERNS, jnp.inf))
    np.testing.assert_array_equal(
        bounds.retrieval_error_bound(PATTERNS, jnp.inf, 0.1), 0
    )
    same = jnp.ones((2, 3))
    assert bounds.contraction_bound(same, jnp.inf) == 0
    assert jnp.all(jnp.isfinite(bounds.retrieval_error_bound(same, jnp.inf, 0.0)))


def test_heads_and_states_that_see_nothing_have_no_regime():
    weights = jnp.stack([jnp.eye(4), jnp.zeros((4, 4)), jnp.full((4, 4), 0.25)])
    found = hopfield.head_statistics(weights)
    np.testing.assert_array_equal(found.regime, [2, hopfield.NOTHING, 0])
    codes = hopfield.classify(jnp.stack([jnp.zeros(4), jnp.eye(4)[0]]))
    np.testing.assert_array_equal(codes, [hopfield.NOTHING, 2])


def test_integer_patterns_keep_all_digits():
    patterns = jnp.array([[1001, 0], [0, 1003]])
    found = hopfield.associate(jnp.array([1, 0]), patterns, beta=1)
    np.testing.assert_allclose(found, [1001.0, 0.0])
