"""Kolmogorov-Arnold networks of infinite width against wide random ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, model, nn, ntk


@pytest.fixture
def x(key):
    return jax.random.uniform(key, (3, 2), minval=-1.0)


@pytest.mark.parametrize("residual", [jax.nn.silu, None])
def test_one_layer_is_the_kernel_of_its_features(residual, x64, x, key):
    layer = kan.KANLayer(2, 1, bases.BSpline(4), residual)
    params = layer.init(key)
    kernel = ntk.infinite(layer)(x)
    exact = ntk.empirical(layer.apply, params, x)
    np.testing.assert_allclose(kernel.ntk, exact, rtol=1e-6)
    draws = jax.vmap(layer.init)(jax.random.split(key, 20_000))
    y = jax.vmap(layer.apply, (0, None))(draws, x)[..., 0]
    np.testing.assert_allclose(kernel.nngp, y.T @ y / len(y), atol=0.03)
    other = ntk.infinite(layer)(x[:1], x)
    np.testing.assert_allclose(other.nngp[0], kernel.nngp[0], rtol=1e-6)
    pairs = ntk.infinite(layer)(x, x[::-1], diagonal=True)
    np.testing.assert_allclose(pairs.ntk, np.diag(exact[:, ::-1]), rtol=1e-6)


@pytest.mark.optimized
@pytest.mark.parametrize("basis", [bases.BSpline(3), bases.Fourier(2)])
def test_wide_networks_come_close(basis, x, key):
    net = kan.KAN((2, 128, 128, 1), basis=basis)
    kernel = ntk.infinite(net)(x)

    def draw(key):
        params = net.init(key)
        y = net.apply(params, x)[:, 0]
        return jnp.outer(y, y), ntk.empirical(net.apply, params, x)

    nngp, tangent = jax.lax.map(jax.jit(draw), jax.random.split(key, 100))
    for found, limit in ((nngp, kernel.nngp), (tangent, kernel.ntk)):
        error = np.std(found, axis=0) / len(found) ** 0.5
        # What widths of 128 leave is of the order of 1 / 128.
        off = np.abs(np.mean(found, axis=0) - limit) - 0.02 * np.max(limit)
        assert np.all(off < 4 * error)


def test_between_dense_layers_and_under_grad(x64, x):
    wide = 64
    net = model.Sequential(
        (nn.Dense(2, wide), kan.KANLayer(wide, wide), nn.Dense(wide, 1))
    )
    kernel = ntk.infinite(net)
    assert kernel(x).ntk.shape == (3, 3)
    values = np.linalg.eigvalsh(kernel(x).nngp)
    assert values[0] > 0
    slope = jax.grad(lambda x: kernel(x).ntk.sum())(x)
    step = 1e-6 * jnp.ones_like(x)
    change = kernel(x + step).ntk.sum() - kernel(x - step).ntk.sum()
    np.testing.assert_allclose(jnp.sum(slope * step) * 2, change, rtol=1e-4)


def test_bad_input_is_named(x):
    masked = kan.KANLayer(2, 3, mask=jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="masked edges"):
        ntk.infinite(masked)(x)
    behind = model.Sequential(
        (nn.Dense(2, 4), nn.Activation(jnp.tanh), kan.KANLayer(4, 1))
    )
    with pytest.raises(ValueError, match="put it first, or right behind"):
        ntk.infinite(behind)(x)
    knots = jnp.tile(jnp.linspace(-1.5, 1.5, 9), (4, 1))
    own = kan.KANLayer(4, 1, bases.BSpline(2, knots=knots))
    with pytest.raises(ValueError, match="knots of their own"):
        ntk.infinite(model.Sequential((nn.Dense(2, 4), own)))(x)
    rational = kan.KAN((2, 4, 1), basis=bases.Rational())
    with pytest.raises(ValueError, match="no infinite-width rule for KAN"):
        ntk.infinite(rational)(x)


def test_functions_with_kinks_equal_an_integral_on_a_fine_grid(x64):
    layer = kan.KANLayer(4, 1, bases.BSpline(3, degree=1), None)
    first = nn.Dense(1, 4, parameterization="ntk")
    one = jnp.ones((1, 1))
    kernel = ntk.infinite(model.Sequential((first, layer)))(one).nngp[0, 0]
    deviation = np.sqrt(float(ntk.infinite(first)(one).nngp[0, 0]))
    z = np.linspace(-9, 9, 400_001)
    hats = np.asarray(layer.basis(jnp.asarray(deviation * z)[:, None], axis=-1))[:, 0]
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    power = np.trapezoid(density[:, None] * hats**2, z, axis=0)
    expected = power @ np.square(np.asarray(layer.feature_scales()))
    np.testing.assert_allclose(kernel, expected, rtol=1e-8)
