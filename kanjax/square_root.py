"""The square root whose gradient is finite at 0."""

import jax.numpy as jnp
from jax import Array


def safe_sqrt(x: Array) -> Array:
    """Return the square root, 0 with gradient 0 where x is not positive.

    Args:
        x: (...).
    """
    positive = x > 0
    # The inner where keeps the derivative of the branch that is not taken finite:
    # 0 times infinity would be NaN.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)
