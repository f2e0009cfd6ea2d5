"""Patterns that states meet, projected before or after they do.

``(Q) (Y W)^T = (Q W^T) Y^T`` and ``P (Y W) = (P Y) W``: with fewer states than patterns
the second way has less to multiply and to keep.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


class Side(NamedTuple):
    """Patterns that states meet, in the association space or still before it.

    With a kernel (features, heads, size) the patterns (batch, groups, patterns,
    features) are not projected: what meets them is, which is less work for few states.
    """

    patterns: Float[Array, "batch groups patterns features"]
    kernel: Float[Array, "features heads size"] | None = None
    bias: Float[Array, "heads size"] | None = None

    def logits(self, q: Array) -> Float[Array, "batch heads states patterns"]:
        """``q . key``, up to what all patterns have in common."""
        if self.kernel is not None:
            q = jnp.einsum("bhld,fhd->bhlf", q, self.kernel)
        return _grouped("bgrf,bgsf->bgrs", q, self.patterns)

    def mix(self, p: Array, *, sums_to_one: bool) -> Array:
        """``p @ patterns``, projected: (batch, heads, states, size)."""
        mixed = _grouped("bgrs,bgsf->bgrf", p, self.patterns)
        if self.kernel is None:
            return mixed
        mixed = jnp.einsum("bhlf,fhd->bhld", mixed, self.kernel)
        if self.bias is None:
            return mixed
        bias = self.bias[None, :, None]
        return mixed + (
            jnp.broadcast_to(bias, mixed.shape)
            if sums_to_one
            else bias * jnp.sum(p, axis=-1, keepdims=True)
        )

    def projected(self) -> Float[Array, "batch groups patterns size"]:
        """The patterns in the association space."""
        if self.kernel is None:
            return self.patterns
        made = jnp.einsum("bgsf,fhd->bhsd", self.patterns, self.kernel)
        if self.bias is None:
            return made
        return made + jnp.broadcast_to(self.bias[None, :, None], made.shape)


def is_cheaper_projected(side: Side, states: int) -> bool:
    """Whether projecting the patterns takes fewer products than the states instead."""
    if side.kernel is None:
        return True
    patterns = side.patterns.shape[2]
    features, heads, size = side.kernel.shape
    first = patterns * heads * size * (features + states)
    return first <= states * heads * features * (patterns + size)


def _grouped(equation: str, left: Array, right: Array) -> Array:
    """An einsum of (batch, heads, rows, _) with one or all heads' patterns."""
    batch, heads, rows, width = left.shape
    groups = right.shape[1]
    merged = left.reshape(batch, groups, heads // groups * rows, width)
    result = jnp.einsum(equation, merged, right)
    return result.reshape(batch, heads, rows, result.shape[-1])
