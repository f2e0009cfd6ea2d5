"""Gaussian radial basis functions on an even grid.

Source: Li (2024), FastKAN, arXiv 2405.06721.
"""

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
class GaussianRBF:
    """``exp(-((x - c_g) / width)^2)`` with centres c_g evenly over the domain.

    Args:
        centers: number of functions, at least 2.
        domain: (low, high), the first and the last centre.
        width: the Gaussians' width; None is the distance of two centres.
    """

    centers: int = 8
    domain: Domain = (-1.0, 1.0)
    width: float | None = None

    def __post_init__(self) -> None:
        check_at_least("centers", self.centers, 2)
        check_domain(self.domain)
        if self.width is not None and not self.width > 0:
            raise ValueError(f"width must be positive or None; got {self.width}.")

    @property
    def size(self) -> int:
        """The number of centres."""
        return self.centers

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all Gaussians at x (...,) -> (..., size), or where ``axis`` says."""
        return all_functions(self, x, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one Gaussian at x."""
        u = distance(self.domain, self.centers, self.width, index, x)
        return jnp.exp(-jnp.square(u))
