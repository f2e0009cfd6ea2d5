"""From data to a formula: train sparsely, prune, train again, read off, refit.

Source: Liu et al. (2024), arXiv 2404.19756, section 2.5.
"""

from typing import Any

from jax import Array
from jaxtyping import Float

from kanjax import training
from kanjax.kan import grid, lbfgs, pruning, regularisation, symbolic
from kanjax.kan.network import KAN, Params


def discover(
    model: KAN,
    params: Params,
    x: Float[Array, "batch in"],
    y: Float[Array, "batch out"],
    *,
    strength: float = 1e-3,
    steps: int = 100,
    node_threshold: float = 1e-2,
    edge_threshold: float = 3e-2,
    **options: Any,
) -> symbolic.Symbolic:
    """Look for a formula of y in x with a KAN on splines.

    L-BFGS trains on all of x with a penalty, then the network is pruned and trained
    without; its edges become formulas by
    :func:`kanjax.kan.symbolic.auto_symbolic`, which are trained as well.

    Args:
        model: a KAN on B-splines; the narrower, the sooner found.
        params: where to start, from ``model.init``.
        x: (batch, in), in the domain of the splines.
        y: (batch, out), the targets.
        strength: of the penalty, as for :func:`kanjax.kan.sparse`.
        steps: of L-BFGS in every stage.
        node_threshold, edge_threshold: as for :func:`kanjax.kan.prune`.
        **options: of ``auto_symbolic``.
    """

    sparse = regularisation.sparse(
        training.regression(model.apply), model, strength=strength
    )
    params = lbfgs.minimise(sparse, params, (x, y), steps=steps)
    small, params, *_ = pruning.prune(
        model,
        params,
        x,
        node_threshold=node_threshold,
        edge_threshold=edge_threshold,
    )
    small, params = grid.update_grid(small, params, x, uniform_share=0.5)
    plain = training.regression(small.apply)
    params = lbfgs.minimise(plain, params, (x, y), steps=steps)
    return symbolic.auto_symbolic(small, params, x, y, steps=steps, **options)
