"""Activations as matrices: a row a sample, a column a unit."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax.scales import safe_scale


def as_rows(x: ArrayLike, name: str = "x") -> Float[Array, "samples units"]:
    """Return activations with one axis of samples, in float32 at least.

    Args:
        x: (..., units); all axes but the last are samples, such as images and
            positions.
        name: what the message calls them.

    Raises:
        ValueError: if there is no sample axis, or nothing on one.
    """
    x = jnp.asarray(x)
    if x.ndim < 2 or x.size == 0:
        raise ValueError(
            f"{name} has shape {x.shape}; it must be (samples, units) or (..., units), "
            "with at least one of each."
        )
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return x.reshape(-1, x.shape[-1])


def as_pair(
    x: ArrayLike, y: ArrayLike
) -> tuple[Float[Array, "samples p"], Float[Array, "samples q"]]:
    """Return two sets of activations on the same samples as rows.

    Args:
        x: (..., p).
        y: (..., q), on the same samples.

    Raises:
        ValueError: if their samples differ in number.
    """
    x, y = as_rows(x, "x"), as_rows(y, "y")
    if len(x) != len(y):
        raise ValueError(
            f"x has {len(x)} samples and y has {len(y)}; both networks must be "
            "recorded on the same samples, in the same order."
        )
    return x, y


def center(x: Float[Array, "samples units"]) -> Float[Array, "samples units"]:
    """Return activations of mean 0 whose largest magnitude is 1.

    In this unit squares neither vanish nor overflow.

    Args:
        x: (samples, units).
    """
    moved = x - jnp.mean(x, axis=0, keepdims=True)
    return moved / safe_scale(moved)


def matmul(a: Array, b: Array) -> Array:
    """Multiply in full precision: similarities near 1 need all their digits.

    Args:
        a: (n, k).
        b: (k, m).
    """
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
