"""From data to a formula: train sparsely, prune, train again, read off, refit.

Source: Liu et al. (2024), arXiv 2404.19756, section 2.5.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import checks, training
from kanjax.kan import grid, multiplication, pruning, regularization, symbolic
from kanjax.kan.networks import KAN, Params
from kanjax.training import lbfgs


def discover(
    model: KAN,
    key: Array,
    x: Float[Array, "batch in"],
    y: Float[Array, "batch out"],
    *,
    starts: int = 3,
    strength: float = 1e-3,
    steps: int = 300,
    intervals: int = 10,
    node_threshold: float = 1e-2,
    edge_threshold: float = 3e-2,
    tolerance: float = 1e-8,
    **options: Any,
) -> symbolic.Symbolic:
    """Look for a formula of y in x with a KAN on splines.

    L-BFGS trains on all of x with a penalty from several starts. The network of lowest
    loss is pruned, moved to a finer grid and trained without; its edges become formulas
    by :func:`kanjax.kan.symbolic.auto_symbolic`, which are trained as well. Where these
    miss the targets, the next start has its turn; the formulas that fit best are
    returned. All stages see targets divided by their standard deviations, and the last
    layer is multiplied by these in the end, so that units of y do not matter.

    Args:
        model: a KAN on B-splines; the narrower, the sooner found.
        key: of the starts.
        x: (batch, in), in the domain of the splines.
        y: (batch, out), the targets.
        starts: number of starts.
        strength: of the penalty, as for :func:`kanjax.kan.sparse`, for targets of
            variance 1.
        steps: of L-BFGS in every stage before the formulas.
        intervals: of the finer grid.
        node_threshold: as for :func:`kanjax.kan.prune`.
        edge_threshold: as for :func:`kanjax.kan.prune`.
        tolerance: the mean squared error, for targets of variance 1, at which no other
            start is looked at.
        **options: of ``auto_symbolic``.

    Returns:
        The network of formulas; ``exact`` says whether it is a formula of y, and ``r2``
        how near it is if not.

    Raises:
        ValueError: for fewer than one start, or as the stages raise.

    Warns:
        RuntimeWarning: if no formula was exact to 0.1 % of the targets' deviation.
    """
    if starts < 1:
        raise ValueError(f"starts must be at least 1; got {starts}.")
    checks.check_finite(x, "x")
    checks.check_finite(y, "y")
    x = checks.as_floating(x)
    deviations = _deviations(y)
    y = jnp.asarray(np.asarray(y, float) / deviations, x.dtype)
    sparse = regularization.sparse(
        training.regression(model.apply), model, strength=strength
    )
    init = jax.jit(model.init)
    ends = [
        training.minimize(sparse, init(start), (x, y), steps=steps)
        for start in jax.random.split(key, starts)
    ]

    def reached(params: Params) -> float:
        return _or_last(lbfgs.value_and_gradient(sparse, params, (x, y))[0])

    def read_off(params: Params) -> tuple[float, symbolic.Symbolic]:
        small, params, *_ = pruning.prune(
            model,
            params,
            x,
            node_threshold=node_threshold,
            edge_threshold=edge_threshold,
        )
        small, params = grid.update_grid(
            small, params, x, uniform_share=0.5, intervals=intervals
        )
        plain = training.regression(small.apply)
        params = training.minimize(plain, params, (x, y), steps=steps)
        result = symbolic.auto_symbolic(small, params, x, y, **options)
        error = jax.jit(result.model.apply)(result.params, x) - y
        return _or_last(jnp.mean(error**2)), result

    tried = []
    for params in sorted(ends, key=reached):
        tried.append(read_off(params))
        if tried[-1][0] <= tolerance:
            break
    best = min(tried, key=lambda pair: pair[0])[1]
    if not best.exact:
        warnings.warn(
            f"no exact formula was found in {len(tried)} starts; the best explains "
            f"R2 = {best.r2:.6g}. Try more starts, or a network with other hidden "
            "units, such as ones that multiply.",
            RuntimeWarning,
            stacklevel=2,
        )
    return _in_units(best, deviations)


def _deviations(y: Array) -> np.ndarray:
    """(out,), the size of a target that never changes, 1 for zeros."""
    targets = np.asarray(y, float)
    size = np.max(np.abs(targets), axis=0)
    deviations = np.std(targets, axis=0)
    still = deviations <= 10 * np.finfo(np.float32).eps * size
    deviations = np.where(still, size, deviations)
    return np.where(deviations > 0, deviations, 1.0)


def _in_units(result: symbolic.Symbolic, deviations: np.ndarray) -> symbolic.Symbolic:
    """Return the same with every output multiplied by a number."""
    last = len(result.model.layers) - 1
    final = result.model.layers[last]
    scaled = multiplication.scaled_outputs(final, result.params[last], deviations)
    plain = not (
        isinstance(final, multiplication.UnitLayer) and (final.affine or final.products)
    )
    edges = []
    for edge in result.edges:
        if edge.layer == last and plain:
            a, b, c, d = edge.fit.coefficients
            unit = float(deviations[edge.target])
            fit = edge.fit._replace(coefficients=(a, b, c * unit, d * unit))
            edge = edge._replace(fit=fit)
        edges.append(edge)
    params = (*result.params[:last], scaled)
    return symbolic.Symbolic(result.model, params, edges, result.r2)


def _or_last(loss: Array) -> float:
    """Return a number to sort by, NaN behind all others."""
    return float(jnp.nan_to_num(loss, nan=jnp.inf))
