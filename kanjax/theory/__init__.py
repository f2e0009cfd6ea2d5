"""Theory: predictions about networks, to hold against experiments."""

from kanjax.theory import (
    grokking,
    laziness,
    mean_field_dynamics,
    patch_signals,
    sample_complexity,
)
from kanjax.theory.laziness import forecast, lazy_rich

__all__ = [
    "forecast",
    "grokking",
    "laziness",
    "lazy_rich",
    "mean_field_dynamics",
    "patch_signals",
    "sample_complexity",
]
