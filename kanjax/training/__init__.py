"""Training: fits of one network or an ensemble, losses, metrics and checkpoints."""

from kanjax.training import checkpoints, metrics, sharding
from kanjax.training.broyden import (
    BroydenState,
    change_loss,
    scale_by_self_scaled_broyden,
    self_scaled_broyden,
)
from kanjax.training.calibration import (
    conformal_quantile,
    cv_plus_interval,
    fit_temperature,
)
from kanjax.training.cascades import Cascade, cascade, fit_cascade
from kanjax.training.checkpoints import CheckpointError
from kanjax.training.descent import descend
from kanjax.training.distillation import kl_divergence, knowledge_distillation
from kanjax.training.fitting import fit, fit_ensemble
from kanjax.training.lbfgs import minimize
from kanjax.training.losses import classification, on_batch, regression
from kanjax.training.optimizers import OPTIMIZERS, optimizer
from kanjax.training.options import Checkpoint, Options
from kanjax.training.progress import Progress, bar, describe
from kanjax.training.results import Fit, History, Interrupted
from kanjax.training.shampoo import SoapState, scale_by_soap, soap
from kanjax.training.sharding import member_mesh

__all__ = [
    "OPTIMIZERS",
    "BroydenState",
    "Cascade",
    "Checkpoint",
    "CheckpointError",
    "Fit",
    "History",
    "Interrupted",
    "Options",
    "Progress",
    "SoapState",
    "bar",
    "cascade",
    "change_loss",
    "checkpoints",
    "classification",
    "conformal_quantile",
    "cv_plus_interval",
    "descend",
    "describe",
    "fit",
    "fit_cascade",
    "fit_ensemble",
    "fit_temperature",
    "kl_divergence",
    "knowledge_distillation",
    "member_mesh",
    "metrics",
    "minimize",
    "on_batch",
    "optimizer",
    "regression",
    "scale_by_self_scaled_broyden",
    "scale_by_soap",
    "self_scaled_broyden",
    "sharding",
    "soap",
]
