"""Polynomials that are orthogonal on [-1, 1] for simple weights.

Sources: Abramowitz and Stegun (1964), table 22.7; as the basis of a KAN: SS et al.
(2024), arXiv 2405.07200 (Chebyshev).
"""

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases import recurrence
from kanjax.bases.basis import Domain


@model.dataclass
class Chebyshev(recurrence.Polynomials):
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

    def start_and_step(self, t: Array) -> tuple[Array, recurrence.Step]:
        """Not cos(n arccos t), whose derivative is lost at ``|t| = 1``."""
        return t, lambda n, p, before: 2 * t * p - before


@model.dataclass
class Legendre(recurrence.Polynomials):
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

    def start_and_step(self, t: Array) -> tuple[Array, recurrence.Step]:
        """``(n + 1) p_(n+1) = (2 n + 1) t p_n - n p_(n-1)``."""

        def step(n: int | Array, p: Array, before: Array) -> Array:
            return ((2 * n + 1) * t * p - n * before) * (1 / (n + 1))

        return t, step
