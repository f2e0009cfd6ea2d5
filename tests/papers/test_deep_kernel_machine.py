"""Exact statements on deep kernel machines: arXiv 2108.13097."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from sklearn import gaussian_process
from sklearn.gaussian_process import kernels

from kanjax import gaussian
from kanjax.ntk import deep_gaussian_process, linear_kernel_machine
from kanjax.ntk import deep_kernel_machine as machines

LINEAR = gaussian.monomial(1)
TINY = 1e-10


@pytest.fixture(autouse=True)
def double(x64):
    """Everything here is in double precision."""


@pytest.fixture(scope="module")
def sample():
    """Examples, two outputs, and points between."""
    random = np.random.default_rng(0)
    x, points = random.normal(size=(12, 3)), random.normal(size=(5, 3))
    y = np.stack([np.sin(2 * x[:, 0]) * x[:, 1], x[:, 2]], axis=1)
    with jax.enable_x64(True):
        return jnp.asarray(x), jnp.asarray(y), jnp.asarray(points)


def machine(inputs, layers, seed=1):
    """Parameters away from the start."""
    params = machines.init(inputs, layers)
    random = np.random.default_rng(seed)
    return params._replace(
        factors=jnp.asarray(0.3 * random.normal(size=params.factors.shape)),
        log_scales=jnp.asarray(0.2 * random.normal(size=layers + 1)),
        log_length=jnp.asarray(-0.3),
    )


def squared_exponential(gram):
    q = np.diag(gram)
    return np.exp(-(q[:, None] + q[None, :] - 2 * gram) / 2)


def divergence(gram, kernel):
    """KL of centered Gaussians, as a textbook has it."""
    ratio = np.linalg.solve(kernel, gram)
    return (np.trace(ratio) - len(gram) - np.linalg.slogdet(ratio)[1]) / 2


def test_divergence_of_gram_matrices(sample):
    x = sample[0]
    params = machine(x, 2)
    layers = machines.propagate(params, x[:0], jitter=TINY)
    for layer in range(2):
        gram, kernel = layers.grams[layer + 1].inducing, layers.kernels[layer].inducing
        expected = divergence(np.asarray(gram), np.asarray(kernel))
        value = machines.kl_gram(params.factors[layer])
        assert float(value) == pytest.approx(expected, abs=1e-10 * expected + 1e-9)
    assert float(machines.kl_gram(jnp.zeros((5, 5)))) == 0
    root = jnp.linalg.cholesky(layers.grams[1].inducing)
    v = jax.scipy.linalg.solve_triangular(
        jnp.linalg.cholesky(layers.kernels[0].inducing), root, lower=True
    )
    np.testing.assert_allclose(v, machines.triangular(params.factors[0]), atol=1e-8)


def test_dense_objective_by_its_definition(sample):
    x, y, _ = sample
    params = machine(x, 2)
    nu = np.asarray([3.0, 0.5])
    gram, total = np.asarray(x @ x.T) / 3, 0.0
    for layer in range(3):
        k = np.exp(params.log_scales[layer]) * squared_exponential(
            gram * np.exp(2 * 0.3)
        )
        if layer < 2:
            v = np.tril(params.factors[layer], -1)
            v = v + np.diag(np.exp(np.diag(params.factors[layer])))
            root = np.linalg.cholesky(k) @ v
            gram = root @ root.T
            total -= nu[layer] * divergence(gram, k)
    covariance = k + 0.3**2 * np.eye(12)
    for c in range(2):
        total += stats.multivariate_normal(np.zeros(12), covariance).logpdf(y[:, c])
    value = machines.dense_objective(params, y, nu=nu, jitter=0.0)
    assert float(value) == pytest.approx(total, rel=1e-8)


@pytest.mark.parametrize(
    "activation", [machines.SQUARED_EXPONENTIAL, jax.nn.relu, jnp.tanh]
)
def test_sparse_at_all_examples_is_dense(sample, activation):
    x, y, _ = sample
    params = machine(x, 2)
    arguments = {"nu": 2.0, "activation": activation, "jitter": TINY}
    sparse = machines.objective(params, x, y, **arguments)
    dense = machines.dense_objective(params, y, **arguments)
    assert float(sparse) == pytest.approx(float(dense), rel=1e-6)
    # Points that are inducing inputs have their Gram matrix.
    layers = machines.propagate(params, x, activation=activation, jitter=TINY)
    for gram in layers.grams:
        np.testing.assert_allclose(gram.cross, gram.inducing, atol=1e-6)
        np.testing.assert_allclose(gram.diagonal, np.diag(gram.inducing), atol=1e-6)


def test_sparse_blocks_are_those_of_a_joint_gaussian(sample):
    x, _, points = sample
    params = machine(x[:6], 1)
    layers = machines.propagate(params, points, jitter=TINY)
    every = np.concatenate([x[:6], points])
    k = np.exp(params.log_scales[0]) * squared_exponential(
        every @ every.T / 3 * np.exp(0.6)
    )
    gram = np.asarray(layers.grams[1].inducing)
    ratio = np.linalg.solve(k[:6, :6], k[:6, 6:]).T
    np.testing.assert_allclose(layers.grams[1].cross.T, ratio @ gram, atol=1e-8)
    there = k[6:, 6:] - ratio @ k[:6, 6:] + ratio @ gram @ ratio.T
    np.testing.assert_allclose(layers.grams[1].diagonal, np.diag(there), atol=1e-8)


def test_without_layers_it_is_scikit_learns_process(sample):
    x, y, points = sample
    params = machines.init(x, 0)._replace(log_length=jnp.log(0.7))
    # G_0 is divided by the number of variables.
    kernel = kernels.RBF(0.7 * 3**0.5, "fixed")
    peer = gaussian_process.GaussianProcessRegressor(
        kernel, alpha=0.3**2, optimizer=None
    ).fit(x, y)
    mean, deviation = peer.predict(points, return_std=True)
    prediction = machines.predict(params, x, y, points, jitter=TINY)
    np.testing.assert_allclose(prediction.mean, mean, atol=1e-7)
    np.testing.assert_allclose(prediction.variance, deviation[:, 0] ** 2, atol=1e-7)
    assert float(prediction.noise) == pytest.approx(0.09)
    np.testing.assert_allclose(prediction.jitter, [TINY])
    assert 0 < float(prediction.residual[0]) < 1e-6
    value = machines.objective(params, x, y, nu=1.0, jitter=TINY)
    # scikit-learn sums over outputs.
    expected = peer.log_marginal_likelihood(kernel.theta)
    assert float(value) == pytest.approx(expected, rel=1e-7)


def test_sparse_bound_by_its_definition(sample):
    x, y, points = sample
    z = x[:5]
    params = machines.init(z, 0)

    def covariance(a, b):
        squares = np.sum((np.asarray(a)[:, None] - np.asarray(b)[None]) ** 2, axis=2)
        return np.exp(-squares / 6)

    inverse = np.linalg.inv(covariance(z, z))
    q = covariance(x, z) @ inverse @ covariance(z, x)
    law = stats.multivariate_normal(np.zeros(12), q + 0.09 * np.eye(12))
    expected = sum(law.logpdf(y[:, c]) for c in range(2))
    expected -= 2 * (12 - np.trace(q)) / (2 * 0.09)
    value = machines.objective(params, x, y, nu=1.0, jitter=TINY)
    assert float(value) == pytest.approx(expected, rel=1e-7)
    dual = covariance(z, z) + covariance(z, x) @ covariance(x, z) / 0.09
    there = covariance(points, z)
    mean = there @ np.linalg.solve(dual, covariance(z, x) @ y) / 0.09
    left = 1 - np.diag(there @ (inverse - np.linalg.inv(dual)) @ there.T)
    prediction = machines.predict(params, x, y, points, jitter=TINY)
    np.testing.assert_allclose(prediction.mean, mean, atol=1e-7)
    np.testing.assert_allclose(prediction.variance, left, atol=1e-7)


def maximum(x, y, nu, activation, log_noise, layers, steps, optimizer=None):
    """Gram matrices of a dense machine, by Adam with a falling rate."""
    params = machines.init(x, layers)
    if optimizer is None:
        optimizer = optax.adam(optax.cosine_decay_schedule(0.02, steps))

    def loss(factors):
        full = params._replace(factors=factors, log_noise=jnp.asarray(log_noise))
        return -machines.dense_objective(
            full, y, nu=nu, activation=activation, jitter=0.0
        )

    def step(state, _):
        factors, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(factors), moments)
        return (factors + updates, moments), None

    @jax.jit
    def run(factors):
        state = jax.lax.scan(step, (factors, optimizer.init(factors)), length=steps)[0]
        full = params._replace(factors=state[0])
        return machines.propagate(full, x[:0], activation=activation, jitter=0.0)

    return run(params.factors)


@pytest.fixture(scope="module")
def linear():
    """Inputs and outputs with Gram matrices of full rank."""
    random = np.random.default_rng(3)
    with jax.enable_x64(True):
        x, y = (jnp.asarray(random.normal(size=(4, 8))) for _ in range(2))
        return x, y, x @ x.T / 8, y @ y.T / 8


def test_linear_machine_is_a_geodesic(linear):
    x, y, first, last = linear
    grams = maximum(x, y, 8.0, LINEAR, -20.0, 2, 3000).grams
    for layer in (1, 2):
        expected = linear_kernel_machine.geodesic(first, last, layer / 3)
        np.testing.assert_allclose(grams[layer].inducing, expected, atol=2e-5)
        # The formula of the paper.
        values, vectors = np.linalg.eig(np.linalg.solve(first, last))
        power = vectors @ np.diag(values ** (layer / 3)) @ np.linalg.inv(vectors)
        np.testing.assert_allclose(expected, first @ power, atol=1e-10)
    for share, end in ((0, first), (1, last)):
        np.testing.assert_allclose(
            linear_kernel_machine.geodesic(first, last, share), end, atol=1e-12
        )


def test_linear_machine_of_unequal_widths(linear):
    x, y, first, last = linear
    gram = linear_kernel_machine.linear_gram(first, last, 3.0, 8)
    square = gram @ jnp.linalg.solve(first, gram)
    np.testing.assert_allclose(3 * square + 5 * gram, 8 * last, atol=1e-10)
    learned = maximum(x, y, 3.0, LINEAR, -20.0, 1, 2000).grams[1].inducing
    np.testing.assert_allclose(learned, gram, atol=2e-5)
    # Equal widths: halfway.
    np.testing.assert_allclose(
        linear_kernel_machine.linear_gram(first, last, 8, 8),
        linear_kernel_machine.geodesic(first, last, 0.5),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    "solution",
    [
        lambda last: linear_kernel_machine.geodesic(3 * jnp.eye(3), last, 0.4),
        lambda last: linear_kernel_machine.linear_gram(3 * jnp.eye(3), last, 2.0, 5),
    ],
)
def test_closed_forms_under_transformations(solution):
    # Two eigenvalues are equal.
    last = jnp.diag(jnp.asarray([1.0, 2.0, 2.0]))
    turn = jnp.asarray([[0.3, 0.2, 0.1], [0.2, -0.4, 0.5], [0.1, 0.5, 0.6]])

    def value(step):
        return jnp.sum(jnp.sin(solution(last + step * turn)))

    slopes = jax.jit(jax.vmap(jax.grad(value)))(jnp.asarray([0.0, 0.1]))
    for slope, at in zip(slopes, (0.0, 0.1), strict=True):
        rise = float(value(at + 1e-5) - value(at - 1e-5)) / 2e-5
        assert float(slope) == pytest.approx(rise, rel=1e-7)


def test_great_nu_is_the_process_of_a_wide_network(sample):
    x, y, _ = sample
    limit = machines.propagate(machines.init(x, 2), x[:0], jitter=0.0)
    k = squared_exponential(squared_exponential(squared_exponential(x @ x.T / 3)))
    np.testing.assert_allclose(limit.kernels[-1].inducing, k, atol=1e-12)
    gaps = []
    for nu in (1e6, 1e8):
        # The curvature is that of the divergence, nu to 2 nu.
        optimizer = optax.sgd(0.4 / nu)
        layers = maximum(x, y, nu, machines.SQUARED_EXPONENTIAL, -1.0, 2, 60, optimizer)
        gaps.append(np.abs(layers.kernels[-1].inducing - k).max())
    assert gaps[1] < 1e-6
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.01)
    # What the Gaussian process of the limit predicts.
    mean = k[9:, :9] @ np.linalg.solve(k[:9, :9] + 0.09 * np.eye(9), y[:9])
    start = machines.init(x, 2)
    prediction = machines.predict(start, x[:9], y[:9], x[9:], jitter=TINY)
    np.testing.assert_allclose(prediction.mean, mean, atol=1e-6)


def test_fit_without_representation_is_the_limit_of_great_nu(sample):
    x, y, _ = sample
    fit = jax.jit(
        functools.partial(machines.fit, steps=30), static_argnames="optimizer"
    )
    optimizer = optax.sgd(0.02)
    start = machines.init(x[:6], 1)
    fixed, values = fit(start, x, y, nu=1.0, optimizer=optimizer, learn_grams=False)
    assert not np.any(fixed.factors) and values[-1] > values[0]
    learned, more = fit(start, x, y, nu=1.0, optimizer=optimizer, learn_grams=True)
    assert np.any(learned.factors) and more[-1] > values[-1]
    assert float(values[0]) == pytest.approx(
        float(machines.objective(start, x, y, nu=1.0)) / 12
    )


def test_wide_processes_tend_to_the_machine(sample):
    x, y, _ = sample
    x, y = x[:4], y[:4]
    expected = maximum(x, y, 1.0, machines.SQUARED_EXPONENTIAL, np.log(0.3), 1, 1500)
    expected = expected.grams[1].inducing
    start = machines.init(x, 1)
    errors = []
    for width in (32, 512):
        sample_chain = functools.partial(
            deep_gaussian_process.wide_posterior,
            width=width,
            nu=(1,),
            step_size=0.24 * width ** (-1 / 3),
            steps=1500,
        )
        keys = jax.random.split(jax.random.key(0), 2)
        chains, accepted = jax.jit(jax.vmap(sample_chain, (0, None, None)))(
            keys, start, y
        )
        assert float(accepted.mean()) > 0.3
        late = chains[:, 300:, 0]
        square = jnp.mean((late - expected[None, None]) ** 2)
        errors.append(float(jnp.sqrt(square / jnp.mean(expected**2))))
    # Like width^-1/2: 4 times less.
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)
    # The mean over time is nearer to the machine than the prior by far.
    prior = machines.propagate(start, x[:0]).grams[1].inducing
    gap = jnp.linalg.norm(late.mean(axis=(0, 1)) - expected)
    assert gap < 0.2 * jnp.linalg.norm(prior - expected)


def test_single_precision(sample):
    x, y, _ = sample
    params = machine(x[:6], 2)
    double = machines.objective(params, x, y, nu=1.0, jitter=1e-4)
    few, small_x, small_y = jax.tree.map(
        lambda v: v.astype(jnp.float32), (params, x, y)
    )
    single = machines.objective(few, small_x, small_y, nu=1.0, jitter=1e-4)
    assert single.dtype == jnp.float32
    assert float(single) == pytest.approx(float(double), rel=1e-3)


def test_under_transformations(sample):
    x, y, points = sample
    params = machine(x[:6], 2)
    value = functools.partial(machines.objective, x=x, y=y, jitter=1e-8)
    both = jax.jit(jax.vmap(lambda nu: value(params, nu=nu)))(jnp.asarray([0.5, 4.0]))
    for nu, there in zip((0.5, 4.0), both, strict=True):
        assert float(there) == pytest.approx(float(value(params, nu=nu)), rel=1e-9)
    slope = jax.jit(jax.grad(lambda p: value(p, nu=1.0)))(params)
    direction = jax.tree.map(
        lambda v: jnp.cos(jnp.arange(v.size)).reshape(v.shape), params
    )

    def moved(h):
        return value(jax.tree.map(lambda p, d: p + h * d, params, direction), nu=1.0)

    ends = moved(1e-6), moved(-1e-6)
    along = sum(
        jax.tree.leaves(jax.tree.map(lambda s, d: jnp.sum(s * d), slope, direction))
    )
    assert float(along) == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=1e-6)
    start = jax.grad(lambda p: value(p, nu=1.0))(machines.init(x, 2))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(start))
    outputs = jnp.stack([y, -y])
    means = jax.vmap(lambda y: machines.predict(params, x, y, points).mean)(outputs)
    np.testing.assert_allclose(means[0], -means[1], rtol=1e-12)


def test_wrong_arguments_are_told(sample):
    x, y, points = sample
    with pytest.raises(ValueError, match=r"inputs has shape \(12,\)"):
        machines.init(x[:, 0], 1)
    with pytest.raises(ValueError, match="layers is -1"):
        machines.init(x, -1)
    with pytest.raises(ValueError, match=r"Use y\[:, None\]"):
        machines.objective(machines.init(x, 1), x, y[:, 0], nu=1.0)
    with pytest.raises(ValueError, match="for 12 examples"):
        machines.predict(machines.init(x, 1), x, y[:3], points)
    singular = jnp.ones((3, 3))
    for solution in (
        lambda: linear_kernel_machine.geodesic(singular, jnp.eye(3), 0.5),
        lambda: linear_kernel_machine.linear_gram(singular, jnp.eye(3), 2.0, 5),
    ):
        with pytest.raises(ValueError, match="first, of shape .* not positive def"):
            solution()
    sample = functools.partial(
        deep_gaussian_process.wide_posterior,
        jax.random.key(0),
        machines.init(x, 1),
        y,
        step_size=0.1,
        steps=1,
    )
    with pytest.raises(ValueError, match="nu has 2 entries"):
        sample(width=16, nu=(1, 1))
    with pytest.raises(ValueError, match="at least the number of examples, 12"):
        sample(width=8, nu=(1,))
