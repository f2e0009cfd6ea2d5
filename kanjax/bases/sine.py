"""Sines of several frequencies and phases.

Sources: Reinhardt et al. (2024), SineKAN, arXiv 2407.04149; Guilhoto and Perdikaris
(2024), ActNet, arXiv 2410.01990 (mean and variance taken out). Both train frequencies;
here they are fixed.
"""

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
class Sine:
    """``sin(g w t + g / (waves + 1))`` for g = 1 to waves, t the domain as [-1, 1].

    Args:
        waves: number of functions, at least 1.
        domain: (low, high), mapped to [-1, 1].
        frequency: the angular frequency w of the first.
        standardized: whether each function has mean 0 and variance 1 for a standard
            normal t.
    """

    waves: int = 8
    domain: Domain = (-1.0, 1.0)
    frequency: float = 1.0
    standardized: bool = False

    def __post_init__(self) -> None:
        check_at_least("waves", self.waves, 1)
        check_domain(self.domain)
        if not self.frequency > 0:
            raise ValueError(f"frequency must be positive; got {self.frequency}.")

    @property
    def size(self) -> int:
        """The number of waves."""
        return self.waves

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all sines at x (...,) -> (..., size), or where ``axis`` says."""
        return all_functions(self, x, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one sine at x."""
        x = as_floating(x)
        number = jnp.asarray(index, x.dtype) + 1
        w, phase = number * self.frequency, number * (1 / (self.waves + 1))
        wave = jnp.sin(w * to_unit(x, self.domain) + phase)
        if not self.standardized:
            return wave
        mean = jnp.exp(-jnp.square(w) / 2) * jnp.sin(phase)
        square = (1 - jnp.exp(-2 * jnp.square(w)) * jnp.cos(2 * phase)) / 2
        return (wave - mean) / jnp.sqrt(square - jnp.square(mean))
