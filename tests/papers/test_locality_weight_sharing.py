"""Signals in patches, held against closed forms and convolutions: arXiv 2403.15707."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from kanjax import nn, training
from kanjax.theory import patch_signals, sample_complexity

PATCHES, FEATURES = 4, 3
NETS = {
    architecture: patch_signals.PatchNetwork(architecture, PATCHES, FEATURES)
    for architecture in patch_signals.ARCHITECTURES
}


def orthogonal(key, size):
    return jnp.linalg.qr(jax.random.normal(key, (size, size)))[0]


@pytest.fixture
def signal(key):
    return patch_signals.draw_signal(key, FEATURES)


@pytest.fixture
def examples(key, signal):
    return patch_signals.sample(key, signal, rows=50, patches=PATCHES, noise=0.5)


def large(net, key):
    weights = jax.random.normal(key, net.weight_shape)
    return {"weights": weights, "bias": jnp.asarray(0.3)}


def test_moments_of_the_signals(key):
    signal = patch_signals.draw_signal(key, 5)
    x, y = patch_signals.sample(key, signal, rows=200_000, patches=4, noise=0.5)
    mean = np.mean(np.asarray(y)[:, None, None] * x, axis=0)
    np.testing.assert_allclose(mean, np.tile(signal / 4, (4, 1)), atol=0.01)
    assert np.mean(np.sum(np.square(x), axis=(1, 2))) == pytest.approx(
        1 + 4 * 5 * 0.25, rel=0.01
    )
    assert set(np.unique(y)) == {-1, 1}


def test_a_static_signal_stays_in_its_patch(key, signal):
    x, y = patch_signals.sample(
        key, signal, rows=20, patches=PATCHES, noise=0.0, position=2
    )
    np.testing.assert_allclose(x[:, 2], jnp.outer(y, signal))
    assert not np.any(x[:, [0, 1, 3]])


def test_soft_threshold():
    z = jnp.linspace(-2, 2, 41)
    np.testing.assert_array_equal(patch_signals.soft_threshold(z, 0.0), z)
    expected = np.sign(z) * np.maximum(np.abs(z) - 0.7, 0)
    np.testing.assert_allclose(
        patch_signals.soft_threshold(z, 0.7), expected, atol=1e-7
    )


@pytest.mark.parametrize("wide", patch_signals.ARCHITECTURES[1:])
@pytest.mark.parametrize("narrow", patch_signals.ARCHITECTURES[:2])
def test_sharing_and_locality_are_special_cases(narrow, wide, key, examples):
    net, x = NETS[narrow], examples[0]
    params = large(net, key)
    wider, same = patch_signals.widen(net, params, wide)
    assert same["weights"].shape == wider.weight_shape
    np.testing.assert_allclose(
        wider.apply(same, x), net.apply(params, x), rtol=1e-5, atol=1e-5
    )


def test_they_are_convolutions_with_and_without_shared_weights(key, examples):
    x = examples[0]
    image = x.reshape(len(x), PATCHES * FEATURES, 1)
    window = {"kernel_size": (FEATURES,), "strides": FEATURES, "padding": "VALID"}
    size = (PATCHES * FEATURES,)
    for architecture, layer in (
        ("convolutional", nn.Conv(1, 1, use_bias=False, **window)),
        ("locally connected", nn.ConvLocal(1, 1, size, use_bias=False, **window)),
    ):
        net = NETS[architecture]
        params = large(net, key)
        shape = layer.init(key)["kernel"].shape
        nodes = layer.apply({"kernel": params["weights"].reshape(shape)}, image)
        expected = patch_signals.soft_threshold(nodes, 0.3).sum(axis=(1, 2))
        np.testing.assert_allclose(net.apply(params, x), expected, rtol=1e-5, atol=1e-5)


def turn(architecture, key, x):
    """What the architecture's group does to inputs, and to weights."""
    if architecture == "fully connected":
        u = orthogonal(key, PATCHES * FEATURES)
        return (x.reshape(len(x), -1) @ u.T).reshape(x.shape), lambda w: w @ u.T
    if architecture == "locally connected":
        keys = jax.random.split(key, PATCHES)
        u = jnp.stack([orthogonal(k, FEATURES) for k in keys])
        return (
            jnp.einsum("kab,nkb->nka", u, x),
            lambda w: jnp.einsum("kab,kb->ka", u, w),
        )
    u = orthogonal(key, FEATURES)
    return x @ u.T, lambda w: u @ w


@pytest.mark.parametrize("architecture", patch_signals.ARCHITECTURES)
def test_gradient_descent_is_equivariant_and_adam_is_not(architecture, key, examples):
    net, (x, y) = NETS[architecture], examples
    turned, turn_weights = turn(architecture, jax.random.key(5), x)
    start = jax.tree.map(lambda w: 0.3 * w, large(net, key))
    turned_start = start | {"weights": turn_weights(start["weights"])}

    def outputs(x, params, optimizer):
        trained, _ = training.descend(
            training.regression(net.apply),
            params,
            (x, y),
            key=key,
            optimizer=optimizer,
            steps=20,
        )
        return net.apply(trained, x)

    difference = {
        name: np.max(np.abs(outputs(x, start, o) - outputs(turned, turned_start, o)))
        for name, o in (("sgd", optax.sgd(0.02)), ("adam", optax.adam(0.02)))
    }
    assert difference["sgd"] < 1e-5 and difference["adam"] > 1e-3


@pytest.mark.parametrize("architecture", patch_signals.ARCHITECTURES)
def test_the_first_step_has_the_cosine_of_the_closed_form(architecture, key):
    patches, features, noise, rows = 10, 10, 10**-0.5, 400
    net = patch_signals.PatchNetwork(architecture, patches, features)
    signal = patch_signals.draw_signal(key, features)

    @jax.jit
    @jax.vmap
    def measure(key):
        x, y = patch_signals.sample(
            key, signal, rows=rows, patches=patches, noise=noise
        )
        direction = patch_signals.mean_direction(net, x, y)
        return patch_signals.alignment(net, direction, signal)

    expected = patch_signals.first_step_cosine(
        architecture, rows, patches=patches, features=features, noise=noise
    )
    assert np.mean(measure(jax.random.split(key, 50))) == pytest.approx(
        float(expected), rel=0.03
    )


@pytest.mark.parametrize("architecture", patch_signals.ARCHITECTURES[:2])
def test_two_steps_go_through_the_gate(architecture, key, signal):
    # By a loop over rows and patches, from the mean direction.
    net = NETS[architecture]
    x, y = patch_signals.sample(key, signal, rows=30, patches=PATCHES, noise=0.4)
    start = net.init(key)
    params = jax.jit(lambda p: patch_signals.fit_two_steps(net, p, x, y, bias=0.3))(
        start
    )
    shared = architecture == "convolutional"
    w = np.broadcast_to(start["weights"], (PATCHES, FEATURES)).astype(float)
    for bias, size in ((0.0, 1.0), (0.3, 1e3 * PATCHES)):
        push = np.zeros((PATCHES, FEATURES))
        for row, label in zip(np.asarray(x, float), np.asarray(y, float), strict=True):
            for i in range(PATCHES):
                if abs(w[i] @ row[i]) > bias:
                    push[i] += label * row[i] / len(y)
        if shared:
            push = np.tile(push.sum(axis=0), (PATCHES, 1))
        w = w + size * push
        w /= np.linalg.norm(w, axis=1, keepdims=True)
    np.testing.assert_allclose(
        params["weights"], w[0] if shared else w, rtol=1e-4, atol=1e-5
    )
    assert params["bias"] == pytest.approx(1e-4)


def test_weights_of_examples_stand_for_fewer_rows(key, examples):
    net, (x, y) = NETS["locally connected"], examples
    start = net.init(key)
    mass = (jnp.arange(len(y)) < 20).astype(x.dtype)
    few = patch_signals.fit_two_steps(net, start, x[:20], y[:20], bias=0.2)
    same = patch_signals.fit_two_steps(net, start, x, y, bias=0.2, example_weights=mass)
    np.testing.assert_allclose(same["weights"], few["weights"], atol=1e-5)
    few = patch_signals.mean_direction(net, x[:20], y[:20])
    same = patch_signals.mean_direction(net, x, y, example_weights=mass)
    np.testing.assert_allclose(same["weights"], few["weights"], atol=1e-6)


def test_a_gate_that_nothing_passes_leaves_the_nodes(key, examples):
    net, (x, y) = NETS["convolutional"], examples
    params = patch_signals.fit_two_steps(net, net.init(key), x, y, bias=100.0)
    assert np.linalg.norm(params["weights"]) == pytest.approx(1, rel=1e-5)
    silent = patch_signals.mean_direction(net, jnp.zeros_like(x), y)
    np.testing.assert_array_equal(silent["weights"], 0)


def test_ideal_gates_have_the_cosine_of_the_closed_form(key):
    # The nodes learn from the rows whose signal is in their patch, and from no other.
    patches, features, noise, rows = 8, 10, 8**-0.5, 800
    signal = patch_signals.draw_signal(key, features)
    net = patch_signals.PatchNetwork("locally connected", patches, features)

    @jax.jit
    @jax.vmap
    def measure(key):
        parts = [
            patch_signals.sample(
                k,
                signal,
                rows=rows // patches,
                patches=patches,
                noise=noise,
                position=i,
            )
            for i, k in enumerate(jax.random.split(key, patches))
        ]
        mean = jnp.stack([y @ x[:, i] for i, (x, y) in enumerate(parts)])
        local = patch_signals.alignment(net, {"weights": mean}, signal)
        shared = patch_signals.PatchNetwork("convolutional", patches, features)
        total = {"weights": mean.sum(axis=0)}
        return local, patch_signals.alignment(shared, total, signal)

    measured = measure(jax.random.split(key, 50))
    for architecture, cosines in zip(
        ("locally connected", "convolutional"), measured, strict=True
    ):
        expected = patch_signals.second_step_cosine(
            architecture, rows, patches=patches, features=features, noise=noise
        )
        assert np.mean(cosines) == pytest.approx(float(expected), rel=0.01)


def test_bayes_is_the_posterior_mean(key, signal, examples):
    x, y = examples
    likelihood = {
        sign: np.mean(
            [
                np.exp(
                    -np.square(
                        np.asarray(x, float).reshape(len(x), -1)
                        - sign * np.kron(np.eye(PATCHES)[t], signal)
                    ).sum(axis=1)
                    / (2 * 0.5**2)
                )
                for t in range(PATCHES)
            ],
            axis=0,
        )
        for sign in (1, -1)
    }
    expected = (likelihood[1] - likelihood[-1]) / (likelihood[1] + likelihood[-1])
    np.testing.assert_allclose(
        patch_signals.bayes_mean(x, signal, 0.5), expected, rtol=1e-4, atol=1e-5
    )


def test_bayes_errs_as_often_as_a_normal_tail_on_one_patch(key, signal):
    x, y = patch_signals.sample(key, signal, rows=100_000, patches=1, noise=0.8)
    wrong = jnp.sign(patch_signals.bayes_mean(x, signal, 0.8)) != y
    assert np.mean(wrong) == pytest.approx(scipy.stats.norm.cdf(-1 / 0.8), rel=0.03)
    # Of little noise nothing overflows.
    mean = patch_signals.bayes_mean(x[:10], signal, 1e-3)
    np.testing.assert_array_equal(np.abs(mean), 1)


def test_first_size_is_after_the_last_failure():
    scores = [[0.1, 0.9, 0.4, 0.9, 0.9], [0.9] * 5, [0.1] * 5, [0.9, 0.9, np.nan, 1, 1]]
    np.testing.assert_array_equal(
        sample_complexity.first_size([2, 3, 5, 7, 11], scores, 0.9),
        [7, 2, np.inf, 7],
    )


@pytest.mark.parametrize("target", [0.0, 0.5, 0.9, 0.99, 0.9999])
def test_search_finds_what_the_whole_grid_finds(target):
    def score(n):
        return 1 - 10 / n

    sizes = sample_complexity.geometric_sizes(8, 3000)
    expected = sample_complexity.first_size(sizes, [score(n) for n in sizes], target)
    got = sample_complexity.search_size(score, target, low=8, high=3000)
    assert got == expected


def test_power_laws_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 100, 12)
    y = 3e20 * x**-1.5 * np.exp(0.1 * rng.normal(size=12))
    fit = sample_complexity.fit_power_law(x, y)
    design = np.stack([np.log(x), np.ones(12)], axis=1)
    (slope, log_factor), (rss,), *_ = np.linalg.lstsq(design, np.log(y), rcond=None)
    deviation = np.sqrt(rss / 10 * np.linalg.inv(design.T @ design)[0, 0])
    reach = deviation * scipy.stats.t.ppf(0.975, 10)
    assert fit.exponent == pytest.approx(slope)
    assert fit.factor == pytest.approx(np.exp(log_factor))
    assert fit.interval == pytest.approx((slope - reach, slope + reach))
    two = sample_complexity.fit_power_law([1, 2], [1, 4])
    assert two.exponent == pytest.approx(2) and two.interval == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patch_signals.PatchNetwork("dense", 2, 2), "architecture must be one"),
        (
            lambda: patch_signals.PatchNetwork("convolutional", 0, 2),
            "patches must be an integer of at least 1; got 0",
        ),
        (
            lambda: patch_signals.sample(
                jax.random.key(0), jnp.eye(2)[0], rows=3, patches=2, noise=1, position=2
            ),
            "numbered from 0 to 1",
        ),
        (
            lambda: patch_signals.sample(
                jax.random.key(0), jnp.eye(2)[0], rows=0, patches=2, noise=1
            ),
            "rows must be an integer of at least 1; got 0",
        ),
        (
            lambda: NETS["convolutional"].apply(
                NETS["convolutional"].init(jax.random.key(0)), jnp.ones((5, 3, 4))
            ),
            r"\(\.\.\., 4, 3\)",
        ),
        (
            lambda: patch_signals.widen(
                NETS["fully connected"], {}, "locally connected"
            ),
            "not always locally",
        ),
        (
            lambda: patch_signals.second_step_cosine(
                "fully connected", 10, patches=2, features=2, noise=1.0
            ),
            "no gate",
        ),
        (
            lambda: patch_signals.fit_two_steps(
                NETS["convolutional"],
                NETS["convolutional"].init(jax.random.key(0)),
                jnp.ones((5, 4, 3)),
                jnp.ones(4),
                bias=0.1,
            ),
            "5 rows and y has 4",
        ),
        (
            lambda: patch_signals.sample(
                jax.random.key(0), jnp.ones(2), rows=3, patches=2, noise=1
            ),
            "length 1.414; it must be on the unit sphere",
        ),
        (
            lambda: patch_signals.sample(
                jax.random.key(0), jnp.eye(2)[0], rows=3, patches=2, noise=-1
            ),
            "noise must be at least 0; got -1",
        ),
        (
            lambda: patch_signals.bayes_mean(jnp.ones((3, 2, 2)), jnp.eye(2)[0], 0.0),
            "noise must be positive and finite; got 0.0",
        ),
        (
            lambda: patch_signals.first_step_cosine(
                "convolutional", 0, patches=2, features=2, noise=1.0
            ),
            "rows must be positive and finite; got 0",
        ),
        (lambda: sample_complexity.first_size([3, 2], [1, 1], 0), "increasing"),
        (lambda: sample_complexity.first_size([2, 3], [1, 1, 1], 0), "one for each"),
        (lambda: sample_complexity.geometric_sizes(0, 5), "from 1 or more"),
        (lambda: sample_complexity.geometric_sizes(2, 5, 1.0), "above 1"),
        (lambda: sample_complexity.fit_power_law([1, 1], [2, 3]), "two values"),
        (lambda: sample_complexity.fit_power_law([1, 2], [0, 3]), "positive and fin"),
        (lambda: sample_complexity.fit_power_law([1, 2], [1, np.inf]), "positive"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
