"""The modified multilayer perceptron against a loop in numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn

NET = nn.ModifiedMLP((3, 8, 8, 8, 2))


def test_outputs_are_those_of_a_loop(x64, key):
    params = NET.init(key)
    x = np.linspace(-1, 1, 15).reshape(5, 3)

    def affine(p, values):
        return values @ np.asarray(p["kernel"]) + np.asarray(p["bias"])

    u, v = (np.tanh(affine(p, x)) for p in params["encoders"])
    h = x
    for p in params["layers"][:-1]:
        z = np.tanh(affine(p, h))
        h = z * u + (1 - z) * v
    wanted = affine(params["layers"][-1], h)
    np.testing.assert_allclose(NET.apply(params, jnp.array(x)), wanted, rtol=1e-12)


def test_equal_encoders_leave_hidden_layers_without_effect(key):
    params = NET.init(key)
    first, _ = params["encoders"]
    x = jnp.ones((4, 3))
    same = {**params, "encoders": (first, first)}
    louder = [{**p, "kernel": 3 * p["kernel"]} for p in params["layers"][:-1]]
    other = {**same, "layers": (*louder, params["layers"][-1])}
    a, b = NET.apply(same, x), NET.apply(other, x)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert (
        np.max(np.abs(NET.apply({**params, "layers": other["layers"]}, x) - a)) > 0.01
    )


def test_weights_are_glorot_normal(key):
    params = nn.ModifiedMLP((100, 300, 300, 50)).init(key)
    sizes = ((100, 300), (300, 300), (300, 50))
    for p, (inputs, outputs) in zip(params["layers"], sizes, strict=True):
        deviation = np.sqrt(2 / (inputs + outputs))
        np.testing.assert_allclose(np.std(p["kernel"]), deviation, rtol=0.02)
        assert not np.any(p["bias"])


@pytest.mark.parametrize("widths", [(2, 1), (2, 4, 5, 1), [2, 4, 1], (2, 0, 1)])
def test_bad_widths(widths):
    with pytest.raises(ValueError, match="hidden layer and all hidden"):
        nn.ModifiedMLP(widths)
