import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from kanjax import gaussian

COVARIANCES = jnp.array([[1.0, 0.5, 1.0], [0.7, -0.4, 1.3], [0.2, 0.0, 0.9]]).T


@pytest.mark.parametrize("function", [gaussian.Erf(), gaussian.Gelu(), gaussian.Sine()])
def test_smooth_functions_equal_their_closed_forms(function, x64):
    q = COVARIANCES.astype(float)
    for a, b in zip(
        gaussian.dual_by_quadrature(function, *q), function.dual(*q), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_kinks_at_zero_equal_their_closed_forms(degree, x64):
    function, q = gaussian.RectifiedMonomial(degree), COVARIANCES.astype(float)
    found = gaussian.dual_by_polar_quadrature(function, *q)
    for a, b in zip(found, function.dual(*q), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("function", [jnp.tanh, jax.nn.elu, jax.nn.softplus])
def test_others_equal_scipy(function, x64):
    q11, q12, q22 = 0.9, 0.4, 1.2
    joint = scipy.stats.multivariate_normal(cov=[[q11, q12], [q12, q22]])
    grid = np.linspace(-9, 9, 721)
    u, v = np.meshgrid(grid, grid, indexing="ij")
    density = joint.pdf(np.stack([u, v], axis=-1))
    f = np.asarray(function(jnp.asarray(grid)))
    expected = scipy.integrate.simpson(
        scipy.integrate.simpson(density * np.outer(f, f), x=grid), x=grid
    )
    found = gaussian.dual(function)(q11, q12, q22).value
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_expectation_and_its_gradients(x64):
    found = gaussian.expectation(jnp.cos, jnp.array([0.0, 0.5]), 2.0)
    np.testing.assert_allclose(found, np.exp(-1) * np.cos([0.0, 0.5]), rtol=1e-12)
    slope = jax.grad(lambda v: gaussian.expectation(jnp.square, 0.0, v))(1.5)
    np.testing.assert_allclose(slope, 1.0)


def test_hermite_coefficients(x64):
    np.testing.assert_allclose(
        gaussian.hermite_coefficients(gaussian.hermite(3), 6),
        [0, 0, 0, 1, 0, 0],
        atol=1e-12,
    )
    a = gaussian.hermite_coefficients(jnp.tanh, 60)
    series = jnp.sum(a**2 * 0.6 ** jnp.arange(60))
    found = gaussian.dual(jnp.tanh)(1.0, 0.6, 1.0).value
    np.testing.assert_allclose(series, found, rtol=1e-7)


def test_jit_vmap_and_grad():
    dual = gaussian.dual(jnp.tanh)
    together = jax.jit(jax.vmap(dual))(*COVARIANCES)
    np.testing.assert_allclose(together.value[1], dual(*COVARIANCES[:, 1]).value, 1e-5)
    value = lambda q12: dual(1.0, q12, 1.0).value  # noqa: E731
    np.testing.assert_allclose(jax.grad(value)(0.3), dual(1.0, 0.3, 1.0).slope, 1e-4)
    corner = jax.grad(lambda q: dual(q, q, q).value)(1.0)
    assert jnp.isfinite(corner)


def test_a_value_that_is_always_zero_has_finite_derivatives():
    """As of padding between layers without biases."""
    dual = lambda *q: gaussian.dual_by_polar_quadrature(jax.nn.elu, *q, nodes=2).value  # noqa: E731
    q11, q12, q22 = jnp.array([[0.0, 0, 0], [0, 0, 1]]).T
    _, slope = jax.jvp(dual, (q11, q12, q22), (q11 + 1, q11 + 1, q11 + 1))
    assert np.all(np.isfinite(slope))
