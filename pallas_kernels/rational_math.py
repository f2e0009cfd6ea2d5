"""A safe Pade rational function, its derivatives and its coefficients' gradients.

Coefficients are given by channel, one row each: they broadcast against rows of inputs,
in a kernel's tile as in a whole array.

Source: Yang and Wang (2025), arXiv 2409.10594, sections 4.1 and 4.2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

Rows = Sequence[Array]


class Pieces(NamedTuple):
    """What value and derivatives are made of."""

    value: Array
    slope: Array
    """The derivative of the value in x."""
    denominator: Array
    """Q(x)."""
    sign: Array | None
    """Form B: the sign of the polynomial in Q."""


def pieces(x: Array, a: Rows, b: Rows, form: str) -> Pieces:
    """``P / Q`` with ``P = sum_i a_i x^i`` and Q of form A or B.

    Form A: ``Q = 1 + sum_j |b_j| |x|^j``. Form B: ``Q = 1 + |sum_j b_j x^j|``. The
    derivative of an absolute value at 0 is taken as 1, so that a coefficient of zero
    can leave it.
    """
    p, dp = horner(a, x), horner(_derived(a), x)
    if form == "A":
        z, sign = absolute(x), None
        sizes = [absolute(coefficient) for coefficient in b]
        q = 1 + z * horner(sizes, z)
        dq = horner(_weighted(sizes), z) * sign_of(x)
    else:
        d = x * horner(b, x)
        sign = sign_of(d)
        q = 1 + sign * d
        dq = sign * horner(_weighted(b), x)
    value = p / q
    return Pieces(value, (dp - value * dq) / q, q, sign)


def tangent(
    x: Array, a: Rows, b: Rows, dx: Array, da: Rows, db: Rows, form: str
) -> Array:
    """Return the change of the value along a change of x and of the coefficients."""
    of = pieces(x, a, b, form)
    if of.sign is None:
        z = absolute(x)
        dq = z * horner([sign_of(v) * dv for v, dv in zip(b, db, strict=True)], z)
    else:
        dq = of.sign * x * horner(db, x)
    return of.slope * dx + (horner(da, x) - of.value * dq) / of.denominator


def cotangent(
    x: Array, a: Rows, b: Rows, g: Array, form: str
) -> tuple[Array, list[Array], list[Array]]:
    """Return the gradient in x, and what is to be summed over rows for the
    coefficients'.
    """
    of = pieces(x, a, b, form)
    # On CPU XLA computes a quotient once for all that use it, a product for each anew.
    u = g / of.denominator
    w = -u * of.value
    by_a = _moments(u, x, len(a))
    if of.sign is None:
        z = absolute(x)
        moments = _moments(w * z, z, len(b))
        by_b = [
            sign_of(coefficient) * moment
            for coefficient, moment in zip(b, moments, strict=True)
        ]
    else:
        by_b = _moments(w * of.sign * x, x, len(b))
    return g * of.slope, by_a, by_b


def horner(coef: Rows, x: Array) -> Array:
    """``sum_i coef_i x^i``."""
    value = coef[-1]
    for coefficient in reversed(coef[:-1]):
        value = value * x + coefficient
    return value + jnp.zeros_like(x) if len(coef) == 1 else value


def absolute(x: Array) -> Array:
    """``|x|``, with the derivative 1 at 0."""
    return jnp.where(x >= 0, x, -x)


def sign_of(x: Array) -> Array:
    """1 where x >= 0, else -1."""
    return jnp.where(x >= 0, 1.0, -1.0).astype(x.dtype)


def _weighted(coef: Rows) -> list[Array]:
    return [(j + 1) * coefficient for j, coefficient in enumerate(coef)]


def _derived(coef: Rows) -> list[Array]:
    return _weighted(coef[1:]) if len(coef) > 1 else [jnp.zeros_like(coef[0])]


def _moments(weight: Array, x: Array, number: int) -> list[Array]:
    moments = [weight]
    while len(moments) < number:
        moments.append(moments[-1] * x)
    return moments
