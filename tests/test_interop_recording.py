"""What layers of other libraries put out, held against the layers one by one."""

import equinox as eqx
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kanjax import interop, nn, taps

X = jax.random.normal(jax.random.key(1), (7, 3))


class Twice(flax.linen.Module):
    """A layer that is called twice, within a module of its own."""

    @flax.linen.compact
    def __call__(self, x):
        inner = flax.linen.Dense(3, name="inner")
        return flax.linen.Dense(2)(inner(jnp.tanh(inner(x))))


class Narrow(nnx.Linear):
    """Inherits its call, and calls it as its parent's."""

    def __call__(self, x):
        return jnp.tanh(super().__call__(x))


class Block(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), Narrow(4, 2, rngs=rngs)])

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Nested(eqx.Module):
    first: eqx.nn.Linear
    rest: eqx.nn.MLP

    def __init__(self, key):
        self.first = eqx.nn.Linear(3, 4, key=key)
        self.rest = eqx.nn.MLP(4, 2, 5, 1, key=key)

    def __call__(self, x, key=None):
        return self.rest(jnp.tanh(self.first(x)))


def linen_case():
    net = Twice()
    variables = net.init(jax.random.key(0), X)
    record, params = interop.record_flax(net, variables)
    dense = lambda p, x: x @ p["kernel"] + p["bias"][None]  # noqa: E731
    a = dense(params["inner"], X)
    b = dense(params["inner"], jnp.tanh(a))
    y = dense(params["Dense_0"], b)
    expected = {"['inner']": a, "['inner'](2)": b, "['Dense_0']": y, "": y}
    return record, params, expected, interop.from_flax(net, variables).apply


def nnx_case():
    net = Block(nnx.Rngs(0))
    record, params = interop.record_flax(net)
    a = net.layers[0](X)
    b = net.layers[1](a)
    expected = {"['layers'][0]": a, "['layers'][1]": b, "": b}
    return record, params, expected, interop.from_flax(net).apply


def equinox_case():
    net = Nested(jax.random.key(0))
    record, params = interop.record_equinox(net)
    a = jax.vmap(net.first)(X)
    b = jax.vmap(net.rest.layers[0])(jnp.tanh(a))
    y = jax.vmap(net.rest.layers[1])(jax.nn.relu(b))
    expected = {
        ".first": a,
        ".rest.layers[0]": b,
        ".rest.layers[1]": y,
        ".rest": y,
        "": y,
    }
    return record, params, expected, interop.from_equinox(net).apply


@pytest.mark.parametrize("make", [linen_case, nnx_case, equinox_case])
def test_values_are_those_of_the_layers_one_by_one(make):
    record, params, expected, apply = make()
    values = jax.jit(record)(params, X)
    assert list(record(params, X)) == list(expected)
    for path, value in expected.items():
        np.testing.assert_allclose(values[path], value, rtol=1e-5, atol=1e-6)
    # Classes are as they were: a plain call still works, and so does a gradient.
    np.testing.assert_allclose(apply(params, X), values[""], rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda p: jnp.sum(record(p, X)[""] ** 2))(params)
    plain = jax.grad(lambda p: jnp.sum(apply(p, X) ** 2))(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), slope, plain
    )


def test_classes_are_restored_after_an_error():
    net = Block(nnx.Rngs(0))
    record, params = interop.record_flax(net)
    calls = [vars(kind).get("__call__") for kind in (Block, Narrow, nnx.Linear)]
    with pytest.raises(TypeError):
        record(params, X[:, :2])
    assert calls == [vars(kind).get("__call__") for kind in (Block, Narrow, nnx.Linear)]


def test_a_network_of_equinox_is_recorded_as_ours():
    ours = nn.MLP((3, 4, 2), jax.nn.silu)
    params = ours.init(jax.random.key(0))
    net = eqx.nn.MLP(3, 2, 4, 1, jax.nn.silu, key=jax.random.key(0))
    weights = [v for p in params for v in (p["kernel"].T, p["bias"])]
    net = eqx.tree_at(
        lambda m: [v for layer in m.layers for v in (layer.weight, layer.bias)],
        net,
        weights,
    )
    record, theirs = interop.record_equinox(net)
    values, expected = record(theirs, X), taps.record(ours, params, X)
    np.testing.assert_allclose(values[""], expected[""], rtol=1e-5, atol=1e-6)
    hidden = ours.activation(values[".layers[0]"])
    np.testing.assert_allclose(hidden, expected["[0]"], rtol=1e-5, atol=1e-6)
