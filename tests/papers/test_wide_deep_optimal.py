"""Exact statements on infinitely deep classifiers: arXiv 2204.14126."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from sklearn import neighbors

from kanjax import gaussian
from kanjax.ntk import infinite_depth as deep
from kanjax.ntk import limit_classifiers as rules

CUBIC = gaussian.hermite(3)


@pytest.fixture(autouse=True)
def double(x64):
    """Everything here is in double precision."""


@functools.cache
def log_koenigs(dimension):
    activation = deep.optimal_activation(dimension)
    return jax.jit(lambda xi: deep.log_koenigs(activation, xi))


def sphere(seed, count, dimension=2):
    x = np.abs(np.random.default_rng(seed).normal(size=(count, dimension + 1)))
    return jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def sample():
    """Examples, their labels, and points to classify."""
    with jax.enable_x64(True):
        x = sphere(0, 40)
        return x, jnp.where(x[:, 0] > 0.5, 1.0, -1.0), sphere(1, 30)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 8])
def test_moments_of_the_optimal_activation(dimension):
    phi = deep.optimal_activation(dimension)

    def expect(function):
        return integrate.quad(lambda z: function(z) * stats.norm.pdf(z), -14, 14)[0]

    assert expect(lambda z: phi(z) ** 2) == pytest.approx(1, abs=1e-10)
    slope = np.polynomial.Polynomial(phi.coefficients).deriv()
    mean, first, growth = map(float, deep.dual_at_zero(phi))
    assert mean == pytest.approx(expect(phi), abs=1e-10)
    assert first == pytest.approx(expect(slope), abs=1e-10)
    assert growth == pytest.approx(expect(lambda z: slope(z) ** 2), abs=1e-8)
    assert growth == pytest.approx(4 if dimension == 1 else 2, abs=1e-12)
    side = 2 ** (-dimension / 4) if dimension > 1 else 0.5**0.5
    assert first == pytest.approx(side, abs=1e-14)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 8])
def test_koenigs_equation(dimension):
    phi = deep.optimal_activation(dimension)
    xi = jnp.asarray([1e-9, 0.003, 0.2, 0.6, 0.9, 0.99])
    image = gaussian.dual(phi)(1.0, xi, 1.0).value
    change = log_koenigs(dimension)(image) - log_koenigs(dimension)(xi)
    rate = 2 ** (-dimension / 2) if dimension > 1 else 0.5
    np.testing.assert_allclose(change, math.log(rate), rtol=0, atol=1e-10)
    # g'(0) = 1.
    assert float(log_koenigs(dimension)(xi[0])) == pytest.approx(
        math.log(1e-9), abs=1e-7
    )


@pytest.mark.parametrize("activation", [jnp.tanh, jnp.sin])
def test_koenigs_equation_where_the_dual_is_no_polynomial(activation):
    xi = jnp.asarray([0.2, 0.6, 0.9])
    q = gaussian.dual(activation)(1.0, jnp.append(xi, 1.0), 1.0).value
    rate = deep.dual_at_zero(activation).slope ** 2
    xis = jnp.concatenate([q[:-1] / q[-1], xi])
    images, values = jnp.split(deep.koenigs(activation, xis), 2)
    np.testing.assert_allclose(images / values, rate, rtol=1e-10)


@pytest.mark.parametrize("dimension", [2, 3, 5, 8])
def test_exponent_near_an_example(dimension):
    near, nearer = log_koenigs(dimension)(1 - jnp.asarray([1e-7, 1e-8]))
    # |x - x'|^2 = 2 (1 - xi).
    exponent = 2 * float(nearer - near) / math.log(10)
    assert exponent == pytest.approx(dimension, abs=5e-4)
    regime = deep.classify_regime(deep.optimal_activation(dimension))
    assert regime.exponent == pytest.approx(dimension, abs=1e-10)


def test_values_of_the_koenigs_function():
    g = jnp.exp(log_koenigs(3)(jnp.asarray([0.2, 0.6, 0.9, 0.99])))
    np.testing.assert_allclose(g, [0.2713, 2.265, 27.21, 947.5], rtol=2e-4)
    assert log_koenigs(3)(1.0) == jnp.inf and log_koenigs(3)(0.0) == -jnp.inf
    assert jnp.isnan(log_koenigs(3)(-0.1))


def test_a_table_of_the_koenigs_function():
    activation = deep.optimal_activation(3)
    log_g = jax.jit(deep.tabulate_koenigs(activation))
    draw = np.random.default_rng(0)
    # Nearer to 1 the sum rounds.
    near = 10 ** draw.uniform(-8, -1, 200)
    xi = np.concatenate([draw.uniform(0, 1, 400), near, 1 - near])
    np.testing.assert_allclose(log_g(xi), log_koenigs(3)(xi), rtol=0, atol=1e-7)
    assert log_g(1.0) == jnp.inf and log_g(0.0) == -jnp.inf
    assert jnp.isnan(log_g(-0.1))
    with jax.enable_x64(False):
        single = deep.tabulate_koenigs(activation)(jnp.asarray(xi[:400], jnp.float32))
    np.testing.assert_allclose(single, log_g(xi[:400]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="nodes must be at least 4"):
        deep.tabulate_koenigs(activation, nodes=3)


def test_koenigs_is_the_limit_of_depth():
    activation = deep.optimal_activation(3)
    xi = jnp.asarray([0.2, 0.6, 0.9, 0.99])
    errors = []
    for depth in (100, 1000):
        scale = math.log(depth + 1) - 1.5 * depth * math.log(2)
        errors.append(
            jnp.exp(deep.deep_ntk(activation, xi, depth) - scale - log_koenigs(3)(xi))
            - 1
        )
    # At 100 layers 3703 instead of 947, and an error of order 1 / depth.
    assert float(errors[0][3]) == pytest.approx(3703 / 947.5 - 1, abs=2e-3)
    np.testing.assert_allclose(errors[0] / errors[1], 1001 / 101, rtol=1e-6)


@pytest.mark.parametrize(
    "activation",
    [deep.optimal_activation(2), CUBIC, jnp.tanh, gaussian.relu(), jnp.cos],
)
def test_deep_ntk_is_the_recursion(activation):
    xi = jnp.asarray([0.004, 0.3, 0.8])
    size = gaussian.dual(activation)(1.0, 1.0, 1.0).value
    s = k = xi
    for _ in range(3):
        value, slope = gaussian.dual(activation)(1.0, s, 1.0)
        s, k = value / size, value / size + k * slope / size
    log_k = jax.jit(lambda xi: deep.deep_ntk(activation, xi, 3))(xi)
    np.testing.assert_allclose(jnp.exp(log_k), k, rtol=1e-9)


def test_the_diagonal_grows_by_the_slope_at_one():
    # K_L(1) = sum of B'^l.
    log_k = deep.deep_ntk(deep.optimal_activation(3), 1.0, 300)
    assert float(log_k) == pytest.approx(301 * math.log(2), rel=1e-12)


def test_relu_becomes_a_majority_vote(sample):
    xi = jnp.asarray([0.0, 0.2, 0.6, 0.9])
    value = gaussian.dual(jax.nn.relu)(1.0, 0.0, 1.0).value
    assert float(2 * value) == pytest.approx(1 / math.pi, abs=1e-15)
    for depth, tolerance in ((1000, 7e-3), (10_000, 1e-3)):
        ratio = jnp.exp(deep.deep_ntk(jax.nn.relu, xi, depth)) / (depth + 1)
        np.testing.assert_allclose(ratio, 0.25, atol=tolerance)
    x, y, points = sample
    label = rules.majority_vote(y, points)
    assert jnp.all(label == np.sign(np.sum(y))) and label.shape == (30,)
    deepest = rules.deep_ntk_classifier(jax.nn.relu, x, y, points, 3000)
    np.testing.assert_array_equal(deepest, label)


def test_a_cubic_becomes_the_nearest_neighbor(sample):
    x, y, points = sample
    expected = neighbors.KNeighborsClassifier(1).fit(x, y).predict(points)
    assert len(set(expected)) == 2
    np.testing.assert_array_equal(rules.nearest_neighbor(x, y, points), expected)
    deepest = rules.deep_ntk_classifier(CUBIC, x, y, points, 30)
    np.testing.assert_array_equal(deepest, expected)


def test_a_deep_network_becomes_the_koenigs_classifier(sample):
    x, y, points = sample[0][:20], sample[1][:20], sample[2][:15]
    for dimension in (2, 3):
        activation = deep.optimal_activation(dimension)
        limit = rules.koenigs_classifier(activation, x, y, points)
        deepest = rules.deep_ntk_classifier(activation, x, y, points, 20_000)
        np.testing.assert_array_equal(deepest, limit)


def test_distances_of_bytes():
    """As pixels come from files: differences of unsigned integers wrap around."""
    rng = np.random.default_rng(0)
    x, points = (rng.integers(0, 256, (n, 6), dtype=np.uint8) for n in (30, 50))
    y = np.where(rng.random(30) < 0.5, -1.0, 1.0)
    expected = neighbors.KNeighborsClassifier(1).fit(x.astype(float), y)
    np.testing.assert_array_equal(
        rules.nearest_neighbor(x, y, points), expected.predict(points.astype(float))
    )


def test_the_hilbert_estimate_is_scikit_learns(sample):
    x, y, points = sample
    for exponent in (1.0, 2.0, 5.0):
        peer = neighbors.KNeighborsRegressor(
            len(x), weights=lambda d, e=exponent: np.power(d, -e)
        ).fit(x, y)
        estimate = rules.hilbert_estimate(x, y, points, exponent)
        np.testing.assert_allclose(estimate, peer.predict(points), atol=1e-12)
        signs = rules.singular_kernel_classifier(x, y, points, exponent)
        np.testing.assert_array_equal(signs, np.sign(peer.predict(points)))


def test_examples_keep_their_labels(sample):
    x, y, _ = sample
    np.testing.assert_array_equal(rules.hilbert_estimate(x, y, x, 2.0), y)
    activation = deep.optimal_activation(2)
    # The inner product of a vector with itself may round below 1: weights are then
    # large, not infinite.
    np.testing.assert_array_equal(rules.koenigs_classifier(activation, x, y, x), y)
    twice = rules.hilbert_estimate(jnp.stack([x[0], x[0], x[1]]), y[:3] * 0 + 1, x, 2.0)
    np.testing.assert_allclose(twice, 1.0, rtol=1e-15)


@pytest.mark.parametrize(
    "activation, rule",
    [
        (CUBIC, "nearest neighbor"),
        (jax.nn.relu, "majority vote"),
        (jnp.cos, "majority vote"),
        (jax.nn.sigmoid, "majority vote"),
        (jnp.tanh, "singular kernel"),
    ],
)
def test_regimes(activation, rule):
    assert deep.classify_regime(activation).rule == rule


def test_the_exponent_forgets_sign_and_scale():
    activation = deep.optimal_activation(3)
    turned = gaussian.Polynomial(tuple(-3 * c for c in activation.coefficients))
    assert deep.classify_regime(turned).exponent == pytest.approx(3, abs=1e-10)
    xi = jnp.asarray([0.2, 0.9])
    np.testing.assert_allclose(
        deep.log_koenigs(turned, xi), log_koenigs(3)(xi), rtol=1e-10
    )


def test_under_transformations(sample):
    x, y, points = sample
    g = functools.partial(deep.koenigs, deep.optimal_activation(2))
    xi = jnp.asarray([0.005, 0.3, 0.9])
    slopes = jax.jit(jax.vmap(jax.grad(g)))(xi)
    expected = (g(xi * (1 + 1e-6)) - g(xi * (1 - 1e-6))) / (2e-6 * xi)
    np.testing.assert_allclose(slopes, expected, rtol=1e-7)
    k = functools.partial(deep.deep_ntk, CUBIC, depth=3)
    expected = (k(xi * (1 + 1e-6)) - k(xi * (1 - 1e-6))) / (2e-6 * xi)
    np.testing.assert_allclose(jax.vmap(jax.grad(k))(xi), expected, rtol=1e-7)
    rise = jax.jit(jax.grad(lambda e: rules.hilbert_estimate(x, y, points, e)[0]))(2.0)
    ends = [
        rules.hilbert_estimate(x, y, points, e)[0] for e in (2.0 + 1e-6, 2.0 - 1e-6)
    ]
    assert float(rise) == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=1e-6)
    cases = {
        "koenigs": functools.partial(
            rules.koenigs_classifier, deep.optimal_activation(2), steps=60
        ),
        "nearest": rules.nearest_neighbor,
        "majority": lambda x, y, points: rules.majority_vote(y, points),
        "depth": functools.partial(rules.deep_ntk_classifier, CUBIC, depth=4),
    }
    labels = jnp.stack([y, -y])
    for name, rule in cases.items():
        both = jax.jit(jax.vmap(rule, (None, 0, None)))(x, labels, points)
        for labeling, values in zip(labels, both, strict=True):
            np.testing.assert_array_equal(values, rule(x, labeling, points), name)


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="must not be linear"):
        deep.classify_regime(gaussian.monomial(1))
    with pytest.raises(ValueError, match="limit is the majority vote"):
        deep.koenigs(jax.nn.relu, 0.5)
    for dimension in (0, 1.5):
        with pytest.raises(ValueError, match="integer of at least 1"):
            deep.optimal_activation(dimension)
    for activation, words in (
        (jnp.sign, "must be continuous"),
        (lambda z: jnp.exp(z**2 / 2), "grow slower than"),
        (lambda z: jnp.sign(z) * jnp.abs(z) ** 0.4, "of finite E phi"),
        (lambda z: 0 * z, "not 0"),
    ):
        with pytest.raises(ValueError, match=words):
            deep.classify_regime(activation)
        with pytest.raises(ValueError, match=words):
            deep.deep_ntk(activation, 0.5, 3)


def test_points_off_the_sphere_are_told(sample):
    x, y, points = sample
    classifiers = (
        functools.partial(rules.koenigs_classifier, deep.optimal_activation(2)),
        functools.partial(rules.deep_ntk_classifier, CUBIC, depth=2),
    )
    for classify in classifiers:
        with pytest.raises(ValueError, match="x_train must have rows of norm 1"):
            classify(2 * x, y, points)
        with pytest.raises(ValueError, match="x must have rows of norm 1"):
            classify(x, y, points / 2)
        with pytest.raises(ValueError, match="x must have inner products"):
            classify(x, y, -points)
    assert jnp.isnan(deep.koenigs(deep.optimal_activation(2), 1.01))
    assert jnp.isnan(deep.tabulate_koenigs(deep.optimal_activation(2))(1.01))


def test_regression_at_finite_depth_says_its_residual(sample):
    x, y, points = sample
    solution = rules.deep_ntk_weights(CUBIC, x, y, 3)
    logs = deep.deep_ntk(CUBIC, jnp.clip(x @ x.T, 0, 1), 3)
    matrix = np.exp(np.asarray(logs - logs[0, 0]))
    weights = np.linalg.solve(matrix, np.asarray(y))
    np.testing.assert_allclose(solution.weights[:, 0], weights, rtol=1e-7)
    assert solution.converged and 0 < float(solution.residual[0]) < 1e-12
    assert float(solution.jitter) == 0
    # Equal examples of two labels have no solution, and it is said.
    twice, labels = jnp.concatenate([x[:3], x[:1]]), jnp.concatenate([y[:3], -y[:1]])
    singular = rules.deep_ntk_weights(CUBIC, twice, labels, 3)
    assert not singular.converged
    unknown = rules.deep_ntk_classifier(CUBIC, twice, labels, points, 3)
    assert np.all(np.isnan(unknown))
    jittered = rules.deep_ntk_weights(
        CUBIC, twice, labels, 3, diagonal_regularization=1e-3
    )
    assert jittered.converged and float(jittered.jitter) == pytest.approx(1e-3)
