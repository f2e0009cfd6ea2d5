"""Opposing signals held against closed forms and brute force: arXiv 2311.04163."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.landscape import opposing_linear as linear
from kanjax.landscape import opposing_optimizers as optimizers
from kanjax.landscape import opposing_signals as signals

ALPHA = 20.0


@pytest.fixture(scope="module")
def toy():
    """The start and the target of the linear model, of 10 and 10 inputs."""
    rng = np.random.default_rng(0)
    beta = rng.normal(size=10)
    beta *= 5 / np.linalg.norm(beta)
    b, b_o = rng.normal(size=(2, 10)) / np.sqrt(20)
    return linear.Weights(jnp.zeros(()), jnp.asarray(b), jnp.asarray(b_o)), beta


@pytest.fixture(scope="module")
def descent():
    return jax.jit(linear.gradient_descent, static_argnames="steps")


def away(toy):
    """A point where no block of the Hessian vanishes."""
    (_, b, b_o), beta = toy
    return linear.Weights(jnp.asarray(0.7), b, b_o), jnp.asarray(beta)


def test_gradient_and_hessian_are_the_derivatives_of_the_loss(toy):
    with jax.enable_x64(True):
        weights, beta = jax.tree.map(lambda v: jnp.asarray(v, float), away(toy))
        expected = jax.grad(linear.loss)(weights, beta, ALPHA)
        for got, want in zip(
            linear.gradient(weights, beta, ALPHA), expected, strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-10)
        flat, unravel = jax.flatten_util.ravel_pytree(weights)
        expected = jax.hessian(lambda v: linear.loss(unravel(v), beta, ALPHA))(flat)
        got = linear.hessian(weights, beta, ALPHA)
        np.testing.assert_allclose(got, expected, atol=1e-10)
        np.testing.assert_allclose(
            linear.sharpness(weights, beta, ALPHA),
            np.linalg.eigvalsh(np.asarray(expected))[-1],
        )


def test_population_loss_is_the_mean_over_signs_and_signals():
    """Signals that have exactly mean zero and unit covariance, with all the signs."""
    rng = np.random.default_rng(1)
    signs = np.array(list(itertools.product([-1, 1], repeat=4))) * np.sqrt(ALPHA)
    signal = rng.normal(size=(9, 3))
    signal -= signal.mean(axis=0)
    signal = np.linalg.qr(signal)[0] * 3
    x = np.concatenate([np.repeat(signal, 16, axis=0), np.tile(signs, (9, 1))], axis=1)
    beta, b, b_o = rng.normal(size=3), rng.normal(size=3), rng.normal(size=4)
    weights = linear.Weights(jnp.asarray(0.8), jnp.asarray(b), jnp.asarray(b_o))
    errors = linear.apply(weights, jnp.asarray(x)) - x[:, :3] @ beta
    np.testing.assert_allclose(
        linear.loss(weights, beta, ALPHA), np.mean(np.square(errors)) / 2, rtol=1e-5
    )


def test_sample_has_the_moments_that_the_loss_takes():
    beta = jnp.array([1.0, -2.0])
    x, y = linear.sample(jax.random.key(0), beta, 20_000, 3, alpha=ALPHA, r=2.0)
    covariance = np.cov(np.asarray(x).T)
    np.testing.assert_allclose(covariance, np.diag([1, 1, 20, 20, 20]), atol=0.6)
    # Of equal sizes only the signal is left in the target.
    np.testing.assert_allclose(y, x[:, :2] @ beta, atol=1e-4)


def test_initial_sharpness_is_that_of_the_hessian(toy):
    (c, b, b_o), beta = toy
    got = linear.initial_sharpness(b, b_o, beta, ALPHA)
    expected = np.linalg.eigvalsh(linear.hessian(linear.Weights(c, b, b_o), beta, 20.0))
    np.testing.assert_allclose(got, expected[-1], rtol=1e-5)


def test_small_steps_end_where_gradient_flow_does(toy, descent):
    start, beta = toy
    start = start._replace(b_o=2 * start.b_o)
    path = descent(start, beta, ALPHA, step_size=1e-3, steps=4000)
    limit = linear.gradient_flow_limit(linear.balance(start), beta, ALPHA)
    end = jax.tree.map(lambda w: w[-1], path.weights)
    np.testing.assert_allclose(end.c**2, limit.c_squared, rtol=0.01)
    np.testing.assert_allclose(jnp.linalg.norm(end.b), limit.b_norm, rtol=0.01)
    got = linear.sharpness(end, beta, ALPHA)
    np.testing.assert_allclose(got, limit.sharpness, rtol=0.01)
    between = jax.vmap(lambda w: linear.sharpness(w, beta, ALPHA))(
        jax.tree.map(lambda w: w[::20], path.weights)
    )
    # It falls while b_o decays, and rises with c.
    assert between.min() < 0.9 * between[0] and between[0] < between[-1]


@pytest.mark.parametrize("q", [-30.0, -1.0, 0.0, 4.0])
def test_the_limit_conserves_the_balance_and_fits(q):
    with jax.enable_x64(True):
        beta = jnp.array([3.0, -4.0])
        limit = linear.gradient_flow_limit(q, beta, ALPHA)
        c = jnp.sqrt(limit.c_squared)
        end = linear.Weights(c, beta / c, jnp.zeros(3))
        np.testing.assert_allclose(linear.balance(end), q, atol=1e-9)
        np.testing.assert_allclose(linear.loss(end, beta, ALPHA), 0, atol=1e-20)
        np.testing.assert_allclose(jnp.linalg.norm(end.b), limit.b_norm)
        np.testing.assert_allclose(linear.sharpness(end, beta, ALPHA), limit.sharpness)


def test_a_step_changes_the_balance_by_the_square_of_its_size(toy):
    with jax.enable_x64(True):
        weights, beta = jax.tree.map(lambda v: jnp.asarray(v, float), away(toy))

        def moved(step_size):
            slope = linear.gradient(weights, beta, ALPHA)
            after = jax.tree.map(lambda w, g: w - step_size * g, weights, slope)
            return linear.balance(after) - linear.balance(weights)

        slope = linear.gradient(weights, beta, ALPHA)
        for step_size in (1e-2, 1e-3):
            expected = step_size**2 * linear.balance(slope)
            np.testing.assert_allclose(moved(step_size), expected, rtol=1e-9)


def test_the_opposing_weights_are_multiplied_at_each_step(toy):
    with jax.enable_x64(True):
        (_, b, b_o), beta = jax.tree.map(lambda v: jnp.asarray(v, float), toy)
        start = linear.Weights(jnp.asarray(0.1), b, b_o)
        path = linear.gradient_descent(
            start, jnp.asarray(beta), ALPHA, step_size=0.02, steps=30
        )
        factors = 1 - 0.02 * ALPHA * path.weights.c[:-1] ** 2
        expected = b_o * jnp.prod(factors)
        np.testing.assert_allclose(path.weights.b_o[-1], expected, rtol=1e-6)
        # Negative exactly where the step size is past half of the limit.
        limits = linear.stability_limit(ALPHA, path.weights.c[:-1])
        np.testing.assert_array_equal(factors < -1, limits < 0.02)
        np.testing.assert_allclose(
            path.losses[7],
            linear.loss(
                jax.tree.map(lambda w: w[7], path.weights), jnp.asarray(beta), ALPHA
            ),
        )


def test_large_steps_end_below_their_limit(toy, descent):
    start, beta = toy
    path = descent(start, beta, ALPHA, step_size=0.04, steps=400)
    end = jax.tree.map(lambda w: w[-1], path.weights)
    assert path.losses.max() > path.losses[0] and path.losses[-1] < 1e-3
    assert linear.sharpness(end, beta, ALPHA) < 2 / 0.04
    assert linear.gradient_flow_limit(0.0, beta, ALPHA).sharpness > 2 / 0.04


def test_the_halves_move_in_anti_phase():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(6, 5)), rng.normal(size=6)
    weights = linear.Weights(jnp.asarray(0.5), jnp.ones(3), jnp.array([1.0, -2.0]))
    plus, minus = linear.half_losses(weights, jnp.asarray(x), jnp.asarray(y))
    for sign, got in ((1, plus), (-1, minus)):
        turned = np.concatenate([x[:, :3], sign * x[:, 3:]], axis=1)
        expected = (np.asarray(linear.apply(weights, turned)) - y) ** 2 / 2
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    negative = weights._replace(b_o=-weights.b_o)
    other = linear.half_losses(negative, jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(other[0], minus, rtol=1e-6)


def quadratic(params, batch, key):
    """Of examples with a matrix each: ``theta^T A_i theta / 2 + b_i^T theta``."""
    a, b = batch
    theta = jnp.concatenate([params["u"], params["v"]])
    return jnp.mean(jnp.einsum("nij,i,j->n", a, theta, theta) / 2 + b @ theta)


@pytest.fixture(scope="module")
def bowl():
    rng = np.random.default_rng(3)
    root, b = rng.normal(size=(8, 5, 5)), rng.normal(size=(8, 5))
    a = root @ root.transpose(0, 2, 1)
    theta = rng.normal(size=5)
    params = {"u": jnp.asarray(theta[:2]), "v": jnp.asarray(theta[2:])}
    return params, (jnp.asarray(a), jnp.asarray(b)), theta, a, b


def test_spike_of_a_quadratic_is_exact(bowl):
    params, data, theta, a, b = bowl
    slopes = np.einsum("nij,j->ni", a, theta) + b
    g = slopes.mean(axis=0)
    spike = jax.jit(signals.decompose_spike, static_argnums=0)(
        quadratic, params, data, 0.3
    )
    curvature = g @ a.mean(axis=0) @ g / (g @ g)
    after = theta - 0.3 * g

    def each(theta):
        return np.einsum("nij,i,j->n", a, theta, theta) / 2 + b @ theta

    np.testing.assert_allclose(spike.change, each(after) - each(theta), rtol=1e-4)
    np.testing.assert_allclose(spike.slope, -0.3 * slopes @ g, rtol=1e-4)
    np.testing.assert_allclose(spike.directional_curvature, curvature, rtol=1e-5)
    total = -0.3 * g @ g * (1 - 0.3 / 2 * curvature)
    np.testing.assert_allclose(jnp.mean(spike.change), total, rtol=1e-4)


def test_sharpness_with_and_without_a_group(bowl):
    params, data, _, a, _ = bowl
    key, group = jax.random.key(0), jnp.array([1, 6])
    value, vector = signals.sharpest_direction(quadratic, params, data, key)
    values, vectors = np.linalg.eigh(a.mean(axis=0))
    np.testing.assert_allclose(value, values[-1], rtol=1e-4)
    top = {"u": jnp.asarray(vectors[:2, -1]), "v": jnp.asarray(vectors[2:, -1])}
    np.testing.assert_allclose(abs(signals.cosine(vector, top)), 1, rtol=1e-4)
    rest, _ = signals.sharpest_direction(quadratic, params, data, key, without=group)
    kept = np.delete(a, [1, 6], axis=0).sum(axis=0) / 8
    np.testing.assert_allclose(rest, np.linalg.eigvalsh(kept)[-1], rtol=1e-4)


def test_group_gradient_is_the_mean_of_its_examples(bowl):
    params, data, theta, a, b = bowl
    got = signals.group_gradient(quadratic, params, data, jnp.array([0, 3, 5]))
    expected = (np.einsum("nij,j->ni", a, theta) + b)[[0, 3, 5]].mean(axis=0)
    np.testing.assert_allclose(jnp.concatenate([got["u"], got["v"]]), expected, 1e-5)


def test_groups_by_hand():
    groups = signals.opposing_groups(jnp.array([3.0, -1, 0, 2, -5]), 2)
    assert groups.up.tolist() == [0, 3] and groups.down.tolist() == [4, 1]


def test_score_tells_opposition_from_hardness():
    rng = np.random.default_rng(4)
    swing = rng.normal(size=30)
    history = np.stack([swing, swing, -swing, -swing, 2 * swing], axis=1) + 5
    groups = signals.Groups(jnp.array([0, 1]), jnp.array([2, 3]))
    np.testing.assert_allclose(signals.opposition_score(history, groups), 1, rtol=1e-5)
    hard = signals.Groups(jnp.array([0, 1]), jnp.array([4]))
    np.testing.assert_allclose(signals.opposition_score(history, hard), -1, rtol=1e-5)
    history = rng.normal(size=(30, 5))
    changes = np.diff(history, axis=0)
    expected = -np.corrcoef(changes[:, :2].mean(1), changes[:, 2:4].mean(1))[0, 1]
    got = signals.opposition_score(history, groups)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    step = np.argmax(np.abs(changes).max(axis=1))
    assert signals.most_violent_step(history) == step
    opposed = [min(max(row), max(-row)) for row in changes]
    assert signals.most_opposed_step(history) == np.argmax(opposed)
    np.testing.assert_allclose(
        signals.loss_changes(history)[step], changes[step], rtol=1e-4
    )
    np.testing.assert_allclose(
        signals.group_losses(history, groups.up), history[:, :2].mean(1), rtol=1e-5
    )


@pytest.mark.parametrize("dampening", [0.0, 0.9])
def test_dampened_momentum_by_a_loop(dampening):
    rng = np.random.default_rng(5)
    gradients, momentum = rng.normal(size=(5, 3)), np.zeros(3)
    optimizer = optimizers.sgd_dampened(0.2, momentum=0.9, dampening=dampening)
    state = optimizer.init(jnp.zeros(3))
    for g in gradients:
        momentum = 0.9 * momentum + (1 - dampening) * g
        update, state = optimizer.update(jnp.asarray(g), state)
        np.testing.assert_allclose(update, -0.2 * momentum, rtol=1e-5)


def test_split_steps_by_hand():
    gradient = {"w": jnp.array([[1.0, -9.0], [0.5, 2.0]]), "b": jnp.array([-8.0])}
    optimizer = optimizers.split_sgd(0.1, lambda count: 0.01 + count, 0.5)
    state = optimizer.init(gradient)
    first, state = optimizer.update(gradient, state)
    # Sizes 0.5, 1, 2, 8, 9: the median is 2, and only what exceeds it is split off.
    np.testing.assert_allclose(first["w"], [[-0.1, 0.01], [-0.05, -0.2]], rtol=1e-6)
    np.testing.assert_allclose(first["b"], [0.01], rtol=1e-6)
    second, _ = optimizer.update(gradient, state)
    np.testing.assert_allclose(second["b"], [1.01], rtol=1e-6)
