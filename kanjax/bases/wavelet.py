"""Translates of a mother wavelet.

Source: Bozorgasl and Chen (2024), Wav-KAN, arXiv 2405.12832. There every edge has one
wavelet whose scale and place are trained; here it has coefficients for all translates
of a fixed grid, so that a layer stays linear in what it trains.
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
    distance,
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


def meyer(u: Array) -> Array:
    """``sin(pi |u|) m(|u|)``, with the window of Meyer's construction for m.

    m is 1 up to 1/2, ``cos(pi / 2 v(2 |u| - 1))`` up to 1 with ``v(t) = t^4 (35 - 84 t
    + 70 t^2 - 20 t^3)``, and 0 beyond. Wav-KAN's function: a bump of compact support
    with a kink at 0, not the wavelet of zero mean whose spectrum has this window.
    """
    z = jnp.where(u >= 0, u, -u)
    t = jnp.clip(2 * z - 1, 0, 1)
    ramp = t**4 * (35 + t * (-84 + t * (70 - 20 * t)))
    return jnp.sin(math.pi * z) * jnp.where(z < 1, jnp.cos(math.pi / 2 * ramp), 0)


def shannon(u: Array) -> Array:
    """``sinc(u / 2) cos(3 pi u / 2)``, of unit L2 norm and a spectrum of one octave.

    Wav-KAN's own is the low-pass ``sin(u) / u``, in a window along the inputs' places.
    """
    return jnp.sinc(u / 2) * jnp.cos(1.5 * math.pi * u)


KINDS = {
    "mexican_hat": mexican_hat,
    "morlet": morlet,
    "dog": derivative_of_gaussian,
    "meyer": meyer,
    "shannon": shannon,
}


@model.dataclass
class Wavelet:
    """``psi((x - c_g) / scale)`` with centres c_g evenly over the domain.

    Args:
        centers: number of translates, at least 2.
        kind: "mexican_hat", "morlet", "dog" (derivative of a Gaussian), "meyer" or
            "shannon".
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
        u = distance(self.domain, self.centers, self.scale, index, x)
        return KINDS[self.kind](u)
