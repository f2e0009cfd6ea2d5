"""PirateNets and their factored layers, against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


def test_a_factored_layer_starts_as_glorot_whatever_its_scales():
    layer = nn.FactoredDense(60, 40, 1.0, 0.3)
    params = layer.init(jax.random.key(0))
    weights = params["kernel"] * np.exp(params["scale"])[None]
    assert abs(np.std(weights) / np.sqrt(2 / 100) - 1) < 0.05
    assert abs(np.mean(params["scale"]) - 1) < 0.2
    assert abs(np.std(params["scale"]) / 0.3 - 1) < 0.3
    # The same weights from other scales.
    other = nn.FactoredDense(60, 40, -1.0, 0.0).init(jax.random.key(0))
    np.testing.assert_allclose(
        other["kernel"] * np.exp(other["scale"])[None], weights, rtol=1e-5
    )


def test_scales_are_trained_beside_directions():
    layer = nn.FactoredDense(2, 3)
    params = layer.init(jax.random.key(0))
    x = jnp.array([[0.4, -1.0]])
    slopes = jax.grad(lambda p: jnp.sum(layer.apply(p, x)))(params)
    weights = params["kernel"] * jnp.exp(params["scale"])[None]
    np.testing.assert_allclose(slopes["scale"], (x @ weights)[0], rtol=1e-5)
    np.testing.assert_allclose(
        slopes["kernel"], x.T * jnp.exp(params["scale"])[None], rtol=1e-5
    )


def test_a_pirate_net_starts_as_a_linear_model_of_its_waves():
    net = nn.PirateNet(2, 8, 3, blocks=4, scale=2.0)
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5, 2))
    phases = x @ params["embedding"]["frequencies"]
    waves = jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=1)
    out = params["output"]
    wanted = waves @ (out["kernel"] * jnp.exp(out["scale"])[None]) + out["bias"][None]
    np.testing.assert_allclose(net.apply(params, x), wanted, rtol=1e-5, atol=1e-6)


def test_blocks_are_the_papers():
    net = nn.PirateNet(2, 4, 1, blocks=2)
    params = net.init(jax.random.key(3))
    for k, blend in enumerate((0.3, -0.7)):
        params["blocks"][k]["blend"] = jnp.asarray(blend)
    x = np.array([0.3, -0.8])

    def dense(p, h):
        kernel, scale, bias = (np.asarray(p[n]) for n in ("kernel", "scale", "bias"))
        return h @ (kernel * np.exp(scale)) + bias

    phases = x @ np.asarray(params["embedding"]["frequencies"])
    h = np.concatenate([np.cos(phases), np.sin(phases)])
    u, v = (np.tanh(dense(p, h)) for p in params["encoders"])
    for block in params["blocks"]:
        a, layers = float(block["blend"]), block["layers"]
        f = np.tanh(dense(layers[0], h))
        z1 = f * u + (1 - f) * v
        g = np.tanh(dense(layers[1], z1))
        z2 = g * u + (1 - g) * v
        h = a * np.tanh(dense(layers[2], z2)) + (1 - a) * h
    wanted = dense(params["output"], h)
    np.testing.assert_allclose(net.apply(params, jnp.asarray(x)), wanted, rtol=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match="features must be even; got 5"):
        nn.PirateNet(2, 5, 1)
    with pytest.raises(ValueError, match="blocks"):
        nn.PirateNet(2, 4, 1, blocks=0)
    with pytest.raises(ValueError, match="scale_deviation at least 0"):
        nn.FactoredDense(2, 2, 1.0, -0.1)
