"""Three layers on hierarchical polynomials, held against closed forms and solvers.

Wang, Nichani, Lee, arXiv 2311.13774.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from kanjax import gaussian
from kanjax.ntk import random_feature_layers
from kanjax.theory import hierarchical, hierarchical_targets, ridge_regression

D = 6
LINKED = hierarchical_targets.Target(hierarchical_targets.parities(2), (0.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def normal():
    """Many inputs."""
    return np.random.default_rng(0).normal(size=(1_000_000, D)).astype(np.float32)


FEATURES = {
    "parities of 2": hierarchical_targets.parities(2),
    "parities of 3": hierarchical_targets.parities(3),
    "hermite": hierarchical_targets.hermite_sum(3),
    "weighted": hierarchical_targets.hermite_sum(2, [1.0, -2, 1, 1, -1, 0.5]),
    "balanced": hierarchical_targets.quadratic(
        hierarchical_targets.draw_balanced_matrix(jax.random.key(0), D)
    ),
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_have_mean_0_and_variance_1(normal, name):
    values = np.asarray(FEATURES[name](normal), np.float64)
    assert abs(values.mean()) < 0.005 and abs(values.var() - 1) < 0.02


def test_a_quadratic_feature_is_that_of_its_symmetric_matrix(normal):
    a = np.random.default_rng(1).normal(size=(D, D))
    a = a + a.T
    x = normal[:50_000].astype(np.float64)
    values = hierarchical_targets.quadratic(jnp.asarray(a, jnp.float32))(x)
    expected = np.einsum("ni,ij,nj->n", x, a, x) - np.trace(a)
    expected /= np.sqrt(2) * np.linalg.norm(a)
    np.testing.assert_allclose(values, expected, atol=1e-4)
    assert abs(expected.var() - 1) < 0.03
    balanced = hierarchical_targets.draw_balanced_matrix(jax.random.key(1), D)
    np.testing.assert_allclose(balanced @ balanced, np.eye(D), atol=1e-5)


def test_the_fourth_moment_of_parities(normal):
    p = np.asarray(FEATURES["parities of 2"](normal), np.float64)
    np.testing.assert_allclose((p**4).mean(), 3 + 12 / D, rtol=0.03)


def test_the_part_of_degree_two_is_the_feature_but_for_squares(normal):
    y = np.asarray(LINKED(normal), np.float64)
    p = np.asarray(LINKED.feature(normal), np.float64)
    x = normal.astype(np.float64)
    products = [x[:, i] * x[:, j] for i, j in itertools.combinations(range(D), 2)]
    basis = [*products, *((x.T**2 - 1) / 2**0.5)]
    power = sum((y @ b / len(y)) ** 2 for b in basis)
    square = (y @ p / len(y)) ** 2 / power
    np.testing.assert_allclose(square, 1 / (1 + 4 / D), rtol=0.01)


def test_a_link_is_a_sum_of_hermite_polynomials(normal):
    x = normal[:1000]
    p = np.asarray(LINKED.feature(x))
    np.testing.assert_allclose(LINKED(x), p + (p**2 - 1) / 2**0.5, atol=1e-4)


def test_information_exponents():
    exponent = hierarchical_targets.information_exponent
    assert exponent((0.3, 0.0, 0.0, 1.0)) == 3
    assert exponent(gaussian.hermite_coefficients(jnp.tanh, 5).tolist()) == 1
    assert exponent(gaussian.hermite_coefficients(jnp.cos, 5).tolist()) == 2


# Ridge regression in blocks.


@pytest.fixture
def regression(x64):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(50, 4)))
    y = jnp.asarray(rng.normal(size=50) + x[:, 0] + 0.7)

    def features(x):
        return jnp.concatenate([x, x**2], axis=1)

    return features, x, y


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_moments_are_those_of_all_examples_for_any_block(regression, batch_size):
    features, x, y = regression
    got = ridge_regression.measure(features, x, y, batch_size=batch_size)
    z = np.asarray(features(x))
    expected = z.T @ z / 50, z.T @ y / 50, z.mean(0), y.mean(), (y**2).mean()
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    w = jnp.arange(8.0)
    np.testing.assert_allclose(got.loss(w), ((z @ w - y) ** 2).mean(), rtol=1e-12)
    np.testing.assert_allclose(got.variance(w), (z @ w).var(), rtol=1e-12)
    np.testing.assert_allclose(
        got.correlation(w), np.corrcoef(z @ w, y)[0, 1], rtol=1e-10
    )
    assert got.correlation(jnp.zeros(8)) == 0
    centered = ridge_regression.measure(lambda x: features(x) - z.mean(0)[None], x, y)
    for a, b in zip(got.center(), centered, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("batch_size", [8, 50])
def test_only_the_first_examples_count(regression, batch_size):
    features, x, y = regression
    some = jax.jit(
        lambda count: ridge_regression.measure(
            features, x, y, count=count, batch_size=batch_size
        )
    )(13)
    expected = ridge_regression.measure(features, x[:13], y[:13])
    for a, b in zip(some, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_a_solution_has_a_derivative_and_many_at_once(regression):
    features, x, y = regression

    @jax.jit
    @jax.vmap
    def both(y, decay):
        def total(y):
            moments = ridge_regression.measure(features, x, y)
            return jnp.sum(ridge_regression.solve(moments, decay))

        return jax.value_and_grad(total)(y)

    values, slopes = both(jnp.stack([y, y**2]), jnp.array([0.1, 3.0]))
    z = np.asarray(features(x))
    for i, (target, decay) in enumerate([(y, 0.1), (y**2, 3.0)]):
        # Weights are linear in the targets.
        rows = np.linalg.solve(z.T @ z / 50 + decay / 2 * np.eye(8), z.T / 50).sum(0)
        np.testing.assert_allclose(slopes[i], rows, rtol=1e-8)
        np.testing.assert_allclose(values[i], rows @ target, rtol=1e-9)


def test_descent_ends_at_the_ridge_solution(regression):
    features, x, y = regression
    moments = ridge_regression.measure(features, x, y)
    ridge = ridge_regression.solve(moments, 0.1)
    whole = random_feature_layers.solve(features(x), y[:, None], ridge=50 * 0.1 / 2)
    np.testing.assert_allclose(ridge, whole.kernel[:, 0], rtol=1e-9)
    weights, losses = ridge_regression.descend(moments, 0.1, steps=2000)
    np.testing.assert_allclose(weights, ridge, atol=1e-8)
    assert losses.shape == (2001,) and (jnp.diff(losses[:50]) < 0).all()
    np.testing.assert_allclose(losses[-1], moments.loss(ridge), rtol=1e-8)
    # A step by hand, at a rate of one's choice.
    first, _ = ridge_regression.descend(moments, 0.1, steps=1, learning_rate=0.01)
    loss = jax.grad(lambda w: jnp.mean((features(x) @ w - y) ** 2))
    np.testing.assert_allclose(first, -0.01 * loss(jnp.zeros(8)), rtol=1e-10)


@pytest.fixture
def sample(x64):
    x = jax.random.normal(jax.random.key(1), (60, 3), float)
    return x[:40], jnp.sin(x[:40, 0]) + x[:40, 1] * x[:40, 2], x[40:]


def test_kernel_ridge_is_that_of_scikit_learn(sample):
    x, y, x_test = sample
    kernel = ridge_regression.polynomial_kernel(3)
    shares = (0.01, 1.0)
    got = ridge_regression.kernel_ridge(kernel, x, y, x_test, regularizations=shares)
    mean = float(jnp.trace(kernel(x, x))) / 40
    for share, column in zip(shares, got.T, strict=True):
        peer = KernelRidge(
            kernel="polynomial", degree=3, coef0=1, gamma=1 / 3, alpha=share * mean
        )
        np.testing.assert_allclose(column, peer.fit(x, y).predict(x_test), rtol=1e-6)


def test_landmarks_are_exact_where_they_span_all(sample):
    x, y, x_test = sample
    kernel = ridge_regression.polynomial_kernel(3)
    ridge = functools.partial(
        ridge_regression.kernel_ridge, kernel, x, y, x_test, regularizations=(0.01, 1.0)
    )
    exact = ridge()
    # Polynomials of degree 3 in 3 variables have 20 dimensions.
    diagonal = jnp.diag(kernel(x, x))
    for landmarks in (25, 40):
        # Shares are of the mean over landmarks.
        share = float(diagonal.mean() / diagonal[:landmarks].mean())
        got = ridge(
            landmarks=landmarks, batch_size=7, regularizations=(0.01 * share, share)
        )
        np.testing.assert_allclose(got, exact, atol=1e-5)
    assert jnp.abs(ridge(landmarks=10) - exact).max() > 1e-3


# The network.


@pytest.fixture(scope="module")
def halves():
    x = jax.random.normal(jax.random.key(3), (2, 3000, D))
    return [(v, LINKED(v)) for v in x]


@jax.jit
def train(network, first, second, inner_decay, outer_decay=1e-4):
    return hierarchical.train_layerwise(
        network,
        first,
        second,
        inner_decay=inner_decay,
        outer_decay=outer_decay,
        batch_size=999,
    )


def draw(key=0, **options):
    options = {"inner": 60, "degree": 2, **options}
    return hierarchical.ThreeLayerNetwork.draw(jax.random.key(key), D, **options)


def test_a_new_network_is_zero():
    network = draw()
    x = jax.random.normal(jax.random.key(0), (5, D))
    np.testing.assert_array_equal(network.apply(network.init(), x), 0)
    np.testing.assert_allclose(
        jnp.linalg.norm(network.inner.directions, axis=1), 1, rtol=1e-5
    )
    assert set(np.unique(network.outer.directions)) == {-1, 1}


def test_training_is_two_ridge_regressions(halves):
    network, decay = draw(), 2e-2
    trained = train(network, *halves, jnp.array([decay]), 1e-2)
    (x1, y1), (x2, y2) = ([np.asarray(v, np.float64) for v in half] for half in halves)

    def units(x):
        z = x @ np.asarray(network.inner.directions, np.float64).T
        return (z**2 - 1) / 2**0.5 / 60**0.5

    mean = units(x1).mean(axis=0)
    z = units(x1) - mean
    u = np.linalg.solve(z.T @ z / 3000 + decay / 2 * np.eye(60), z.T @ y1 / 3000)
    scale = ((units(x2) - mean) @ u).std()
    np.testing.assert_allclose(trained.params.inner, u / scale, rtol=2e-2, atol=1e-2)
    middle = (units(x2) - mean) @ u / scale
    got = network.inner_apply(trained.params, halves[1][0])
    np.testing.assert_allclose(got, middle, atol=2e-3)
    a, b = (np.asarray(v) for v in (network.outer.directions, network.outer.offsets))
    w = np.maximum(middle[:, None] * a[:, 0] - b, 0) / 200**0.5
    c = np.linalg.solve(
        w.T @ w / 3000 + 1e-2 / 2 * np.eye(200), w.T @ (y2 - middle) / 3000
    )
    outputs = network.apply(trained.params, halves[1][0])
    np.testing.assert_allclose(outputs, middle + w @ c, atol=2e-2)
    loss = np.mean((middle + w @ c - y2) ** 2)
    np.testing.assert_allclose(trained.outer_losses[-1], loss, rtol=1e-2)
    np.testing.assert_allclose(
        trained.inner_losses, [np.mean(y1**2), np.mean((z @ u - y1) ** 2)], rtol=1e-3
    )


def test_descent_trains_the_same_network(halves, x64):
    halves = [(x.astype(float), y.astype(float)) for x, y in halves]
    network = draw(inner=40, outer=30)
    both = functools.partial(
        hierarchical.train_layerwise,
        network,
        *halves,
        inner_decay=0.05,
        outer_decay=0.05,
    )
    ridge = both()
    descent = both(solver="descent", steps=(3000, 4000), learning_rates=(None, 0.1))
    for a, b in zip(ridge.params, descent.params, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert descent.inner_losses.shape == (3001,)
    assert descent.outer_losses.shape == (4001,)
    for losses in (descent.inner_losses, descent.outer_losses):
        assert losses[-1] < losses[0]


def test_the_decay_is_chosen_on_the_second_half(halves):
    network = draw()
    decays = [1e-3, 1e-2, 0.1, 100.0]
    chosen = train(network, *halves, jnp.array(decays))
    scores = []
    for decay in decays:
        params = train(network, *halves, jnp.array([decay])).params
        z = network.inner_apply(params, halves[1][0])
        scores.append(np.corrcoef(z, halves[1][1])[0, 1])
    assert chosen.inner_decay == np.float32(decays[int(np.argmax(scores))])


def test_a_linear_link_needs_no_second_stage():
    target = hierarchical_targets.Target(LINKED.feature, (0.0, 1.0))
    x = jax.random.normal(jax.random.key(5), (3, 3000, D))
    network = draw()
    halves = ((v, target(v)) for v in x[:2])
    params = train(network, *halves, jnp.array([1e-4])).params
    y = target(x[2])
    assert jnp.mean((network.inner_apply(params, x[2]) - y) ** 2) < 0.01
    assert jnp.mean((network.apply(params, x[2]) - y) ** 2) < 0.01
    correlation = hierarchical.feature_correlation(
        network, params, x[2], target.feature
    )
    assert correlation > 0.995


def test_a_single_direction_is_recovered():
    w = np.array([1.0, -1, 2, 0.5, 1, -2])
    target = hierarchical_targets.Target(
        hierarchical_targets.hermite_sum(1, w), (0.0, 1.0, 1.0)
    )
    x = jax.random.normal(jax.random.key(6), (3, 3000, D))
    network = draw(degree=1, inner=30)
    halves = ((v, target(v)) for v in x[:2])
    trained = train(network, *halves, jnp.array([1e-3]))
    direction = trained.params.inner @ network.inner.directions
    cosine = direction @ w / np.linalg.norm(direction) / np.linalg.norm(w)
    assert cosine > 0.99
    y = target(x[2])
    error = jnp.mean((network.apply(trained.params, x[2]) - y) ** 2) / jnp.var(y)
    assert error < 0.06
    # Without the second stage half of the variance is left.
    z = network.inner_apply(trained.params, x[2])
    assert jnp.mean((z - y) ** 2) / jnp.var(y) > 0.4


@functools.partial(jax.jit, static_argnames=("target", "sizes"))
def sweep(key, target, sizes):
    return hierarchical.sample_complexity_sweep(
        key,
        target,
        dimension=D,
        degree=2,
        sizes=sizes,
        seeds=3,
        inner=40,
        tests=1000,
    )


def test_more_examples_help_where_the_information_exponent_is_one():
    seen = sweep(jax.random.key(0), LINKED, (60, 2000))
    few, many = seen.error
    assert few.shape == (3,) and (many < few - 0.05).all()
    # No more than 1 / sqrt(1 + 4 / d) can come out, 0.77.
    assert (seen.correlation[1] > 0.6).all()
    flat = hierarchical_targets.Target(LINKED.feature, (0.0, 0.0, 1.0))
    assert hierarchical_targets.information_exponent(flat.link) == 2
    blind = sweep(jax.random.key(0), flat, (2000,))
    assert (jnp.abs(blind.correlation) < 0.35).all()


NETWORK_DATA = (jnp.ones((4, D)), jnp.ones(4))


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: hierarchical_targets.parities(0),
            "degree must be an integer of at least 1; got 0",
        ),
        (
            lambda: hierarchical_targets.hermite_sum(0),
            "degree must be an integer of at least 1; got 0",
        ),
        (lambda: hierarchical_targets.parities(4)(jnp.ones((2, D))), "groups of 4"),
        (lambda: hierarchical_targets.information_exponent((1.0, 0.0)), "constant"),
        (lambda: draw(inner=0), "inner must be an integer of at least 1; got 0"),
        (lambda: draw(outer=0), "outer must be an integer of at least 1; got 0"),
        (lambda: draw(degree=0), "degree must be an integer of at least 1; got 0"),
        (
            lambda: hierarchical.train_layerwise(
                draw(), NETWORK_DATA, NETWORK_DATA, inner_decay=1.0, solver="adam"
            ),
            "'ridge' or 'descent'",
        ),
        (
            lambda: hierarchical.train_layerwise(
                draw(), (jnp.ones((4, D)), jnp.ones(3)), NETWORK_DATA, inner_decay=1.0
            ),
            r"y \(3,\)",
        ),
        (
            lambda: hierarchical.sample_complexity_sweep(
                jax.random.key(0),
                LINKED,
                dimension=D,
                degree=2,
                sizes=(1,),
                seeds=1,
                inner=3,
            ),
            "sizes hold 1",
        ),
        (
            lambda: ridge_regression.measure(lambda x: x, *NETWORK_DATA, batch_size=0),
            "batch_size must be an integer of at least 1; got 0",
        ),
        (
            lambda: ridge_regression.polynomial_kernel(0),
            "degree must be an integer of at least 1; got 0",
        ),
        (
            lambda: ridge_regression.kernel_ridge(
                ridge_regression.polynomial_kernel(1),
                *NETWORK_DATA,
                jnp.ones((2, D)),
                regularizations=(1.0,),
                landmarks=5,
            ),
            "landmarks is 5",
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
