"""Polynomials that are orthogonal on [-1, 1] for simple weights.

Sources: Abramowitz and Stegun (1964), table 22.7; as the basis of a KAN: SS et al.
(2024), arXiv 2405.07200 (Chebyshev).
"""

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases import recurrence
from kanjax.bases.basis import Domain, check_at_least, check_domain


@model.dataclass
class Chebyshev:
    """Chebyshev polynomials of the first kind, T_0 to T_degree.

    Args:
        degree: highest degree, at least 0.
        domain: (low, high), mapped to [-1, 1], where the polynomials are bounded.
        squash: applied to the mapped x, so that x outside the domain does not
            explode; None evaluates the polynomials themselves.
    """

    degree: int = 5
    domain: Domain = (-1.0, 1.0)
    squash: recurrence.Squash = jnp.tanh

    def __post_init__(self) -> None:
        check_at_least("degree", self.degree, 0)
        check_domain(self.domain)

    @property
    def size(self) -> int:
        """degree + 1."""
        return self.degree + 1

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all polynomials at x (...,) -> (..., size), or along ``axis``."""
        t = recurrence.prepare(x, self.domain, self.squash)
        return recurrence.all_degrees(_chebyshev(t), t, self.size, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one polynomial at x."""
        t = recurrence.prepare(x, self.domain, self.squash)
        return recurrence.one_degree(_chebyshev(t), t, index)


@model.dataclass
class Legendre:
    """Legendre polynomials, P_0 to P_degree.

    Args:
        degree: highest degree, at least 0.
        domain: (low, high), mapped to [-1, 1], where the polynomials are bounded.
        squash: applied to the mapped x, so that x outside the domain does not
            explode; None evaluates the polynomials themselves.
    """

    degree: int = 5
    domain: Domain = (-1.0, 1.0)
    squash: recurrence.Squash = jnp.tanh

    def __post_init__(self) -> None:
        check_at_least("degree", self.degree, 0)
        check_domain(self.domain)

    @property
    def size(self) -> int:
        """degree + 1."""
        return self.degree + 1

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all polynomials at x (...,) -> (..., size), or along ``axis``."""
        t = recurrence.prepare(x, self.domain, self.squash)
        return recurrence.all_degrees(_legendre(t), t, self.size, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one polynomial at x."""
        t = recurrence.prepare(x, self.domain, self.squash)
        return recurrence.one_degree(_legendre(t), t, index)


def _chebyshev(t: Array) -> recurrence.Step:
    # The recurrence, not cos(n arccos t), whose derivative is lost at |t| = 1.
    return lambda n, p, before: 2 * t * p - before


def _legendre(t: Array) -> recurrence.Step:
    return lambda n, p, before: ((2 * n + 1) * t * p - n * before) * (1 / (n + 1))
