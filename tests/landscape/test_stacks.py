import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape


class FlaxNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = jnp.tanh(linen.Conv(6, (3, 3))(x))
        x = linen.LayerNorm()(x)
        x = jnp.tanh(linen.Conv(5, (3, 3))(x)).mean((1, 2))
        return linen.Dense(3)(x)


FLAX_ORDER = [
    f"['params']['{n}']" for n in ("Conv_0", "LayerNorm_0", "Conv_1", "Dense_0")
]


class EquinoxNet(eqx.Module):
    conv: eqx.nn.Conv2d
    dense: eqx.nn.Linear

    def __init__(self, key):
        self.conv = eqx.nn.Conv2d(2, 4, 3, key=key)
        self.dense = eqx.nn.Linear(4 * 9, 3, key=key)

    def __call__(self, x):
        return self.dense(jnp.tanh(self.conv(x)).ravel())


def test_a_flax_convolutional_network(key):
    net, x = FlaxNet(), jax.random.normal(key, (4, 5, 5, 2))
    a = jax.tree.map(
        lambda v: v + 0.1 * jax.random.normal(key, v.shape), net.init(key, x)
    )
    spec = landscape.cnn_spec(a, FLAX_ORDER)
    assert dict(spec.sizes) == {"P1": 6, "P2": 5}
    assert landscape.verify_spec(spec, net.apply, a, x, key).holds
    planted = landscape.random_permutation(spec, key)
    b = landscape.apply_permutation(spec, planted, a)
    found = landscape.match_weights(spec, a, b)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)
    loss = lambda p: jnp.mean(net.apply(p, x) ** 2)  # noqa: E731
    assert landscape.barrier(loss, a, found.permuted, points=3).height < 1e-6


def test_an_equinox_network_that_flattens_its_channels(key):
    params, static = eqx.partition(EquinoxNet(key), eqx.is_array)
    apply = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    spec = landscape.cnn_spec(params, [".conv", ".dense"])
    assert dict(spec.axes)[".dense.weight"] == (None, ("P1", 4))
    x = jax.random.normal(key, (3, 2, 5, 5))
    assert landscape.verify_spec(spec, apply, params, x, key).holds
    planted = landscape.random_permutation(spec, key)
    moved = landscape.apply_permutation(spec, planted, params)
    found = landscape.match_weights(spec, params, moved)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, params)


def test_bad_input_is_named(key):
    shapes = jax.eval_shape(FlaxNet().init, key, jnp.ones((1, 5, 5, 2)))
    with pytest.raises(ValueError, match="order has .* in the order of application"):
        landscape.cnn_spec(shapes, FLAX_ORDER[:2])
    wrong = [FLAX_ORDER[i] for i in (2, 1, 0, 3)]
    with pytest.raises(ValueError, match="check order"):
        landscape.cnn_spec(shapes, wrong)
    with pytest.raises(ValueError, match="has 2 matrices"):
        landscape.cnn_spec(
            {"a": {"u": jnp.ones((2, 2)), "v": jnp.ones((2, 2))}}, ["['a']"]
        )
    flat = {"a": {"kernel": jnp.ones((3, 3, 1, 2))}, "b": {"kernel": jnp.ones((18, 2))}}
    with pytest.raises(ValueError, match="channels last are not supported"):
        landscape.cnn_spec(flat, ["['a']", "['b']"])
    with pytest.raises(ValueError, match="named neither"):
        landscape.cnn_spec({"a": {"w": jnp.ones((2, 2))}}, ["['a']"])
