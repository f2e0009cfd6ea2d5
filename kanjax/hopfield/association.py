"""Softmax association of states with very many patterns, in bounded memory.

The sums of softmax over a block of patterns merge with those of another, so that no
array of all states by all patterns is needed, on one device or on many.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from kanjax.checks import as_floating
from kanjax.hopfield import checks, modern, online_softmax, sparse


def associate(
    state: Any,
    patterns: Any,
    values: Any = None,
    *,
    beta: Any,
    mask: Any = None,
    alpha: float = 1.0,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    axis: str = "patterns",
) -> Float[Array, "*batch value_features"]:
    """``softmax(beta X s)`` times the values: one update, or one look-up.

    Args:
        state: (..., features).
        patterns: (patterns, features).
        values: (patterns, value_features), what is looked up; the patterns themselves
            if None, which is the update of the modern Hopfield network.
        beta: the inverse temperature, above 0; a scalar, or of shapes that broadcast
            with the leading axes of state.
        mask: (patterns,) or (..., patterns), True where a pattern is stored; all of
            them if None. A state for which none is gets zeros.
        alpha: 1 for softmax, above 1 for sparse weights, see :func:`entmax`; these need
            all patterns at once.
        batch_size: how many patterns are taken at once, forward and backward; all of
            them if None. A divisor of the number of patterns saves a copy of them.
        mesh: spread the patterns over its axis named ``axis``, whose size divides their
            number. Each device takes its patterns ``batch_size`` at a time.
        axis: of the mesh.

    Works under jit, vmap and grad.

    Raises:
        ValueError: for shapes that do not fit, no pattern, beta not above 0, or sparse
            weights in batches.

    Examples:
        >>> import jax.numpy as jnp
        >>> keys, names = jnp.eye(3), jnp.array([[10.0], [20.0], [30.0]])
        >>> associate(jnp.array([0.1, 0.9, 0.0]), keys, names, beta=20.0).round(3)
        Array([20.], dtype=float32)
    """
    state, patterns, beta, mask = modern.prepare(state, patterns, beta, mask)
    values = patterns if values is None else _check_values(values, patterns)
    sparse.check_alpha(alpha)
    if alpha != 1:
        _check_whole(batch_size, mesh)
        p = modern.weights(state, patterns, beta, mask=mask, alpha=alpha)
        return p @ values.astype(p.dtype)
    size = len(patterns) if batch_size is None else batch_size
    checks.check_count("batch_size", size, 1)
    scaled = state * modern.align(beta, state)
    if mesh is None:
        return _sums(scaled, patterns, values, mask, size).quotient()
    return _over_mesh(scaled, patterns, values, mask, size, mesh, axis)


def _sums(
    scaled: Array, patterns: Array, values: Array, mask: Array | None, size: int
) -> online_softmax.Sums:
    """Return the sums over all patterns, ``size`` of them at a time."""
    number = len(patterns)
    if number <= size:
        return _block_sums(scaled, patterns, values, mask)
    blocks = number // size
    blocked_count = blocks * size

    def blocked(array: Array) -> Array:
        return array[:blocked_count].reshape(blocks, size, *array.shape[1:])

    masks = None
    if mask is not None:
        masks = blocked(jnp.moveaxis(mask, -1, 0))

    # Rematerialised: the backward pass, too, holds one block at a time.
    @jax.checkpoint
    def step(sums: online_softmax.Sums, block: Any) -> tuple[online_softmax.Sums, None]:
        keys, what, seen = block
        seen = None if seen is None else jnp.moveaxis(seen, 0, -1)
        return online_softmax.merge(sums, _block_sums(scaled, keys, what, seen)), None

    batch = scaled.shape[:-1]
    if mask is not None:
        batch = jnp.broadcast_shapes(batch, mask.shape[:-1])
    start = online_softmax.nothing(batch, values.shape[-1], _wide(scaled.dtype))
    shared = patterns is values
    keys = blocked(patterns)
    inputs = (keys, keys if shared else blocked(values), masks)
    sums, _ = jax.lax.scan(step, start, inputs)
    if blocked_count == number:
        return sums
    rest = None if mask is None else mask[..., blocked_count:]
    last = _block_sums(scaled, patterns[blocked_count:], values[blocked_count:], rest)
    return online_softmax.merge(sums, last)


def _block_sums(
    scaled: Array, patterns: Array, values: Array, mask: Array | None
) -> online_softmax.Sums:
    dtype = _wide(scaled.dtype)
    logits = jnp.matmul(scaled, patterns.T, preferred_element_type=dtype)
    if mask is not None:
        logits = jnp.where(mask, logits, -jnp.inf)

    def weigh(share: Array) -> Array:
        return jnp.matmul(
            share.astype(values.dtype), values, preferred_element_type=dtype
        )

    return online_softmax.of_block(logits, weigh)


def _over_mesh(
    scaled: Array,
    patterns: Array,
    values: Array,
    mask: Array | None,
    size: int,
    mesh: Mesh,
    axis: str,
) -> Array:
    if axis not in mesh.shape:
        raise ValueError(
            f"the mesh has no axis {axis!r}; it has {tuple(mesh.shape)}. Name one of "
            "them with axis=."
        )
    if len(patterns) % mesh.shape[axis]:
        raise ValueError(
            f"{len(patterns)} patterns do not divide over the {mesh.shape[axis]} "
            f"devices of axis {axis!r}; pad them, with mask= False there."
        )
    if mask is None:
        mask = jnp.ones(len(patterns), bool)

    def local(scaled: Array, patterns: Array, values: Array, mask: Array) -> Array:
        size_here = min(size, len(patterns))
        sums = _sums(scaled, patterns, values, mask, size_here)
        top = jax.lax.pmax(sums.top, axis)
        scale = jnp.exp(sums.top - online_softmax.finite(top))
        total = jax.lax.psum(sums.total * scale, axis)
        weighted = jax.lax.psum(sums.weighted * scale[..., None], axis)
        return online_softmax.Sums(top, total, weighted).quotient()

    rows, replicated = PartitionSpec(axis), PartitionSpec()
    last = PartitionSpec(*(None,) * (mask.ndim - 1), axis)
    specs = (replicated, rows, rows, last)
    spread = jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=replicated, check_vma=False
    )
    # On a mesh of explicit axes the arguments must lie as they are asked for.
    arrays = (scaled, patterns, values, mask)
    return spread(
        *(
            jax.device_put(array, NamedSharding(mesh, spec))
            for array, spec in zip(arrays, specs, strict=True)
        )
    )


def _wide(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)


def _check_values(values: Any, patterns: Array) -> Array:
    values = as_floating(values)
    if values.ndim != 2 or len(values) != len(patterns):
        raise ValueError(
            f"values must have shape ({len(patterns)}, value_features), one row for "
            f"each pattern; got {values.shape}."
        )
    return values.astype(jnp.promote_types(values.dtype, patterns.dtype))


def _check_whole(batch_size: int | None, mesh: Mesh | None) -> None:
    if batch_size is not None or mesh is not None:
        raise ValueError(
            "sparse weights (alpha above 1) need all patterns at once; leave "
            "batch_size and mesh out, or use alpha=1."
        )
