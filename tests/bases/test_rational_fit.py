"""Fits of safe Pade rationals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases


def gelu(x):
    return jax.nn.gelu(x, approximate=False)


@pytest.mark.parametrize("form", ["A", "B"])
@pytest.mark.parametrize("name, function", [("silu", jax.nn.silu), ("gelu", gelu)])
def test_a_fit_is_at_least_as_near_as_the_published_one(name, function, form, key):
    fit = bases.fit_rational(function, form=form)
    x = jnp.linspace(-3, 3, 601)[:, None]
    basis = bases.Rational(form=form, start=name)
    given = basis.coefficients(fit.numerator, fit.denominator)
    ours, theirs = (
        float(jnp.max(jnp.abs(basis.apply(params, x) - function(x))))
        for params in (given, basis.init(key))
    )
    assert ours < max(1.05 * theirs, 3e-6)
    assert fit.error == pytest.approx(ours, abs=1e-6)


@pytest.mark.parametrize("form", ["A", "B"])
def test_a_rational_function_is_found_again(form):
    def truth(x):
        return (1 + 2 * x - x**2) / (1 + 0.5 * x**2)

    fit = bases.fit_rational(truth, orders=(2, 2), form=form, domain=(-2.0, 2.0))
    assert fit.error < 1e-6
    np.testing.assert_allclose(fit.numerator, [1, 2, -1], atol=1e-4)
    np.testing.assert_allclose(np.abs(fit.denominator), [0, 0.5], atol=1e-4)


def test_gelu_needs_coefficients_of_its_form(key):
    """Those published for form B make another function in form A."""
    of_b = bases.Rational(form="B", start="gelu").init(key)
    x = jnp.linspace(-3, 3, 601)[:, None]
    error = jnp.max(jnp.abs(bases.Rational(form="A").apply(of_b, x) - gelu(x)))
    assert float(error) == pytest.approx(1.46, abs=0.01)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"form": "C"}, "form must be 'A' or 'B'"),
        ({"orders": (0, 2)}, r"orders\[0\] must be an integer of at least 1"),
        ({"points": 5}, "points must be an integer of at least 10"),
        ({"domain": (1.0, 1.0)}, "low < high"),
    ],
)
def test_bad_input(options, words):
    with pytest.raises(ValueError, match=words):
        bases.fit_rational(jnp.tanh, **options)
