"""Keys and values, projected eagerly or folded into queries and outputs.

``(Q) (Y W)^T = (Q W^T) Y^T`` and ``P (Y W) = (P Y) W``: with fewer states than patterns
the second way has less to multiply and to keep.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.hopfield import online_softmax


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
        total = None if sums_to_one else jnp.sum(p, axis=-1, keepdims=True)
        return self._project(self._mix(p), total)

    def _mix(self, p: Array) -> Array:
        return _grouped("bgrs,bgsf->bgrf", p, self.patterns)

    def _project(self, mixed: Array, total: Array | None) -> Array:
        """Return a mixture of patterns, projected; ``total`` is of its weights, None
        for 1.
        """
        if self.kernel is None:
            return mixed
        mixed = jnp.einsum("bhlf,fhd->bhld", mixed, self.kernel)
        if self.bias is None:
            return mixed
        bias = self.bias[None, :, None]
        return mixed + (
            jnp.broadcast_to(bias, mixed.shape) if total is None else bias * total
        )

    def projected(self) -> Float[Array, "batch groups patterns size"]:
        """Return the patterns in the association space."""
        if self.kernel is None:
            return self.patterns
        made = jnp.einsum("bgsf,fhd->bhsd", self.patterns, self.kernel)
        if self.bias is None:
            return made
        return made + jnp.broadcast_to(self.bias[None, :, None], made.shape)


def in_batches(
    q: Array, keys: Side, held: Side, bias: Array | None, size: int
) -> Float[Array, "batch heads states size"]:
    """Softmax retrieval, ``size`` patterns at a time, forward and backward.

    Args:
        q: (batch, heads, states, size), times beta.
        keys: what states meet.
        held: what they retrieve.
        bias: added to the logits, (batch | 1, heads | 1, states | 1, patterns).
        size: how many patterns are taken at once.
    """
    number = keys.patterns.shape[2]
    size = min(size, number)
    blocks, rest = divmod(number, size)
    dtype = jnp.promote_types(jnp.result_type(q, keys.patterns), jnp.float32)

    # Rematerialised: the backward pass, too, holds one block at a time.
    @functools.partial(jax.checkpoint, static_argnums=(2,))
    def add(
        sums: online_softmax.Sums, start: Array | int, length: int
    ) -> online_softmax.Sums:
        def cut(a: Array, axis: int) -> Array:
            return jax.lax.dynamic_slice_in_dim(a, start, length, axis)

        key_block, held_block = (
            side._replace(patterns=cut(side.patterns, 2)) for side in (keys, held)
        )
        logits = key_block.logits(q).astype(dtype)
        if bias is not None:
            logits = logits + cut(bias, 3).astype(dtype)
        block = online_softmax.of_block(logits, lambda share: held_block._mix(share))
        return online_softmax.merge(sums, block)

    none = online_softmax.nothing(q.shape[:-1], held.patterns.shape[-1], dtype)
    starts = jnp.arange(blocks) * size
    sums, _ = jax.lax.scan(lambda s, i: (add(s, i, size), None), none, starts)
    if rest:
        sums = add(sums, number - rest, rest)
    total = None if bias is None else (sums.total > 0)[..., None]
    return held._project(sums.quotient(), total).astype(q.dtype)


def fused(
    q: Array, keys: Side, held: Side, bias: Array | None, implementation: str
) -> Float[Array, "batch heads states size"]:
    """Softmax retrieval by ``jax.nn.dot_product_attention``, of projected sides.

    Args:
        q: (batch, heads, states, size), times beta.
        keys: what states meet.
        held: what they retrieve.
        bias: added to the logits.
        implementation: "xla" or "cudnn".
    """
    each = q.shape[:2]
    k, v = (
        jnp.broadcast_to(s.patterns, (*each, *s.patterns.shape[2:]))
        for s in (keys, held)
    )
    visible = None
    if bias is not None:
        visible = bias > -jnp.inf
        bias = jnp.where(visible, bias, 0).astype(q.dtype)
    heads = jax.nn.dot_product_attention(
        *(jnp.moveaxis(a, 1, 2) for a in (q, k, v)),
        bias=bias,
        mask=visible,
        scale=1.0,
        implementation=implementation,  # pyright: ignore
    )
    heads = jnp.moveaxis(heads, 2, 1)
    if visible is None:
        return heads
    return jnp.where(jnp.any(visible, axis=-1, keepdims=True), heads, 0)


def cheapest(side: Side, states: int) -> Side:
    """Return the side projected where that takes fewer products.

    The other way projects the states back, once for each head.
    """
    if side.kernel is None:
        return side
    patterns = side.patterns.shape[2]
    features, heads, size = side.kernel.shape
    projected = patterns * heads * size * (features + states)
    unprojected = states * heads * features * (patterns + size)
    return Side(side.projected()) if projected <= unprojected else side


def _grouped(equation: str, left: Array, right: Array) -> Array:
    """Return an einsum of (batch, heads, rows, _) with one or all heads' patterns."""
    batch, heads, rows, width = left.shape
    groups = right.shape[1]
    merged = left.reshape(batch, groups, heads // groups * rows, width)
    result = jnp.einsum(equation, merged, right)
    return result.reshape(batch, heads, rows, result.shape[-1])
