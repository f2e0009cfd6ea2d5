"""Neural tangent kernels, of any ``apply(params, x)`` and of infinite width."""

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
from kanjax.ntk.linearisation import linearize, taylor_expand
from kanjax.ntk.rules import Rule
from kanjax.ntk.solving import Solution, regress, regress_by_products
from kanjax.ntk.spectra import Spectrum, alignment, drift, spectrum

__all__ = [
    "RULES",
    "Covariances",
    "Kernel",
    "Outputs",
    "Posterior",
    "Rule",
    "Solution",
    "Spectrum",
    "alignment",
    "drift",
    "empirical",
    "ensemble",
    "infinite",
    "linearize",
    "max_learning_rate",
    "mse_training",
    "regress",
    "regress_by_products",
    "rows_product",
    "spectrum",
    "taylor_expand",
    "time_to_learn",
    "train",
]
