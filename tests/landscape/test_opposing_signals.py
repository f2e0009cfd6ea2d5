"""Groups that oppose each other, in any network and under jit, vmap and grad."""

import equinox
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import nn, persample, training
from kanjax.landscape import opposing_linear, opposing_optimizers, opposing_signals

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(12, 3)), jnp.float32)
    return x, jnp.asarray(rng.integers(0, 4, 12))


def network(library):
    """A small network's function and parameters."""
    if library == "kanjax":
        mlp = nn.MLP((3, 5, 4))
        return mlp.apply, mlp.init(KEY)
    if library == "flax":
        dense = flax.linen.Dense
        linen = flax.linen.Sequential([dense(5), jnp.tanh, dense(4)])
        return lambda p, x: linen.apply(p, x), linen.init(KEY, jnp.ones(3))
    net = equinox.nn.MLP(3, 4, 5, 1, key=KEY)
    params, static = equinox.partition(net, equinox.is_inexact_array)
    return lambda p, x: jax.vmap(equinox.combine(p, static))(x), params


@pytest.mark.parametrize("library", ["kanjax", "flax", "equinox"])
def test_recording_is_that_of_a_loop_for_any_network(library, data):
    apply, params = network(library)
    loss = training.classification(apply)
    optimizer = optax.adam(0.05)

    def record(params, every, batch_size):
        return opposing_signals.descend_and_record(
            loss,
            params,
            data,
            key=KEY,
            optimizer=optimizer,
            steps=4,
            every=every,
            batch_size=batch_size,
        )

    record = jax.jit(record, static_argnums=(1, 2))
    got = record(params, 1, 5)
    state, expected = optimizer.init(params), []
    for _ in range(4):
        expected.append(persample.losses(loss, params, data, key=KEY))
        gradient = jax.grad(lambda p: loss(p, data, KEY)[0])(params)
        update, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, update)
    expected.append(persample.losses(loss, params, data, key=KEY))
    np.testing.assert_allclose(got.losses, jnp.stack(expected), rtol=2e-4, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        got.params,
        params,
    )
    if library == "kanjax":
        sparse = record(network(library)[1], 2, None)
        np.testing.assert_allclose(sparse.losses, got.losses[::2], rtol=1e-5)


def test_a_callback_of_a_fit_gives_the_same_history(data):
    mlp = nn.MLP((3, 5, 4))
    loss, start, history = training.classification(mlp.apply), mlp.init(KEY), []

    def record(progress):
        history.append(persample.losses(loss, progress.params, data))

    training.fit(
        loss,
        start,
        data,
        optimizer=optax.sgd(0.1),
        steps=3,
        batch_size=None,
        key=KEY,
        evaluate_every=1,
        callback=record,
    )
    got = opposing_signals.descend_and_record(
        loss, start, data, key=KEY, optimizer=optax.sgd(0.1), steps=3
    )
    np.testing.assert_allclose(got.losses[-3:], jnp.stack(history[-3:]), rtol=1e-5)


def test_all_of_it_runs_under_jit_and_vmap(data):
    mlp = nn.MLP((3, 5, 4))
    loss = training.classification(mlp.apply)

    def study(key):
        run = opposing_signals.descend_and_record(
            loss, mlp.init(key), data, key=key, optimizer=optax.sgd(0.1), steps=2
        )
        step = opposing_signals.most_violent_step(run.losses)
        changes = opposing_signals.loss_changes(run.losses)[step]
        groups = opposing_signals.opposing_groups(changes, 2)
        spike = opposing_signals.decompose_spike(loss, run.params, data, 0.1)
        sharp, top = opposing_signals.sharpest_direction(
            loss, run.params, data, key, without=groups.up
        )
        slope = opposing_signals.group_gradient(loss, run.params, data, groups.down)
        angle = opposing_signals.cosine(slope, top)
        score = opposing_signals.opposition_score(run.losses, groups)
        return groups, spike, sharp, abs(angle), score

    keys = jax.random.split(KEY, 2)
    together = jax.jit(jax.vmap(study))(keys)
    alone = jax.jit(study)(keys[1])
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-2, atol=1e-5)


def test_derivatives_of_what_is_smooth(data):
    mlp = nn.MLP((3, 5, 4), jnp.tanh)
    loss, params = training.classification(mlp.apply), mlp.init(KEY)

    def change(step_size):
        spike = opposing_signals.decompose_spike(loss, params, data, step_size)
        return jnp.mean(spike.change)

    # Of the expansion -eta |g|^2 + eta^2 / 2 g^T H g, by hand.
    g = jax.grad(lambda p: loss(p, data)[0])(params)
    square = optax.tree.vdot(g, g)
    spike = opposing_signals.decompose_spike(loss, params, data, 0.2)
    expected = -square * (1 - 0.2 * spike.directional_curvature)
    np.testing.assert_allclose(jax.grad(change)(0.2), expected, rtol=1e-4)
    beta = jnp.array([1.0, 2.0])

    def end(step_size):
        start = opposing_linear.Weights(0.5 * jnp.ones(()), beta, beta)
        return opposing_linear.gradient_descent(
            start, beta, 2.0, step_size=step_size, steps=3
        ).losses[-1]

    numeric = (end(0.011) - end(0.009)) / 0.002
    np.testing.assert_allclose(jax.grad(end)(0.01), numeric, rtol=1e-2)


def test_planted_outliers():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 3)), np.arange(40) % 4
    planted = opposing_signals.plant_outliers(
        KEY, x, y, classes=(1, 3), count=5, magnitude=8.0, extra=2
    )
    assert planted.groups.shape == (2, 5)
    assert len(np.unique(planted.groups)) == 10
    np.testing.assert_array_equal(y[np.asarray(planted.groups)], [[1] * 5, [3] * 5])
    np.testing.assert_array_equal(planted.x[:, :3], np.float32(x))
    expected = np.zeros((40, 2))
    expected[np.asarray(planted.groups).ravel()] = 8
    np.testing.assert_array_equal(planted.x[:, 3:], expected)
    # The feature of integers is not cut to one.
    planted = opposing_signals.plant_outliers(
        KEY, np.arange(40)[:, None], y, classes=(1, 3), count=5, magnitude=0.5, extra=2
    )
    np.testing.assert_array_equal(planted.x[:, 1:], expected / 16)


def test_a_zero_gradient_has_no_direction():
    assert opposing_signals.cosine(jnp.zeros(3), jnp.ones(3)) == 0


def test_what_cannot_be_is_said(data):
    loss = training.classification(nn.MLP((3, 4)).apply)
    with pytest.raises(ValueError, match="multiple of every"):
        opposing_signals.descend_and_record(
            loss, (), data, key=KEY, optimizer=optax.sgd(1.0), steps=3, every=2
        )
    with pytest.raises(ValueError, match="k is 3"):
        opposing_signals.opposing_groups(jnp.zeros(5), 3)
    with pytest.raises(ValueError, match="class 0 has 4 examples"):
        opposing_signals.plant_outliers(
            KEY,
            jnp.zeros((8, 2)),
            np.arange(8) % 2,
            classes=(0, 1),
            count=5,
            magnitude=1.0,
        )
    with pytest.raises(ValueError, match="dampening is 1"):
        opposing_optimizers.sgd_dampened(0.1, dampening=1.0)
    with pytest.raises(ValueError, match="quantile is 2"):
        opposing_optimizers.split_sgd(0.1, 0.1, 2.0)
