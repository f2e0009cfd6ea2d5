"""Formulas that look as exact as they are: no negligible terms, no 0.9999 for 1.

A network's formula is composed of fitted constants, such as
``1.0*exp(0.01831*(-7.39*y - 2.7e-8)**2 + 1.284e-8)`` for exp(y^2). What changes its
values by less than a tolerance says nothing about the data and is left out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float

_MOST_ROWS = 512
_MOST_OPERATIONS = 300
"""Beyond so many, multiplying powers out takes long and makes nothing shorter."""

Evaluate = Callable[[Any], np.ndarray]


def tidy(
    expression: Any,
    x: Float[Array, "batch in"],
    symbols: Sequence[Any],
    *,
    tolerance: float = 1e-3,
) -> Any:
    """Return a simpler formula of the same values.

    Powers of sums are multiplied out where that is shorter, terms that are small beside
    the others of their sum are dropped, and constants become a near multiple of 1/2 or
    of pi/2: each only if the values at x then differ from the first ones by less than
    the tolerance, as a root of the mean square.

    Args:
        expression: a sympy expression.
        x: (batch, in), where the values have to agree; of more than 512 rows as many
            are taken, evenly spread.
        symbols: the sympy symbols of the inputs.
        tolerance: the most that values may change, in their standard deviations.

    Raises:
        ValueError: if there is not one symbol for each column of x.
    """
    import sympy

    rows = np.asarray(x, float)
    if rows.ndim != 2 or rows.shape[1] != len(symbols):
        raise ValueError(
            f"x must be (batch, {len(symbols)}), one column a symbol; got "
            f"{np.shape(x)}."
        )
    # From everywhere: of sorted samples the first ones lie in a corner.
    number = min(len(rows), _MOST_ROWS)
    rows = rows[np.linspace(0, len(rows) - 1, number).astype(int)]

    def evaluate(each: Any) -> np.ndarray:
        with np.errstate(all="ignore"):
            values = sympy.lambdify(symbols, each, "numpy")(*rows.T)
        return np.broadcast_to(np.asarray(values, complex), len(rows))

    values = evaluate(expression)
    allowed = tolerance * float(np.std(values))
    if not np.isfinite(allowed) or allowed == 0:
        return expression

    def is_close(candidate: Any) -> bool:
        change = np.sqrt(np.mean(np.abs(evaluate(candidate) - values) ** 2))
        return bool(change <= allowed)

    simplest = expression
    candidates = [expression]
    if sympy.count_ops(expression) <= _MOST_OPERATIONS:
        candidates.append(_multiplied_out(expression))
    if expression.has(sympy.asin, sympy.acos):
        # Sines of sums of their inverses are how networks of sums multiply.
        candidates.append(_multiplied_out(sympy.expand_trig(expression)))
    for candidate in candidates:
        shorter = _without_small_terms(candidate, evaluate, tolerance)
        if is_close(shorter) and _length(shorter) <= _length(simplest):
            simplest = shorter
    for number in sorted(simplest.atoms(sympy.Float)):
        for nice in _near(number, tolerance):
            candidate = simplest.xreplace({number: nice})
            if is_close(candidate):
                simplest = candidate
                break
    return simplest


def _multiplied_out(expression: Any) -> Any:
    """Return the same without powers of sums; exponentials of sums stay."""
    import sympy

    kept = dict.fromkeys(("power_base", "power_exp", "log", "basic"), False)
    return sympy.expand(expression, **kept)


def _without_small_terms(expression: Any, evaluate: Evaluate, share: float) -> Any:
    """Drop terms that are never more than a share of their sum's largest one."""
    if not expression.args:
        return expression
    terms = [_without_small_terms(a, evaluate, share) for a in expression.args]
    if expression.is_Add:
        sizes = [np.max(np.abs(evaluate(term))) for term in terms]
        terms = [
            term
            for term, size in zip(terms, sizes, strict=True)
            if not size < share * max(sizes)
        ]
    return expression.func(*terms)


def _near(number: Any, share: float) -> list[Any]:
    """Return numbers that are simpler to read and no further than a share of it."""
    import sympy

    halves, turns = round(2 * float(number)), round(2 * float(number) / np.pi)
    simple = [sympy.Rational(halves, 2), sympy.Rational(turns, 2) * sympy.pi]
    # Of large numbers every one is near to an integer.
    return [
        each
        for each, count in zip(simple, (halves, turns), strict=True)
        if abs(count) <= 40 and abs(each - number) <= 2 * share * abs(number)
    ]


def _length(expression: Any) -> int:
    import sympy

    return int(sympy.count_ops(expression)) + len(expression.atoms(sympy.Float))
