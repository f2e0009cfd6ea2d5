"""Representations: what features are, where they go, and how they are compared."""

from kanjax.representation import (
    barlow_twins,
    boosting,
    canonical_correlations,
    equiangular,
<<<<<<< HEAD
    grad_cam,
=======
    feature_merging,
    functional_equivalence,
>>>>>>> repr
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
    unit_pruning,
)

__all__ = [
    "barlow_twins",
    "boosting",
    "canonical_correlations",
    "equiangular",
<<<<<<< HEAD
    "grad_cam",
=======
    "feature_merging",
    "functional_equivalence",
>>>>>>> repr
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
    "unit_pruning",
]
