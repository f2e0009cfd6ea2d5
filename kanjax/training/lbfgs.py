"""Full-batch L-BFGS for networks that change at every turn.

``fit(optimizer="lbfgs")`` runs whole fits in one program, which pays where it runs long
or for many members. Where a small network changes after every fit, as when a KAN is cut
down to a formula, compiling that program takes most of the time. Here only the loss and
its gradient are compiled, and scipy's L-BFGS-B (Zhu, Byrd, Lu, Nocedal, 1997) calls
them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kanjax.training import losses


def minimise(
    loss: losses.Loss, params: losses.Params, batch: Any, *, steps: int
) -> losses.Params:
    """The best parameters that L-BFGS finds in so many steps, on one batch.

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

    leaves, structure = jax.tree.flatten(params)
    start = np.concatenate([np.ravel(leaf) for leaf in leaves] or [np.zeros(0)])
    if not steps or not start.size:
        return params
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]

    def unravel(flat: np.ndarray) -> losses.Params:
        parts = [
            jnp.asarray(part.reshape(np.shape(leaf)), leaf.dtype)
            for part, leaf in zip(np.split(flat, ends), leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, parts)

    worst = -np.inf

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal worst
        value, found = _value_and_gradient(loss, unravel(flat), batch)
        parts = [np.ravel(leaf) for leaf in jax.device_get(jax.tree.leaves(found))]
        gradient = np.concatenate(parts).astype(float)
        if np.isfinite(value) and np.all(np.isfinite(gradient)):
            worst = max(worst, float(value))
            return float(value), gradient
        # Not by far: the search interpolates between what it is told.
        far = worst + abs(worst) + 1 if np.isfinite(worst) else 0.0
        return far, np.zeros_like(gradient)

    found = scipy.optimize.minimize(
        evaluate,
        start.astype(float),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 4 * steps, "ftol": 0, "gtol": 1e-9},
    )
    return unravel(found.x)


@functools.partial(jax.jit, static_argnums=0)
def _value_and_gradient(
    loss: losses.Loss, params: losses.Params, batch: Any
) -> tuple[jax.Array, losses.Params]:
    def value(params: losses.Params) -> jax.Array:
        return losses.value_and_metrics(loss, params, batch, None)[0]

    return jax.value_and_grad(value)(params)
