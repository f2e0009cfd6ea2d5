"""Physics-informed networks: state a differential equation, solve it, and be told.

A field is a function of a point, a problem is a small value, and ``solve`` gives the
field and a verdict on it.
"""

from kanjax.pinn import (
    balancing,
    causal,
    constraints,
    curriculum,
    derivatives,
    domains,
    flows,
    lagrangian,
    library,
    losses,
    natural_gradient,
    optimization,
    problems,
    recipes,
    samplers,
    shapes,
    solving,
    transport,
    waves,
)
from kanjax.pinn.causal import anneal, causal_loss, causal_weights, march
from kanjax.pinn.derivatives import (
    curl,
    divergence,
    gradient,
    hessian_diagonal,
    laplacian,
    partial,
)
from kanjax.pinn.domains import Box, TimeSpace, interval
from kanjax.pinn.optimization import Training, train
from kanjax.pinn.problems import (
    Condition,
    Parameters,
    Problem,
    dirichlet,
    field,
    initialize,
    observations,
    periodic,
    residuals,
)
from kanjax.pinn.shapes import Disk, LShape
from kanjax.pinn.solving import Solution, solve

__all__ = [
    "Box",
    "Condition",
    "Disk",
    "LShape",
    "Parameters",
    "Problem",
    "Solution",
    "TimeSpace",
    "Training",
    "anneal",
    "balancing",
    "causal",
    "causal_loss",
    "causal_weights",
    "constraints",
    "curl",
    "curriculum",
    "derivatives",
    "dirichlet",
    "divergence",
    "domains",
    "field",
    "flows",
    "gradient",
    "hessian_diagonal",
    "initialize",
    "interval",
    "lagrangian",
    "laplacian",
    "library",
    "losses",
    "march",
    "natural_gradient",
    "observations",
    "optimization",
    "partial",
    "periodic",
    "problems",
    "recipes",
    "residuals",
    "samplers",
    "shapes",
    "solve",
    "solving",
    "train",
    "transport",
    "waves",
]
