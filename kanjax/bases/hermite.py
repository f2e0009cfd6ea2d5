"""Hermite polynomials.

Source: Abramowitz and Stegun (1964), table 22.7.
"""

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases import recurrence
from kanjax.bases.basis import Domain


@model.dataclass
class Hermite(recurrence.Polynomials):
    """Normalised Hermite polynomials ``He_n(t) / sqrt(n!)``, n = 0 to degree.

    They are orthonormal for a standard normal t: without a squash they suit inputs of
    mean 0 and variance 1.

    Args:
        degree: highest degree, at least 0.
        domain: (low, high), mapped to [-1, 1].
        squash: applied to the mapped x, so that x outside the domain does not
            explode; None evaluates the polynomials themselves.
    """

    degree: int = 5
    domain: Domain = (-1.0, 1.0)
    squash: recurrence.Squash = jnp.tanh

    def start_and_step(self, t: Array) -> tuple[Array, recurrence.Step]:
        """``sqrt(n + 1) p_(n+1) = t p_n - sqrt(n) p_(n-1)``."""

        def step(n: int | Array, p: Array, before: Array) -> Array:
            return (t * p - jnp.asarray(n, t.dtype) ** 0.5 * before) * (n + 1) ** -0.5

        return t, step
