import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield
from kanjax.hopfield import bounds, modern


def on_a_sphere(key, number, dimension, radius):
    points = jax.random.normal(key, (number, dimension))
    return radius * points / jnp.linalg.norm(points, axis=1, keepdims=True)


def test_separation_is_the_loop_over_pairs(key):
    X = np.asarray(jax.random.normal(key, (6, 4)))
    expected = [
        x @ x - max(x @ y for j, y in enumerate(X) if j != i) for i, x in enumerate(X)
    ]
    np.testing.assert_allclose(bounds.separation(X), expected, rtol=1e-5, atol=1e-5)
    assert bounds.separation(X[:1])[0] == np.inf


@pytest.mark.parametrize("beta, distance", [(0.5, 0.5), (1.0, 1.0), (2.0, 0.2)])
def test_one_update_ends_within_the_bound(beta, distance, key):
    patterns = on_a_sphere(key, 20, 40, 6.0)
    bound = bounds.retrieval_error_bound(patterns, beta, distance)
    steps = on_a_sphere(jax.random.key(1), 20, 40, distance)
    found = modern.update(patterns + steps, patterns, beta)
    error = jnp.linalg.norm(found - patterns, axis=1)
    assert np.all(error <= bound + 1e-5)
    # It says something: less than the distance, for some patterns.
    assert np.any(bound < distance) or beta < 2


def test_well_separated_patterns_have_fixed_points_beside_them(key):
    patterns = on_a_sphere(key, 10, 60, 7.0)
    assert np.all(bounds.well_separated(patterns, 1.0))
    found = modern.retrieve(patterns, patterns, 1.0)
    distance = jnp.linalg.norm(found.state - patterns, axis=1)
    assert np.all(found.converged)
    assert np.all(distance <= 1 / (1.0 * 10 * 7.0) + 1e-5)
    close = jnp.stack([patterns[0], patterns[0] + 0.01])
    assert not np.any(bounds.well_separated(close, 1.0))


def test_below_the_contraction_bound_there_is_one_fixed_point(key):
    patterns = jax.random.normal(key, (8, 5))
    beta = 0.9 / bounds.contraction_bound(patterns, 1.0)
    starts = 5 * jax.random.normal(jax.random.key(1), (20, 5))
    found = modern.retrieve(starts, patterns, beta)
    assert np.all(found.converged)
    np.testing.assert_allclose(
        found.state, np.broadcast_to(found.state[:1], (20, 5)), atol=1e-4
    )
    assert np.all(hopfield.classify(found.weights) == 0)
    jacobian = jax.jacfwd(lambda s: modern.update(s, patterns, beta))(starts[0])
    assert np.linalg.norm(jacobian, 2) <= bounds.contraction_bound(patterns, beta)


def test_capacity_of_the_papers_examples():
    assert bounds.capacity_bound(20, 1.0, radius=3).base == pytest.approx(
        3.1546, abs=1e-4
    )
    found = bounds.capacity_bound(75, 1.0, radius=1)
    assert found.base == pytest.approx(1.3718, abs=1e-4)
    assert found.patterns == pytest.approx(np.sqrt(0.001) * found.base ** (74 / 4))
    # c solves c log(c) + a' c = b, from W(z) exp(W(z)) = z.
    a = 2 / 74 * (1 + np.log(2 * 0.001 * 74))
    w = 0.4 / found.base
    assert w * np.exp(w) == pytest.approx(np.exp(a) * 0.4)


@pytest.mark.parametrize("dimension", [1500, 4096])
def test_capacities_of_many_dimensions(dimension):
    found = bounds.capacity_bound(dimension, 1.0, radius=3)
    power = (dimension - 1) / 4 * np.log10(found.base) + np.log10(0.001) / 2
    if power > 308.5:
        assert found.patterns == np.inf
    else:
        assert np.log10(found.patterns) == pytest.approx(power)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="dimension must be an integer of at least 2"):
        bounds.capacity_bound(1, 1.0, radius=1)
    with pytest.raises(ValueError, match="beta must be positive and finite; got 0"):
        bounds.capacity_bound(9, 0, radius=1)
    with pytest.raises(ValueError, match="radius must be positive and finite"):
        bounds.capacity_bound(9, 1.0, radius=-1)
    with pytest.raises(ValueError, match=r"failure must lie in \(0, 1\); got 1"):
        bounds.capacity_bound(9, 1.0, radius=1, failure=1)
    with pytest.raises(ValueError, match="beta must be positive"):
        bounds.well_separated(jnp.ones((2, 3)), 0.0)
