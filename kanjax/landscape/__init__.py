"""The geometry of losses: slices, barriers and permutation symmetry.

Every tool takes any pure ``loss(params)`` and any pytree of parameters.
"""

from kanjax.landscape.assignment import linear_assignment
from kanjax.landscape.barriers import Barrier, barrier, barrier_matrix
from kanjax.landscape.directions import random_direction, random_directions
from kanjax.landscape.matching import Matching, match_weights
from kanjax.landscape.paths import Line, interpolate, line
from kanjax.landscape.permutations import (
    PermutationSpec,
    Verification,
    apply_permutation,
    identity_permutation,
    invert_permutation,
    random_permutation,
    spec_from_axes,
    verify_spec,
)
from kanjax.landscape.planes import Plane, plane, plane_through, project
from kanjax.landscape.specs import chain_spec, mlp_spec, permutation_spec

__all__ = [
    "Barrier",
    "Line",
    "Matching",
    "PermutationSpec",
    "Plane",
    "Verification",
    "apply_permutation",
    "barrier",
    "barrier_matrix",
    "chain_spec",
    "identity_permutation",
    "interpolate",
    "invert_permutation",
    "line",
    "linear_assignment",
    "match_weights",
    "mlp_spec",
    "permutation_spec",
    "plane",
    "plane_through",
    "project",
    "random_direction",
    "random_directions",
    "random_permutation",
    "spec_from_axes",
    "verify_spec",
]
