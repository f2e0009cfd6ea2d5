"""The geometry of losses: slices, barriers, curvature and subspaces.

Every tool takes any pure ``loss(params)`` and any pytree of parameters.
"""

from kanjax.landscape import (
    architecture_search,
    opposing_linear,
    opposing_optimizers,
    opposing_signals,
    zero_cost,
)
from kanjax.landscape.barrier_estimates import (
    barrier_curvature_integral,
    barrier_from_base,
    barrier_second_order,
)
from kanjax.landscape.barriers import Barrier, barrier, barrier_matrix
from kanjax.landscape.compression import (
    Description,
    compress,
    decompress,
    load_description,
    save_description,
)
from kanjax.landscape.curvature import (
    Spectrum,
    hessian_eigenpairs,
    hessian_spectrum,
    hessian_trace,
    layer_eigenpairs,
    layer_traces,
)
from kanjax.landscape.curves import Curve, curve_line, curve_point, train_curve
from kanjax.landscape.directions import filter_axes, random_direction, random_directions
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
from kanjax.landscape.paths import Line, interpolate, line
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
from kanjax.landscape.spawning import (
    Mountainside,
    Spawned,
    displacement_angle,
    mountainside,
    spawn,
)
from kanjax.landscape.subspaces import Subspace, place, subspace, subspace_loss
from kanjax.landscape.valleys import hike, two_valleys, valley_floor, valley_line

__all__ = [
    "Ascent",
    "Barrier",
    "Curve",
    "Description",
    "IntrinsicDimension",
    "Line",
    "Mountainside",
    "Plane",
    "Spawned",
    "Spectrum",
    "Subspace",
    "SubspaceFit",
    "architecture_search",
    "barrier",
    "barrier_curvature_integral",
    "barrier_from_base",
    "barrier_matrix",
    "barrier_second_order",
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
    "hike",
    "interpolate",
    "intrinsic_dimension",
    "layer_barriers",
    "layer_barriers_predicted",
    "layer_eigenpairs",
    "layer_leaves",
    "layer_traces",
    "line",
    "load_description",
    "m_sharpness",
    "mean_rise",
    "mountainside",
    "opposing_linear",
    "opposing_optimizers",
    "opposing_signals",
    "place",
    "plane",
    "plane_through",
    "project",
    "random_direction",
    "random_directions",
    "sam_gradient",
    "save_description",
    "spawn",
    "subspace",
    "subspace_loss",
    "train_curve",
    "train_subspace",
    "trajectory_plane",
    "two_valleys",
    "valley_floor",
    "valley_line",
    "worst_rise",
    "zero_cost",
]
