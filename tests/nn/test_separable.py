"""Separable networks are sums of products, and linear where their halves are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, nn

KEY = jax.random.key(0)


def modes(outputs=2):
    """Polynomials of time before waves of period 2."""
    shapes = nn.PeriodicEmbedding((2.0,), 2)
    basis = bases.Chebyshev(3, domain=(0.0, 1.0), squash=None)
    features = outputs * shapes.features
    return nn.Separable(
        kan.KANLayer(1, features, basis=basis, residual=None), shapes, outputs
    )


def test_outputs_are_sums_of_products(x64):
    net = modes()
    params = net.init(KEY)
    z = jnp.array([0.3, 0.4])
    t = 2 * 0.3 - 1
    polynomials = np.array([1, t, 2 * t**2 - 1, 4 * t**3 - 3 * t])
    phase = 0.4 * np.pi * np.arange(1, 3)
    waves = np.concatenate([[1], np.cos(phase), np.sin(phase)])
    amplitudes = np.asarray(params["first"]["coef"])[:, 0].T @ polynomials
    expected = amplitudes.reshape(2, 5) @ waves
    np.testing.assert_allclose(net.apply(params, z), expected, rtol=1e-12)
    # Linear in all of its parameters.
    twice = jax.tree.map(lambda p: 2 * p, params)
    np.testing.assert_allclose(net.apply(twice, z), 2 * expected, rtol=1e-12)


def test_bad_input():
    net = nn.Separable(nn.MLP((1, 4)), nn.PeriodicEmbedding((2.0,), 2))
    with pytest.raises(ValueError, match=r"1 x 5 = 5; it has 4"):
        net.apply(net.init(KEY), jnp.zeros(2))
    with pytest.raises(ValueError, match="outputs"):
        nn.Separable(nn.MLP((1, 4)), nn.MLP((1, 4)), outputs=0)
