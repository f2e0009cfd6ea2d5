"""Scores without training, held against closed forms: arXiv 2110.08616 and peers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from kanjax import nn, training
from kanjax.landscape import zero_cost

NET = nn.MLP((3, 6, 5, 4), jax.nn.relu, use_bias=False)
LOSS = training.classification(NET.apply)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(12, 3)), jnp.float32)
    return x, jnp.asarray(rng.integers(0, 4, 12))


@pytest.fixture(scope="module")
def params():
    return NET.init(jax.random.key(1))


@pytest.fixture(scope="module")
def gradients(params, batch):
    """(examples, weights), by a loop."""
    rows = []
    for i in range(12):
        example = jax.tree.map(lambda v, i=i: v[i : i + 1], batch)
        gradient = jax.grad(lambda p, e=example: LOSS(p, e)[0])(params)
        rows.append(jnp.concatenate([g.ravel() for g in jax.tree.leaves(gradient)]))
    return np.stack(rows)


def product(w, batch, key):
    return jnp.mean(batch @ w)


def test_gradsign_by_hand():
    data = jnp.array([[1.0, -2, 0], [3, 4, -1], [-5, 6, -1]])
    assert zero_cost.gradsign(product, jnp.zeros((3, 1)), data) == 4
    # A zero counts nothing, and neither does what is not a number.
    data = data.at[0, 0].set(jnp.nan)
    assert zero_cost.gradsign(product, jnp.zeros((3, 1)), data) == 0 + 1 + 2


@pytest.mark.parametrize("batch_size", [None, 1, 5, 12])
def test_gradsign_is_that_of_a_loop_for_any_block(batch_size, gradients, params, batch):
    expected = np.abs(np.sign(gradients).sum(axis=0)).sum()
    got = zero_cost.gradsign(LOSS, params, batch, batch_size=batch_size)
    assert got == expected and 0 <= got <= gradients.size


def test_gradsign_needs_no_order_and_no_unit(params, batch):
    tau = zero_cost.gradsign(LOSS, params, batch)
    turned = jax.tree.map(lambda v: v[::-1], batch)
    assert zero_cost.gradsign(LOSS, params, turned) == tau

    def scaled(p, b, key):
        return 1e-3 * LOSS(p, b)[0]

    assert zero_cost.gradsign(scaled, params, batch) == tau


def test_gradsign_of_equal_examples_counts_the_slopes(params, batch):
    same = jax.tree.map(lambda v: jnp.repeat(v[:1], 7, axis=0), batch)
    gradient = jax.grad(lambda p: LOSS(p, same)[0])(params)
    nonzero = sum(int(jnp.sum(g != 0)) for g in jax.tree.leaves(gradient))
    assert zero_cost.gradsign(LOSS, params, same) == 7 * nonzero


def test_gradsign_of_linear_regression_is_of_residual_and_input():
    rng = np.random.default_rng(3)
    x, w, y = rng.normal(size=(9, 4)), rng.normal(size=(4, 1)), rng.normal(size=(9, 1))
    loss = training.regression(lambda w, x: x @ w)
    data = (jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    expected = np.abs(np.sign((x @ w - y) * x).sum(axis=0)).sum()
    assert zero_cost.gradsign(loss, jnp.asarray(w, jnp.float32), data) == expected


def test_pairs_that_agree(gradients):
    signs = np.sign(gradients)
    pairs = sum(
        (signs[i] * signs[j]).sum() for i in range(12) for j in range(i + 1, 12)
    )
    got = zero_cost.pairwise_sign_agreement(gradients)
    np.testing.assert_allclose(got, pairs, rtol=1e-6)


def test_mean_distance_is_that_of_all_pairs():
    optima = np.random.default_rng(4).normal(size=(7, 3))
    pairs = np.abs(optima[:, None] - optima[None]).sum(axis=-1)
    np.testing.assert_allclose(
        zero_cost.mean_distance(optima), pairs.sum() / 49, rtol=1e-5
    )
    assert zero_cost.mean_distance(np.ones((4, 2))) == 0


def test_gradient_angle_is_the_mean_cosine(gradients, params, batch):
    unit = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    mean = unit.mean(axis=0)
    expected = np.mean(unit @ mean / np.linalg.norm(mean))
    got = zero_cost.gradient_angle(LOSS, params, batch, batch_size=5)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_scores_of_the_mean_gradient(gradients, params, batch):
    mean, flat = (
        gradients.mean(axis=0),
        np.concatenate([np.ravel(w) for w in jax.tree.leaves(params)]),
    )
    ends = np.cumsum([w.size for w in jax.tree.leaves(params)])[:-1]
    norms = [np.linalg.norm(g) for g in np.split(mean, ends)]
    close = np.testing.assert_allclose
    close(zero_cost.gradient_norm(LOSS, params, batch), sum(norms), rtol=1e-5)
    close(zero_cost.plain(LOSS, params, batch), (mean * flat).sum(), rtol=1e-4)
    close(zero_cost.snip(LOSS, params, batch), np.abs(mean * flat).sum(), rtol=1e-5)
    lengths = [np.linalg.norm(w) for w in jax.tree.leaves(params)]
    close(zero_cost.weight_norm(params), sum(lengths), rtol=1e-6)


def test_grasp_of_a_quadratic():
    rng = np.random.default_rng(5)
    root, w = rng.normal(size=(4, 4)), rng.normal(size=(4, 1))
    a = root @ root.T

    def loss(w, batch, key):
        return 0.5 * jnp.sum(w * (a @ w)) + 0 * jnp.sum(batch)

    got = zero_cost.grasp(loss, jnp.asarray(w, jnp.float32), jnp.zeros((2, 1)))
    np.testing.assert_allclose(got, -(w.T @ a @ a @ w)[0, 0], rtol=1e-4)


def test_grasp_leaves_biases_out(batch):
    net = nn.MLP((3, 5, 4), jnp.tanh)
    loss, params = training.classification(net.apply), net.init(jax.random.key(2))
    weights = [p["kernel"] for p in params]

    def of_weights(weights):
        merged = tuple({**p, "kernel": w} for p, w in zip(params, weights, strict=True))
        return loss(merged, batch)[0]

    gradient = jax.grad(of_weights)(weights)
    image = jax.jvp(jax.grad(of_weights), (weights,), (gradient,))[1]
    expected = -sum(jnp.sum(w * v) for w, v in zip(weights, image, strict=True))
    np.testing.assert_allclose(
        zero_cost.grasp(loss, params, batch), expected, rtol=1e-4
    )


def test_fisher_is_that_of_activations(batch):
    """By hand: the slope in the layers' outputs, with a bias in them."""
    net = nn.MLP((3, 5, 4), jnp.tanh)
    loss, params = training.classification(net.apply), net.init(jax.random.key(2))
    params = jax.tree.map(lambda p: p + 0.1, params)
    x, y = batch

    def of_outputs(shifts):
        h = jnp.tanh(x @ params[0]["kernel"] + params[0]["bias"][None] + shifts[0])
        z = h @ params[1]["kernel"] + params[1]["bias"][None] + shifts[1]
        return jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(12), y]), (h, z)

    zeros = [jnp.zeros((12, 5)), jnp.zeros((12, 4))]
    slopes, (h, z) = jax.grad(of_outputs, has_aux=True)(zeros)
    outputs = [jnp.arctanh(h), z]
    expected = sum(
        p["kernel"].size / a.shape[1] * jnp.sum(jnp.mean((a * d) ** 2, axis=0)) / 2
        for p, a, d in zip(params, outputs, slopes, strict=True)
    )
    got = zero_cost.fisher(loss, params, batch, batch_size=5)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_synflow_of_a_bias_free_network_is_layers_times_flow(params, batch):
    flow = jnp.ones(3)
    for layer in params:
        flow = flow @ jnp.abs(layer["kernel"])
    got = zero_cost.synflow(NET.apply, params, batch[0])
    np.testing.assert_allclose(got, 3 * flow.sum(), rtol=1e-5)


def test_jacobian_covariance_of_orthogonal_rows():
    x = jnp.array([[1.0, 1, -1, -1], [1.0, -1, 1, -1], [1.0, -1, -1, 1]])

    def apply(params, y):
        return jnp.sum(y * x * params, axis=1, keepdims=True)

    got = zero_cost.jacobian_covariance(apply, 1.0, x)
    np.testing.assert_allclose(got, -3 * (np.log(1.00001) + 1 / 1.00001), rtol=1e-4)


def test_jacobian_covariance_is_that_of_numpy(params, batch):
    rows = np.stack(
        [jax.grad(lambda v: NET.apply(params, v).sum())(v) for v in batch[0]]
    )
    # Rows of three numbers correlate to rank two: the rest is round-off, cut at 0.
    values = np.maximum(np.linalg.eigvalsh(np.corrcoef(rows)), 0) + 1e-2
    expected = -np.sum(np.log(values) + 1 / values)
    got = zero_cost.jacobian_covariance(NET.apply, params, batch[0], least=1e-2)
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_naswot_counts_units_that_treat_inputs_alike():
    codes = np.random.default_rng(6).random((5, 40)) > 0.5
    distance = (codes[:, None] != codes[None]).sum(axis=-1)
    sign, expected = np.linalg.slogdet(40.0 - distance)
    got = zero_cost.naswot([codes[:, :10].reshape(5, 2, 5), codes[:, 10:]])
    assert sign == 1
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert zero_cost.naswot([np.ones((3, 4), bool)]) == -np.inf


def test_zen_of_a_linear_map():
    w = jnp.asarray(np.random.default_rng(7).normal(size=(6, 2)), jnp.float32)
    x, key = jnp.zeros((4000, 6)), jax.random.key(0)
    got = zero_cost.zen(lambda w, x: x @ w, w, x, key=key, step=1e-2)
    u = np.random.default_rng(8).normal(size=(100_000, 6))
    expected = np.log(1e-2 * np.linalg.norm(u @ np.asarray(w), axis=1).mean())
    np.testing.assert_allclose(got, expected, atol=0.03)


def test_rank_correlations_are_those_of_scipy():
    from kanjax.landscape import architecture_search as search

    rng = np.random.default_rng(9)
    a, b = rng.integers(0, 6, 30), rng.normal(size=30)
    got = search.rank_correlation([*a, np.nan], [*b, 1.0])
    np.testing.assert_allclose(got.spearman, scipy.stats.spearmanr(a, b).statistic)
    np.testing.assert_allclose(got.kendall, scipy.stats.kendalltau(a, b).statistic)
    assert got.interval[0] < got.spearman < got.interval[1]
    perfect = search.rank_correlation(b, 3 * b)
    np.testing.assert_allclose((perfect.spearman, *perfect.interval), 1)
