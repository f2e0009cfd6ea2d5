"""Random functions have the covariance that is asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.systems import random_fields


def test_the_covariance_is_the_greens_function(x64):
    # Averaged over y only the modes (i, 0) are left: s^2 (tau^2 - d^2/dx^2)^-1, flat at
    # the ends, whose Green's function is known.
    field = random_fields.CosineField(modes=64, scale=2.0, decay=1, inverse_length=3.0)
    x = np.array([0.2, 0.7])
    k = np.arange(64)
    waves = np.where(k == 0, 1, np.sqrt(2)) * np.cos(np.pi * x[:, None] * k)
    found = waves * np.asarray(field.deviations)[:, 0] ** 2 @ waves.T
    low, high = np.minimum.outer(x, x), np.maximum.outer(x, x)
    green = np.cosh(3 * low) * np.cosh(3 * (1 - high)) / (3 * np.sinh(3))
    np.testing.assert_allclose(found, 4 * green, atol=0.02)


def test_draws_have_the_variance(x64):
    field = random_fields.CosineField(modes=8)
    keys = jax.random.split(jax.random.key(0), 4000)
    z = jnp.array([[0.0, 0.3], [0.4, 0.4]])
    draws = jax.vmap(lambda key: field.evaluate(field.draw(key), z))(keys)
    k = np.arange(8)
    norms = np.where(k == 0, 1, np.sqrt(2))
    a, b = (norms * np.cos(np.pi * np.asarray(z)[:, i, None] * k) for i in (0, 1))
    deviations = np.asarray(field.deviations)
    variance = np.einsum("pi,ij,pj->p", a**2, deviations**2, b**2)
    np.testing.assert_allclose(np.var(draws, axis=0), variance, rtol=0.1)
    np.testing.assert_allclose(
        np.mean(draws, axis=0) / np.sqrt(variance), 0, atol=4 / np.sqrt(4000)
    )


def test_values_by_hand(x64):
    field = random_fields.CosineField(modes=3)
    coefficients = jnp.zeros((3, 3)).at[1, 2].set(1.0)
    z = jnp.array([0.2, 0.3])
    wanted = 2 * np.cos(0.2 * np.pi) * np.cos(0.6 * np.pi)
    np.testing.assert_allclose(field.evaluate(coefficients, z), wanted, rtol=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="modes and decay must be at least 1"):
        random_fields.CosineField(modes=0)
    with pytest.raises(ValueError, match="must be positive"):
        random_fields.CosineField(scale=0.0)
