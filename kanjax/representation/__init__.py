"""Representations: what features are, where they go, and how they are compared."""

from kanjax.representation import (
    canonical_correlations,
    resampling,
    similarity,
    sparse_prediction,
    unit_clusters,
    unit_information,
    unit_matching,
)

__all__ = [
    "canonical_correlations",
    "resampling",
    "similarity",
    "sparse_prediction",
    "unit_clusters",
    "unit_information",
    "unit_matching",
]
