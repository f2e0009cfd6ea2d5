"""Theory: predictions about networks, to hold against experiments."""

from kanjax.theory import (
    grokking,
    hierarchical,
    hierarchical_targets,
    laziness,
    mean_field_dynamics,
    ridge_regression,
)
from kanjax.theory.laziness import forecast, lazy_rich

__all__ = [
    "forecast",
    "grokking",
    "hierarchical",
    "hierarchical_targets",
    "laziness",
    "lazy_rich",
    "mean_field_dynamics",
    "ridge_regression",
]
