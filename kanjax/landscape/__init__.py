"""The geometry of losses: slices, barriers and permutation symmetry.

Every tool takes any pure ``loss(params)`` and any pytree of parameters.
"""

from kanjax.landscape.activations import match_activations, match_straight_through
from kanjax.landscape.assignment import linear_assignment
from kanjax.landscape.barriers import Barrier, barrier, barrier_matrix
from kanjax.landscape.curvature import (
    Spectrum,
    hessian_eigenpairs,
    hessian_spectrum,
    hessian_trace,
    layer_eigenpairs,
    layer_traces,
)
from kanjax.landscape.curves import Curve, curve_line, curve_point, train_curve
from kanjax.landscape.descriptions import (
    Description,
    compress,
    decompress,
    load_description,
    save_description,
)
from kanjax.landscape.directions import (
    filter_axes,
    random_direction,
    random_directions,
)
from kanjax.landscape.estimates import (
    barrier_curvature_integral,
    barrier_from_base,
    barrier_second_order,
)
from kanjax.landscape.intrinsic import (
    IntrinsicDimension,
    SubspaceFit,
    crossing,
    grouped_sums,
    intrinsic_dimension,
    train_subspace,
)
from kanjax.landscape.layerwise import (
    cumulative_layers,
    layer_barriers,
    layer_barriers_predicted,
    layer_leaves,
)
from kanjax.landscape.matching import Matching, match_weights
from kanjax.landscape.merging import Merged, merge, repair
from kanjax.landscape.mountainside import (
    Mountainside,
    Spawned,
    displacement_angle,
    mountainside,
    spawn,
)
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
from kanjax.landscape.planes import (
    Plane,
    plane,
    plane_through,
    project,
    trajectory_plane,
)
from kanjax.landscape.sharpness import (
    Ascent,
    m_sharpness,
    mean_rise,
    sam_gradient,
    worst_rise,
)
from kanjax.landscape.signs import SignedMatching, match_signed_weights
from kanjax.landscape.specs import chain_spec, mlp_spec, permutation_spec
from kanjax.landscape.stacks import Skip, cnn_spec
from kanjax.landscape.subspaces import Subspace, place, subspace, subspace_loss
from kanjax.landscape.toy import hike, two_valleys, valley_floor, valley_line
from kanjax.landscape.units import Affine, affine_layers, hidden_values

__all__ = [
    "Affine",
    "Ascent",
    "Barrier",
    "Curve",
    "Description",
    "IntrinsicDimension",
    "Line",
    "Matching",
    "Merged",
    "Mountainside",
    "PermutationSpec",
    "Plane",
    "SignedMatching",
    "Skip",
    "Spawned",
    "Spectrum",
    "Subspace",
    "SubspaceFit",
    "Verification",
    "affine_layers",
    "apply_permutation",
    "barrier",
    "barrier_curvature_integral",
    "barrier_from_base",
    "barrier_matrix",
    "barrier_second_order",
    "chain_spec",
    "cnn_spec",
    "compress",
    "crossing",
    "cumulative_layers",
    "curve_line",
    "curve_point",
    "decompress",
    "displacement_angle",
    "filter_axes",
    "grouped_sums",
    "hessian_eigenpairs",
    "hessian_spectrum",
    "hessian_trace",
    "hidden_values",
    "hike",
    "identity_permutation",
    "interpolate",
    "intrinsic_dimension",
    "invert_permutation",
    "layer_barriers",
    "layer_barriers_predicted",
    "layer_eigenpairs",
    "layer_leaves",
    "layer_traces",
    "line",
    "linear_assignment",
    "load_description",
    "m_sharpness",
    "match_activations",
    "match_signed_weights",
    "match_straight_through",
    "match_weights",
    "mean_rise",
    "merge",
    "mlp_spec",
    "mountainside",
    "permutation_spec",
    "place",
    "plane",
    "plane_through",
    "project",
    "random_direction",
    "random_directions",
    "random_permutation",
    "repair",
    "sam_gradient",
    "save_description",
    "spawn",
    "spec_from_axes",
    "subspace",
    "subspace_loss",
    "train_curve",
    "train_subspace",
    "trajectory_plane",
    "two_valleys",
    "valley_floor",
    "valley_line",
    "verify_spec",
    "worst_rise",
]
