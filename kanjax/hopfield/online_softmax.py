"""The sums of softmax over a block of patterns, which merge with those of another.

Sources: Milakov and Gimelshein (2018), arXiv 1805.02867; Rabe and Staats (2021), arXiv
2112.05682.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


class Sums(NamedTuple):
    """Of a block of patterns: the largest logit, and sums relative to it."""

    top: Float[Array, "*batch"]
    total: Float[Array, "*batch"]
    weighted: Float[Array, "*batch features"]

    def quotient(self) -> Float[Array, "*batch features"]:
        """Return the weighted mean over all patterns; zeros where none is stored."""
        return self.weighted / jnp.where(self.total > 0, self.total, 1)[..., None]


def nothing(batch: tuple[int, ...], features: int, dtype: Any) -> Sums:
    """Return the sums over no pattern."""
    return Sums(
        jnp.full(batch, -jnp.inf, dtype),
        jnp.zeros(batch, dtype),
        jnp.zeros((*batch, features), dtype),
    )


def of_block(logits: Array, weigh: Callable[[Array], Array]) -> Sums:
    """Return the sums over the last axis of ``logits``.

    Args:
        logits: (..., patterns), -inf where no pattern is stored.
        weigh: the sum of a block's values with weights (..., patterns).
    """
    # Sums relative to any number are as good, so that no slope goes through it.
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1))
    share = jnp.exp(logits - finite(top)[..., None])
    return Sums(top, jnp.sum(share, axis=-1), weigh(share))


def merge(a: Sums, b: Sums) -> Sums:
    """Return the sums over the patterns of both."""
    top = jnp.maximum(a.top, b.top)
    left, right = (jnp.exp(sums.top - finite(top)) for sums in (a, b))
    return Sums(
        top,
        a.total * left + b.total * right,
        a.weighted * left[..., None] + b.weighted * right[..., None],
    )


def finite(top: Array) -> Array:
    """Where nothing is stored, any number does in the place of -inf."""
    return jnp.where(top != -jnp.inf, top, 0)
