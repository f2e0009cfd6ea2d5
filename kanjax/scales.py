"""A scale for numbers of any size, over which their squares fit."""

import jax
import jax.numpy as jnp
from jax import Array


def safe_scale(x: Array, axis: int | None = None) -> Array:
    """Return the largest magnitude, 1 where all are 0; a constant to derivatives.

    Squares of numbers below 1e-19 or above 1e19 do not fit into float32; those of
    ``x / safe_scale(x)`` neither vanish nor overflow.

    Args:
        x: (...).
        axis: what the largest is taken over, of length 1 in the result; all, for a
            result (), if None.
    """
    magnitudes = jnp.abs(jax.lax.stop_gradient(x))
    largest = jnp.max(magnitudes, axis=axis, keepdims=axis is not None)
    return jnp.where(largest > 0, largest, 1)
