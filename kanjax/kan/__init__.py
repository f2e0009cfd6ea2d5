"""Kolmogorov-Arnold networks: layers, grids, attribution, pruning, formulas."""

from kanjax.kan import (
    attention_transformer,
    color_cycle,
    color_generator,
    color_matching,
    hypotheses,
    medvit,
    medvit_training,
    selection,
    selection_training,
    symbolic,
)
from kanjax.kan.activation_expansion import AFKAN, AFKANLayer, ReLUKANLayer, relu_kan
from kanjax.kan.attention import AttentionOperator, KANAttention, RationalEdges
from kanjax.kan.attention_transformer import SharedOperators, karat
from kanjax.kan.attribution import (
    Attribution,
    attribute,
    edge_activations,
    layer_edges,
)
from kanjax.kan.color_matching import ColorMatcher
from kanjax.kan.compiler import compile
from kanjax.kan.conv import KANConv, image_classifier, kan_conv
from kanjax.kan.cost import (
    Cost,
    attention_operator_cost,
    dense_cost,
    rational_cost,
    rational_flops,
    spline_cost,
    spline_flops,
)
from kanjax.kan.diagrams import Diagram, diagram
from kanjax.kan.discovery import discover
from kanjax.kan.grid import fit_coefficients, refine, update_grid
from kanjax.kan.layers import KANLayer, RationalLayer
from kanjax.kan.multiplication import UnitLayer
from kanjax.kan.networks import KAN
from kanjax.kan.pools import POOL_DEFAULT, POOL_PUBLISHED, SelectedLayer
from kanjax.kan.pruning import Pruned, prune
from kanjax.kan.regularization import penalty, sparse
from kanjax.kan.selection import (
    SelectableKAN,
    SelectableLayer,
    selectable_conv,
)
from kanjax.kan.transformer import kat, kat_from_vit, rational_mlp
from kanjax.kan.variance import gain

__all__ = [
    "POOL_DEFAULT",
    "POOL_PUBLISHED",
    "AFKAN",
    "AFKANLayer",
    "KAN",
    "AttentionOperator",
    "Attribution",
    "ColorMatcher",
    "Cost",
    "Diagram",
    "KANAttention",
    "KANConv",
    "KANLayer",
    "Pruned",
    "RationalEdges",
    "RationalLayer",
    "ReLUKANLayer",
    "SelectableKAN",
    "SelectableLayer",
    "SelectedLayer",
    "SharedOperators",
    "UnitLayer",
    "attention_operator_cost",
    "attention_transformer",
    "attribute",
    "color_cycle",
    "color_generator",
    "color_matching",
    "compile",
    "dense_cost",
    "diagram",
    "discover",
    "edge_activations",
    "fit_coefficients",
    "gain",
    "hypotheses",
    "image_classifier",
    "kan_conv",
    "karat",
    "kat",
    "kat_from_vit",
    "layer_edges",
    "medvit",
    "medvit_training",
    "penalty",
    "prune",
    "rational_cost",
    "rational_flops",
    "rational_mlp",
    "refine",
    "relu_kan",
    "spline_cost",
    "spline_flops",
    "selectable_conv",
    "selection",
    "selection_training",
    "sparse",
    "symbolic",
    "update_grid",
]
