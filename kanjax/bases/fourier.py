"""Fourier series.

Source: Xu et al. (2024), FourierKAN-GCF, arXiv 2406.01034.
"""

import math

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases.basis import (
    Domain,
    all_functions,
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
        frequency: the angular frequency w of the first harmonic.
    """

    order: int = 5
    domain: Domain = (-1.0, 1.0)
    frequency: float = math.pi / 2

    def __post_init__(self) -> None:
        check_at_least("order", self.order, 1)
        check_domain(self.domain)

    @property
    def size(self) -> int:
        """2 * order + 1: the constant, the cosines, the sines."""
        return 2 * self.order + 1

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all functions at x (...,) -> (..., size), or where ``axis`` says."""
        return all_functions(self, x, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one function at x."""
        x, index = as_floating(x), jnp.asarray(index)
        is_cosine = index <= self.order
        harmonic = jnp.where(is_cosine, index, index - self.order)
        phase = jnp.where(is_cosine, math.pi / 2, 0).astype(x.dtype)
        frequency = self.frequency * harmonic.astype(x.dtype)
        # One sine for all, the constant being sin(pi / 2).
        return jnp.sin(frequency * to_unit(x, self.domain) + phase)
