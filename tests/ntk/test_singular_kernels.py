"""Kernels of repeated examples, of linear models and of few parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import ntk


def problem(dtype=jnp.float32):
    random = np.random.default_rng(0)
    x = random.normal(size=(12, 4))
    return jnp.asarray(x, dtype), jnp.asarray(random.normal(size=(12, 2)), dtype)


def least_squares(x, y):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return x @ np.linalg.lstsq(x, y, rcond=None)[0]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    ("discrete", "momentum", "t"),
    [
        (False, 0.0, jnp.inf),
        (False, 0.0, 1e9),
        (True, 0.0, 1e6),
        (True, 0.0, jnp.inf),
        (True, 0.9, 1e6),
        (True, 0.9, jnp.inf),
    ],
)
def test_train_and_test_outputs_are_least_squares(dtype, discrete, momentum, t, x64):
    x, y = problem(dtype)
    kernel = x @ x.T
    rate = float(ntk.max_learning_rate(kernel, 2)) / 2
    outputs = ntk.mse_training(
        kernel, y, learning_rate=rate, discrete=discrete, momentum=momentum
    )
    found = outputs(t, kernel_test=kernel)
    expected = least_squares(x, y)
    close = 2e-4 if dtype == jnp.float32 else 1e-10
    np.testing.assert_allclose(found.train, expected, atol=close)
    np.testing.assert_allclose(found.test, expected, atol=close)


def test_repeated_examples_and_networks_of_few_parameters():
    x, y = problem()
    twice = jnp.concatenate([x[:3], x[:3]])
    kernel = twice @ twice.T
    found = ntk.mse_training(kernel, y[:6])(jnp.inf, kernel_test=kernel)
    mean = (y[:3] + y[3:6]) / 2
    np.testing.assert_allclose(found.train, [*mean, *mean], atol=1e-4)
    np.testing.assert_allclose(found.test, found.train, atol=1e-4)

    def apply(params, x):
        return jnp.stack([x @ params["a"], jnp.tanh(x @ params["a"])], axis=1)

    full = ntk.empirical(apply, {"a": jnp.ones(4) / 5}, x, outputs="full")
    found = ntk.mse_training(full, y)(jnp.inf, kernel_test=full)
    np.testing.assert_allclose(found.train, found.test, atol=1e-3)
    jacobian = jax.jacobian(lambda a: apply({"a": a}, x))(jnp.ones(4) / 5)
    expected = least_squares(jacobian.reshape(24, 4), y.reshape(24, 1))
    np.testing.assert_allclose(found.train.reshape(24, 1), expected, atol=1e-3)


def test_the_ensemble_at_infinity_is_least_squares_as_well(x64):
    x, y = problem(jnp.float64)
    kernel = x @ x.T
    found = ntk.ensemble(kernel, kernel, y)(jnp.inf, kernel, kernel, kernel)
    np.testing.assert_allclose(found.mean, least_squares(x, y), atol=1e-10)
    np.testing.assert_allclose(found.covariance, 0, atol=1e-10)


@pytest.mark.parametrize("t", [2.0, jnp.inf])
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("equal", [False, True])
def test_derivatives_in_a_singular_kernel(t, discrete, equal, x64):
    x, y = problem(jnp.float64)
    if equal:
        x = jnp.tile(jnp.eye(4), (3, 1))
    step, rows = jnp.sin(jnp.arange(48.0).reshape(12, 4)), jnp.cos(x[:5] + 1)
    weights = jnp.sin(jnp.arange(34.0).reshape(17, 2))

    def total(e):
        moved = x + e * step
        outputs = ntk.mse_training(
            moved @ moved.T, y, learning_rate=1.0, discrete=discrete
        )
        return jnp.sum(
            weights * jnp.concatenate(outputs(t, kernel_test=rows @ moved.T))
        )

    expected = (total(1e-5) - total(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total)(0.0), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(total, (0.0,), (1.0,))[1], expected, rtol=1e-6)


@pytest.mark.parametrize("discrete", [False, True])
def test_derivatives_at_the_identity(discrete):
    y = jnp.ones((3, 1))
    # Steps as long as the whole way: what is left is 0 and has a slope still.
    outputs = lambda k: ntk.mse_training(  # noqa: E731
        k, y, learning_rate=3.0, discrete=discrete
    )
    gradient = jax.grad(lambda k: jnp.sum(outputs(k)(1.0).train))(jnp.eye(3))
    share = 1.0 if discrete else np.exp(-1)
    np.testing.assert_allclose(gradient, share * np.ones((3, 3)), rtol=1e-5)


def test_modes_of_round_off_are_never_learned():
    assert jnp.all(ntk.time_to_learn(jnp.ones((6, 6)) * 1.1)[1:] == jnp.inf)
    assert ntk.spectrum(jnp.ones((6, 6)) * 1.1).condition_number == jnp.inf


def test_steps_that_are_too_long_diverge():
    for momentum in (0.0, 0.5):
        outputs = ntk.mse_training(
            jnp.eye(2), jnp.ones((2, 1)), learning_rate=9.0, discrete=True,
            momentum=momentum,
        )  # fmt: skip
        assert not jnp.any(jnp.isfinite(outputs(jnp.inf).train))
