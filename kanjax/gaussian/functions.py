"""Activations whose Gaussian duals have closed forms.

Each is a function of arrays and has a method ``dual(q11, q12, q22)``: with (u, v)
centred Gaussian of variances q11 and q22 and covariance q12, ``value`` is
``E[phi(u) phi(v)]`` and ``slope`` is ``E[phi'(u) phi'(v)]``. They compare by value, so
that a model with one of them is compiled once.

Williams 1996 (erf); Cho, Saul 2009 (rectified monomials); Rahimi, Recht 2007 (rbf);
Tsuchida, Pearce, van der Heide, Roosta, Gallagher 2020, arXiv 2002.08517 (gelu); Han,
Zandieh, Lee, Novak, Xiao, Karbasi 2022, arXiv 2209.04121 (others).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax.gaussian.quadrature import Dual
from kanjax.square_root import safe_sqrt

Batch = Float[Array, "..."]


@runtime_checkable
class Known(Protocol):
    """A function that knows its dual."""

    def __call__(self, x: Array) -> Array: ...

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual: ...


@dataclasses.dataclass(frozen=True)
class ABReLU:
    """``a min(x, 0) + b max(x, 0)``: relu (0, 1), abs (-1, 1), the identity (1, 1)."""

    a: float
    b: float

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return self.a * jnp.minimum(x, 0) + self.b * jnp.maximum(x, 0)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Return the arc-cosine kernel of order one, for two slopes."""
        sine, angle = _angle(q11, q12, q22)
        bend = (self.a - self.b) ** 2 / (2 * math.pi)
        slope = (self.a**2 + self.b**2) / 2 - bend * angle
        return Dual(bend * sine + slope * q12, slope)


def relu() -> ABReLU:
    """``max(x, 0)``."""
    return ABReLU(0.0, 1.0)


def leaky_relu(negative_slope: float) -> ABReLU:
    """x, times ``negative_slope`` where it is negative."""
    return ABReLU(negative_slope, 1.0)


def absolute() -> ABReLU:
    """``|x|``."""
    return ABReLU(-1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Sign:
    """-1, 0 or 1. No gradient passes: the dual's slope is 0."""

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return jnp.sign(x)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """``1 - 2 angle / pi``, and 0 where a value is always 0, as its sign is."""
        angle = _angle(q11, q12, q22)[1]
        zero = (q11 == 0) | (q22 == 0)
        value = jnp.where(zero, 0.0, 1 - 2 * angle / math.pi)
        return Dual(value, jnp.zeros_like(angle))


@dataclasses.dataclass(frozen=True)
class Step:
    """1 where x is at least 0, else 0. No gradient passes: the dual's slope is 0."""

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return jnp.where(x >= 0, 1.0, 0.0).astype(x.dtype)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Return the arc-cosine kernel of order zero."""
        angle = _angle(q11, q12, q22)[1]
        return Dual((math.pi - angle) / (2 * math.pi), jnp.zeros_like(angle))


# Of each order the polynomials in cos that multiply (pi - angle) and sin (Cho and Saul,
# equation 5, carried out), lowest power first.
_ARC_COSINE = (
    ((1,), (0,)),
    ((0, 1), (1,)),
    ((1, 0, 2), (0, 3)),
    ((0, 9, 0, 6), (4, 0, 11)),
    ((9, 0, 72, 0, 24), (0, 55, 0, 50)),
    ((0, 225, 0, 600, 0, 120), (64, 0, 607, 0, 274)),
)


@dataclasses.dataclass(frozen=True)
class RectifiedMonomial:
    """``x^degree`` where x is at least 0, else 0; degrees 0 (no slope) to 5."""

    degree: int

    def __post_init__(self) -> None:
        if self.degree not in range(len(_ARC_COSINE)):
            raise ValueError(f"degree must be from 0 to 5; got {self.degree!r}.")

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return jnp.where(x >= 0, x**self.degree, 0).astype(x.dtype)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Return the arc-cosine kernel of order ``degree``."""
        sine, angle = _angle(q11, q12, q22)
        size = safe_sqrt(q11 * q22)
        scale = jnp.where(size > 0, size, 1.0)
        sine, cosine = sine / scale, q12 / scale

        def of(order: int) -> Array:
            left, right = _ARC_COSINE[order]
            value = _horner(left, cosine) * (math.pi - angle)
            return size**order * (value + _horner(right, cosine) * sine) / (2 * math.pi)

        value = of(self.degree)
        if self.degree == 0:
            return Dual(value, jnp.zeros_like(value))
        return Dual(value, self.degree**2 * of(self.degree - 1))


@dataclasses.dataclass(frozen=True)
class Erf:
    """``a erf(b x) + c``."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return self.a * jax.scipy.special.erf(self.b * x) + self.c

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Return the arc-sine kernel; by arctan2, which is exact near its ends, too."""
        q11, q12, q22 = (2 * self.b**2 * q for q in (q11, q12, q22))
        root = jnp.sqrt(1 + q11 + q22 + _determinant(q11, q12, q22))
        value = (2 / math.pi) * self.a**2 * jnp.arctan2(q12, root) + self.c**2
        return Dual(value, (4 / math.pi) * (self.a * self.b) ** 2 / root)


def sigmoid_like() -> Erf:
    """``(erf(x / 2.4020563531719796) + 1) / 2``, close to the logistic function."""
    return Erf(0.5, 1 / 2.4020563531719796, 0.5)


@dataclasses.dataclass(frozen=True)
class Gelu:
    """``x Phi(x)``, Phi the normal distribution function: the exact gelu.

    ``jax.nn.gelu`` is its approximation by tanh unless told ``approximate=False``.
    """

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return jax.nn.gelu(x, approximate=False)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Equation 11 of arXiv 2002.08517, and its derivative."""
        product = q11 * q22
        outer = (1 + q11) * (1 + q22)
        square = 1 + q11 + q22 + _determinant(q11, q12, q22)
        root = jnp.sqrt(square)
        angle = jnp.arctan2(q12, root)
        ratio = (q12**2 + product * square) / (outer * root)
        value = (ratio + q12 * angle) / (2 * math.pi) + q12 / 4
        bracket = 1 / square + (2 + q11 + q22) / outer
        slope = q12 / root * bracket / (2 * math.pi) + 0.25 + angle / (2 * math.pi)
        return Dual(value, slope)


@dataclasses.dataclass(frozen=True)
class Sine:
    """``a sin(b x + c)``."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return self.a * jnp.sin(self.b * x + self.c)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Two Gaussians, of the difference and of the sum."""
        half = (q11 + q22) / 2
        minus = jnp.exp(-(self.b**2) * (half - q12))
        plus = math.cos(2 * self.c) * jnp.exp(-(self.b**2) * (half + q12))
        scale = self.a**2 / 2
        return Dual(scale * (minus - plus), scale * self.b**2 * (minus + plus))


def cosine(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Sine:
    """Return ``a cos(b x + c)``."""
    return Sine(a, b, c + math.pi / 2)


def rbf(gamma: float = 1.0) -> Sine:
    """``sqrt(2) sin(sqrt(2 gamma) x + pi / 4)``: its dual is the Gaussian kernel.

    ``value = exp(-gamma (q11 + q22 - 2 q12))``.
    """
    return Sine(math.sqrt(2), math.sqrt(2 * gamma), math.pi / 4)


@dataclasses.dataclass(frozen=True)
class Exponential:
    """``a exp(b x)``."""

    a: float = 1.0
    b: float = 1.0

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return self.a * jnp.exp(self.b * x)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Return the mean of a log-normal."""
        value = self.a**2 * jnp.exp(self.b**2 * ((q11 + q22) / 2 + q12))
        return Dual(value, self.b**2 * value)


@dataclasses.dataclass(frozen=True)
class SquaredExponential:
    """``a exp(b x^2)`` with b at most 0."""

    a: float = 1.0
    b: float = -1.0

    def __post_init__(self) -> None:
        if self.b > 0:
            raise ValueError(
                f"b must be at most 0, or the dual is infinite; got {self.b!r}."
            )

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return self.a * jnp.exp(self.b * x**2)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Return a Gaussian integral."""
        a, b = self.a, self.b
        q11, q12, q22 = (-2 * b * q for q in (q11, q12, q22))
        square = 1 + q11 + q22 + _determinant(q11, q12, q22)
        value = a**2 / jnp.sqrt(square)
        return Dual(value, -2 * b * q12 * value / square)


@dataclasses.dataclass(frozen=True)
class Gabor:
    """``exp(-x^2) sin(x)``."""

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return jnp.exp(-(x**2)) * jnp.sin(x)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Return a Gaussian integral of a product of sines."""
        total, product = q11 + q22, q11 * q22
        f = 4 * (product - q12**2)
        n = 2 * total + f + 1
        minus = jnp.exp(-(total + f + 2 * q12) / (2 * n))
        plus = jnp.exp(-(total + f - 2 * q12) / (2 * n))
        g = 1 + 2 * total + 4 * (q12**2 + product)
        h = 4 * q12 * (f + 3 * total + 2)
        value = (plus - minus) / (2 * jnp.sqrt(n))
        return Dual(value, ((g - h) * minus + (g + h) * plus) / (2 * n**2.5))


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """``sum_j coefficients[j] x^j``."""

    coefficients: tuple[float, ...]

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return _horner(self.coefficients, x)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """``sum_l r_l(q11) r_l(q22) q12^l``, by the Hermite expansion."""
        degree = len(self.coefficients) - 1
        terms = []
        for order in range(degree + 1):
            shares = _wick(self.coefficients, order)
            terms.append(_horner(shares, q11) * _horner(shares, q22))
        value = sum((t * q12**k for k, t in enumerate(terms)), jnp.zeros_like(q12))
        slope = sum(
            (k * terms[k] * q12 ** (k - 1) for k in range(1, degree + 1)),
            jnp.zeros_like(q12),
        )
        return Dual(value, slope)


def monomial(degree: int) -> Polynomial:
    """``x^degree``."""
    return Polynomial((0.0,) * degree + (1.0,))


def hermite(degree: int) -> Polynomial:
    """Return the normalised Hermite polynomial, ``He_n(x) / sqrt(n!)``.

    At unit variances ``value = q12^n``; at others the dual is that of the polynomial.

    Args:
        degree: n, from 0.
    """
    series = np.polynomial.hermite_e.herme2poly([0] * degree + [1])
    scale = math.sqrt(math.factorial(degree))
    return Polynomial(tuple(float(c) / scale for c in series))


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """A function with a dual of your own.

    Args:
        function: of each value.
        value: ``(q11, q12, q22) -> E[phi(u) phi(v)]``.
        slope: ``(q11, q12, q22) -> E[phi'(u) phi'(v)]``; the derivative of ``value`` in
            q12 by automatic differentiation if None.
    """

    function: Callable[[Array], Array]
    value: Callable[[Array, Array, Array], Array]
    slope: Callable[[Array, Array, Array], Array] | None = None

    def __call__(self, x: Array) -> Array:
        """Return the function of x (...)."""
        return self.function(x)

    def dual(self, q11: Batch, q12: Batch, q22: Batch) -> Dual:
        """Your value, and your slope or the value's derivative."""
        if self.slope is not None:
            return Dual(self.value(q11, q12, q22), self.slope(q11, q12, q22))
        q11, q12, q22 = jnp.broadcast_arrays(q11, q12, q22)
        along = (jnp.zeros_like(q11), jnp.ones_like(q12), jnp.zeros_like(q22))
        return Dual(*jax.jvp(self.value, (q11, q12, q22), along))


def _determinant(q11: Batch, q12: Batch, q22: Batch) -> Array:
    """``q11 q22 - q12^2``, which is at least 0 but for round-off.

    Beside 1 and the variances, which it is added to, round-off of products would be as
    large as they are.
    """
    value = q11 * q22 - q12**2
    # The derivative stays: on the diagonal it is that of a value which is 0.
    return value + jax.lax.stop_gradient(jnp.maximum(-value, 0))


def _angle(q11: Batch, q12: Batch, q22: Batch) -> tuple[Array, Array]:
    """``sqrt(q11 q22) sin(angle)`` and the angle between u and v."""
    size = q11 * q22
    square = size - q12**2
    # Below this the difference is round-off, of which the root would make 1e-8.
    noise = 4 * jnp.finfo(square.dtype).eps * size
    sine = safe_sqrt(jnp.where(square > noise, square, 0.0))
    return sine, _upper_arctan2(sine, q12, _inverse_root(q11) * _inverse_root(q22))


def _inverse_root(q: Array) -> Array:
    """Of a value that is always 0 it is taken as 0, and so is its angle to others."""
    some = q > 0
    return jnp.where(some, jax.lax.rsqrt(jnp.where(some, q, 1.0)), 0.0)


@jax.custom_jvp
def _upper_arctan2(y: Array, x: Array, inverse: Array) -> Array:
    """``arctan2(y, x)`` for y at least 0 and ``inverse = 1 / sqrt(x^2 + y^2)``.

    As ``y inverse p(|x| inverse)`` with a polynomial p, which loses nothing at small
    angles, where arccos would lose half of the digits, and costs a fraction of arctan2.
    """
    cosine = jnp.minimum(jnp.abs(x) * inverse, 1.0)
    # Relative errors of 2e-9 in single and 3e-15 in double precision.
    powers = _angle_over_sine(18 if y.dtype == jnp.float64 else 10)
    angle = y * inverse * _horner(powers, 2 * cosine - 1)
    return jnp.where(x < 0, math.pi - angle, angle)


@_upper_arctan2.defjvp
def _upper_arctan2_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    y, x, inverse = primals
    dy, dx, _ = tangents
    return _upper_arctan2(y, x, inverse), (x * dy - y * dx) * inverse**2


@functools.cache
def _angle_over_sine(degree: int) -> tuple[float, ...]:
    """Of angles up to a right one, in powers of ``t = 2 cos(angle) - 1``."""

    def ratio(t: np.ndarray) -> np.ndarray:
        cosine, sine = (1 + t) / 2, np.sqrt((1 - t) * (3 + t)) / 2
        return np.arctan2(sine, cosine) / sine

    series = np.polynomial.Chebyshev.interpolate(ratio, degree)
    return tuple(series.convert(kind=np.polynomial.Polynomial).coef.tolist())


def _horner(coefficients: Sequence[float], x: Array) -> Array:
    value = jnp.zeros_like(x)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def _wick(coefficients: tuple[float, ...], order: int) -> tuple[float, ...]:
    """In powers of the variance: E of the order-th derivative, over sqrt(order!)."""
    count = (len(coefficients) - 1 - order) // 2 + 1
    return tuple(
        coefficients[2 * i + order]
        * math.factorial(2 * i + order)
        / (2**i * math.factorial(i) * math.sqrt(math.factorial(order)))
        for i in range(count)
    )
