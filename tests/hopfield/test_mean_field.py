import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

from kanjax import hopfield
from kanjax.hopfield import mean_field


def test_the_capacity_at_zero_temperature():
    found = mean_field.zero_temperature_capacity()
    assert found.load == pytest.approx(0.137905566, abs=1e-9)
    assert found.overlap == pytest.approx(0.967417, abs=1e-6)
    y = np.linspace(0.5, 3, 100_001)
    slope = scipy.special.erf(y) / y - 2 / np.sqrt(np.pi) * np.exp(-(y**2))
    assert found.load == pytest.approx(np.max(slope**2 / 2), abs=1e-9)


def test_a_solution_fulfils_the_equations_by_another_quadrature(x64):
    load, beta = 0.05, 3.0
    found = mean_field.replica_symmetric(load, beta, tolerance=1e-10)
    assert found.converged
    m, q, r = (float(v) for v in found[:3])

    def mean(function):
        def integrand(z):
            field = np.tanh(beta * (m + np.sqrt(load * r) * z))
            return function(field) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

        return scipy.integrate.quad(integrand, -12, 12, limit=200)[0]

    assert m == pytest.approx(mean(lambda t: t), abs=1e-7)
    assert q == pytest.approx(mean(lambda t: t * t), abs=1e-7)
    assert r == pytest.approx(q / (1 - beta * (1 - q)) ** 2, rel=1e-7)


def test_without_load_it_is_the_mean_field_magnet():
    found = mean_field.replica_symmetric(0.0, 1.5)
    assert float(found.overlap) == pytest.approx(0.858552, abs=1e-3)
    m = float(found.overlap)
    assert m == pytest.approx(np.tanh(1.5 * m), abs=1e-4)
    assert mean_field.replica_symmetric(0.0, 0.8, start=1.0).overlap < 0.01


def test_jit_and_vmap_over_loads():
    loads = jnp.array([0.02, 0.08, 0.3])
    found = jax.jit(jax.vmap(lambda a: mean_field.replica_symmetric(a, 20.0)))(loads)
    assert np.all(found.overlap[:2] > 0.95) and found.overlap[2] < 0.5
    alone = mean_field.replica_symmetric(0.08, 20.0)
    np.testing.assert_allclose(found.overlap[1], alone.overlap, atol=1e-4)
    few = mean_field.replica_symmetric(0.13, 5.0, max_steps=2)
    assert not few.converged


@pytest.mark.slow
def test_a_sampled_memory_has_the_predicted_overlap(key):
    spins, load, beta = 1500, 0.05, 3.0
    patterns = hopfield.random_patterns(key, int(load * spins), spins)
    memory = hopfield.PSpin(patterns, 2)
    start = patterns[:20]
    chains = hopfield.glauber(
        key, memory, start, beta=beta, sweeps=60, observe=memory.overlaps
    )
    own = jnp.diagonal(chains.observed[20:], axis1=1, axis2=2)
    predicted = mean_field.replica_symmetric(load, beta).overlap
    np.testing.assert_allclose(np.mean(own), predicted, atol=0.01)


@pytest.mark.slow
def test_recall_breaks_down_at_the_capacity(key):
    """Below 0.138 patterns a spin patterns are recalled, well above they are not."""
    spins = 2000
    recalled = {}
    for load in (0.10, 0.13, 0.16, 0.20):
        patterns = hopfield.random_patterns(key, int(load * spins), spins)
        found = hopfield.retrieve(hopfield.PSpin(patterns, 2), patterns[:10])
        assert np.all(found.converged)
        own = jnp.diagonal(hopfield.overlaps(found.state, patterns[:10]))
        recalled[load] = float(jnp.mean(own))
    assert recalled[0.10] > 0.97 and recalled[0.13] > 0.9
    assert recalled[0.16] < 0.75 and recalled[0.20] < 0.5


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="beta must be positive"):
        mean_field.replica_symmetric(0.1, 0.0)
