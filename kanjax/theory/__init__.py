"""Theory: predictions about networks, to hold against experiments."""

from kanjax.theory import (
    criticality,
    ensembles,
    finite_width,
    moments,
    nearly_kernel,
)
from kanjax.theory.criticality import critical_initialization, universality_class
from kanjax.theory.finite_width import prescribe

__all__ = [
    "critical_initialization",
    "criticality",
    "ensembles",
    "finite_width",
    "moments",
    "nearly_kernel",
    "prescribe",
    "universality_class",
]
