"""Training on a hard equation by way of easier ones.

Krishnapriyan, Gholami, Zhe, Kirby, Mahoney (2021), "Characterizing possible failure
modes in physics-informed neural networks", arXiv 2109.01050. Windows of time, their
other scheme, are :func:`kanjax.pinn.march`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Params = Any


def curriculum(
    fit: Callable[[Params, Array, Array], tuple[Params, Any]],
    params: Params,
    schedule: Sequence[float] | Float[Array, " stages"],
    *,
    key: Array,
) -> tuple[Params, Any]:
    """Train stage after stage, each from where the last one ended.

    Pure, and one program for all stages.

    Args:
        fit: ``fit(params, coefficient, key)`` gives the parameters after training on
            the equation with that coefficient, and what to keep of the stage.
        params: to start from.
        schedule: the coefficient at each stage, from the easiest, (stages,).
        key: split among stages.

    Returns:
        The last parameters, and what was kept, with a leading axis (stages,).

    Raises:
        ValueError: if there is no stage.

    Examples:
        >>> import jax
        >>> steps = lambda params, speed, key: (params + speed, params)
        >>> curriculum(steps, 0.0, (1.0, 2.0), key=jax.random.key(0))[0].tolist()
        3.0
    """
    if len(schedule) == 0:
        raise ValueError("schedule must have at least one stage; got none.")
    dtype = jnp.result_type(float, *jax.tree.leaves(params))
    stages = (jnp.asarray(schedule, dtype), jax.random.split(key, len(schedule)))

    def stage(params: Params, each: tuple[Array, Array]) -> tuple[Params, Any]:
        return fit(params, *each)

    start = jax.tree.map(jnp.asarray, params)
    return jax.lax.scan(stage, start, stages)
