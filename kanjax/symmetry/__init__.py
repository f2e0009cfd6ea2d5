"""The permutation symmetry of networks: aligning, merging and repairing them.

A specification says which axes of which leaves are permuted together; there are ready
ones for our models, and makers for those of other libraries.
"""

from kanjax.symmetry import fisher_information, fisher_merging, model_arithmetic
from kanjax.symmetry.activation_matching import (
    match_activations,
    match_straight_through,
)
from kanjax.symmetry.from_models import chain_spec, mlp_spec, permutation_spec
from kanjax.symmetry.from_params import Skip, cnn_spec
from kanjax.symmetry.matching import Matching, match_weights
from kanjax.symmetry.merging import Merged, merge
from kanjax.symmetry.repairs import Affine, affine_layers, repair
from kanjax.symmetry.sign_matching import SignedMatching, match_signed_weights
from kanjax.symmetry.specs import (
    PermutationSpec,
    Verification,
    apply_permutation,
    identity_permutation,
    invert_permutation,
    random_permutation,
    spec_from_axes,
    verify_spec,
)
from kanjax.unit_trace import hidden_values

__all__ = [
    "Affine",
    "Matching",
    "Merged",
    "PermutationSpec",
    "SignedMatching",
    "Skip",
    "Verification",
    "affine_layers",
    "apply_permutation",
    "chain_spec",
    "cnn_spec",
    "fisher_information",
    "fisher_merging",
    "hidden_values",
    "identity_permutation",
    "invert_permutation",
    "match_activations",
    "match_signed_weights",
    "match_straight_through",
    "match_weights",
    "merge",
    "mlp_spec",
    "model_arithmetic",
    "permutation_spec",
    "random_permutation",
    "repair",
    "spec_from_axes",
    "verify_spec",
]
