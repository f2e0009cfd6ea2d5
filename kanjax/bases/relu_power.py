"""Bumps made of two rectifiers.

Source: Qiu et al. (2024), ReLU-KAN, arXiv 2406.02075.
"""

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases.basis import Domain, all_functions, check_at_least, check_domain
from kanjax.checks import as_floating


@model.dataclass
class ReLUPower:
    """``(r relu(x - low_g) relu(high_g - x))^power``, scaled to a maximum of one.

    Function g rises at ``low_g`` and ends ``degree + 1`` intervals later, as the
    B-spline of that degree does.

    Args:
        intervals: number of grid intervals over the domain, at least 1.
        degree: the overlap: ``degree + 1`` bumps cover a point; at least 0.
        domain: (low, high) of the grid.
        power: 2 is ReLU-KAN; a bump has power - 1 continuous derivatives.
    """

    intervals: int = 5
    degree: int = 3
    domain: Domain = (-1.0, 1.0)
    power: int = 2

    def __post_init__(self) -> None:
        check_at_least("intervals", self.intervals, 1)
        check_at_least("degree", self.degree, 0)
        check_at_least("power", self.power, 1)
        check_domain(self.domain)

    @property
    def size(self) -> int:
        """intervals + degree."""
        return self.intervals + self.degree

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all bumps at x (...,) -> (..., size), or where ``axis`` says."""
        return all_functions(self, x, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one bump at x."""
        x = as_floating(x)
        low, high = self.domain
        position = (x - low) * (self.intervals / (high - low))
        along_bump = position - (jnp.asarray(index, x.dtype) - self.degree)
        width = self.degree + 1
        product = along_bump * (width - along_bump) * (4 / width**2)
        return jnp.where(product > 0, product, 0) ** self.power
