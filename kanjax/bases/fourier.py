"""Fourier series.

Sources: Xu et al. (2024), FourierKAN-GCF, arXiv 2406.01034; without a constant, Maity
et al. (2025), arXiv 2503.10632.
"""

import math

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases.basis import (
    Domain,
    check_at_least,
    check_domain,
    to_unit,
)
from kanjax.checks import as_floating


@model.dataclass
class Fourier:
    """1, cos(m w t) and sin(m w t) for m = 1 .. order, t the domain mapped to [-1, 1].

    With the default angular frequency w = pi / 2 the series has twice the domain as
    its period, so that a function whose ends differ is fitted without a jump.

    Args:
        order: the highest harmonic, at least 1.
        domain: (low, high), mapped to [-1, 1].
        frequency: the angular frequency w of the first harmonic; 1 on the default
            domain is the series of x itself.
        constant: whether the constant 1 is among the functions.
    """

    order: int = 5
    domain: Domain = (-1.0, 1.0)
    frequency: float = math.pi / 2
    constant: bool = True

    def __post_init__(self) -> None:
        check_at_least("order", self.order, 1)
        check_domain(self.domain)

    @property
    def size(self) -> int:
        """2 * order, and 1 for the constant: the constant, the cosines, the sines."""
        return 2 * self.order + self.constant

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all functions at x (...,) -> (..., size), or where ``axis`` says."""
        angle = self._angle(as_floating(x))
        cosines, sines = [jnp.cos(angle)], [jnp.sin(angle)]
        # Harmonic m is m - 1 turned by one angle: its error grows with m, not m^2 as
        # that of the recurrence of Chebyshev, and no other sine is evaluated.
        for _ in range(self.order - 1):
            cos, sin = cosines[-1], sines[-1]
            cosines.append(cos * cosines[0] - sin * sines[0])
            sines.append(sin * cosines[0] + cos * sines[0])
        ones = [jnp.ones_like(angle)] if self.constant else []
        return jnp.stack([*ones, *cosines, *sines], axis=axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one function at x."""
        x = as_floating(x)
        index = jnp.asarray(index) + (not self.constant)
        is_cosine = index <= self.order
        harmonic = jnp.where(is_cosine, index, index - self.order)
        phase = jnp.where(is_cosine, math.pi / 2, 0).astype(x.dtype)
        # One sine for all, the constant being sin(pi / 2).
        return jnp.sin(harmonic.astype(x.dtype) * self._angle(x) + phase)

    def _angle(self, x: Array) -> Array:
        return self.frequency * to_unit(x, self.domain)
