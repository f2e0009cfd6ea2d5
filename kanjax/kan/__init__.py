"""Kolmogorov-Arnold networks: layers, grids, attribution, pruning, formulas."""

from kanjax.kan import symbolic
from kanjax.kan.attribution import (
    Attribution,
    attribute,
    edge_activations,
    layer_edges,
)
from kanjax.kan.grid import fit_coefficients, refine, update_grid
from kanjax.kan.layer import KANLayer, RationalLayer
from kanjax.kan.network import KAN
from kanjax.kan.pruning import Pruned, prune

__all__ = [
    "KAN",
    "Attribution",
    "KANLayer",
    "Pruned",
    "RationalLayer",
    "attribute",
    "edge_activations",
    "fit_coefficients",
    "layer_edges",
    "prune",
    "refine",
    "symbolic",
    "update_grid",
]
