"""Batch normalisation against flax and numpy, and the network without it."""

import functools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kanjax import landscape, model, nn, ntk, training


def make(key, norm, *shape):
    """A layer with parameters and state that are not the first ones, and inputs."""
    keys = jax.random.split(key, 5)
    draw = jax.random.normal
    params = {
        name: 1 + draw(k, leaf.shape)
        for k, (name, leaf) in zip(keys[:2], norm.init(key).items(), strict=False)
    }
    state = {"mean": draw(keys[2], (norm.features,)), "var": jnp.full(4, 0.7)}
    return params, state, 3 + 2 * draw(keys[4], (*shape, norm.features))


@pytest.mark.parametrize("shape", [(8,), (3, 2, 5)])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("used", [(True, True), (True, False), (False, False)])
def test_it_is_flaxs(shape, train, used, key):
    norm = nn.BatchNorm(4, 0.8, 1e-3, *used)
    params, state, x = make(key, norm, *shape)
    theirs = flax.linen.BatchNorm(
        not train, momentum=0.8, epsilon=1e-3, use_scale=used[0], use_bias=used[1]
    )
    variables = {"params": params, "batch_stats": state}
    expected, updates = theirs.apply(variables, x, mutable=["batch_stats"])
    y, after = norm.apply(params, x, state=state, train=train)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    for name in state:
        np.testing.assert_allclose(
            after[name], updates["batch_stats"][name], rtol=1e-4, atol=1e-5
        )


def test_it_is_the_papers_formula_in_double_precision(x64, key):
    norm = nn.BatchNorm(4)
    params, state, x = make(key, norm, 16)
    y, after = norm.apply(params, x, state=state, train=True)
    scale, bias, x = map(np.asarray, (params["scale"], params["bias"], x))
    mean, var = np.mean(x, axis=0), np.var(x, axis=0)
    expected = (x - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    # As torch with momentum=0.1, but for torch's n / (n - 1) in the variance.
    np.testing.assert_allclose(after["mean"], 0.9 * state["mean"] + 0.1 * mean)
    np.testing.assert_allclose(after["var"], 0.9 * state["var"] + 0.1 * var)


def test_running_statistics_come_to_those_of_the_data(key):
    norm = nn.BatchNorm(4, momentum=0.5)
    params, _, x = make(key, norm, 50)

    def move(state, _):
        return norm.apply(params, x, state=state, train=True)[1], None

    state, _ = jax.lax.scan(move, norm.initial_state(), length=40)
    np.testing.assert_allclose(state["mean"], np.mean(x, axis=0), rtol=1e-5)
    trained, _ = norm.apply(params, x, state=state, train=True)
    running, same = norm.apply(params, x, state=state)
    np.testing.assert_allclose(running, trained, rtol=1e-4, atol=1e-4)
    assert same is state


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_statistics_of_half_precision_are_taken_in_single(dtype, key):
    norm = nn.BatchNorm(3)
    # Squares of these overflow float16, and sums of so many are lost in bfloat16.
    x = (400 + 300 * jax.random.normal(key, (2048, 3))).astype(dtype)
    params = jax.tree.map(lambda p: p.astype(dtype), norm.init(key))
    y, state = norm.apply(params, x, state=norm.initial_state(), train=True)
    assert y.dtype == dtype
    exact = np.asarray(x, dtype=np.float64)
    assert state["mean"].dtype == state["var"].dtype == jnp.float32
    np.testing.assert_allclose(state["mean"], 0.1 * exact.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(state["var"], 0.9 + 0.1 * exact.var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_bytes_are_numbers_without_a_scale_too(train):
    layer = nn.BatchNorm(2, use_scale=False, use_bias=False)
    x = np.array([[0, 5], [3, 7], [10, 1]], np.uint8)
    y, _ = layer.apply({}, jnp.asarray(x), state=layer.initial_state(), train=train)
    mean, var = (x.mean(0), x.var(0)) if train else (0.0, 1.0)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-5)


def test_gradients_go_through_the_statistics(x64, key):
    norm = nn.BatchNorm(4)
    params, state, x = make(key, norm, 6)

    def f(x):
        return jnp.sum(jnp.sin(norm.apply(params, x, state=state, train=True)[0]))

    check_grads(f, (x,), order=1, modes=("rev", "fwd"))


def test_bad_calls_are_named(key):
    norm = nn.BatchNorm(4)
    params, state = norm.init(key), norm.initial_state()
    with pytest.raises(ValueError, match=r"running statistics.*network\.initial_state"):
        norm.apply(params, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="running statistics"):
        model.Sequential((norm,)).apply((params,), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"train=True needs a batch; x has shape \(4,"):
        norm.apply(params, jnp.ones(4), state=state, train=True)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 4\)"):
        norm.apply(params, jnp.ones((4, 3)), state=state)
    with pytest.raises(ValueError, match="0.9 here is 0.1 in torch"):
        nn.BatchNorm(4, momentum=1.0)
    with pytest.raises(ValueError, match="eps must be positive"):
        nn.BatchNorm(4, eps=0.0)


def conv_net():
    unit = (nn.BatchNorm(4), nn.Activation(jnp.tanh))
    block = model.Sequential((nn.BatchNorm(4), nn.Conv(4, 4, (3,), groups=2), *unit))
    sides = (nn.Conv(4, 4, (1,), use_bias=False), nn.BatchNorm(4)), unit
    return model.Sequential(
        (
            nn.Conv(2, 4, (3,)),
            *unit,
            model.Residual(block),
            model.Parallel(tuple(model.Sequential(side) for side in sides)),
            nn.GlobalPool(1),
            nn.Dense(4, 3, parameterization="ntk"),
            nn.BatchNorm(3, use_scale=False, use_bias=False),
            nn.Dense(3, 3, parameterization="ntk", bias_scale=0.3),
            nn.BatchNorm(3),
            nn.Dense(3, 1),
        )
    )


def shake(tree, key):
    """Other values than the first ones, and variances above 0."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    moved = [
        leaf + 0.4 * jax.random.uniform(k, leaf.shape)
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


@pytest.fixture(scope="module")
def folding():
    key = jax.random.key(0)
    net = conv_net()
    params = shake(net.init(key), key)
    state = shake(net.initial_state(), key)
    x = jax.random.normal(key, (6, 7, 2))
    return net, params, state, x


def test_the_folded_network_is_the_same_function(folding):
    net, params, state, x = folding
    plain, weights = jax.jit(functools.partial(nn.fold_batch_norm, net))(params, state)
    expected, _ = net.apply(params, x, state=state)
    np.testing.assert_allclose(plain.apply(weights, x), expected, rtol=1e-4, atol=1e-5)
    # All but the two with nothing to go into are gone, and nothing else.
    assert "BatchNorm" not in repr(plain)
    assert repr(plain).count("Affine") == 2
    assert repr(plain).count("Conv") == repr(net).count("Conv")
    assert jax.tree.structure(weights) == jax.tree.structure(
        plain.init(jax.random.key(3))
    )


def test_folding_works_for_an_ensemble(folding):
    net, params, state, x = folding
    both = jax.tree.map(lambda a: jnp.stack([a, 1.1 * a]), (params, state))
    plain, weights = jax.vmap(functools.partial(nn.fold_batch_norm, net))(*both)
    y = jax.vmap(plain.apply, (0, None))(weights, x)
    for i in range(2):
        p, s = jax.tree.map(lambda a, i=i: a[i], both)
        expected, _ = net.apply(p, x, state=s)
        np.testing.assert_allclose(y[i], expected, rtol=1e-4, atol=1e-5)


def test_analysis_takes_the_folded_network(folding):
    net, params, state, x = folding
    plain, weights = nn.fold_batch_norm(net, params, state)
    theta = ntk.empirical(plain.apply, weights, x)
    rows = jax.jacobian(lambda w: plain.apply(w, x)[:, 0])(weights)
    flat = np.concatenate([np.reshape(a, (6, -1)) for a in jax.tree.leaves(rows)], 1)
    np.testing.assert_allclose(theta, flat @ flat.T, rtol=1e-3, atol=1e-4)

    loss = training.regression(plain.apply)
    on_batch = training.on_batch(loss, (x, jnp.zeros((6, 1))))
    other = shake(weights, jax.random.key(3))
    line = landscape.line(on_batch, weights, other, points=3)
    np.testing.assert_allclose(line.losses[0], on_batch(weights), rtol=1e-5)
    y, _ = net.apply(params, x, state=state)
    np.testing.assert_allclose(line.losses[0], np.mean(np.square(y)), rtol=1e-4)


def test_networks_of_graphs_have_statistics_too(key):
    layers = (nn.Aggregate(), nn.Dense(4, 3), nn.BatchNorm(3), nn.GlobalPool(1))
    net = nn.GraphNetwork(model.Sequential(layers))
    keys = jax.random.split(key, 3)
    graph = jax.random.uniform(keys[0], (5, 6, 6))
    data = jax.random.normal(keys[1], (5, 6, 4)), graph
    params, state = net.init(keys[2]), net.initial_state()
    _, state = net.apply(params, data, state=state, train=True)
    hidden = nn.Dense(4, 3).apply(params[1], graph @ data[0])
    expected = 0.1 * np.mean(hidden, axis=(0, 1))
    np.testing.assert_allclose(state[2]["mean"], expected, rtol=1e-4, atol=1e-6)
    y, _ = net.apply(params, data, state=state)
    plain, weights = nn.fold_batch_norm(net, params, state)
    assert plain == nn.GraphNetwork(model.Sequential((*layers[:2], layers[3])))
    np.testing.assert_allclose(plain.apply(weights, data), y, rtol=1e-4, atol=1e-5)


def test_a_network_without_statistics_is_left_as_it_is(key):
    net = model.Sequential((nn.Dense(4, 3), nn.GRU(3, 2)))
    params = net.init(key)
    assert nn.fold_batch_norm(net, params, net.initial_state()) == (net, params)


@model.dataclass
class Twice:
    """A container that folding does not know."""

    network: model.Model = model.child()

    def init(self, key):
        return self.network.init(key)


def test_a_container_of_ones_own_is_refused_till_it_is_told(key):
    twice = Twice(nn.BatchNorm(4))
    params, state = twice.init(key), twice.network.initial_state()
    with pytest.raises(TypeError, match="Twice has a BatchNorm inside.*register"):
        nn.fold_batch_norm(model.Sequential((twice,)), (params,), (state,))

    @nn.fold_batch_norm.register
    def _(own: Twice, params, state):
        network, params = nn.fold_batch_norm(own.network, params, state)
        return Twice(network), params

    plain, _ = nn.fold_batch_norm(twice, params, state)
    assert plain == Twice(nn.Affine(4))
