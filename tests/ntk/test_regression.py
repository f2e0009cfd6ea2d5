import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from kanjax import ntk


def problem(n=20):
    features = jax.random.normal(jax.random.key(0), (n, 40))
    y = jax.random.normal(jax.random.key(1), (n, 3))
    return features @ features.T, y


def test_cholesky_equals_scikit_learn(x64):
    kernel, y = problem()
    share = 0.01
    found = ntk.regress(kernel, y, diagonal_regularization=share)
    alpha = share * np.mean(np.diag(kernel))
    expected = KernelRidge(alpha=alpha, kernel="precomputed").fit(kernel, y)
    np.testing.assert_allclose(found.weights, expected.dual_coef_, rtol=1e-8)
    np.testing.assert_allclose(found.jitter, alpha)
    assert found.converged and jnp.all(found.residual < 1e-12)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_conjugate_gradients_equal_cholesky(share, x64):
    kernel, y = problem()
    y = y.at[:, 1].set(0.0)
    found = ntk.regress_by_products(
        lambda v: kernel @ v,
        y,
        diagonal=jnp.diag(kernel),
        diagonal_regularization=share,
        tolerance=1e-10,
    )
    expected = ntk.regress(kernel, y, diagonal_regularization=share)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-6, atol=1e-9)
    assert jnp.all(found.converged) and 0 < found.iterations < 100


@pytest.mark.parametrize("unit", [1e-25, 1e20])
def test_conjugate_gradients_in_any_units(unit):
    kernel, y = problem()
    y = y * unit
    found = ntk.regress_by_products(
        lambda v: kernel @ v, y, diagonal=jnp.diag(kernel), tolerance=1e-4
    )
    left = np.asarray(y, float) - np.asarray(kernel, float) @ np.float64(found.weights)
    sizes = np.linalg.norm(np.float64(y), axis=0)
    assert np.all(np.linalg.norm(left, axis=0) < 1e-3 * sizes)
    assert jnp.all(found.converged) and found.iterations > 3


def test_targets_that_are_integers():
    kernel, _ = problem(5)
    labels = np.eye(3, dtype=np.uint8)[[0, 1, 2, 1, 0]] * 20
    expected = np.linalg.solve(np.asarray(kernel, float), labels)
    found = ntk.regress_by_products(
        lambda v: kernel @ v, labels, diagonal=jnp.diag(kernel)
    )
    np.testing.assert_allclose(found.weights, expected, rtol=1e-3, atol=1e-4)
    outputs = ntk.mse_training(kernel, labels)
    np.testing.assert_allclose(outputs(jnp.inf).train, labels, rtol=1e-4, atol=1e-3)
    half = ntk.mse_training(kernel, labels.astype(float))(1.0).train
    np.testing.assert_allclose(outputs(1.0).train, half)


def test_what_does_not_converge_says_so(x64):
    kernel, y = problem()
    found = ntk.regress_by_products(
        lambda v: kernel @ v, y, diagonal=jnp.diag(kernel), max_iterations=2
    )
    assert not jnp.any(found.converged) and found.iterations == 2
    left = np.linalg.norm(y - kernel @ found.weights, axis=0)
    np.testing.assert_allclose(found.residual, left / np.linalg.norm(y, axis=0))
    singular = ntk.regress(jnp.diag(jnp.array([1.0, -1e-9])), y[:2])
    assert not singular.converged and jnp.all(jnp.isnan(singular.weights))


def test_products_of_an_infinite_kernel_without_its_matrix(x64):
    from kanjax import nn

    kernel = ntk.infinite(nn.MLP((4, 8, 1), parameterization="ntk"))
    x = jax.random.normal(jax.random.key(0), (11, 4))
    v = jax.random.normal(jax.random.key(1), (11, 2))
    whole = kernel(x)
    for field in ("ntk", "nngp"):
        product = ntk.rows_product(kernel, x, batch_size=4, which=field)
        np.testing.assert_allclose(product(v), getattr(whole, field) @ v, rtol=1e-6)


def test_jit_vmap_and_grad():
    kernel, y = problem()

    def fit(kernel):
        return ntk.regress(kernel, y, diagonal_regularization=0.1)

    stack = jnp.stack([kernel, 2 * kernel])
    together = jax.jit(jax.vmap(fit))(stack)
    np.testing.assert_allclose(
        together.weights[1], fit(stack[1]).weights, rtol=1e-3, atol=1e-5
    )
    gradient = jax.grad(lambda k: jnp.sum(fit(k).weights ** 2))(kernel)
    assert jnp.all(jnp.isfinite(gradient))


def test_bad_input_is_named():
    kernel, y = problem()
    with pytest.raises(ValueError, match="goes to mse_training"):
        ntk.regress(jnp.ones((20, 20, 3, 3)), y)
