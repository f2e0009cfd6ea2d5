"""Neural tangent kernels, of any ``apply(params, x)`` and of infinite width."""

from kanjax.ntk import (
    band_limits,
    deep_gaussian_process,
    deep_kernel_machine,
    infinite_depth,
    limit_classifiers,
    linear_kernel_machine,
    permutation_learning,
    random_feature_layers,
    random_features,
    random_weights,
    ridgelets,
    variational_kernel_machine,
)
from kanjax.ntk.covariances import Covariances
from kanjax.ntk.dynamics import (
    Outputs,
    Posterior,
    ensemble,
    max_learning_rate,
    mse_training,
    time_to_learn,
    train,
)
from kanjax.ntk.finite_width import empirical
from kanjax.ntk.infinite_width import RULES, Kernel, infinite, rows_product
from kanjax.ntk.linearization import linearize, taylor_expand
from kanjax.ntk.matrix_free import tangent_product
from kanjax.ntk.monte_carlo import (
    SampledKernel,
    by_layer,
    conjugate,
    first_order_drift,
    sampled,
)
from kanjax.ntk.regression import Solution, regress, regress_by_products
from kanjax.ntk.rules import Rule
from kanjax.ntk.spectra import Spectrum, alignment, drift, spectrum
from kanjax.ntk.variational_kernel_machine import DeepKernelMachine

__all__ = [
    "RULES",
    "Covariances",
    "DeepKernelMachine",
    "Kernel",
    "Outputs",
    "Posterior",
    "Rule",
    "SampledKernel",
    "Solution",
    "Spectrum",
    "alignment",
    "band_limits",
    "by_layer",
    "conjugate",
    "deep_gaussian_process",
    "deep_kernel_machine",
    "drift",
    "empirical",
    "ensemble",
    "first_order_drift",
    "infinite",
    "infinite_depth",
    "limit_classifiers",
    "linear_kernel_machine",
    "linearize",
    "max_learning_rate",
    "mse_training",
    "permutation_learning",
    "random_feature_layers",
    "random_features",
    "random_weights",
    "regress",
    "regress_by_products",
    "ridgelets",
    "rows_product",
    "sampled",
    "spectrum",
    "tangent_product",
    "taylor_expand",
    "time_to_learn",
    "train",
    "variational_kernel_machine",
]
