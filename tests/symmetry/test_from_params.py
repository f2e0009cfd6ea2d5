import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kanjax import interop, landscape, symmetry

NNX_WORDS = ("conv", "dense", "norm")


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
    spec = symmetry.cnn_spec(a, FLAX_ORDER)
    assert dict(spec.sizes) == {"P1": 6, "P2": 5}
    assert symmetry.verify_spec(spec, net.apply, a, x, key).holds
    planted = symmetry.random_permutation(spec, key)
    b = symmetry.apply_permutation(spec, planted, a)
    found = symmetry.match_weights(spec, a, b)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)
    loss = lambda p: jnp.mean(net.apply(p, x) ** 2)  # noqa: E731
    assert landscape.barrier(loss, a, found.permuted, points=3).height < 1e-6


def test_an_equinox_network_that_flattens_its_channels(key):
    params, static = eqx.partition(EquinoxNet(key), eqx.is_array)
    apply = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    spec = symmetry.cnn_spec(params, [".conv", ".dense"])
    assert dict(spec.axes)[".dense.weight"] == (None, ("P1", 4))
    x = jax.random.normal(key, (3, 2, 5, 5))
    assert symmetry.verify_spec(spec, apply, params, x, key).holds
    planted = symmetry.random_permutation(spec, key)
    moved = symmetry.apply_permutation(spec, planted, params)
    found = symmetry.match_weights(spec, params, moved)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, params)


class FlaxResNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        norm = lambda x: linen.BatchNorm(use_running_average=True)(x)  # noqa: E731
        x = linen.Conv(4, (3, 3))(x)
        y = jax.nn.relu(norm(linen.Conv(3, (3, 3))(x)))
        x = x + linen.Conv(4, (3, 3))(y)
        way = linen.Conv(6, (1, 1))(x)
        x = way + linen.Conv(6, (3, 3))(jax.nn.relu(norm(x)))
        return linen.Dense(2)(jax.nn.relu(x).mean((1, 2)))


def test_a_flax_residual_network_with_running_statistics(key):
    net, x = FlaxResNet(), jax.random.normal(key, (3, 4, 4, 2))
    params = jax.tree.map(
        lambda v: v + 0.3 * jax.random.uniform(key, v.shape), net.init(key, x)
    )

    def conv(i):
        return f"['params']['Conv_{i}']"

    def norm(i):
        return [f"['{part}']['BatchNorm_{i}']" for part in ("batch_stats", "params")]

    order = [
        conv(0),
        symmetry.Skip([conv(1), *norm(0), conv(2)]),
        symmetry.Skip([*norm(1), conv(4)], shortcut=[conv(3)]),
        "['params']['Dense_0']",
    ]
    spec = symmetry.cnn_spec(params, order)
    # Two streams, before and after the projection, and the middle of the first block.
    assert sorted(size for _, size in spec.sizes) == [3, 4, 6]
    assert symmetry.verify_spec(spec, net.apply, params, x, key).holds
    planted = symmetry.random_permutation(spec, key)
    moved = symmetry.apply_permutation(spec, planted, params)
    found = symmetry.match_weights(spec, params, moved)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, params)


class EquinoxResNet(eqx.Module):
    first: eqx.nn.Conv2d
    blocks: list
    last: eqx.nn.Linear

    def __init__(self, key):
        conv = lambda a, b: eqx.nn.Conv2d(a, b, 3, padding=1, key=key)  # noqa: E731
        self.first = conv(2, 4)
        self.blocks = [[eqx.nn.GroupNorm(1, 4), conv(4, 5), conv(5, 4)]]
        self.last = eqx.nn.Linear(4, 3, key=key)

    def __call__(self, x):
        x = self.first(x)
        for norm, up, down in self.blocks:
            x = x + down(jnp.tanh(up(norm(x))))
        return self.last(x.mean((1, 2)))


def test_an_equinox_residual_network(key):
    params, static = eqx.partition(EquinoxResNet(key), eqx.is_array)
    params = jax.tree.map(lambda v: v + jax.random.normal(key, v.shape), params)
    apply = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    block = symmetry.Skip([f".blocks[0][{i}]" for i in range(3)])
    spec = symmetry.cnn_spec(params, [".first", block, ".last"])
    assert sorted(size for _, size in spec.sizes) == [4, 5]
    x = jax.random.normal(key, (3, 2, 5, 5))
    assert symmetry.verify_spec(spec, apply, params, x, key).holds


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.dense = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(jnp.tanh(self.norm(self.conv(x))).mean((1, 2)))


def test_a_network_of_nnx(key):
    apply, params = interop.from_flax(NnxNet(nnx.Rngs(0)))
    order = list(landscape.layer_leaves(params))
    conv, dense, norm = (next(n for n in order if w in n) for w in NNX_WORDS)
    spec = symmetry.cnn_spec(params, [conv, norm, dense])
    x = jax.random.normal(key, (3, 4, 4, 2))
    assert dict(spec.sizes) == {"P1": 4}
    assert symmetry.verify_spec(spec, apply, params, x, key).holds

    def loss(params):
        return jnp.mean(apply(params, x) ** 2)

    planted = symmetry.random_permutation(spec, key)
    moved = symmetry.apply_permutation(spec, planted, params)
    found = symmetry.match_weights(spec, params, moved).permuted
    assert landscape.barrier(loss, params, found, points=3).height < 1e-6
    directions = landscape.random_directions(key, params)
    plane = landscape.plane(loss, params, *directions, points=3)
    np.testing.assert_allclose(plane.losses[1, 1], loss(params), rtol=1e-5)


def test_bad_input_is_named(key):
    shapes = jax.eval_shape(FlaxNet().init, key, jnp.ones((1, 5, 5, 2)))
    with pytest.raises(ValueError, match="order has .* in the order of application"):
        symmetry.cnn_spec(shapes, FLAX_ORDER[:2])
    wrong = [FLAX_ORDER[i] for i in (2, 1, 0, 3)]
    with pytest.raises(ValueError, match="check order"):
        symmetry.cnn_spec(shapes, wrong)
    with pytest.raises(ValueError, match="has 2 matrices"):
        symmetry.cnn_spec(
            {"a": {"u": jnp.ones((2, 2)), "v": jnp.ones((2, 2))}}, ["['a']"]
        )
    flat = {"a": {"kernel": jnp.ones((3, 3, 1, 2))}, "b": {"kernel": jnp.ones((18, 2))}}
    with pytest.raises(ValueError, match="channels last are not supported"):
        symmetry.cnn_spec(flat, ["['a']", "['b']"])
    with pytest.raises(ValueError, match="named neither"):
        symmetry.cnn_spec({"a": {"w": jnp.ones((2, 2))}}, ["['a']"])
