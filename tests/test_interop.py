import subprocess
import sys

import chex
import equinox
import flax.linen
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from kanjax import bases, interop, kan, landscape, model, nn, ntk, symmetry, training

MODELS = {
    "kan": kan.KAN((2, 5, 1), basis=bases.BSpline(5, domain=(-3.0, 3.0))),
    "pruned kan": kan.KAN((2, 1), masks=(jnp.array([[1.0], [0.0]]),)),
    "mlp": nn.MLP((2, 8, 1), jnp.tanh, bias_scale=0.1),
    "chain": model.Sequential(
        (nn.Dense(2, 8), nn.Activation(jnp.tanh), nn.Dropout(0.0), nn.Dense(8, 1))
    ),
}
STEPS = 30

every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def data(key):
    x = jax.random.normal(key, (32, 2))
    return x, jnp.sin(x[:, :1]) * x[:, 1:] + 1


def trained(apply, params, data, optimizer=None):
    """Parameters after some steps, and the losses on the way."""
    x, y = data
    optimizer = optimizer or optax.adam(1e-2)

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            loss, slope = jax.value_and_grad(
                lambda p: jnp.mean(jnp.square(apply(p, x) - y))
            )(params)
            updates, state = optimizer.update(slope, state, params)
            return (optax.apply_updates(params, updates), state), loss

        start = (params, optimizer.init(params))
        (params, _), losses = jax.lax.scan(step, start, length=STEPS)
        return params, losses

    return run(params)


def assert_close(a, b):
    chex.assert_trees_all_close(a, b, rtol=1e-5, atol=1e-6)


@every_model
def test_our_model_trains_in_linen(name, key, data):
    ours, (x, _) = MODELS[name], data
    net = interop.to_linen(ours)
    variables = jax.jit(net.init)(key, x)
    params = variables["params"]["model"]
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(ours.init, key)
    )
    after, losses = trained(net.apply, variables, data)
    assert losses[-1] < 0.9 * losses[0]
    by_us, our_losses = trained(ours.apply, params, data)
    assert_close(losses, our_losses)
    assert_close(after["params"]["model"], by_us)
    assert_close(net.apply(after, x), ours.apply(by_us, x))
    written = flax.serialization.to_bytes(after)
    chex.assert_trees_all_equal(
        flax.serialization.from_bytes(variables, written), after
    )


@every_model
def test_our_model_trains_in_nnx(name, key, data):
    ours, (x, y) = MODELS[name], data
    params = jax.jit(ours.init)(key)
    net = interop.to_nnx(ours, params)
    chex.assert_trees_all_equal(net.params, params)
    optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(net, optimizer):
        loss, slope = nnx.value_and_grad(lambda net: jnp.mean(jnp.square(net(x) - y)))(
            net
        )
        optimizer.update(net, slope)
        return loss

    losses = jnp.stack([step(net, optimizer) for _ in range(STEPS)])
    assert losses[-1] < 0.9 * losses[0]
    by_us, our_losses = trained(ours.apply, params, data)
    assert_close(losses, our_losses)
    assert_close(net.params, by_us)
    assert_close(net(x), ours.apply(by_us, x))
    assert net.model == ours


@every_model
def test_our_model_trains_in_equinox(name, key, data):
    ours, (x, y) = MODELS[name], data
    params = jax.jit(ours.init)(key)
    net = interop.to_equinox(ours, params)
    chex.assert_trees_all_equal(jax.tree.leaves(net), jax.tree.leaves(params))
    optimizer = optax.adam(1e-2)
    state = optimizer.init(equinox.filter(net, equinox.is_inexact_array))

    @equinox.filter_jit
    def step(net, state):
        loss, slope = equinox.filter_value_and_grad(
            lambda net: jnp.mean(jnp.square(jax.vmap(net)(x) - y))
        )(net)
        updates, state = optimizer.update(slope, state)
        return equinox.apply_updates(net, updates), state, loss

    losses = []
    for _ in range(STEPS):
        net, state, loss = step(net, state)
        losses.append(loss)
    assert losses[-1] < 0.9 * losses[0]
    by_us, our_losses = trained(ours.apply, params, data)
    assert_close(jnp.stack(losses), our_losses)
    assert_close(net.params, by_us)
    assert_close(net(x), ours.apply(by_us, x))
    assert net.model == ours


def test_weight_decay_leaves_what_is_not_trained_alone(key, data):
    ours = MODELS["pruned kan"]
    params = ours.init(key)
    net = interop.to_nnx(ours, params)
    optimizer = nnx.Optimizer(net, optax.adamw(0.1, weight_decay=0.5), wrt=nnx.Param)
    slope = nnx.grad(lambda net: jnp.sum(net(data[0])))(net)
    optimizer.update(net, slope)
    np.testing.assert_array_equal(net.model.masks[0], ours.masks[0])
    module = interop.to_equinox(ours, params)
    assert len(jax.tree.leaves(module)) == len(jax.tree.leaves(params))


@every_model
def test_there_and_back_again(name, key, data):
    ours, x = MODELS[name], data[0]
    params = jax.jit(ours.init)(key)
    expected = ours.apply(params, x)
    linen = interop.to_linen(ours)
    for apply, back in (
        interop.from_flax(linen, {"params": {"model": params}}),
        interop.from_flax(interop.to_nnx(ours, params)),
        interop.from_equinox(interop.to_equinox(ours, params)),
        interop.from_equinox(interop.to_equinox(ours, params), batched=False),
    ):
        assert_close(jax.jit(apply)(back, x), expected)
        for leaf, same in zip(*map(jax.tree.leaves, (back, params)), strict=True):
            np.testing.assert_array_equal(leaf, same)


def test_the_key_reaches_our_dropout_in_every_library(key):
    ours, x = nn.Dropout(0.5), jnp.ones((4, 100))
    for y in (
        interop.to_linen(ours).apply(
            {"params": {"model": ()}}, x, rngs={"dropout": key}
        ),
        interop.to_nnx(ours, ())(x, key=key),
        interop.to_equinox(ours, ())(x, key=key),
    ):
        assert set(np.unique(y)) == {0.0, 2.0}
    np.testing.assert_array_equal(interop.to_nnx(ours, ())(x), x)


ARCHITECTURES = {
    "selectable": (kan.SelectableKAN((2, 4, 1)), (5, 2)),
    "activations": (kan.AFKAN((2, 4, 1)), (5, 2)),
    "attention": (
        kan.KANAttention(8, 2, kan.AttentionOperator(tokens=5, rank=2)),
        (3, 5, 8),
    ),
    "colors": (kan.ColorMatcher(light=True), (1, 12, 12, 3)),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_goes_into_every_library(name, key):
    ours, shape = ARCHITECTURES[name]
    params, x = ours.init(key), jax.random.uniform(key, shape)
    expected = jax.jit(ours.apply)(params, x)
    linen = interop.to_linen(ours)
    assert_close(jax.jit(linen.apply)({"params": {"model": params}}, x), expected)
    assert_close(nnx.jit(interop.to_nnx(ours, params))(x), expected)
    module = interop.to_equinox(ours, params)
    assert_close(equinox.filter_jit(module)(x), expected)


def test_medical_networks_go_into_every_library(key):
    size = kan.medvit.Size((32, 128, 0, 0), (1, 1, 0, 0), 0.1)
    ours = kan.medvit.medvit(size, 5, image_size=32, kernel=3)
    x = jnp.zeros((2, 32, 32, 3))
    linen = interop.to_linen(ours)

    def run(key, x):
        variables = linen.init(key, x)
        params, state = (variables[n]["model"] for n in ("params", "batch_stats"))
        y, after = linen.apply(variables, x, train=True, mutable="batch_stats")
        module = interop.to_equinox(ours, params)
        z, state = module(x, state=state, train=True)
        net = interop.to_nnx(ours, params)
        return y, after["batch_stats"]["model"], z, state, net(x, train=True), net.state

    y, after, z, state, w, nnx_state = jax.eval_shape(run, key, x)
    assert y.shape == z.shape == w.shape == (2, 5)
    like = jax.eval_shape(ours.initial_state)
    assert jax.tree.structure(after) == jax.tree.structure(like)
    assert after == state == nnx_state == like


def test_running_statistics_are_the_libraries_own(key):
    ours = model.Sequential((nn.Dense(2, 4), nn.BatchNorm(4), nn.Dense(4, 1)))
    x = jax.random.normal(key, (8, 2)) + 1
    params, before = ours.init(key), ours.initial_state()
    y, after = ours.apply(params, x, state=before, train=True)
    at_rest, _ = ours.apply(params, x, state=after)
    linen = interop.to_linen(ours)
    variables = linen.init(key, x)
    chex.assert_trees_all_equal(variables["batch_stats"]["model"], before)
    variables = {**variables, "params": {"model": params}}
    z, moved = linen.apply(variables, x, train=True, mutable="batch_stats")
    assert_close((z, moved["batch_stats"]["model"]), (y, after))
    assert_close(linen.apply({**variables, **moved}, x), at_rest)
    net = interop.to_nnx(ours, params)
    assert_close((net(x, train=True), net.state), (y, after))
    assert_close(net(x), at_rest)
    assert_close(interop.to_nnx(ours, params, after)(x), at_rest)
    assert len(jax.tree.leaves(nnx.state(net, nnx.Param))) == len(
        jax.tree.leaves(params)
    )
    module = interop.to_equinox(ours, params)
    assert_close(module(x, state=before, train=True), (y, after))
    for back in (
        interop.from_flax_with_state(linen, {**variables, **moved}),
        interop.from_flax_with_state(net),
    ):
        assert_close(back.apply(back.params, x, state=back.state)[0], at_rest)


def test_a_memory_begins_anew_at_each_call(key):
    ours = nn.LSTM(2, 3)
    params, x = ours.init(key), jax.random.normal(key, (4, 5, 2))
    expected = ours.apply(params, x)
    assert interop.to_nnx(ours, params).state is None
    assert_close(interop.to_nnx(ours, params)(x), expected)
    linen = interop.to_linen(ours)
    assert_close(linen.apply({"params": {"model": params}}, x), expected)


class LinenNet(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x, train=False):
        x = flax.linen.Dense(8)(x)
        x = flax.linen.BatchNorm(use_running_average=not train)(x)
        x = flax.linen.Dropout(0.5, deterministic=not train)(jnp.tanh(x))
        return flax.linen.Dense(1)(x)


class NNXNet(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List(
            [nnx.Linear(2, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)]
        )
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.layers[1](self.dropout(jnp.tanh(self.norm(self.layers[0](x)))))


class EquinoxNet(equinox.Module):
    mlp: equinox.nn.MLP
    dropout: equinox.nn.Dropout

    def __init__(self, key):
        self.mlp = equinox.nn.MLP(2, 1, 8, 1, jnp.tanh, key=key)
        self.dropout = equinox.nn.Dropout(0.5)

    def __call__(self, x, *, key=None):
        return self.dropout(self.mlp(x), key=key)


def make_linen(key):
    net = LinenNet()
    variables = net.init(key, jnp.ones((1, 2)))
    shifted = jax.tree.map(lambda s: s + 0.5, variables["batch_stats"])
    variables = {"params": variables["params"], "batch_stats": shifted}
    return interop.from_flax(net, variables), lambda x: net.apply(variables, x)


def make_nnx(key):
    net = NNXNet(nnx.Rngs(0))
    net.norm.mean[...] += 0.5
    net.eval()
    return interop.from_flax(net), net


def make_equinox(key):
    net = equinox.nn.inference_mode(EquinoxNet(key))
    return interop.from_equinox(net), jax.vmap(net)


every_library = pytest.mark.parametrize("make", [make_linen, make_nnx, make_equinox])


@every_library
def test_their_model_is_a_function_that_trains(make, key, data):
    (apply, params), theirs = make(key)
    x = data[0]
    np.testing.assert_allclose(apply(params, x), theirs(x), rtol=1e-6)
    assert all(jnp.issubdtype(p.dtype, jnp.floating) for p in jax.tree.leaves(params))
    after, losses = trained(apply, params, data)
    assert losses[-1] < 0.9 * losses[0]
    # Nothing of it reaches the module or the parameters given.
    np.testing.assert_allclose(apply(params, x), theirs(x), rtol=1e-6)
    assert np.max(np.abs(apply(after, x) - theirs(x))) > 1e-2


@every_library
def test_their_model_can_be_analysed(make, key, data):
    (apply, params), _ = make(key)
    x, y = data[0][:6], data[1][:6]
    kernel = ntk.empirical(apply, params, x)
    slopes = jax.jacobian(lambda p: apply(p, x)[:, 0])(params)
    rows = [np.reshape(leaf, (6, -1)) for leaf in jax.tree.leaves(slopes)]
    jacobian = np.concatenate(rows, axis=1)
    np.testing.assert_allclose(kernel, jacobian @ jacobian.T, rtol=1e-4, atol=1e-5)

    def loss(params):
        return jnp.mean(jnp.square(apply(params, x) - y))

    other = jax.tree.map(lambda p: p + 0.3, params)
    wall = landscape.barrier(loss, params, other, points=5)
    assert wall.losses[0] == pytest.approx(float(loss(params)), rel=1e-5)
    assert wall.losses[-1] == pytest.approx(float(loss(other)), rel=1e-5)


def test_the_hidden_units_of_their_models_can_be_permuted(key, data):
    x = data[0]
    net = equinox.nn.MLP(2, 1, 8, 2, key=key)
    linear = nnx.Linear(2, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 1, rngs=nnx.Rngs(1))
    for apply, params in (
        interop.from_equinox(net),
        interop.from_flax(nnx.Sequential(*linear)),
    ):
        spec = symmetry.mlp_spec(params)
        assert symmetry.verify_spec(spec, apply, params, x, key).holds


def test_a_key_drives_their_dropout(key):
    x = jnp.ones((50, 2))
    net = EquinoxNet(key)
    thinned = NNXNet(nnx.Rngs(0))
    linen = LinenNet()
    variables = linen.init(key, x)

    class Noise(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x, train):
            return flax.linen.Dropout(0.5, deterministic=not train)(x)

    for apply, params in (
        interop.from_equinox(net),
        interop.from_flax(thinned),
        interop.from_flax(Noise(), {"params": {}}, train=True),
    ):
        first, again, other = (
            jax.jit(apply)(params, x, key=jax.random.key(seed)) for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert np.any(first != other)
    quiet = interop.from_flax(linen, variables, train=False)
    np.testing.assert_array_equal(
        quiet.apply(quiet.params, x, key=key), quiet.apply(quiet.params, x)
    )


def test_what_is_bound_is_as_it_was(key):
    net = NNXNet(nnx.Rngs(0))
    x = jax.random.normal(key, (16, 2))
    net.eval()
    apply, params = interop.from_flax(net)
    before = net(x)
    net.norm.mean[...] += 3.0
    net.layers[0].kernel[...] += 3.0
    assert_close(apply(params, x), before)


def test_their_state_is_not_updated(key):
    net = NNXNet(nnx.Rngs(0))
    x = 5 + jax.random.normal(key, (16, 2))
    mean = np.asarray(net.norm.mean[...])
    apply, params = interop.from_flax(net)
    assert_close(apply(params, x), jax.jit(apply)(params, x))
    np.testing.assert_array_equal(net.norm.mean[...], mean)


class LinenNorms(flax.linen.Module):
    rate: float = 0.0

    @flax.linen.compact
    def __call__(self, x, train):
        x = flax.linen.Dense(6, use_bias=False)(x)
        x = jnp.tanh(flax.linen.BatchNorm(not train, momentum=0.8)(x))
        x = flax.linen.Dropout(self.rate, deterministic=not train)(x)
        return flax.linen.Dense(1)(x)


class NNXNorms(nnx.Module):
    def __init__(self, rate, rngs):
        self.hidden = nnx.Linear(2, 6, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(6, momentum=0.8, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.out = nnx.Linear(6, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(jnp.tanh(self.norm(self.hidden(x)))))


def linen_norms(key, x, rate=0.0):
    variables = LinenNorms().init(key, x, train=False)
    taken = interop.from_flax_with_state(LinenNorms(rate), variables)
    params, state = taken.params, taken.state["batch_stats"]["BatchNorm_0"]
    return taken, (params["Dense_0"], params["BatchNorm_0"], params["Dense_1"]), state


def nnx_norms(key, x, rate=0.0):
    taken = interop.from_flax_with_state(NNXNorms(rate, nnx.Rngs(key)))
    params = taken.params
    return taken, (params["hidden"], params["norm"], params["out"]), taken.state["norm"]


@pytest.mark.parametrize("make", [linen_norms, nnx_norms])
def test_their_batch_statistics_train_as_ours(make, key, data):
    x, _ = data
    (apply, params, state), (dense, norm, out), statistics = make(key, x)
    ours = model.Sequential(
        (
            nn.Dense(2, 6, use_bias=False),
            nn.BatchNorm(6, 0.8),
            nn.Activation(jnp.tanh),
            nn.Dense(6, 1),
        )
    )
    begin = ((), {"mean": statistics["mean"], "var": statistics["var"]}, (), ())
    options = dict(optimizer=optax.adam(1e-2), steps=4, key=key, validation=data)

    loss = training.regression(apply)
    theirs = training.fit(loss, params, data, state=state, **options)
    expected = training.fit(
        training.regression(ours.apply),
        (dense, norm, (), out),
        data,
        state=begin,
        **options,
    )
    np.testing.assert_allclose(theirs.history.loss, expected.history.loss, rtol=1e-3)
    np.testing.assert_allclose(
        theirs.history.validation_loss, expected.history.validation_loss, rtol=1e-3
    )
    moved = jax.tree.leaves(theirs.state), jax.tree.leaves(expected.state)
    for a, b in zip(*moved, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    y, same = apply(params, x, state=state)
    chex.assert_trees_all_equal(same, state)
    # A key drives their dropout in training; without one there is none.
    loss = training.regression(make(key, x, 0.2)[0].apply)
    keys = key, jax.random.key(9), None
    values = [loss(params, data, k, state)[0] for k in keys]
    assert values[0] != values[1]
    np.testing.assert_allclose(values[2], jnp.mean((y - data[1]) ** 2), rtol=1e-5)
    with pytest.raises(ValueError, match=r"apply\(params, x, state=state\)"):
        apply(params, x)


def test_a_module_without_a_mode_is_refused(key, data):
    x, _ = data
    net = flax.linen.Dense(3)
    variables = net.init(key, x)
    with pytest.raises(ValueError, match="Dense has no keyword to tell training"):
        interop.from_flax_with_state(net, variables)
    variables = LinenNorms().init(key, x, train=False)
    with pytest.raises(ValueError, match="train follows apply's own train"):
        interop.from_flax_with_state(LinenNorms(), variables, train=True)
    with pytest.raises(ValueError, match="variables must hold 'params'"):
        interop.from_flax_with_state(net)


def test_ensembles_of_their_models_are_a_leading_axis(key, data):
    net = equinox.nn.MLP(2, 1, 8, 1, key=key)
    apply, params = interop.from_equinox(net)
    stack = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    y = jax.vmap(apply, (0, None))(stack, data[0])
    np.testing.assert_allclose(y[0], apply(params, data[0]), rtol=1e-6)


def test_equinox_modules_compare_by_the_value_of_their_model(key):
    ours = MODELS["pruned kan"]
    params = ours.init(key)
    same = kan.KAN((2, 1), masks=(jnp.array([[1.0], [0.0]]),))
    other = kan.KAN((2, 1), masks=(jnp.array([[0.0], [1.0]]),))
    structure = jax.tree.structure(interop.to_equinox(ours, params))
    assert structure == jax.tree.structure(interop.to_equinox(same, params))
    assert structure != jax.tree.structure(interop.to_equinox(other, params))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: interop.to_linen(3), TypeError, "model must be a model of kanjax"),
        (lambda: interop.to_nnx(nn.MLP, ()), TypeError, "model must be a model of"),
        (lambda: interop.to_equinox({}, ()), TypeError, r"apply\(params, x\); got {}"),
        (lambda: interop.from_flax(nn.Dense(2, 1)), TypeError, "flax.nnx.Module; got"),
        (lambda: interop.from_flax(LinenNet()), ValueError, "must hold 'params'.*None"),
        (
            lambda: interop.from_flax(LinenNet(), {"batch_stats": {}}),
            ValueError,
            r"must hold 'params'.*got \['batch_stats'\]",
        ),
        (
            lambda: interop.from_flax(NNXNet(nnx.Rngs(0)), {"params": {}}),
            ValueError,
            "an nnx module holds its variables",
        ),
        (lambda: interop.from_equinox(jnp.tanh), TypeError, "callable equinox.Module"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_libraries_are_imported_only_when_needed():
    code = """
import sys
import kanjax, kanjax.interop, kanjax.nn, kanjax.kan
assert not {"flax", "equinox"} & set(sys.modules), sorted(sys.modules)
sys.modules["flax"] = sys.modules["equinox"] = None
net = kanjax.nn.Dense(2, 1)
for name, call in (
    ("flax", lambda: kanjax.interop.to_linen(net)),
    ("flax", lambda: kanjax.interop.to_nnx(net, {})),
    ("flax", lambda: kanjax.interop.from_flax(net)),
    ("equinox", lambda: kanjax.interop.to_equinox(net, {})),
    ("equinox", lambda: kanjax.interop.from_equinox(net)),
):
    try:
        call()
    except ImportError as error:
        assert f"needs {name}: pip install kanjax[interop]" in str(error), error
    else:
        raise AssertionError(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(ImportError, match="needs equinox: pip install"):
        interop.from_equinox(nn.Dense(2, 1))


def test_a_network_in_the_place_of_a_function_is_refused():
    x = jnp.ones((4, 3))
    other = {
        "flax": nnx.Linear(3, 2, rngs=nnx.Rngs(0)),
        "equinox": equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)),
    }
    for library, net in other.items():
        with pytest.raises(TypeError, match=f"kj.interop.from_{library}"):
            ntk.empirical(net, x)
        with pytest.raises(TypeError, match=f"kj.interop.from_{library}"):
            ntk.empirical(net, net, x)
    with pytest.raises(TypeError, match="kj.interop.from_equinox"):
        landscape.plane(lambda p: 0.0, *[other["equinox"]] * 3)
    apply, params = interop.from_equinox(equinox.nn.Linear(3, 2, key=jax.random.key(0)))
    wrapped = equinox.filter_jit(apply)
    np.testing.assert_allclose(
        ntk.empirical(wrapped, params, x), ntk.empirical(apply, params, x), rtol=1e-6
    )
    with pytest.raises(TypeError, match="x1 is missing"):
        ntk.empirical(apply, params)
