"""Associative memories: binary and continuous, their dynamics, and Hopfield layers."""

from kanjax.hopfield import (
    archetype_theory,
    archetypes,
    blocking,
    bounds,
    diluted,
    diluted_theory,
    ground_states,
    mean_field,
    modern,
    parisi,
    replica_breaking,
    replica_symmetry,
    self_consistency,
    tensors,
)
from kanjax.hopfield.association import associate
from kanjax.hopfield.blocks import HopfieldDecoderLayer, HopfieldEncoderLayer
from kanjax.hopfield.couplings import LowRank, Pairwise, hebb, pseudo_inverse, storkey
from kanjax.hopfield.dense import Exponential, Polynomial, PSpin
from kanjax.hopfield.dynamics import (
    Chains,
    Memory,
    Retrieval,
    glauber,
    is_fixed_point,
    retrieve,
)
from kanjax.hopfield.heads import (
    NOTHING,
    REGIMES,
    HeadStatistics,
    classify,
    effective_patterns,
    head_statistics,
    patterns_in_use,
)
from kanjax.hopfield.layers import Association, Hopfield
from kanjax.hopfield.lookup import HopfieldLayer, HopfieldPooling, lookup_network
from kanjax.hopfield.options import Norm
from kanjax.hopfield.patterns import corrupt, overlaps, random_patterns
from kanjax.hopfield.phases import PhaseDiagram, phase_diagram
from kanjax.hopfield.spaces import AssociationSpace
from kanjax.hopfield.sparse import entmax
from kanjax.hopfield.tempering import Ladder, parallel_tempering

__all__ = [
    "NOTHING",
    "REGIMES",
    "Association",
    "AssociationSpace",
    "Chains",
    "Exponential",
    "HeadStatistics",
    "Hopfield",
    "HopfieldDecoderLayer",
    "HopfieldEncoderLayer",
    "HopfieldLayer",
    "HopfieldPooling",
    "Ladder",
    "LowRank",
    "Memory",
    "Norm",
    "PSpin",
    "Pairwise",
    "PhaseDiagram",
    "Polynomial",
    "Retrieval",
    "archetype_theory",
    "archetypes",
    "associate",
    "blocking",
    "bounds",
    "classify",
    "corrupt",
    "diluted",
    "diluted_theory",
    "effective_patterns",
    "entmax",
    "glauber",
    "head_statistics",
    "ground_states",
    "hebb",
    "is_fixed_point",
    "lookup_network",
    "mean_field",
    "modern",
    "overlaps",
    "parallel_tempering",
    "parisi",
    "patterns_in_use",
    "phase_diagram",
    "pseudo_inverse",
    "random_patterns",
    "replica_breaking",
    "replica_symmetry",
    "retrieve",
    "self_consistency",
    "storkey",
    "tensors",
]
