"""Samplers: slices, discrepancy, densities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import qmc

from kanjax.pinn import domains, samplers

SQUARE = domains.Box((0.0, 0.0), (1.0, 1.0))
TALL = domains.Box((0.0, -1.0), (1.0, 3.0))


def test_a_latin_hypercube_has_a_point_in_each_slice(key):
    z = np.asarray(samplers.latin_hypercube(SQUARE, 50, key=key))
    for column in z.T:
        np.testing.assert_array_equal(np.sort((column * 50).astype(int)), np.arange(50))


def test_sobol_points_are_more_even_than_drawn_ones(key):
    def discrepancy(sampler):
        return qmc.discrepancy(np.asarray(sampler(SQUARE, 256, key=key)))

    assert discrepancy(samplers.sobol) < 0.2 * discrepancy(samplers.uniform)
    assert discrepancy(samplers.latin_hypercube) < discrepancy(samplers.uniform)


def test_a_grid_has_the_middles_of_cells():
    z = np.asarray(samplers.grid(TALL, 4))
    np.testing.assert_allclose(z, [[0.25, 0], [0.25, 2], [0.75, 0], [0.75, 2]])
    assert samplers.grid(domains.TimeSpace(0.0, 1.0, TALL), 30).shape == (27, 3)


def test_points_dense_at_the_edges_have_the_arcsine_law(x64, key):
    z = np.asarray(samplers.edge_dense(TALL, 1000, key=key))
    # P(x < a) = 2 arcsin(sqrt(a)) / pi on [0, 1].
    scaled = (z - [0, -1]) / [1, 4]
    for a in (0.05, 0.5, 0.8):
        wanted = 2 * np.arcsin(np.sqrt(a)) / np.pi
        np.testing.assert_allclose((scaled < a).mean(axis=0), wanted, atol=0.01)
    top = np.asarray(samplers.edge_dense(TALL.face(1, "upper"), 50, key=key))
    assert np.all(top[:, 1] == 3) and np.ptp(top[:, 0]) > 0.9


@pytest.mark.parametrize("name", ["uniform", "latin_hypercube", "sobol", "grid"])
def test_samplers_work_under_jit_and_vmap(name):
    sampler = functools.partial(getattr(samplers, name), TALL, 16)
    keys = jax.random.split(jax.random.key(0), 3)
    z = jax.jit(jax.vmap(lambda k: sampler(key=k)))(keys)
    assert z.shape == (3, 16, 2)
    np.testing.assert_allclose(z[1], sampler(key=keys[1]), rtol=1e-6)
    assert np.all(jax.vmap(jax.vmap(TALL.distance))(z) <= 1e-6)
    assert (name == "grid") == bool(np.all(z[0] == z[1]))


@pytest.mark.parametrize("name", ["uniform", "sobol", "grid"])
def test_a_single_point_can_be_sampled(name, key):
    place = domains.Box((2.0,), (2.0,))
    z = getattr(samplers, name)(place, 5, key=key)
    assert np.all(z == 2.0)


def test_residual_adaptive_points_have_their_density(key):
    candidates = jnp.arange(4000.0)[:, None]
    large = jnp.arange(4000) < 1000
    residuals = jnp.where(large, 3.0, -1.0)
    # |r| / mean |r| + 1 is 3 and 5 / 3: a share of 1000 * 3 / 8000.
    z = samplers.residual_adaptive(candidates, residuals, 400, key=key)
    assert len(np.unique(z)) == 400
    assert abs(np.mean(z < 1000) - 0.375) < 0.06
    sharp = samplers.residual_adaptive(
        candidates, residuals, 400, key=key, power=8.0, constant=0.0
    )
    assert np.mean(sharp < 1000) > 0.95


def test_constant_residuals_choose_uniformly(key):
    candidates = jnp.linspace(0, 1, 2000)[:, None]
    z = samplers.residual_adaptive(candidates, jnp.full(2000, 7.0), 1000, key=key)
    assert abs(np.mean(z) - 0.5) < 3 * np.sqrt(1 / 12 / 1000)


def test_r3_keeps_large_residuals_and_draws_others_again(key):
    points = samplers.uniform(SQUARE, 100, key=key)
    residuals = jnp.where(jnp.arange(100) < 30, -2.0, 0.1)
    z = samplers.retain_resample_release(
        SQUARE, points, residuals, key=jax.random.key(1)
    )
    kept = np.all(np.asarray(z == points), axis=1)
    np.testing.assert_array_equal(kept, np.arange(100) < 30)


def test_bad_input(key):
    with pytest.raises(ValueError, match="points must be a positive integer; got 0"):
        samplers.uniform(SQUARE, 0, key=key)
    with pytest.raises(ValueError, match="number of candidates, 3; got 5"):
        samplers.residual_adaptive(jnp.zeros((3, 1)), jnp.ones(3), 5, key=key)
