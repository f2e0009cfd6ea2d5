"""Neural tangent kernels of any ``apply(params, x)``."""

from kanjax.ntk.finite_width import empirical
from kanjax.ntk.spectra import Spectrum, alignment, drift, spectrum

__all__ = ["Spectrum", "alignment", "drift", "empirical", "spectrum"]
