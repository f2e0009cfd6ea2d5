"""Translates of a mother wavelet.

Source: Bozorgasl and Chen (2024), Wav-KAN, arXiv 2405.12832.
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
    evenly,
)


def mexican_hat(u: Array) -> Array:
    """``2 / (sqrt(3) pi^(1/4)) (1 - u^2) exp(-u^2 / 2)``, of unit L2 norm."""
    scale = 2 / (math.sqrt(3) * math.pi**0.25)
    return scale * (1 - u**2) * jnp.exp(-(u**2) / 2)


def morlet(u: Array) -> Array:
    """``cos(5 u) exp(-u^2 / 2)``."""
    return jnp.cos(5 * u) * jnp.exp(-(u**2) / 2)


def derivative_of_gaussian(u: Array) -> Array:
    """``-u exp(-u^2 / 2)``."""
    return -u * jnp.exp(-(u**2) / 2)


KINDS = {"mexican_hat": mexican_hat, "morlet": morlet, "dog": derivative_of_gaussian}


@model.dataclass
class Wavelet:
    """``psi((x - c_g) / scale)`` with centres c_g evenly over the domain.

    Args:
        centers: number of translates, at least 2.
        kind: "mexican_hat", "morlet" or "dog" (derivative of a Gaussian).
        domain: (low, high), the first and the last centre.
        scale: the wavelets' scale; None is the distance of two centres.
    """

    centers: int = 8
    kind: str = "mexican_hat"
    domain: Domain = (-1.0, 1.0)
    scale: float | None = None

    def __post_init__(self) -> None:
        check_at_least("centers", self.centers, 2)
        check_domain(self.domain)
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {sorted(KINDS)}; got {self.kind!r}.")
        if self.scale is not None and not self.scale > 0:
            raise ValueError(f"scale must be positive or None; got {self.scale}.")

    @property
    def size(self) -> int:
        """The number of translates."""
        return self.centers

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all wavelets at x (...,) -> (..., size), or where ``axis`` says."""
        return all_functions(self, x, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one wavelet at x."""
        low, high = self.domain
        scale = self.scale or (high - low) / (self.centers - 1)
        center = evenly(self.domain, self.centers, index, x)
        return KINDS[self.kind]((x - center) * (1 / scale))
