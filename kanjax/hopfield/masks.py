"""What a state may look at, as what is added to its logits."""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def added(
    x: Array, stored: Array, heads: int, present: Any, mask: Any
) -> Float[Array, "batch heads states patterns"] | None:
    """0 where a state may look, -inf where not; None if all may look at all.

    Axes of length 1 stand for all entries. A floating mask is added as it is.

    Args:
        x: (..., states, features).
        stored: (..., patterns, features).
        heads: the number of heads.
        present: (..., patterns) boolean, or None.
        mask: (states, patterns), (..., states, patterns) or (..., heads, states,
            patterns), boolean or floating, or None.

    Raises:
        ValueError: for another shape.
        TypeError: for another type.
    """
    batch = x.shape[:-2]
    parts = []
    if mask is not None:
        parts.append(_of_mask(jnp.asarray(mask), batch, heads, x, stored))
    if present is not None:
        present = jnp.asarray(present)
        if present.dtype != jnp.bool_:
            raise TypeError(f"present must be boolean; got {present.dtype}.")
        shape = (*batch, stored.shape[-2])
        if present.shape != shape:
            raise ValueError(f"present must have shape {shape}; got {present.shape}.")
        flat = present.reshape(math.prod(batch), 1, 1, stored.shape[-2])
        parts.append(jnp.where(flat, 0.0, -jnp.inf))
    return sum(parts[1:], parts[0]) if parts else None


def _of_mask(
    mask: Array, batch: tuple[int, ...], heads: int, x: Array, stored: Array
) -> Array:
    pairs = (x.shape[-2], stored.shape[-2])
    number = math.prod(batch)
    shapes = {
        pairs: (1, 1, *pairs),
        (*batch, *pairs): (number, 1, *pairs),
        (*batch, heads, *pairs): (number, heads, *pairs),
    }
    if mask.shape not in shapes:
        known = ", ".join(str(shape) for shape in shapes)
        raise ValueError(f"mask must have one of the shapes {known}; got {mask.shape}.")
    mask = mask.reshape(shapes[mask.shape])
    if mask.dtype == jnp.bool_:
        return jnp.where(mask, 0.0, -jnp.inf)
    if not jnp.issubdtype(mask.dtype, jnp.floating):
        raise TypeError(
            f"mask must be boolean, or floating to be added; got {mask.dtype}."
        )
    return mask
