"""Bases by the names that the field has for them."""

import difflib
from collections.abc import Callable
from typing import Any

from kanjax.bases.activation_pairs import ActivationPairs
from kanjax.bases.bspline import BSpline
from kanjax.bases.fourier import Fourier
from kanjax.bases.gram import Gram
from kanjax.bases.hermite import Hermite
from kanjax.bases.jacobi import Gegenbauer, Jacobi
from kanjax.bases.polynomial import Chebyshev, Legendre
from kanjax.bases.rational import Rational
from kanjax.bases.rbf import GaussianRBF
from kanjax.bases.relu_power import ReLUPower
from kanjax.bases.sech import Sech
from kanjax.bases.sine import Sine
from kanjax.bases.sum import Sum
from kanjax.bases.wavelet import Wavelet

FAMILIES: dict[str, Callable[[int], Any]] = {
    "bspline": lambda resolution: BSpline(resolution),
    "rbf": lambda resolution: GaussianRBF(resolution + 3),
    "chebyshev": lambda resolution: Chebyshev(resolution),
    "legendre": lambda resolution: Legendre(resolution),
    "fourier": lambda resolution: Fourier(resolution),
    "jacobi": lambda resolution: Jacobi(resolution),
    "gegenbauer": lambda resolution: Gegenbauer(resolution),
    "hermite": lambda resolution: Hermite(resolution),
    "gram": lambda resolution: Gram(resolution, points=max(64, resolution + 1)),
    "sine": lambda resolution: Sine(resolution + 3),
    "rswaf": lambda resolution: Sech(resolution + 3),
    "sech": lambda resolution: Sech(resolution + 3, power=1),
    "bsrbf": lambda resolution: Sum((BSpline(resolution), GaussianRBF(resolution + 3))),
    "wavelet": lambda resolution: Wavelet(resolution + 3),
    "morlet": lambda resolution: Wavelet(resolution + 3, "morlet"),
    "dog": lambda resolution: Wavelet(resolution + 3, "dog"),
    "meyer": lambda resolution: Wavelet(resolution + 3, "meyer"),
    "shannon": lambda resolution: Wavelet(resolution + 3, "shannon"),
    "relu": lambda resolution: ReLUPower(resolution),
    "activation": lambda resolution: ActivationPairs(resolution),
    "rational": lambda resolution: Rational(),
}
"""From a resolution: grid intervals, degree or order."""


def family(name: str, resolution: int = 5) -> Any:
    """Return a basis by name, as ``KAN(widths, basis="bspline")`` does.

    Args:
        name: of :data:`FAMILIES`.
        resolution: grid intervals, centres, degree or order; of no use to "rational".

    Raises:
        ValueError: for an unknown name, with the one that is meant.

    Examples:
        >>> family("chebyshev", 4)
        Chebyshev(4)
    """
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"basis {name!r} is none of {', '.join(FAMILIES)}{meant}")
    return FAMILIES[name](resolution)
