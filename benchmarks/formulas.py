"""Formulas to recover, of the kind of the Feynman set, and when one is recovered.

The formulas are those of Udrescu and Tegmark (2020), arXiv 1905.11481, without their
units; each is a KAN of two layers on its domain. Nothing here needs more than numpy and
sympy, since the peers' Python runs it as well.
"""

import math
from typing import Any, NamedTuple

import numpy as np

ROWS, SEED = 1000, 0
TOLERANCE = 1e-3


class Formula(NamedTuple):
    """A formula in x1, x2, ...

    Attributes:
        name: its number in the Feynman lectures, or what it is.
        text: as numpy reads it.
        inputs: number of variables.
        domain: of every variable.
        hidden: how many hidden units that sum and that multiply a network starts with.
    """

    name: str
    text: str
    inputs: int
    domain: tuple[float, float]
    hidden: tuple[int, int] = (3, 0)


FORMULAS = (
    Formula("Liu et al.", "exp(sin(pi * x1) + x2**2)", 2, (-1.0, 1.0)),
    Formula("I.6.20a", "exp(-(x1**2) / 2) / sqrt(2 * pi)", 1, (-2.0, 2.0), (2, 0)),
    Formula("I.8.14", "sqrt(x1**2 + x2**2)", 2, (0.2, 1.0)),
    Formula("I.10.7", "1 / sqrt(1 - x1**2)", 1, (-0.7, 0.7), (2, 0)),
    Formula("I.12.1", "x1 * x2", 2, (0.2, 1.0)),
    Formula("I.12.11", "1 + x1 * sin(x2)", 2, (-1.0, 1.0), (1, 1)),
    Formula("I.13.4", "x1 * (x2**2 + x3**2) / 2", 3, (-1.0, 1.0), (1, 1)),
    Formula("I.16.6", "(x1 + x2) / (1 + x1 * x2)", 2, (-0.7, 0.7)),
    Formula("I.25.13", "x1 / x2", 2, (0.2, 1.0)),
    Formula("I.34.14", "(1 + x1) / sqrt(1 - x1**2)", 1, (-0.7, 0.7), (2, 0)),
    Formula("I.40.1", "x1 * exp(-x2)", 2, (0.2, 1.0)),
    Formula("II.6.15b", "cos(x1) * sin(x1) * x2", 2, (0.2, 1.0), (1, 1)),
    Formula("II.38.14", "x1 / (2 * (1 + x2))", 2, (0.2, 1.0)),
    Formula("III.10.19", "sqrt(1 + x1**2 + x2**2)", 2, (-1.0, 1.0)),
    Formula("III.17.37", "x1 * (1 + cos(x2) / 2)", 2, (-1.0, 1.0), (1, 1)),
)


def samples(one: Formula) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (rows, inputs), uniform on the domain, and targets (rows, 1)."""
    generator = np.random.default_rng(SEED)
    x = generator.uniform(*one.domain, (ROWS, one.inputs))
    return x, evaluate(one, x)


def evaluate(one: Formula, x: np.ndarray) -> np.ndarray:
    """The formula's values (rows, 1); the text is ours, not a file's."""
    import sympy

    names = [f"x{i + 1}" for i in range(one.inputs)]
    expression = sympy.sympify(one.text, {"pi": math.pi})
    return _values(expression, names, x)[:, None]


def judge(one: Formula, expression: Any, names: list[str]) -> dict[str, Any]:
    """Errors of a sympy expression, over the target's deviation, and the verdict.

    "outside" is the domain moved by an eighth of its length: within reach of what every
    formula is defined on, and beyond what a network has seen.
    """
    low, high = one.domain
    move = (high - low) / 8
    generator = np.random.default_rng(SEED + 1)
    unit = generator.uniform(0, 1, (ROWS, one.inputs))
    errors = {}
    for where, start in (("rmse", low), ("rmse_outside", low + move)):
        x = start + (high - low) * unit
        true = evaluate(one, x)[:, 0]
        error = _values(expression, names, x) - true
        value = float(np.sqrt(np.mean(error**2)) / np.std(true))
        errors[where] = value if math.isfinite(value) else None
    recovered = all(v is not None and v < TOLERANCE for v in errors.values())
    return {"recovered": recovered, **errors, "expression": str(expression)}


def _values(expression: Any, names: list[str], x: np.ndarray) -> np.ndarray:
    import sympy

    function = sympy.lambdify(sympy.symbols(names), expression, "numpy")
    with np.errstate(all="ignore"):
        values = np.asarray(function(*x.T))
    # A complex value is outside of a function's domain.
    values = np.where(np.abs(np.imag(values)) > 0, np.nan, np.real(values))
    return np.broadcast_to(values, len(x)).astype(float)
