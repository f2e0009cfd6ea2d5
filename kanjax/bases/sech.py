"""Bumps of the hyperbolic secant on an even grid.

Source: Delis (2024), FasterKAN, whose "reflectional switch" is the square.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases.basis import (
    Domain,
    all_functions,
    check_at_least,
    check_domain,
    distance,
)


@model.dataclass
class Sech:
    """``sech((x - c_g) / width)^power`` with centres c_g evenly over the domain.

    ``sech(u)^2 = 1 - tanh(u)^2`` is FasterKAN's RSWAF.

    Args:
        centers: number of functions, at least 2.
        domain: (low, high), the first and the last centre.
        width: the bumps' width; None is the distance of two centres.
        power: 1 or 2.
    """

    centers: int = 8
    domain: Domain = (-1.0, 1.0)
    width: float | None = None
    power: int = 2

    def __post_init__(self) -> None:
        check_at_least("centers", self.centers, 2)
        check_domain(self.domain)
        if self.width is not None and not self.width > 0:
            raise ValueError(f"width must be positive or None; got {self.width}.")
        if self.power not in (1, 2):
            raise ValueError(f"power must be 1 or 2; got {self.power}.")

    @property
    def size(self) -> int:
        """The number of centres."""
        return self.centers

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all bumps at x (...,) -> (..., size), or where ``axis`` says."""
        return all_functions(self, x, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one bump at x."""
        u = distance(self.domain, self.centers, self.width, index, x)
        if self.power == 2:
            return 1 - jnp.square(jnp.tanh(u))
        # Not 1 / cosh, whose slope far out is infinity over infinity.
        return jnp.exp(math.log(2) - u - jax.nn.softplus(-2 * u))
