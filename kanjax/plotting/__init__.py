"""Figures of what the other rooms return.

Every function returns a :class:`matplotlib.figure.Figure`, which a notebook shows by
itself; where one pair of axes suffices, ``axes=`` draws into yours instead. Nothing is
registered with pyplot and no global setting is touched. Values that are not finite are
left out, and the figure says how many.
"""

from kanjax.plotting.attention import (
    attention_matrices,
    attention_spectra,
    weight_histograms,
)
from kanjax.plotting.connectivity import barrier_angles, layer_barriers
from kanjax.plotting.curvature import (
    loss_surface,
    spectral_density,
    training_animation,
)
from kanjax.plotting.dependences import partial_dependence
from kanjax.plotting.depth import variance_by_depth
from kanjax.plotting.dynamics import posterior_band, predicted_curves
from kanjax.plotting.functions import attribution, edge_functions
from kanjax.plotting.kernels import kernel_matrix, spectra
from kanjax.plotting.landscape import barrier_curves, barrier_matrix, loss_plane
from kanjax.plotting.memories import (
    head_statistics,
    phase_diagram,
    recall_curves,
    recalled_images,
)
from kanjax.plotting.movies import field_animation
from kanjax.plotting.networks import network
from kanjax.plotting.pinn import descent, field_curves, field_maps
from kanjax.plotting.predictions import calibration, confusion, parity, scores
from kanjax.plotting.representation import similarity_matrix
from kanjax.plotting.rooflines import roofline
from kanjax.plotting.seeds import seed_curves, seed_means
from kanjax.plotting.subspaces import intrinsic_dimension
from kanjax.plotting.training import training_history

__all__ = [
    "attention_matrices",
    "attention_spectra",
    "attribution",
    "barrier_angles",
    "barrier_curves",
    "barrier_matrix",
    "calibration",
    "confusion",
    "descent",
    "edge_functions",
    "field_animation",
    "field_curves",
    "field_maps",
    "intrinsic_dimension",
    "head_statistics",
    "kernel_matrix",
    "layer_barriers",
    "loss_plane",
    "loss_surface",
    "network",
    "parity",
    "partial_dependence",
    "phase_diagram",
    "posterior_band",
    "predicted_curves",
    "roofline",
    "recall_curves",
    "recalled_images",
    "scores",
    "seed_curves",
    "seed_means",
    "similarity_matrix",
    "spectra",
    "spectral_density",
    "training_animation",
    "training_history",
    "variance_by_depth",
    "weight_histograms",
]
