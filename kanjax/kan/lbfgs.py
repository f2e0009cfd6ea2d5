"""Full-batch L-BFGS for networks that change at every turn.

``kanjax.training.fit(optimizer="lbfgs")`` runs whole fits in one program, which pays
where it runs long or for many members. Reading formulas trains a new, small network
after every cut, and there compiling that program takes most of the time. Here only the
loss and its gradient are compiled, and scipy's L-BFGS-B (Zhu, Byrd, Lu, Nocedal, 1997)
calls them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import flatten_util

from kanjax.training import losses

_WORST = 1e30


def minimise(
    loss: losses.Loss, params: losses.Params, batch: Any, *, steps: int
) -> losses.Params:
    """The best parameters that L-BFGS finds in so many steps, on one batch.

    A loss that is not finite counts as very large, so that the line search steps back
    from it.
    """
    import scipy.optimize

    start, unravel = flatten_util.ravel_pytree(params)
    if not steps or not start.size:
        return params

    @jax.jit
    def value_and_gradient(flat: jax.Array, batch: Any) -> Any:
        def value(flat: jax.Array) -> jax.Array:
            return losses.value_and_metrics(loss, unravel(flat), batch, None)[0]

        return jax.value_and_grad(value)(flat)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(jnp.asarray(flat, start.dtype), batch)
        gradient = np.asarray(gradient, float)
        if np.isfinite(value) and np.all(np.isfinite(gradient)):
            return float(value), gradient
        return _WORST, np.zeros_like(gradient)

    found = scipy.optimize.minimize(
        evaluate,
        np.asarray(start, float),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 4 * steps, "ftol": 0, "gtol": 1e-9},
    )
    return unravel(jnp.asarray(found.x, start.dtype))
