"""Theory: predictions about networks, to hold against experiments."""

from kanjax.theory import (
    contraction,
    criticality,
    ensembles,
    finite_width,
    gaussian_classification,
    information_bounds,
    information_estimates,
    moments,
    nearly_kernel,
)
from kanjax.theory.criticality import critical_initialization, universality_class
from kanjax.theory.finite_width import prescribe

__all__ = [
    "contraction",
    "critical_initialization",
    "criticality",
    "ensembles",
    "finite_width",
    "gaussian_classification",
    "information_bounds",
    "information_estimates",
    "moments",
    "nearly_kernel",
    "prescribe",
    "universality_class",
]
