"""Full-batch L-BFGS for networks that change at every turn.

``fit(optimizer="lbfgs")`` runs whole fits in one program, which pays where it runs long
or for many members. Where a small network changes after every fit, as when a KAN is cut
down to a formula, compiling that program takes most of the time. Here only the loss and
its gradient are compiled, and scipy's L-BFGS-B (Zhu, Byrd, Lu, Nocedal, 1997) calls
them.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kanjax.training import losses


def minimize(
    loss: losses.Loss, params: losses.Params, batch: Any, *, steps: int
) -> losses.Params:
    """Return the best parameters that L-BFGS finds in so many steps, on one batch.

    A loss that is not finite counts as larger than all so far, so that the line search
    steps back from it; where it begins, params are given back.

    Args:
        loss: ``loss(params, batch, key)``, a scalar or a scalar and metrics; compiled
            once a function object.
        params: where to start.
        batch: all examples.
        steps: the most iterations; 0 returns params.

    Returns:
        Parameters like params.
    """
    import scipy.optimize

    start, unravel = to_vector(params)
    if not steps or not start.size:
        return params

    def typed(flat: np.ndarray) -> losses.Params:
        return jax.tree.map(
            lambda v, like: jnp.asarray(v, like.dtype), unravel(flat), params
        )

    # The solver's tolerances are of losses near 1; in other units it would not begin.
    first = float(value_and_gradient(loss, params, batch)[0])
    unit = abs(first) if np.isfinite(first) and first else 1.0
    worst = -np.inf

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal worst
        value, gradient_tree = value_and_gradient(loss, typed(flat), batch)
        value = float(value) / unit
        gradient = to_vector(jax.device_get(gradient_tree))[0] / unit
        if np.isfinite(value) and np.all(np.isfinite(gradient)):
            worst = max(worst, float(value))
            return float(value), gradient
        # Not by far: the search interpolates between what it is told.
        far = worst + abs(worst) + 1 if np.isfinite(worst) else 0.0
        return far, np.zeros_like(gradient)

    solution = scipy.optimize.minimize(
        evaluate,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 4 * steps, "ftol": 0, "gtol": 1e-9},
    )
    return typed(solution.x)


def to_vector(
    params: losses.Params,
) -> tuple[np.ndarray, Callable[[np.ndarray], losses.Params]]:
    """Return the leaves in one numpy vector of double precision, and the way back.

    What comes back are numpy arrays of double precision, too: for solvers of scipy.
    Several vectors, (..., size), give leaves with the same leading axes.
    """
    leaves, structure = jax.tree.flatten(params)
    parts = [np.ravel(leaf).astype(float) for leaf in leaves]
    ends = np.cumsum([vector.size for vector in parts])[:-1]

    def unravel(flat: np.ndarray) -> losses.Params:
        split = zip(np.split(flat, ends, axis=-1), leaves, strict=True)
        shaped = [
            vector.reshape(*flat.shape[:-1], *np.shape(leaf)) for vector, leaf in split
        ]
        return jax.tree.unflatten(structure, shaped)

    return np.concatenate(parts or [np.zeros(0)]), unravel


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradient(
    loss: losses.Loss, params: losses.Params, batch: Any
) -> tuple[jax.Array, losses.Params]:
    """Of the loss on one batch, by the program that :func:`minimize` has compiled."""

    def value(params: losses.Params) -> jax.Array:
        return losses.value_and_metrics(loss, params, batch, None)[0]

    return jax.value_and_grad(value)(params)
