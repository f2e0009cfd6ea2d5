"""Exact statements on random features of network layers: arXiv 2310.13225."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats
from sklearn import linear_model

from kanjax import gaussian, model, nn
from kanjax.ntk import random_feature_layers as layers
from kanjax.ntk import random_features as rf

SPECTRA = {
    "sine": rf.sine(),
    "cosine": rf.cosine(),
    "exp": rf.exponential(),
    "decay": rf.exponential(-0.7),
    "gaussian": rf.squared_exponential(2.0),
    "custom": rf.custom(
        lambda z: jnp.cos(1.2 * z + 0.4),
        # Two frequencies of equal chances, half of the wave each.
        lambda xi: 0.5 * jnp.exp(0.4j * jnp.sign(xi)),
        lambda key, m: 0.6 / math.pi * jax.random.rademacher(key, (m,), float),
        lambda xi: 0.5 * jnp.ones_like(xi),
    ),
}
M, D = 64, 3
W = jnp.array([[0.6, -0.8, 0.0], [0.1, 0.2, 0.9]])
X = jnp.array([[0.0, 1.0, 0.0], [0.5, 0.5, -0.5]])
BIAS = jnp.array([0.3, -0.2])


@pytest.fixture(scope="module")
def estimates():
    """Estimates of many draws, (draws, inputs, weights), compiled once for a case."""

    @functools.cache
    def of(name, split="real", orthogonal=False, damping=0.0, balance=1.0):
        def estimate(key):
            features = rf.ExponentialFeatures.draw(
                key,
                SPECTRA[name],
                M,
                D,
                orthogonal=orthogonal,
                split=split,
                damping=damping,
                balance=balance,
            )
            return features.apply((), X) @ features.of_weights(W, BIAS).T

        keys = jax.random.split(jax.random.key(0), 4000)
        return np.asarray(jax.jit(jax.vmap(estimate))(keys), np.float64)

    return of


CASES = [
    *((name, "real", False) for name in SPECTRA),
    ("sine", "symmetric", False),
    ("custom", "symmetric", False),
    ("sine", "real", True),
    ("cosine", "symmetric", True),
    ("sine", "real", False, 0.05, 1.3),
    ("custom", "symmetric", False, 0.05, 1.3),
    ("exp", "real", False, 0.1, 0.8),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_features_have_the_function_as_their_mean(estimates, case):
    values = estimates(*case)
    truth = SPECTRA[case[0]].function(X @ W.T + BIAS[None])
    error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    assert np.all(np.abs(values.mean(axis=0) - truth) < 4 * error)


@pytest.mark.parametrize(
    "case", [c for c in CASES if not c[2] and c[0] != "gaussian"], ids=str
)
def test_the_standard_error_is_that_of_many_draws(estimates, case):
    values = estimates(*case)
    name, split, _, damping, balance = (*case, 0.0, 1.0)[:5]
    features = rf.ExponentialFeatures.draw(
        jax.random.key(1), SPECTRA[name], M, D,
        split=split, damping=damping, balance=balance,
    )  # fmt: skip
    expected = features.standard_error(W, X[:, None], BIAS)
    np.testing.assert_allclose(values.std(axis=0, ddof=1), expected, rtol=0.12)


def test_variance_of_the_sine_in_closed_form():
    features = rf.ExponentialFeatures.draw(
        jax.random.key(0), rf.sine(), M, D, split="symmetric"
    )
    x, w = X[0], W[1]
    both, t = float(x @ x + w @ w), float(x @ w)
    variance = (math.exp(both + 2 * t) - math.cos(both + 4 * t)) / 2 - math.sin(t) ** 2
    error = float(features.standard_error(w, x))
    assert error == pytest.approx(math.sqrt(variance / M), rel=1e-5)


def test_orthogonal_rows(x64):
    for m in (2, 5, 7):
        rows = rf.gaussian_projections(jax.random.key(0), m, 5, orthogonal=True)
        assert rows.shape == (m, 5)
        gram = np.array(rows[:5] @ rows[:5].T)
        np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-12)
    # Rows of different blocks, here the first and the last of 7.
    assert abs(float(rows[0] @ rows[6])) > 1e-6
    rows = rf.gaussian_projections(jax.random.key(0), 4000, 5, orthogonal=True)
    # The distribution of a row is the standard normal's.
    for sample, law in (
        (jnp.sum(rows**2, axis=1), stats.chi2(5)),
        (rows[:, 2], stats.norm),
    ):
        assert stats.kstest(np.asarray(sample)[::5], law.cdf).pvalue > 1e-3


def test_relu_features_are_the_arc_cosine_kernel():
    x, w = X[1], W[0]
    t = math.acos(float(x @ w / jnp.linalg.norm(x) / jnp.linalg.norm(w)))
    size = float(jnp.linalg.norm(x) * jnp.linalg.norm(w))
    truth = size * (math.sin(t) + (math.pi - t) * math.cos(t)) / (2 * math.pi)
    dual = gaussian.dual(jax.nn.relu)(x @ x, x @ w, w @ w).value
    assert float(dual) == pytest.approx(truth, rel=1e-5)
    errors = []
    for m in (100, 10_000):

        def estimate(key, m=m):
            one = rf.ReLUFeatures(rf.gaussian_projections(key, m, D))
            return one.of_weights(w) @ one.apply((), x)

        values = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(0), 400))
        assert abs(float(values.mean()) - truth) < 4 * float(values.std()) / 20
        errors.append(float(jnp.sqrt(jnp.mean((values - truth) ** 2))))
    # 400 draws tell a standard deviation to 4 %, and a ratio of two to 5 %.
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.2)


def test_relu_features_with_bias_and_threshold():
    projections = rf.gaussian_projections(jax.random.key(0), 7, D + 1)
    features = rf.ReLUFeatures(projections, 0.5, use_bias=True)
    extended = np.column_stack([X, np.ones(2)])
    expected = np.maximum(extended @ projections.T, 0.5) / math.sqrt(7)
    np.testing.assert_allclose(features.apply((), X), expected, rtol=1e-5)
    extended[:, -1] = BIAS
    expected = np.maximum(extended @ projections.T, 0.5) / math.sqrt(7)
    np.testing.assert_allclose(features.of_weights(X, BIAS), expected, rtol=1e-5)


def test_optimal_damping_is_the_minimum():
    for square, d in ((0.5, 3), (4.0, 8), (10.0, 2)):

        def log_variance(m, square=square, d=d):
            share = 2 * (1 + 4 * m) / (1 + 8 * m)
            return d * np.log1p(4 * m) - d / 2 * np.log1p(8 * m) + share * square

        least = optimize.minimize_scalar(
            log_variance, bounds=(0, 10), method="bounded", options={"xatol": 1e-9}
        )
        assert rf.optimal_damping(square, d) == pytest.approx(least.x, rel=1e-4)
    assert rf.optimal_damping(0.0, 4) == 0


@pytest.mark.parametrize("function", [jnp.tanh, jax.nn.relu, jax.nn.gelu])
def test_a_cosine_series_converges_to_its_function(function, x64):
    z = jnp.linspace(-2, 2, 301)
    errors = [
        float(jnp.max(jnp.abs(rf.cosine_series(function, 2.0, terms=k).function(z)
                              - function(z))))
        for k in (8, 32, 128)
    ]  # fmt: skip
    # The tail of coefficients that fall as 1 / k^2 is of order 1 / k.
    assert errors[0] < 0.2 and errors[1] < errors[0] / 3 and errors[2] < errors[1] / 3


def test_a_drawn_series_has_the_series_as_its_mean():
    series = rf.cosine_series(jax.nn.relu, 2.0, terms=4, tilt=0.5)
    draws = 200_000
    rates, amplitudes, phases = series.sample(jax.random.key(0), draws)
    for z in (-1.5, 0.3, 2.0):
        values = np.asarray(amplitudes * jnp.cos(rates * z + phases))
        error = values.std() / math.sqrt(draws)
        assert abs(values.mean() - float(series.function(jnp.asarray(z)))) < 4 * error


def test_solution_is_scikit_learns(x64):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(50, 7)), rng.normal(size=(50, 2))
    for ridge in (0.3, 1e-6):
        solution = layers.solve(z, y, ridge=ridge)
        peer = linear_model.Ridge(ridge, fit_intercept=False).fit(z, y)
        np.testing.assert_allclose(solution.kernel, peer.coef_.T, atol=1e-10)
        assert solution.residual < 1e-12
    plain = layers.solve(z, y)
    np.testing.assert_allclose(plain.kernel, np.linalg.lstsq(z, y)[0], atol=1e-10)


def sine_features(seed, m, d):
    return rf.ExponentialFeatures.draw(jax.random.key(seed), rf.sine(), m, d)


def test_merged_layers_compute_what_both_did(x64):
    layer = layers.RandomFeatureLayer((sine_features(0, 16, D),), 5, use_bias=True)
    params = layer.init(jax.random.key(1))
    params["bias"] = jnp.arange(5.0)
    dense = nn.Dense(5, 2, bias_scale=1.0)
    following = dense.init(jax.random.key(2))
    merged, both = layers.merge(layer, params, following)
    expected = dense.apply(following, layer.apply(params, X))
    np.testing.assert_allclose(merged.apply(both, X), expected, atol=1e-12)
    assert model.count_parameters(both) == 16 * 2 + 2


def test_a_bundled_perceptron_is_the_product_of_its_matrices(x64):
    network = nn.MLP((D, 6, 5, 2), jnp.sin, kernel_scale=0.2, bias_scale=0.1)
    params = network.init(jax.random.key(3))
    twin = layers.bundle(
        params, jnp.sin, X, key=jax.random.key(4), m=16, method="unbiased"
    )
    first, second = twin.model.features
    # Layer by layer, with each matrix written out.
    hidden = first.of_weights(params[0]["kernel"].T, params[0]["bias"])
    wide = params[1]["kernel"].T @ hidden
    hidden = second.of_weights(wide, params[1]["bias"])
    z = second.apply((), first.apply((), X))
    expected = z @ (params[2]["kernel"].T @ hidden).T + params[2]["bias"][None]
    np.testing.assert_allclose(twin.model.apply(twin.params, X), expected, rtol=1e-10)
    truth = network.apply(params, X)
    error = jnp.linalg.norm(expected - truth) / jnp.linalg.norm(truth)
    assert float(twin.error) == pytest.approx(float(error), rel=1e-10)
    assert model.count_parameters(twin.params) == 16 * 2 + 2


@pytest.fixture(scope="module")
def inputs():
    x = jax.random.normal(jax.random.key(5), (80, 4))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def twin_of(params, activation, x, **options):
    options = {"key": jax.random.key(6), "m": 32} | options
    return layers.snnk_from_dense(params, activation, x, **options)


def test_dense_layers_of_every_library(inputs):
    equinox = pytest.importorskip("equinox")
    nnx = pytest.importorskip("flax.nnx")
    theirs = equinox.nn.Linear(4, 3, key=jax.random.key(7))
    ours = {"kernel": theirs.weight.T, "bias": theirs.bias}
    linear = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    linear.kernel.set_value(theirs.weight.T)
    linear.bias.set_value(theirs.bias)
    ntk = nn.Dense(4, 3, parameterization="ntk", kernel_scale=1.5, bias_scale=0.5)
    scaled = {"kernel": ours["kernel"] * 2 / 1.5, "bias": ours["bias"] / 0.5}
    expected = twin_of(ours, jnp.sin, inputs)
    for params, options in (
        (theirs, {}),
        (linear, {}),
        ({"weight": theirs.weight, "bias": theirs.bias}, {}),
        (scaled, {"layer": ntk}),
    ):
        twin = twin_of(params, jnp.sin, inputs, **options)
        np.testing.assert_allclose(
            twin.params["kernel"], expected.params["kernel"], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("method", ["unbiased", "fitted"])
def test_twins_say_their_error(inputs, method):
    params = nn.Dense(4, 3, bias_scale=0.3).init(jax.random.key(8))
    make = jax.jit(functools.partial(twin_of, activation=jnp.sin, method=method, m=64))
    twin = make(params, x=inputs)
    truth = jnp.sin(inputs @ params["kernel"] + params["bias"][None])
    if method == "unbiased":
        y = twin.model.apply(twin.params, inputs)
    else:
        z, y = twin.model.transform(inputs), np.zeros((80, 3))
        ridge = 1e-6 * float(jnp.mean(jnp.sum(z**2, axis=0))) / 2
        for here, there in ((0, 1), (1, 0)):
            fit = linear_model.Ridge(ridge, fit_intercept=False, solver="svd")
            fit.fit(np.float64(z[here::2]), np.float64(truth[here::2]))
            y[there::2] = fit.predict(np.float64(z[there::2]))
    error = np.linalg.norm(y - truth) / np.linalg.norm(truth)
    assert float(twin.error) == pytest.approx(error, rel=1e-2)
    assert error < (0.6 if method == "unbiased" else 0.1)


def test_the_adapter_starts_as_the_identity():
    layer = layers.RandomFeatureLayer((sine_features(0, 16, D),), D)
    adapter = layers.adapter(layer)
    params = adapter.init(jax.random.key(0))
    np.testing.assert_array_equal(adapter.apply(params, X), X)
    slope = jax.grad(lambda p: jnp.sum(adapter.apply(p, X) ** 2))(params)
    assert all(bool(jnp.any(v != 0)) for v in jax.tree.leaves(slope)[-1:])
    with pytest.raises(ValueError, match="3 inputs and 2 outputs"):
        layers.adapter(layers.RandomFeatureLayer((sine_features(0, 16, D),), 2))


def test_only_the_matrix_is_trained():
    layer = layers.RandomFeatureLayer((sine_features(0, 16, D),), 2)
    params = layer.init(jax.random.key(0))
    assert model.count_parameters(params) == 16 * 2
    slope = jax.grad(lambda p: jnp.sum(layer.apply(p, X)))(params)
    expected = jnp.sum(layer.transform(X), axis=0)
    np.testing.assert_allclose(
        slope["kernel"], jnp.stack([expected] * 2, axis=1), rtol=1e-5
    )
    assert isinstance(layer, model.Model)


@pytest.mark.parametrize("split", ["real", "symmetric"])
def test_under_transformations(split, x64):
    def value(x, w):
        features = rf.ExponentialFeatures.draw(
            jax.random.key(0), rf.sine(), 8, D, split=split
        )
        return features.apply((), x) @ features.of_weights(w, 0.2)

    compiled = jax.jit(jax.vmap(value))
    expected = [value(x, w) for x, w in zip(X, W, strict=True)]
    np.testing.assert_allclose(compiled(X, W), expected, rtol=1e-6)
    slope = jax.grad(value)(X[0], W[0])
    step = 1e-4 * jnp.eye(D)[1]
    quotient = (value(X[0] + step, W[0]) - value(X[0] - step, W[0])) / 2e-4
    assert float(slope[1]) == pytest.approx(float(quotient), rel=1e-4)
    relu = rf.ReLUFeatures(rf.gaussian_projections(jax.random.key(0), 8, D))
    both = jax.jit(jax.vmap(lambda x: relu.apply((), x)))(X)
    np.testing.assert_allclose(both, relu.apply((), X), rtol=1e-6)


def test_wrong_arguments_are_told(inputs):
    params = nn.Dense(4, 3).init(jax.random.key(0))
    with pytest.raises(ValueError, match="layer 0 takes 4 inputs; it gets 3"):
        twin_of(params, jnp.sin, inputs[:, :3])
    with pytest.raises(ValueError, match="x must have shape"):
        twin_of(params, jnp.sin, inputs[0])
    with pytest.raises(ValueError, match="method must be"):
        twin_of(params, jnp.sin, inputs, method="exact")
    with pytest.raises(TypeError, match="must have a matrix"):
        twin_of({"scale": 1.0}, jnp.sin, inputs)
    with pytest.raises(ValueError, match="bias has shape"):
        twin_of({"kernel": params["kernel"], "bias": BIAS}, jnp.sin, inputs)
    with pytest.raises(ValueError, match="single layer"):
        layers.bundle([params], jnp.sin, inputs, key=jax.random.key(0), m=4)
    with pytest.raises(ValueError, match="m is 0"):
        twin_of(params, jnp.sin, inputs, m=0)
    with pytest.raises(ValueError, match="ridge is 0"):
        layers.solve(jnp.ones((2, 3)), jnp.ones((2, 1)))
    with pytest.raises(ValueError, match="shapes"):
        layers.solve(jnp.ones((2, 3)), jnp.ones(2))
    with pytest.raises(ValueError, match="following takes 4"):
        layer = layers.RandomFeatureLayer((sine_features(0, 4, 4),), 3)
        layers.merge(layer, layer.init(jax.random.key(0)), params)
    with pytest.raises(ValueError, match="density must be positive"):
        rf.custom(jnp.cos, jnp.cos, jax.random.normal, jnp.zeros_like).sample(
            jax.random.key(0), (3,)
        )
    with pytest.raises(ValueError, match="split must be"):
        rf.ExponentialFeatures(jnp.eye(2), sine_features(0, 2, 2).rates, split="odd")
    with pytest.raises(ValueError, match="damping must be"):
        rf.ExponentialFeatures(jnp.eye(2), sine_features(0, 2, 2).rates, damping=-1.0)
