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
