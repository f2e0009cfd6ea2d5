"""Gains, and the variance that group-rational layers keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from kanjax import bases, kan


def gelu(x):
    return jax.nn.gelu(x, approximate=False)


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: x, 1.0),
        (jax.nn.relu, 2.0),
        (gelu, 2.35172),
        (jax.nn.silu, 2.81076),
        (lambda x: x * gelu(x), 0.71521),
        (lambda x: x * jax.nn.silu(x), 0.84024),
    ],
)
def test_gains_are_those_of_an_adaptive_integral(function, expected, x64):
    power = integrate.quad(
        lambda x: stats.norm.pdf(x) * float(function(jnp.asarray(x))) ** 2, -12, 12
    )[0]
    found = float(kan.gain(function))
    assert found == pytest.approx(1 / power, rel=1e-6)
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("start, inputs", [("silu", 2.81076), ("identity", 1.0)])
def test_kernels_have_the_variance_of_their_initialization(start, inputs, key):
    basis = bases.Rational(8, start=start, shared="numerator")
    paper = kan.RationalLayer(256, 300, basis).init(key)["kernel"]
    timm = kan.RationalLayer(256, 300, basis, initialization="timm").init(key)
    # Five standard errors of a variance over 76,800 draws.
    tolerance = 5 * np.sqrt(2 / 76_800)
    assert float(paper.var()) * 256 / inputs == pytest.approx(1, abs=tolerance)
    assert float(timm["kernel"].std()) == pytest.approx(0.02, rel=tolerance)
    assert not np.any(timm["bias"])


def test_dropout_of_a_layer_needs_a_key(key):
    layer = kan.RationalLayer(6, 40, bases.Rational(2), dropout=0.5)
    params, x = layer.init(key), jax.random.normal(key, (4, 6))
    plain = kan.RationalLayer(6, 40, bases.Rational(2)).apply(params, x)
    np.testing.assert_allclose(layer.apply(params, x), plain, atol=1e-6)
    assert not np.allclose(layer.apply(params, x, key=key), plain)


def test_bad_input():
    with pytest.raises(ValueError, match="initialization must be 'paper' or 'timm'"):
        kan.RationalLayer(4, 4, initialization="he")
    with pytest.raises(ValueError, match="rate must be at least 0 and less than 1"):
        kan.RationalLayer(4, 4, dropout=1.0)


@pytest.mark.parametrize("form, expected", [("A", 3.192075), ("B", 1.815708)])
def test_gains_of_rationals_are_those_of_quadrature_split_at_kinks(form, expected, x64):
    a, b = (0.1, 0.6, 0.3, 0.1, 0.0, 0.01), (0.2, -0.1, 0.05, 0.02)
    basis = bases.Rational(form=form)
    params = basis.coefficients(jnp.array(a), jnp.array(b))

    def function(x):
        return basis.apply(params, x[..., None])[..., 0]

    def density(x):
        return stats.norm.pdf(x) * float(function(jnp.asarray([x]))[0]) ** 2

    kinks = [0.0] if form == "A" else np.roots([*b[::-1], 0.0])
    kinks = [float(np.real(k)) for k in kinks if abs(np.imag(k)) < 1e-12]
    power = integrate.quad(density, -12, 12, points=kinks, epsabs=1e-12, limit=200)[0]
    found = float(kan.gain(function))
    assert found == pytest.approx(1 / power, rel=1e-9)
    assert found == pytest.approx(expected, abs=1e-6)


def test_gains_under_jit_vmap_and_grad(x64):
    # E[max(x - c, 0)^2] = (1 + c^2) Phi(-c) - c phi(c).
    found = jax.jit(jax.vmap(lambda c: kan.gain(lambda x: jax.nn.relu(x - c))))
    c = np.array([-0.7, 0.0, 0.4137])
    power = (1 + c**2) * stats.norm.cdf(-c) - c * stats.norm.pdf(c)
    np.testing.assert_allclose(found(c), 1 / power, rtol=1e-9)
    slope = jax.grad(lambda c: kan.gain(lambda x: jax.nn.relu(x - c)))(0.4137)
    inner = stats.norm.pdf(c[2]) - c[2] * stats.norm.cdf(-c[2])
    np.testing.assert_allclose(slope, 2 * inner / power[2] ** 2, rtol=1e-8)


def test_a_gain_that_is_not_known_says_so():
    with pytest.warns(UserWarning, match="an estimated error of"):
        kan.gain(lambda x: 1 / x)
