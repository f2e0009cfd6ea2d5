"""Formulas compiled into networks, against sympy's own numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from kanjax import kan
from kanjax.kan import symbolic

X, Y, Z = sympy.symbols("x y z")
FORMULAS = [
    "exp(sin(pi*x) + y**2)",
    "x*y",
    "x*y*z + x*y - 3",
    "x + x**2 + x**3",
    "sqrt(1 + x**2)/(2 + y)",
    "2*x*(y + 1)*exp(-z**2)",
    "sin(x + 2*y)**2 + cos(x*y)",
    "5",
    "z",
    "tanh(3*x - 1) + abs(y)*sign(z)",
    "(x + y)**2*(x + y)",
    "1/sqrt(2 + x) + log(3 + y)**3",
    "x*(y + x*(z + x*y))",
    "x + sin(x) + exp(sin(x))",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_networks_compute_the_formula(text, x64):
    formula = sympy.sympify(text)
    net, params = kan.compile([formula], [X, Y, Z])
    x = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    expected = sympy.lambdify([X, Y, Z], formula, "numpy")(*x.T)
    found = net.apply(params, jnp.asarray(x))[:, 0]
    np.testing.assert_allclose(found, np.broadcast_to(expected, 50), rtol=1e-10)
    (read,) = symbolic.formula(net, params, x, names=["x", "y", "z"], digits=9)
    again = sympy.lambdify([X, Y, Z], read, "numpy")(*x.T)
    np.testing.assert_allclose(np.broadcast_to(again, 50), found, atol=1e-6)


def test_several_outputs_keep_their_order_and_share_units():
    shared = sympy.sin(X * Y)
    formulas = [X * Y, shared + X, X, shared**2, X * Y]
    net, params = kan.compile(formulas, [X, Y])
    assert net.widths[-1] == 5
    x = jax.random.uniform(jax.random.key(0), (20, 2), minval=-1)
    expected = [sympy.lambdify([X, Y], f, "numpy")(*np.asarray(x).T) for f in formulas]
    found = net.apply(params, x)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-5, atol=1e-6)
    # x*y is made once, and its sine once.
    assert sum(net.products) == 1


def test_a_formula_alone_has_its_symbols_by_name():
    formula = sympy.exp(Y) - 3 * X
    (net, params), (same, weights) = (
        kan.compile(formula),
        kan.compile([formula], [X, Y]),
    )
    assert net == same
    jax.tree.map(np.testing.assert_array_equal, params, weights)


def test_compiled_networks_are_trained(key, x64):
    net, params = kan.compile([2 * sympy.sin(3 * X) + Y], [X, Y])
    x = jax.random.uniform(key, (200, 2), minval=-1)
    y = 2.5 * jnp.sin(3.1 * x[:, :1]) + x[:, 1:]
    result = symbolic.auto_symbolic(net, params, x, y, patience=0)
    assert result.exact
    (read,) = symbolic.formula(result.model, result.params, x, names=["x", "y"])
    values = sympy.lambdify(sympy.symbols("x y"), read, "numpy")(*np.asarray(x).T)
    np.testing.assert_allclose(values, y[:, 0], atol=3e-3)
    assert {edge.fit.name for edge in result.edges} == {"sin", "x"}


@pytest.mark.parametrize(
    ("expressions", "error", "words"),
    [
        (["x*y"], TypeError, "got str. Call sympy.sympify"),
        ([X * sympy.Symbol("q")], ValueError, "has q, which symbols does not list"),
        ([X**7], ValueError, "is no function of the library"),
        ([sympy.gamma(X)], ValueError, "is no function of the library"),
        ([sympy.I * X], ValueError, "which is not real"),
        ([], ValueError, "at least one expression"),
    ],
)
def test_bad_formulas_are_told(expressions, error, words):
    with pytest.raises(error, match=words):
        kan.compile(expressions, [X, Y])
