"""Families of univariate functions, one file a family, one interface."""

from kanjax.bases.activation_pairs import ActivationPairs
from kanjax.bases.basis import Basis
from kanjax.bases.bspline import BSpline
from kanjax.bases.families import FAMILIES, family
from kanjax.bases.fourier import Fourier
from kanjax.bases.gram import Gram
from kanjax.bases.hermite import Hermite
from kanjax.bases.jacobi import Gegenbauer, Jacobi
from kanjax.bases.polynomial import Chebyshev, Legendre
from kanjax.bases.rational import Rational
from kanjax.bases.rational_fit import RationalFit, fit_rational
from kanjax.bases.rbf import GaussianRBF
from kanjax.bases.relu_power import ReLUPower
from kanjax.bases.sech import Sech
from kanjax.bases.sine import Sine
from kanjax.bases.sum import Sum
from kanjax.bases.wavelet import Wavelet

__all__ = [
    "FAMILIES",
    "ActivationPairs",
    "BSpline",
    "Basis",
    "Chebyshev",
    "Fourier",
    "GaussianRBF",
    "Gegenbauer",
    "Gram",
    "Hermite",
    "Jacobi",
    "Legendre",
    "Rational",
    "RationalFit",
    "ReLUPower",
    "Sech",
    "Sine",
    "Sum",
    "Wavelet",
    "family",
    "fit_rational",
]
