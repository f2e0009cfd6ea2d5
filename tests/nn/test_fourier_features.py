"""Waves: random ones by a loop, periodic ones by their period."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn


def test_features_are_waves_of_projections(key):
    layer = nn.FourierFeatures(3, 8, scale=2.0)
    params = layer.init(key)
    x = np.array([0.1, -0.4, 0.7])
    for i in range(4):
        phase = x @ np.asarray(params["frequencies"])[:, i]
        y = layer.apply(params, jnp.array(x))
        wanted = [np.cos(phase), np.sin(phase)]
        np.testing.assert_allclose([y[i], y[4 + i]], wanted, atol=1e-6)


def test_frequencies_have_their_scale(key):
    drawn = nn.FourierFeatures(100, 200, scale=3.0).init(key)["frequencies"]
    np.testing.assert_allclose(np.std(drawn), 3.0, rtol=0.02)


def test_fixed_frequencies_are_not_trained(key):
    drawn = nn.FourierFeatures(2, 6).init(key)["frequencies"]
    fixed = nn.FourierFeatures(2, 6, frequencies=drawn)
    assert model.count_parameters(fixed.init(key)) == 0
    x = jnp.ones((4, 2))
    trained = nn.FourierFeatures(2, 6).apply({"frequencies": drawn}, x)
    np.testing.assert_array_equal(fixed.apply({}, x), trained)


def test_two_periodic_coordinates_have_all_products():
    embedding = nn.PeriodicEmbedding((None, 2.0, 3.0), harmonics=2)
    t, x, y = 0.3, 0.4, -0.6
    found = embedding.apply((), jnp.array([t, x, y]))

    def waves(z, period):
        w = 2 * np.pi / period
        return [1, np.cos(w * z), np.cos(2 * w * z), np.sin(w * z), np.sin(2 * w * z)]

    products = [a * b for a, b in itertools.product(waves(x, 2), waves(y, 3))]
    assert embedding.features == 26
    alone = nn.PeriodicEmbedding((2.0,), 2).apply((), jnp.array([x]))
    np.testing.assert_allclose(alone, waves(x, 2), rtol=1e-5)
    np.testing.assert_allclose(found, [t, *products], rtol=1e-5, atol=1e-6)


def test_networks_on_top_are_periodic_with_all_derivatives(x64, key):
    net = model.Sequential(
        (nn.PeriodicEmbedding((None, 2.0), 2), nn.ModifiedMLP((6, 8, 8, 1)))
    )
    params = net.init(key)

    def u(x):
        return net.apply(params, jnp.stack([0.3, x]))[0]

    for order in range(4):
        v = u
        for _ in range(order):
            v = jax.grad(v)
        scale = max(1.0, abs(float(v(-1.0))))
        assert abs(v(1.0) - v(-1.0)) < 1e-12 * scale
        assert abs(v(-0.5) - v(-1.0)) > 1e-6


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: nn.FourierFeatures(2, 5), "features must be even; got 5"),
        (lambda: nn.FourierFeatures(2, 4, 0.0), "scale must be positive"),
        (lambda: nn.PeriodicEmbedding((None,)), "at least one; got"),
        (lambda: nn.PeriodicEmbedding((-1.0,)), "positive number"),
    ],
)
def test_bad_input(build, words):
    with pytest.raises(ValueError, match=words):
        build()
