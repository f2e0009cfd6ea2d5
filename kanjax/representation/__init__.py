"""Representations: what features are, where they go, and how they are compared."""

from kanjax.representation import (
    barlow_twins,
    boosting,
    canonical_correlations,
    equiangular,
    grad_cam,
    linear_optima,
    neural_collapse,
    probes,
    resampling,
    similarity,
    sparse_prediction,
    unconstrained_features,
    unit_clusters,
    unit_information,
    unit_matching,
)

__all__ = [
    "barlow_twins",
    "boosting",
    "canonical_correlations",
    "equiangular",
    "grad_cam",
    "linear_optima",
    "neural_collapse",
    "probes",
    "resampling",
    "similarity",
    "sparse_prediction",
    "unconstrained_features",
    "unit_clusters",
    "unit_information",
    "unit_matching",
]
