"""Layers that repeat are one loop, with the values of layers in turn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import gaussian, model, nn, ntk

DENSE = nn.Dense(8, 8, parameterization="ntk", kernel_scale=1.5, bias_scale=0.3)
RELU = nn.Activation(jax.nn.relu)
CONV = nn.Conv(4, 4, (3,), parameterization="ntk")
RESIDUAL = model.Residual(model.Sequential((RELU, DENSE)))


def by_hand(x: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Layer by layer: Jacot et al. 2018, theorem 1."""
    nngp = 2.25 * x @ x.T / x.shape[1] + 0.09
    theta = nngp
    for _ in range(depth):
        q = np.diag(nngp)
        value, slope = gaussian.relu().dual(q[:, None], nngp, q[None])
        nngp = 2.25 * np.asarray(value) + 0.09
        theta = nngp + 2.25 * np.asarray(slope) * theta
    return nngp, theta


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_deep_networks_equal_the_recursion(depth, x64):
    x = np.random.default_rng(0).normal(size=(4, 8))
    net = model.Sequential((DENSE, *(RELU, DENSE) * depth))
    expected = by_hand(x, depth)
    for found, exact in zip(ntk.infinite(net)(x), expected, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-7)


def test_a_deeper_network_is_no_larger_a_program():
    def size(depth: int, *layers: Any) -> int:
        net = model.Sequential((DENSE, *layers * depth, DENSE))
        return len(str(jax.make_jaxpr(ntk.infinite(net))(jnp.ones((3, 8)))))

    for layers in [(RELU, DENSE), (RESIDUAL,)]:
        assert size(12, *layers) < 1.05 * size(4, *layers)


def test_layers_that_change_the_form_of_values_are_not_joined(x64):
    """A strided convolution leaves fewer positions; another activation is no other."""
    x = np.random.default_rng(0).normal(size=(3, 12, 4))
    strided = nn.Conv(4, 4, (3,), strides=2, parameterization="ntk")
    blocks = (strided, RELU, strided, RELU), (CONV, RELU, CONV, nn.Activation(jnp.tanh))
    for layers, features in zip(blocks, (12, 48), strict=True):
        head = (nn.Flatten(1), nn.Dense(features, 1, parameterization="ntk"))
        net = model.Sequential((*layers, *head))
        alone = [model.Sequential((one,)) for one in (*layers, *head)]
        nested = alone[0]
        for one in alone[1:]:
            nested = model.Sequential((nested, one))
        for found, exact in zip(
            ntk.infinite(net)(x), ntk.infinite(nested)(x), strict=True
        ):
            np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_gradients_pass_through_the_loop(x64):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(3, 8)))
    net = model.Sequential((DENSE, *(nn.Activation(gaussian.Erf()), DENSE) * 3))
    total = lambda x: jnp.sum(jnp.sin(ntk.infinite(net)(x).ntk))  # noqa: E731
    step = 1e-6 * jnp.cos(jnp.arange(24.0)).reshape(3, 8)
    slope = (total(x + step) - total(x - step)) / 2
    np.testing.assert_allclose(jnp.vdot(jax.grad(total)(x), step), slope, rtol=1e-6)
