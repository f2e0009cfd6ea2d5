import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from kanjax import ntk

N, OUTPUTS, TEST = 6, 2, 3


def problem(full=False):
    """A kernel of train and test examples, targets, and outputs at the start."""
    keys = jax.random.split(jax.random.key(0), 4)
    size = (N + TEST) * (OUTPUTS if full else 1)
    features = jax.random.normal(keys[0], (size, 30))
    matrix = features @ features.T / 30
    if full:
        matrix = matrix.reshape(N + TEST, OUTPUTS, N + TEST, OUTPUTS).swapaxes(1, 2)
    y = jax.random.normal(keys[1], (N, OUTPUTS))
    f0 = jax.random.normal(keys[2], (N, OUTPUTS))
    f0_test = jax.random.normal(keys[3], (TEST, OUTPUTS))
    return matrix[:N, :N], matrix[N:, :N], y, f0, f0_test


def flat(kernel):
    if kernel.ndim == 2:
        return np.kron(kernel, np.eye(OUTPUTS))
    n, m = kernel.shape[:2]
    return np.swapaxes(kernel, 1, 2).reshape(n * OUTPUTS, m * OUTPUTS)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("t", [0.0, 3.0, 100.0])
def test_gradient_flow_equals_the_matrix_exponential(full, t, x64):
    theta, across, y, f0, f0_test = problem(full)
    outputs = ntk.mse_training(theta, y, learning_rate=0.7)
    found = outputs(t, f0, f0_test, across)
    matrix, rows = flat(theta), flat(across)
    decay = scipy.linalg.expm(-0.7 * t * matrix / (N * OUTPUTS))
    error = np.ravel(f0 - y)
    expected = np.ravel(y) + decay @ error
    np.testing.assert_allclose(np.ravel(found.train), expected, rtol=1e-9)
    change = rows @ scipy.linalg.solve(matrix, (decay - np.eye(len(decay))) @ error)
    np.testing.assert_allclose(
        np.ravel(found.test), np.ravel(f0_test) + change, rtol=1e-7
    )


def test_at_infinity_it_is_kernel_regression(x64):
    theta, across, y, f0, f0_test = problem()
    for discrete in (False, True):
        outputs = ntk.mse_training(theta, y, discrete=discrete, learning_rate=0.1)
        found = outputs(jnp.inf, f0, f0_test, across)
        np.testing.assert_allclose(found.train, y, rtol=1e-10)
        expected = f0_test - across @ scipy.linalg.solve(theta, f0 - y)
        np.testing.assert_allclose(found.test, expected, rtol=1e-8)
    at_zero = ntk.mse_training(theta, y)(jnp.inf, kernel_test=across)
    weights = ntk.regress(theta, y).weights
    np.testing.assert_allclose(at_zero.test, across @ weights, rtol=1e-8)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("full", [False, True])
def test_discrete_steps_equal_a_loop(momentum, full, x64):
    theta, across, y, f0, f0_test = problem(full)
    rate = 0.9 * float(ntk.max_learning_rate(theta, OUTPUTS, momentum=momentum))
    outputs = ntk.mse_training(
        theta, y, learning_rate=rate, momentum=momentum, discrete=True
    )
    f, g = np.ravel(f0), np.ravel(f0_test)
    v, w = np.zeros_like(f), np.zeros_like(g)
    for step in range(12):
        found = outputs(step, f0, f0_test, across)
        np.testing.assert_allclose(np.ravel(found.train), f, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(np.ravel(found.test), g, rtol=1e-6, atol=1e-7)
        slope = (f - np.ravel(y)) / (N * OUTPUTS)
        v = momentum * v - rate * flat(theta) @ slope
        w = momentum * w - rate * flat(across) @ slope
        f, g = f + v, g + w


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_largest_learning_rate_is_where_steps_stop_converging(momentum, x64):
    theta, _, y, f0, _ = problem()
    largest = ntk.max_learning_rate(theta, OUTPUTS, momentum=momentum)
    errors = [
        float(
            jnp.max(
                jnp.abs(
                    ntk.mse_training(
                        theta,
                        y,
                        learning_rate=share * largest,
                        momentum=momentum,
                        discrete=True,
                    )(4001, f0).train
                    - y
                )
            )
        )
        for share in (0.99, 1.01)
    ]
    assert errors[0] < 1e-3 < 1e3 < errors[1]
    full = problem(full=True)[0]
    expected = 2 * N * OUTPUTS / np.linalg.eigvalsh(flat(full))[-1]
    np.testing.assert_allclose(ntk.max_learning_rate(full), expected)


def test_a_mode_has_lost_half_of_its_error_at_its_time(x64):
    theta, _, y, f0, _ = problem()
    times = ntk.time_to_learn(theta, OUTPUTS, share=0.5, learning_rate=0.3)
    values, vectors = np.linalg.eigh(theta)
    outputs = ntk.mse_training(theta, y, learning_rate=0.3)
    for i, t in enumerate(times):
        direction = vectors[:, ::-1][:, i]
        before, after = direction @ (f0 - y), direction @ (outputs(t, f0).train - y)
        np.testing.assert_allclose(after, before / 2, rtol=1e-9)
    assert ntk.time_to_learn(jnp.diag(jnp.array([1.0, 0.0])))[1] == jnp.inf


def sampled(nngp, ntk_kernel, y, t, rate, draws=200_000):
    """Mean and covariance over draws of the starting outputs, each trained."""
    total = N + TEST
    root = np.linalg.cholesky(np.asarray(nngp) + 1e-12 * np.eye(total))
    f = root @ np.random.default_rng(0).normal(size=(total, draws))
    theta = ntk_kernel[:N, :N]
    decay = scipy.linalg.expm(-rate * t * theta / N)
    a = ntk_kernel[N:, :N] @ scipy.linalg.solve(theta, np.eye(N) - decay)
    g = f[N:] + a @ (np.asarray(y) - f[:N])
    return g.mean(axis=1), np.cov(g)


@pytest.mark.parametrize("t", [2.0, jnp.inf])
def test_the_ensemble_equals_sampled_networks(t, x64):
    keys = jax.random.split(jax.random.key(4), 3)
    a, b = (jax.random.normal(k, (N + TEST, 20)) for k in keys[:2])
    nngp, theta = a @ a.T / 20, b @ b.T / 20
    y = jax.random.normal(keys[2], (N, 1))
    posterior = ntk.ensemble(nngp[:N, :N], theta[:N, :N], y, learning_rate=1.5)
    found = posterior(t, nngp[N:, N:], nngp[N:, :N], theta[N:, :N])
    mean, covariance = sampled(nngp, theta, y, min(t, 1e6), 1.5)
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=0.02)
    np.testing.assert_allclose(found.covariance, covariance, atol=0.03)


def test_the_nngp_posterior_is_that_of_a_gaussian_process(x64):
    theta, across, y, _, _ = problem()
    prior = jnp.eye(TEST) * 3
    noise = 0.1
    posterior = ntk.ensemble(theta, None, y, diagonal_regularization=noise)
    found = posterior(jnp.inf, prior, across)
    matrix = theta + noise * np.mean(np.diag(theta)) * np.eye(N)
    np.testing.assert_allclose(
        found.mean, across @ scipy.linalg.solve(matrix, y), rtol=1e-8
    )
    expected = prior - across @ scipy.linalg.solve(matrix, across.T)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-8, atol=1e-12)
    early = posterior(0.0, prior, across)
    np.testing.assert_allclose(early.covariance, prior)
    np.testing.assert_allclose(early.mean, 0.0, atol=1e-12)


def half_mse(f, y):
    return jnp.mean((f - y) ** 2) / 2


def cross_entropy(f, y):
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(f), axis=1))


@pytest.mark.parametrize("full", [False, True])
def test_the_ode_of_the_squared_error_equals_the_closed_form(full, x64):
    theta, across, y, f0, f0_test = problem(full)
    times = jnp.array([0.5, 20.0])
    found = ntk.train(
        theta,
        y,
        half_mse,
        times,
        f_train=f0,
        f_test=f0_test,
        kernel_test=across,
        tolerance=1e-9,
    )
    closed = ntk.mse_training(theta, y)
    expected = jax.vmap(lambda t: closed(t, f0, f0_test, across))(times)
    np.testing.assert_allclose(found.train, expected.train, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.test, expected.test, rtol=1e-6, atol=1e-7)


def test_the_ode_of_cross_entropy_is_the_limit_of_small_steps(x64):
    theta, _, _, f0, _ = problem()
    y = jax.nn.one_hot(jnp.arange(N) % OUTPUTS, OUTPUTS)
    found = ntk.train(theta, y, cross_entropy, jnp.array([5.0]), f_train=f0)
    assert found.test is None
    step = 1e-3
    slope = jax.grad(cross_entropy)
    f = jax.lax.fori_loop(0, 5000, lambda _, f: f - step * theta @ slope(f, y), f0)
    np.testing.assert_allclose(found.train[0], f, atol=2e-3)


def test_momentum_as_an_ode_is_the_limit_of_heavy_ball(x64):
    theta, _, y, f0, _ = problem()
    found = ntk.train(
        theta, y, half_mse, jnp.array([8.0]), f_train=f0, momentum=0.5, tolerance=1e-9
    )
    f, v, step = f0, jnp.zeros_like(f0), 1e-3
    for _ in range(8000):
        v = v + step * (-0.5 * v - theta @ (f - y) / y.size)
        f = f + step * v
    np.testing.assert_allclose(found.train[0], f, atol=1e-3)


def test_jit_vmap_and_grad():
    theta, across, y, f0, _ = problem()

    def predicted(theta, t):
        return ntk.mse_training(theta, y)(t, f0, kernel_test=across).test

    times = jnp.array([0.0, 1.0, jnp.inf])
    together = jax.jit(jax.vmap(functools.partial(predicted, theta)))(times)
    np.testing.assert_allclose(together[1], predicted(theta, 1.0), 1e-4, 1e-4)
    slope = jax.grad(lambda t: jnp.sum(predicted(theta, t)))(1.0)
    ahead, behind = (jnp.sum(predicted(theta, t)) for t in (1.05, 0.95))
    np.testing.assert_allclose(slope, (ahead - behind) / 0.1, rtol=1e-2)
    gradient = jax.grad(lambda k: jnp.sum(predicted(k, 1.0)))(theta)
    assert jnp.all(jnp.isfinite(gradient))


def test_bad_input_is_named():
    theta, _, y, f0, _ = problem()
    raises = functools.partial(pytest.raises, ValueError)
    with raises(match=r"kernel has shape \(5, 5\).*\(6, 6\) or \(6, 6, 2, 2\)"):
        ntk.mse_training(jnp.eye(5), y)
    with raises(match=r"y must have shape \(n, outputs\)"):
        ntk.mse_training(theta, y[:, 0])
    with raises(match="momentum=0.5 is of discrete steps"):
        ntk.mse_training(theta, y, momentum=0.5)
    with raises(match="momentum must be at least 0 and below 1"):
        ntk.mse_training(theta, y, momentum=1.0, discrete=True)
    with raises(match="ntk_test_train goes with ntk"):
        ntk.ensemble(theta, theta, y)(1.0, theta, theta)
    with raises(match="must both be"):
        ntk.ensemble(theta, problem(full=True)[0], y)
    with raises(match="f_test and kernel_test go together"):
        ntk.train(theta, y, half_mse, jnp.ones(1), f_train=f0, f_test=f0)
    with raises(match="kernel_test has shape"):
        full = problem(full=True)[0]
        ntk.mse_training(full, y)(1.0, f0, kernel_test=theta)
