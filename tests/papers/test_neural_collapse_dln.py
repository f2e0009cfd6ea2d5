"""Closed-form optima of deep linear networks, held against training and gradients.

Dang et al., arXiv 2301.00437.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from kanjax import training
from kanjax.representation import linear_optima, neural_collapse
from kanjax.representation import unconstrained_features as free

# Sizes, depth, decay; the loss and squared singular values that L-BFGS found.
CASES = [
    ((10, 10, 10, 10), 1, 5e-3, 0.0612455532, [2.96227766] * 4),
    (
        (20, 10, 5, 5),
        1,
        5e-3,
        0.0585327479,
        [4.27213595, 2.96227766, *[2.03606798] * 2],
    ),
    ((20, 10, 5, 5), 3, 5e-3, 0.0681016956, [9.1557837, 5.3206114, *[3.0388183] * 2]),
    ((20, 10, 4, 2), 2, 1e-2, 0.1114526474, None),
    ((40, 10, 2), 2, 2e-2, 0.1780531031, [10.286542, 3.184282, 0]),
]


@pytest.fixture(autouse=True)
def precise(x64):
    """Closed forms are compared to many digits."""


def decays(value):
    return {"weight_decay": value, "feature_decay": value}


@pytest.mark.parametrize("sizes, depth, decay, value, squares", CASES)
def test_the_optimum_is_that_of_the_closed_form(sizes, depth, decay, value, squares):
    optimum = linear_optima.solve(sizes, depth, **decays(decay))
    np.testing.assert_allclose(optimum.value, value, atol=6e-11)
    if squares is not None:
        np.testing.assert_allclose(optimum.squares, squares, atol=6e-7)


@pytest.fixture(scope="module")
def program():
    """Loss and gradient, one program for each shape."""

    @functools.partial(jax.jit, static_argnames="kind")
    def evaluate(params, labels, weight_decay, feature_decay, kind="mse"):
        return jax.value_and_grad(free.loss)(
            params,
            labels,
            kind=kind,
            weight_decay=weight_decay,
            feature_decay=feature_decay,
        )

    return evaluate


@pytest.mark.parametrize("sizes, depth, decay, value, squares", CASES)
def test_the_minimizer_has_no_gradient_and_that_loss(
    program, key, sizes, depth, decay, value, squares
):
    widths = (7, 5, 4)[:depth]
    params = free_minimizer(sizes, widths, key, decay)
    labels = free.class_labels(sizes)
    at, gradient = program(params, labels, decay, decay)
    np.testing.assert_allclose(at, value, atol=6e-11)
    assert max(jnp.abs(g).max() for g in jax.tree.leaves(gradient)) < 1e-8
    optimum = linear_optima.solve(sizes, depth, **decays(decay))
    features, product = free.layer_views(params)[0]
    result = neural_collapse.collapse(features, labels, product, kind=optimum)
    np.testing.assert_allclose(result[:5], 0, atol=1e-10)


def free_minimizer(sizes, widths, key, decay, **options):
    return linear_optima.minimizer(
        sizes, widths, key=key, weight_decay=decay, feature_decay=decay, **options
    )


def test_decays_of_each_layer_and_balanced_layers(program, key):
    sizes, each, of_features = (9, 6, 3), jnp.array([2e-3, 8e-3]), 4e-3
    options = {"weight_decay": each, "feature_decay": of_features}
    params = linear_optima.minimizer(sizes, (5, 4), key=key, **options)
    at, gradient = program(params, free.class_labels(sizes), each, of_features)
    optimum = linear_optima.solve(sizes, 2, **options)
    np.testing.assert_allclose(at, optimum.value, atol=1e-12)
    assert max(jnp.abs(g).max() for g in jax.tree.leaves(gradient)) < 1e-8
    first, second = params.weights
    np.testing.assert_allclose(
        each[1] * second @ second.T, each[0] * first.T @ first, atol=1e-10
    )
    np.testing.assert_allclose(
        each[0] * first @ first.T,
        of_features * params.features.T @ params.features,
        atol=1e-10,
    )


@pytest.mark.parametrize("sizes, depth", [((12, 6, 3), 1), ((12, 6, 3), 3)])
def test_training_finds_nothing_lower(sizes, depth):
    labels = free.class_labels(sizes)
    optimum = linear_optima.solve(sizes, depth, **decays(5e-3))

    def loss(params, labels, key):
        return free.loss(params, labels, **decays(5e-3))

    values = []
    for seed in range(3):
        start = free.init(sizes, (5,) * depth, key=jax.random.key(seed), scale=0.5)
        end = training.minimize(loss, start, labels, steps=500)
        values.append(float(loss(end, labels, None)))
    np.testing.assert_allclose(min(values), optimum.value, atol=1e-9)
    assert min(values) > optimum.value - 1e-12


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_the_scalar_minimum_is_that_of_a_grid(depth):
    x = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 400_001)])
    tie = 1.0 if depth == 1 else (depth - 1) ** ((depth - 1) / depth) / depth
    b = np.array([1e-6, 1e-2, 0.3 * tie, 0.99 * tie, 1.01 * tie, 3.0])
    results = linear_optima.minimize_scalar(jnp.asarray(b), depth)
    for value, price in zip(results, b, strict=True):
        grid = 1 / (1 + x**depth) + price * x
        np.testing.assert_allclose(value, x[grid.argmin()], rtol=1e-4, atol=1e-4)
        assert 1 / (1 + value**depth) + price * value <= grid.min() + 1e-15
    assert (results[-2:] == 0).all() and (results[:-2] > 0).all()
    slope = jax.vmap(jax.grad(lambda p: linear_optima.minimize_scalar(p, depth)))(b)
    near = [linear_optima.minimize_scalar(b + s * 1e-7 * b, depth) for s in (1, -1)]
    np.testing.assert_allclose(slope, (near[0] - near[1]) / (2e-7 * b), 1e-5, 1e-8)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_classes_collapse_below_the_threshold(depth):
    options = decays(0.0301 if depth == 1 else 0.05)
    threshold = float(linear_optima.collapse_threshold(300, depth, **options))
    assert 2 < threshold < 299
    below, above = int(np.floor(threshold)), int(np.ceil(threshold))
    for size, collapsed in ((below, True), (above, False)):
        optimum = linear_optima.solve((300 - size, size), depth, **options)
        assert (optimum.squares[1] == 0) == collapsed


def test_the_plain_formula_at_depth_one():
    sizes, w, h = np.array([30, 8, 5]), 7e-3, 2e-3
    optimum = linear_optima.solve(tuple(sizes), 1, weight_decay=w, feature_decay=h)
    expected = np.maximum(np.sqrt(sizes * h / w) - 43 * h, 0)
    np.testing.assert_allclose(optimum.squares, expected, atol=1e-12)
    np.testing.assert_allclose(optimum.outputs, expected / (expected + 43 * h), 1e-12)
    np.testing.assert_allclose(
        optimum.means, expected / (expected + 43 * h) ** 2, rtol=1e-12
    )


def test_a_bias_gives_a_simplex(program, key):
    sizes, decay = (8, 8, 8), 1e-2
    optimum = linear_optima.solve(sizes, 2, **decays(decay), bias=True)
    np.testing.assert_allclose(optimum.value, 0.0587748040, atol=6e-11)
    np.testing.assert_allclose(optimum.squares, [3.676568, 3.676568, 0], atol=6e-7)
    plain = linear_optima.solve(sizes, 2, **decays(decay))
    np.testing.assert_allclose(optimum.value, 2 / 3 * plain.value, rtol=1e-12)
    params = free_minimizer(sizes, (5, 4), key, decay, bias=True)
    np.testing.assert_allclose(params.bias, 1 / 3)
    labels = free.class_labels(sizes)
    at, gradient = program(params, labels, decay, decay)
    np.testing.assert_allclose(at, optimum.value, atol=1e-12)
    assert max(jnp.abs(g).max() for g in jax.tree.leaves(gradient)) < 1e-8
    features, product = free.layer_views(params)[0]
    result = neural_collapse.collapse(features, labels, product, params.bias)
    np.testing.assert_allclose(result, 0, atol=1e-10)


@pytest.mark.parametrize("sizes", [(12, 8, 5, 2), (6, 6, 6, 6)])
def test_a_bottleneck_keeps_the_largest_classes(program, key, sizes):
    optimum = linear_optima.solve(sizes, 2, **decays(3e-3), rank=2)
    assert (optimum.squares > 0).tolist() == [True, True, False, False]
    params = free_minimizer(sizes, (5, 2), key, 3e-3)
    labels = free.class_labels(sizes)
    at, gradient = program(params, labels, 3e-3, 3e-3)
    np.testing.assert_allclose(at, optimum.value, atol=1e-12)
    assert max(jnp.abs(g).max() for g in jax.tree.leaves(gradient)) < 1e-8


@pytest.mark.parametrize(
    "depth, decay, kappa, value",
    [(1, 5e-3, 4.0984288, 0.2430016), (2, 1e-3, 6.7745285, 0.0381325)],
)
def test_the_simplex_under_cross_entropy(depth, decay, kappa, value):
    result = linear_optima.etf_logits(4, 10, depth, **decays(decay))
    np.testing.assert_allclose(result, [kappa, value], atol=6e-8)

    def penalized(k):
        rate = (10 * decay ** (depth + 1)) ** (1 / (depth + 1))
        cost = 3 * (depth + 1) / 2 * rate * k ** (2 / (depth + 1))
        return np.log1p(3 * np.exp(-k)) + cost

    best = optimize.minimize_scalar(penalized, bracket=(kappa - 1, kappa + 1))
    np.testing.assert_allclose(result.value, best.fun, rtol=1e-12)
    if depth == 1:
        np.testing.assert_allclose(result.kappa, np.log(1 / (10**0.5 * decay) - 3))
    large = linear_optima.etf_logits(4, 10, depth, **decays(1.0))
    np.testing.assert_allclose(large, [0.0, np.log(4)], rtol=1e-12)


def test_deep_networks_go_below_the_simplex_under_cross_entropy():
    sizes, decay = (10,) * 4, 1e-3
    labels = free.class_labels(sizes)
    simplex = linear_optima.etf_logits(4, 10, 3, **decays(decay))
    np.testing.assert_allclose(simplex.value, 0.0308518, atol=6e-8)

    def loss(params, labels, key):
        return free.loss(params, labels, kind="ce", **decays(decay))

    ends = []
    for seed in range(4):
        start = free.init(sizes, (6, 6, 6), key=jax.random.key(seed), scale=0.5)
        end = training.minimize(loss, start, labels, steps=500)
        ends.append((float(loss(end, labels, None)), free.apply(end)))
    value, logits = min(ends, key=lambda end: end[0])
    np.testing.assert_allclose(value, 0.028436, atol=6e-7)
    # Of rank 2, where the simplex has rank 3.
    spectrum = np.linalg.svd(logits, compute_uv=False)
    assert spectrum[1] > 0.9 * spectrum[0] and spectrum[2] < 1e-3 * spectrum[0]


def test_a_rotation_of_the_features_changes_nothing(key):
    sizes = (7, 5, 4)
    params = free.init(sizes, (6, 5), key=key)
    rotation = stats.ortho_group.rvs(6, random_state=0)
    first, *rest = params.weights
    turned = params._replace(
        features=params.features @ rotation, weights=(rotation.T @ first, *rest)
    )
    labels = free.class_labels(sizes)
    optimum = linear_optima.solve(sizes, 2, **decays(5e-3))
    for kind in ("etf", "orthogonal", optimum):
        results = [
            neural_collapse.collapse(h, labels, w, kind=kind)
            for h, w in (free.layer_views(p)[0] for p in (params, turned))
        ]
        np.testing.assert_allclose(*results, atol=1e-10)
    values = [free.loss(p, labels, **decays(5e-3)) for p in (params, turned)]
    np.testing.assert_allclose(*values, rtol=1e-12)
