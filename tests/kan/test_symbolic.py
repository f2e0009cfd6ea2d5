"""Formulas read off edges and networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from kanjax import bases, kan
from kanjax.kan import symbolic

X = jnp.linspace(-1, 1, 100)


def curve(fit):
    a, b, c, d = fit.coefficients
    function = symbolic.LIBRARY[fit.name].evaluate
    return c * function(jnp, a * X + b) + d


def test_parameters_of_a_sine_are_found():
    best = symbolic.suggest(X, 5 * jnp.sin(3 * X + 2) + 0.7)[0]
    assert best.name == "sin" and best.r2 > 0.9999
    a, b, c, d = best.coefficients
    # Up to the sine's own symmetries.
    sign = np.sign(a)
    shift = (b * sign - 2) / np.pi
    assert abs(a) == pytest.approx(3, abs=1e-2)
    assert shift == pytest.approx(round(shift), abs=1e-2)
    assert c * sign * (-1) ** round(shift) == pytest.approx(5, abs=2e-2)
    assert d == pytest.approx(0.7, abs=1e-2)


@pytest.mark.parametrize(
    "name, function",
    [
        ("x", lambda x: 3 * x - 1),
        ("x^2", lambda x: (x - 0.3) ** 2),
        ("exp", lambda x: jnp.exp(1.7 * x)),
        ("log", lambda x: jnp.log(x + 1.5)),
        ("sqrt", lambda x: jnp.sqrt(x + 1.1)),
        ("abs", lambda x: jnp.abs(x + 0.2)),
        ("tanh", lambda x: jnp.tanh(4 * x)),
        ("1/x", lambda x: 1 / (x + 2)),
    ],
)
def test_the_right_function_comes_first(name, function):
    best = symbolic.suggest(X, function(X))[0]
    assert best.name == name
    assert best.r2 > 0.999
    spread = float(jnp.std(function(X)))
    np.testing.assert_allclose(curve(best), function(X), atol=0.1 * spread)


@pytest.mark.parametrize("name", list(symbolic.LIBRARY))
def test_numbers_and_formulas_are_one_definition(name):
    u = sympy.Symbol("u")
    expression = symbolic.LIBRARY[name].evaluate(sympy, u)
    points = np.linspace(0.1, 0.9, 9)
    expected = sympy.lambdify(u, expression)(points)
    found = symbolic.LIBRARY[name].evaluate(jnp, jnp.array(points))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_r2_is_the_squared_correlation_of_the_fit():
    y = jnp.exp(X) + 0.3 * jnp.sin(9 * X)
    for fit in symbolic.suggest(X, y, library=["exp", "x", "x^2"]):
        expected = np.corrcoef(curve(fit), y)[0, 1] ** 2
        assert fit.r2 == pytest.approx(expected, abs=1e-3)


def test_a_constant_curve_fits_nothing():
    assert all(fit.r2 == 0 for fit in symbolic.suggest(X, jnp.full(100, 2.0)))


def planted(key):
    """A KAN whose edges are sin(3 x1) / 2 and x2^2 / 2, then the identity."""
    basis = bases.BSpline(20)
    points = jnp.linspace(-1, 1, 200)
    first = 0.5 * jnp.stack([jnp.sin(3 * points), points**2], axis=1)[:, :, None]
    inputs = jnp.stack([points, points], axis=1)
    net = kan.KAN((2, 1, 1), basis, residual=None)
    params = (
        {"coef": kan.fit_coefficients(basis, inputs, first)},
        {"coef": kan.fit_coefficients(basis, points[:, None], points[:, None, None])},
    )
    x = jax.random.uniform(key, (300, 2), minval=-0.6, maxval=0.6)
    return net, params, x.at[:, 1].set(jnp.abs(x[:, 1]) ** 0.5 - 0.4)


def test_the_formula_of_a_planted_network(key):
    net, params, x = planted(key)
    (expression,) = symbolic.formula(net, params, x, names=["p", "q"])
    p, q = sympy.symbols("p q")
    assert expression.free_symbols == {p, q}
    assert expression.atoms(sympy.sin)
    values = sympy.lambdify((p, q), expression)(
        np.asarray(x[:, 0]), np.asarray(x[:, 1])
    )
    np.testing.assert_allclose(values, net.apply(params, x)[:, 0], atol=2e-2)


def test_masked_edges_are_left_out(key):
    net, params, x = planted(key)
    masked = kan.KAN(
        net.widths, net.basis, None, (jnp.array([[1.0], [0.0]]), jnp.ones((1, 1)))
    )
    found = symbolic.fit_edges(masked, params, x)
    assert [(e.layer, e.source, e.target) for e in found] == [(0, 0, 0), (1, 0, 0)]
    (expression,) = symbolic.formula(masked, params, x, edges=found)
    assert {str(s) for s in expression.free_symbols} == {"x1"}


def test_an_edge_without_a_formula_is_named(key):
    net, params, x = planted(key)
    noisy = params[0]["coef"].at[:, 1].set(jax.random.normal(key, (23, 1)))
    with pytest.raises(ValueError, match=r"edge \(1, 0\) of layer 0: .* R2 = "):
        symbolic.formula(net, ({"coef": noisy}, params[1]), x)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: symbolic.suggest(X, X[:3]), r"\(100,\) and \(3,\)"),
        (lambda: symbolic.suggest(X, X, library=[]), "library is empty"),
        (lambda: symbolic.suggest(X, X, library=["sine"]), "nearest: 'sin'"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
