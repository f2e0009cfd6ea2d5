"""Formulas with the constants of a fit, made readable without changing their values."""

import numpy as np
import pytest
import sympy

from kanjax.kan import symbolic

X, Y = sympy.symbols("x y")
ROWS = np.random.default_rng(0).uniform(-1, 1, (400, 2))


@pytest.mark.parametrize(
    ("fitted", "expected"),
    [
        (
            "1.0*exp(0.01831*(-7.39*y - 2.71e-8)**2 + 1.0*sin(3.142*x + 5e-9)) + 1e-8",
            "exp(y**2 + sin(pi*x))",
        ),
        ("1.0001*x/(0.9999*y**2 + 1)", "x/(y**2 + 1)"),
        ("2.0*(x + 0.5001*y)**2 - 0.00001*y", "0.5*y**2 + 2*x**2 + 2*x*y"),
        (
            "0.6434*cos(asin(0.8722*x) - asin(0.891*y))"
            " - 0.6434*cos(asin(0.8722*x) + asin(0.891*y))",
            "x*y",
        ),
        ("0.01*x", "0.01*x"),
        ("1000.4*x", "1000.4*x"),
        ("0", "0"),
        ("log(x)", "log(x)"),
    ],
)
def test_formulas_look_as_exact_as_they_are(fitted, expected):
    tidied = symbolic.tidy(sympy.sympify(fitted), ROWS, [X, Y])
    assert sympy.simplify(tidied - sympy.sympify(expected)).equals(0)


def test_values_change_by_less_than_the_tolerance():
    rng = np.random.default_rng(1)
    for tolerance in (1e-2, 1e-4):
        a, b, c, d = rng.normal(size=4)
        fitted = a * (X + b * Y) ** 3 + c * sympy.sin(2.01 * X + d) + 1e-3 * Y
        tidied = symbolic.tidy(fitted, ROWS, [X, Y], tolerance=tolerance)
        before, after = (sympy.lambdify([X, Y], f)(*ROWS.T) for f in (fitted, tidied))
        change = np.sqrt(np.mean((before - after) ** 2))
        assert change <= tolerance * np.std(before)


def test_sorted_samples_are_looked_at_from_end_to_end():
    x = np.linspace(0, 10, 5000)
    formula = symbolic.tidy(X + 0.0001 * sympy.exp(X), x[:, None], [X])
    values = sympy.lambdify(X, formula)(x)
    wanted = x + 0.0001 * np.exp(x)
    assert np.sqrt(np.mean((values - wanted) ** 2)) <= 1e-3 * np.std(wanted)


def test_columns_and_symbols_must_agree():
    with pytest.raises(ValueError, match=r"x must be \(batch, 1\)"):
        symbolic.tidy(X**2, ROWS, [X])
