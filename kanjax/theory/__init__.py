"""Theory: predictions about networks, to hold against experiments."""

from kanjax.theory import (
    contraction,
    criticality,
    ensembles,
    finite_width,
    gaussian_classification,
    grokking,
    hierarchical,
    hierarchical_targets,
    information_bounds,
    information_estimates,
    laziness,
    mean_field_dynamics,
    moments,
    nearly_kernel,
    patch_signals,
    prescriptions,
    ridge_regression,
    sample_complexity,
)
from kanjax.theory.criticality import critical_initialization, universality_class
from kanjax.theory.laziness import forecast, lazy_rich
from kanjax.theory.prescriptions import prescribe

__all__ = [
    "contraction",
    "critical_initialization",
    "criticality",
    "ensembles",
    "finite_width",
    "forecast",
    "gaussian_classification",
    "grokking",
    "hierarchical",
    "hierarchical_targets",
    "information_bounds",
    "information_estimates",
    "laziness",
    "lazy_rich",
    "mean_field_dynamics",
    "moments",
    "nearly_kernel",
    "patch_signals",
    "prescribe",
    "prescriptions",
    "ridge_regression",
    "sample_complexity",
    "universality_class",
]
