"""Hermite polynomials.

Source: Abramowitz and Stegun (1964), table 22.7.
"""

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases import recurrence
from kanjax.bases.basis import Domain, check_at_least, check_domain


@model.dataclass
class Hermite:
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
        return recurrence.all_degrees(_step(t), t, self.size, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one polynomial at x."""
        t = recurrence.prepare(x, self.domain, self.squash)
        return recurrence.one_degree(_step(t), t, index)


def _step(t: Array) -> recurrence.Step:
    def step(n: int | Array, p: Array, before: Array) -> Array:
        return (t * p - jnp.asarray(n, t.dtype) ** 0.5 * before) * (n + 1) ** -0.5

    return step
