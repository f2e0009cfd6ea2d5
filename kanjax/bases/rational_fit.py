"""Fitting safe Pade rationals to functions by nonlinear least squares.

Source: Yang and Wang (2025), arXiv 2409.10594, section 4.2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.bases.basis import Domain, check_at_least, check_domain

_ROUNDS = 8


class RationalFit(NamedTuple):
    """The coefficients of a rational function.

    Attributes:
        numerator: (m + 1,), a_0 to a_m.
        denominator: (n,), b_1 to b_n.
        error: the largest absolute error on the points of the fit.
    """

    numerator: Array
    denominator: Array
    error: float


def fit_rational(
    function: Callable[[Array], Array],
    *,
    orders: tuple[int, int] = (5, 4),
    form: str = "A",
    domain: Domain = (-3.0, 3.0),
    points: int = 1000,
) -> RationalFit:
    """Return the safe Pade rational nearest to a function in mean square.

    Levenberg and Marquardt's method, from where repeated linear least squares for
    ``P - f (Q - 1) = f`` arrive (Sanathanan and Koerner 1963). Runs in float64 on the
    host.

    Args:
        function: of each value.
        orders: (m, n), the degrees of P and Q.
        form: "A" or "B", as for :class:`Rational`.
        domain: the interval of the fit.
        points: number of evenly spaced points, at least m + n + 1.

    Examples:
        >>> import jax
        >>> bool(fit_rational(jax.nn.silu).error < 1e-4)
        True
    """
    from scipy import optimize

    m, n = orders
    check_at_least("orders[0]", m, 1)
    check_at_least("orders[1]", n, 1)
    check_at_least("points", points, m + n + 1)
    check_domain(domain)
    if form not in ("A", "B"):
        raise ValueError(f"form must be 'A' or 'B'; got {form!r}.")
    x = np.linspace(*domain, points)
    y = np.asarray(function(jnp.asarray(x, jnp.float32)), float)
    powers = np.vander(x, m + 1, increasing=True)
    below = np.vander(np.abs(x) if form == "A" else x, n + 1, increasing=True)[:, 1:]

    def residuals(coefficients: np.ndarray) -> np.ndarray:
        a, b = np.split(coefficients, [m + 1])
        inner = below @ (np.abs(b) if form == "A" else b)
        return powers @ a / (1 + np.abs(inner)) - y

    starts = _starts(powers, below, y, form)
    fits = [optimize.least_squares(residuals, s, method="lm") for s in starts]
    best = min(fits, key=lambda fit: fit.cost)
    a, b = np.split(best.x, [m + 1])
    error = float(np.max(np.abs(residuals(best.x))))
    return RationalFit(jnp.asarray(a), jnp.asarray(b), error)


def _starts(
    powers: np.ndarray, below: np.ndarray, y: np.ndarray, form: str
) -> list[np.ndarray]:
    """Where the linear problem arrives, and the polynomial with a small denominator."""
    m = powers.shape[1]
    weight = np.ones(len(y))
    design = np.hstack([powers, -y[:, None] * below])
    solution = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        solution = np.linalg.lstsq(weight[:, None] * design, weight * y, rcond=None)[0]
        b = np.abs(solution[m:]) if form == "A" else solution[m:]
        weight = 1 / (1 + np.abs(below @ b))
    linear = np.concatenate([solution[:m], np.where(b == 0, 1e-3, b)])
    plain = np.linalg.lstsq(powers, y, rcond=None)[0]
    return [linear, np.concatenate([plain, np.full(below.shape[1], 0.1)])]
