"""Roots of monotone conditions, by halving."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def bisect(
    above: Callable[[Array], Array], low: Any, high: Any, *, steps: int = 64
) -> Float[Array, "..."]:
    """Halve ranges, keeping the half in which a condition begins to hold.

    A start for what has derivatives, such as a step of Newton's: none go through it.
    optimistix has bisections of functions that change their sign.

    Args:
        above: whether numbers (...) are too large, each by itself.
        low: (...), where the condition does not hold.
        high: (...), where it does.
        steps: how often to halve.

    Examples:
        >>> bisect(lambda x: x**2 > jnp.array([2.0, 9.0]), jnp.zeros(2), 4.0)
        Array([1.4142137, 3.       ], dtype=float32)
    """

    def halve(ends: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = ends
        middle = (low + high) / 2
        too_large = above(middle)
        low = jnp.where(too_large, low, middle)
        return (low, jnp.where(too_large, middle, high)), None

    dtype = jnp.result_type(float)
    ends = jnp.broadcast_arrays(*(jnp.asarray(end, dtype) for end in (low, high)))
    ends = jax.lax.stop_gradient((ends[0], ends[1]))
    low, high = jax.lax.scan(halve, ends, length=steps)[0]
    return jax.lax.stop_gradient((low + high) / 2)
