"""Neural tangent kernels, of any ``apply(params, x)`` and of infinite width."""

from kanjax.ntk.covariances import Covariances
from kanjax.ntk.finite_width import empirical
from kanjax.ntk.infinite_width import RULES, Kernel, infinite, rows_product
from kanjax.ntk.rules import Rule
from kanjax.ntk.spectra import Spectrum, alignment, drift, spectrum

__all__ = [
    "RULES",
    "Covariances",
    "Kernel",
    "Rule",
    "Spectrum",
    "alignment",
    "drift",
    "empirical",
    "infinite",
    "rows_product",
    "spectrum",
]
