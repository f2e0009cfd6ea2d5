"""Kolmogorov-Arnold networks: layers, grids, attribution, pruning, formulas."""

from kanjax.kan import symbolic
from kanjax.kan.attribution import (
    Attribution,
    attribute,
    edge_activations,
    layer_edges,
)
from kanjax.kan.discovery import discover
from kanjax.kan.grid import fit_coefficients, refine, update_grid
from kanjax.kan.layer import KANLayer, RationalLayer
from kanjax.kan.lbfgs import minimise
from kanjax.kan.network import KAN
from kanjax.kan.pruning import Pruned, prune
from kanjax.kan.regularisation import penalty, sparse
from kanjax.kan.units import UnitLayer

__all__ = [
    "KAN",
    "Attribution",
    "KANLayer",
    "Pruned",
    "RationalLayer",
    "UnitLayer",
    "attribute",
    "discover",
    "edge_activations",
    "fit_coefficients",
    "layer_edges",
    "minimise",
    "penalty",
    "prune",
    "refine",
    "sparse",
    "symbolic",
    "update_grid",
]
