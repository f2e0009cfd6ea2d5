"""Exact statements on networks of combined activations: arXiv 2503.06112."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from kanjax import bases, kan, model, symmetry, training
from kanjax.bases.activation_pairs import COMBINATIONS
from kanjax.kan import reductions

N, OUT = 5, 4
EVERY = tuple(reductions.REDUCTIONS)
RELU_KAN = bases.ActivationPairs(5, activation=jax.nn.relu, scaled=True)


@pytest.fixture(autouse=True)
def double(x64):
    """Everything here is in double precision."""


@pytest.fixture
def layer():
    """A layer with every reduction, moved parameters, and inputs."""
    net = kan.AFKANLayer(N, OUT, reductions=EVERY)
    params = net.init(jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [
        leaf + 0.3 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    x = jax.random.normal(jax.random.key(2), (7, N))
    return net, jax.tree.unflatten(structure, moved), x


def softmax(values, axis):
    return scipy.special.softmax(np.asarray(values), axis=axis)


def test_relu_kan_peaks_at_one_vanishes_outside_and_is_a_translate():
    params = RELU_KAN.init(jax.random.key(0))
    low, high = params["low"], params["high"]
    np.testing.assert_allclose(low, (np.arange(8) - 3) / 5, atol=1e-15)
    np.testing.assert_allclose(high, low + 4 / 5, atol=1e-15)
    middle = RELU_KAN.apply(params, (low + high) / 2)
    np.testing.assert_allclose(np.diag(middle), 1, rtol=1e-12)
    x = np.linspace(-2, 2, 401)
    values = RELU_KAN.apply(params, x)
    assert np.max(values) <= 1 + 1e-12
    outside = np.less.outer(x, low) | np.greater.outer(x, high)
    assert not np.any(np.where(outside, values, 0))
    for m in range(8):
        np.testing.assert_allclose(
            values[:, m], RELU_KAN.function(0, x - m / 5), atol=1e-12
        )


def test_rectifiers_give_relu_kan_up_to_its_factor():
    plain = dataclasses.replace(RELU_KAN, scaled=False)
    x = jnp.linspace(-2, 2, 101)
    r = 4 * 5**2 / (3 + 1) ** 2
    np.testing.assert_allclose(plain(x) * r**2, RELU_KAN(x), rtol=1e-12)
    other = bases.ReLUPower(5, 3, domain=(0.0, 1.0))
    np.testing.assert_allclose(RELU_KAN(x), other(x), atol=1e-12)


def test_combinations_are_their_formulas():
    """From u and v themselves, by numpy; with the identities among them."""
    x = np.linspace(-1, 2, 31)
    low = (np.arange(6) - 3) / 3
    u = (x[:, None] - low) * scipy.special.expit(x[:, None] - low)
    v = (low + 4 / 3 - x[:, None]) * scipy.special.expit(low + 4 / 3 - x[:, None])
    expected = {
        "quad1": (u * v) ** 2,
        "quad2": u * v + u**2 + v**2,
        "sum": u + v,
        "prod": u * v,
        "sum_prod": u + v + u * v,
        "cubic1": (u + v) * (u**2 + v**2),
        "cubic2": (u * v) ** 3,
    }
    assert expected.keys() == COMBINATIONS.keys()
    found = {name: bases.ActivationPairs(combination=name)(x) for name in expected}
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found["quad1"], found["prod"] ** 2, rtol=1e-12)
    np.testing.assert_allclose(found["cubic2"], found["prod"] ** 3, rtol=1e-12)
    np.testing.assert_allclose(
        found["sum_prod"], found["sum"] + found["prod"], rtol=1e-12
    )


@pytest.mark.parametrize("norm, axes", [("batch", None), ("sample", (1, 2))])
def test_scaling_is_that_of_the_published_two_steps(layer, norm, axes):
    net, params, x = layer
    raw = dataclasses.replace(net, norm=None).features(params, x)
    found = dataclasses.replace(net, norm=norm).features(params, x)
    f = np.asarray(raw)
    f = f / np.sqrt(np.sum(f**2, axis=axes, keepdims=True))
    low, high = (g(f, axis=axes, keepdims=True) for g in (np.min, np.max))
    np.testing.assert_allclose(found, (f - low) / (high - low), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(np.min(found, axis=axes), 0)
    np.testing.assert_allclose(np.max(found, axis=axes), 1)


def test_by_sample_alone_an_output_is_its_example_s(layer):
    net, params, x = layer
    one = jax.vmap(net.apply, (None, 0))(params, x)
    np.testing.assert_allclose(one, net.apply(params, x), rtol=1e-10)
    batch = dataclasses.replace(net, norm="batch")
    other = jax.vmap(batch.apply, (None, 0))(params, x)
    assert np.max(np.abs(other - batch.apply(params, x))) > 1e-3


def test_what_is_constant_is_scaled_to_zero():
    basis = bases.ActivationPairs(combination="sum", activation=lambda x: 0 * x)
    net = kan.AFKANLayer(N, OUT, basis)
    params = net.init(jax.random.key(0))
    np.testing.assert_array_equal(net.features(params, jnp.ones((2, N))), 0)
    slope = jax.grad(lambda p: jnp.sum(net.apply(p, jnp.ones((2, N)))))(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))


def test_global_attention_sums_to_one_and_starts_even_without_weights(layer):
    net, params, x = layer
    weights = net.attention(params, x)
    np.testing.assert_allclose(np.sum(weights, axis=-1), 1, rtol=1e-12)
    nothing = jax.tree.map(jnp.zeros_like, params["reductions"]["global_attn"])
    still = params | {"reductions": params["reductions"] | {"global_attn": nothing}}
    np.testing.assert_allclose(net.attention(still, x), 1 / N, rtol=1e-12)
    spatial = net.attention(params, x, "spatial_attn")
    np.testing.assert_allclose(np.sum(spatial, axis=-1), 1, rtol=1e-12)


def numbers(name, params, f, temperature):
    """z by numpy and scipy, one reduction after the other."""
    own = jax.tree.map(np.asarray, params["reductions"][name])

    def attended(tokens):
        q, k, v = (
            tokens @ own[each]["kernel"] + own[each]["bias"]
            for each in ("query", "key", "value")
        )
        return softmax(q @ np.swapaxes(k, -1, -2) / temperature, -1) @ v

    if name in ("global_attn", "multistep"):
        s = f @ own["kernel"][:, 0] + own["bias"][0]
        return s if name == "multistep" else softmax(s / temperature, -1) * f.sum(-1)
    if name == "spatial_attn":
        scores = np.stack(
            [
                # A convolution flips, PyTorch's layer does not.
                [np.convolve(row, own["kernel"][::-1, m], mode="same") for row in f_m]
                for m, f_m in enumerate(np.moveaxis(f, -1, 0))
            ],
            axis=-1,
        )
        return np.sum(softmax((scores + own["bias"]) / temperature, -1) * f, axis=-1)
    if name == "self_attn":
        return attended(f).sum(-1)
    if name == "local_attn":
        flat = attended(f.reshape(*f.shape[:-1], -1, 2)).reshape(f.shape)
        return (flat @ own["linear"]["kernel"] + own["linear"]["bias"])[..., 0]
    q, k, v = (
        f @ own[each]["kernel"] + own[each].get("bias", 0)
        for each in ("query", "key", "value")
    )
    heads = [
        softmax(q[..., :, None, h] * k[..., None, :, h], -1) @ v[..., h, None]
        for h in range(f.shape[-1])
    ]
    joined = np.concatenate(heads, axis=-1)
    return np.sum(joined @ own["output"]["kernel"] + own["output"].get("bias", 0), -1)


@pytest.mark.parametrize("name", EVERY)
def test_every_reduction_is_its_formula(layer, name):
    net, params, x = layer
    temperature = max(1.0, float(params["temperature"]))
    f = np.asarray(net.features(params, x))
    z = numbers(name, params, f, temperature)
    mean, var = z.mean(-1, keepdims=True), z.var(-1, keepdims=True)
    normed = (z - mean) / np.sqrt(var + 1e-5)
    normed = normed * np.asarray(params["norm"]["scale"]) + np.asarray(
        params["norm"]["bias"]
    )
    expected = normed * scipy.special.expit(normed) @ np.asarray(params["kernel"])
    np.testing.assert_allclose(
        net.branch(params, x, name), expected, rtol=1e-8, atol=1e-10
    )


def test_without_layer_norm_the_numbers_go_on_as_they_are(layer):
    net, params, x = layer
    plain = dataclasses.replace(net, layer_norm=False)
    assert "norm" not in plain.init(jax.random.key(0))
    f = np.asarray(net.features(params, x))
    z = numbers("multistep", params, f, 1.0)
    expected = z * scipy.special.expit(z) @ np.asarray(params["kernel"])
    np.testing.assert_allclose(plain.branch(params, x, "multistep"), expected)


@pytest.mark.parametrize("norm", ["batch", None])
def test_hidden_units_can_change_places(norm):
    net = kan.AFKAN((N, 6, OUT), reductions=("global_attn", "local_attn"), norm=norm)
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (7, N))
    spec = symmetry.permutation_spec(net)
    order = symmetry.random_permutation(spec, jax.random.key(2))
    moved = symmetry.apply_permutation(spec, order, params)
    assert np.any(moved[0]["kernel"] != params[0]["kernel"])
    np.testing.assert_allclose(
        net.apply(moved, x), net.apply(params, x), rtol=1e-9, atol=1e-12
    )
    tied = kan.AFKAN((N, 6, OUT), reductions=("spatial_attn",))
    with pytest.raises(ValueError, match="no hidden unit"):
        symmetry.permutation_spec(tied)


def test_a_temperature_below_one_counts_as_one(layer):
    net, params, x = layer
    weights = [
        net.attention(params | {"temperature": jnp.array(t)}, x) for t in (0.2, 1.0, 2)
    ]
    np.testing.assert_allclose(weights[0], weights[1])
    assert np.max(np.abs(weights[1] - weights[2])) > 1e-3


def test_reductions_go_through_the_layers_apart_and_meet_at_the_end():
    chosen = ("global_attn", "multistep", "local_attn")
    net = kan.AFKAN((N, 6, OUT), reductions=chosen)
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (7, N))
    alone = []
    for name in chosen:
        few = tuple(p | {"reductions": {name: p["reductions"][name]}} for p in params)
        single = dataclasses.replace(net, reductions=(name,))
        alone.append(np.asarray(single.apply(few, x)))
    total, product = sum(alone), alone[0] * alone[1] * alone[2]
    squares = sum(each**2 for each in alone)
    for combine, expected in {
        "sum": total,
        "product": product,
        "sum_product": total + product,
        "quadratic": total + product + squares,
    }.items():
        found = dataclasses.replace(net, combine=combine).apply(params, x)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("widths, g, k", [((784, 64, 10), 3, 3), ((7, 5, 4), 5, 2)])
def test_parameter_counts(widths, g, k):
    net = kan.AFKAN(widths, bases.ActivationPairs(g, k))
    size = g + k
    pairs = list(zip(widths, widths[1:], strict=False))
    expected = sum(n * m + 2 * size + (size + 1) + 1 + 2 * n for n, m in pairs)
    draw = jax.eval_shape(net.init, jax.random.key(0))
    assert model.count_parameters(draw) == expected
    other = kan.relu_kan(widths, intervals=g, degree=k)
    # Weights and biases, phases, and the norm.
    expected = sum(n * m * size + m + 2 * n * size + 2 * n for n, m in pairs)
    draw = jax.eval_shape(other.init, jax.random.key(0))
    assert model.count_parameters(draw) == expected


def test_a_relu_kan_layer_is_its_formula():
    net = kan.ReLUKANLayer(N, OUT)
    params = net.init(jax.random.key(0))
    params["low"] += 0.1 * jax.random.normal(jax.random.key(1), params["low"].shape)
    x = np.asarray(jax.random.normal(jax.random.key(2), (7, N)))
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    low, high = np.asarray(params["low"]), np.asarray(params["high"])
    bumps = np.maximum(normed[..., None] - low, 0) * np.maximum(
        high - normed[..., None], 0
    )
    flat = ((bumps * 4 * 9 / 16) ** 2).reshape(7, -1)
    expected = flat @ np.asarray(params["kernel"]).reshape(-1, OUT)
    np.testing.assert_allclose(
        net.apply(params, x), expected + np.asarray(params["bias"]), rtol=1e-9
    )


def test_kernels_start_within_the_reciprocal_root_of_their_inputs():
    params = kan.AFKANLayer(400, 50).init(jax.random.key(0))
    kernel = params["kernel"]
    assert 0.99 / 20 < float(jnp.max(jnp.abs(kernel))) <= 1 / 20
    np.testing.assert_allclose(jnp.std(kernel), 1 / 20 / 3**0.5, rtol=0.02)
    np.testing.assert_allclose(params["temperature"], 20)


def test_phases_of_each_input_s_own_are_trained():
    net = kan.ReLUKANLayer(2, 1)
    params = net.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (64, 2))
    y = jnp.sin(3 * x[:, :1])
    fitted, losses = training.descend(
        training.regression(net.apply),
        params,
        (x, y),
        key=jax.random.key(2),
        optimizer=optax.adam(0.02),
        steps=60,
    )
    assert losses[-1] < 0.5 * losses[0]
    assert np.any(fitted["low"][0] != fitted["low"][1])


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: kan.AFKANLayer(4, 3, reductions=()), "reductions must be a tuple"),
        (lambda: kan.AFKANLayer(4, 3, reductions=("mean",)), r"got \('mean',\)"),
        (lambda: kan.AFKANLayer(4, 3, reductions=("multistep",) * 2), "different ones"),
        (lambda: kan.AFKANLayer(4, 3, combine="max"), "combine must be one of"),
        (lambda: kan.AFKANLayer(4, 3, norm="layer"), "norm must be one of"),
        (lambda: kan.AFKANLayer(0, 3), "in_features must be a positive integer"),
        (
            lambda: kan.AFKANLayer(4, 3, bases.ActivationPairs(inputs=4)),
            "all inputs share phases",
        ),
        (
            lambda: kan.AFKANLayer(
                4, 3, bases.ActivationPairs(1, 0), reductions=("local_attn",)
            ),
            "windows of two functions",
        ),
        (lambda: kan.AFKAN((4,)), "at least two positive integers"),
        (lambda: kan.relu_kan((4,)), "at least two positive integers"),
        (lambda: bases.ActivationPairs(0), "intervals must be an integer"),
        (lambda: bases.ActivationPairs(activation="silu"), "must be a function"),
        (lambda: bases.ActivationPairs(combination="quad3"), "got 'quad3'"),
        (lambda: bases.ActivationPairs(inputs=0), "inputs must be an integer"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_inputs_of_another_number_are_refused(layer):
    net, params, x = layer
    with pytest.raises(ValueError, match=r"x must have shape \(..., 5\)"):
        net.apply(params, x[:, :3])
    own = bases.ActivationPairs(inputs=3)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 3\)"):
        own.apply(own.init(jax.random.key(0)), x)
    with pytest.raises(ValueError, match="reduction must be one of"):
        net.attention(params, x, "multistep")
