"""Kernels of pairs of examples, block by block, so that memory stays bounded."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

Block = Callable[[Any, Any, bool], Any]
"""``block(x1, x2, same)``: a pytree of (rows, columns, ...); whether x2 is x1."""


def rectangle(
    kernel: Block, x1: Any, x2: Any, sizes: Sequence[int], blocks: Sequence[int]
) -> Any:
    """All blocks of rows and columns, one pair after the other."""
    if list(blocks) == list(sizes):
        return kernel(x1, x2, False)
    rows, columns = (indices(n, b) for n, b in zip(sizes, blocks, strict=True))
    columns_of = len(columns)

    def tile(k: Any, found: Any) -> Any:
        i, j = k // columns_of, k % columns_of
        part = kernel(take(x1, rows[i]), take(x2, columns[j]), False)
        return _placed(found, part, i, j)

    start = _zeros(kernel, (take(x1, rows[0]), take(x2, columns[0])), rows, columns)
    found = jax.lax.fori_loop(0, len(rows) * columns_of, tile, start)
    return jax.tree.map(lambda k: k[: sizes[0], : sizes[1]], found)


def symmetric(kernel: Block, x: Any, size: int, block: int) -> Any:
    """The blocks on and above the diagonal, mirrored."""
    if block == size:
        return symmetrized(kernel(x, x, True))
    each = indices(size, block)
    i, j = map(jnp.asarray, np.triu_indices(len(each), k=1))

    def diagonal(k: Any, found: Any) -> Any:
        part = take(x, each[k])
        return _placed(found, symmetrized(kernel(part, part, True)), k, k)

    def above(k: Any, found: Any) -> Any:
        tile = kernel(take(x, each[i[k]]), take(x, each[j[k]]), False)
        # Or it would be computed again for its transpose.
        tile = jax.lax.optimization_barrier(tile)
        found = _placed(found, tile, i[k], j[k])
        return _placed(found, jax.tree.map(_transpose, tile), j[k], i[k])

    found = _zeros(kernel, (take(x, each[0]),) * 2, each, each)
    found = jax.lax.fori_loop(0, len(each), diagonal, found)
    found = jax.lax.fori_loop(0, len(i), above, found)
    return jax.tree.map(lambda k: k[:size, :size], found)


def spread(
    rows: Callable[[Any, Any], Any], mesh: Mesh, x1: Any, size: int, shared: Any
) -> Any:
    """``rows(x1, shared)`` with the examples of x1 spread over a mesh's devices.

    Each device has all that is shared; the result stays where its rows were computed.
    """
    first, whole = PartitionSpec(mesh.axis_names), PartitionSpec()
    run = jax.shard_map(
        rows, mesh=mesh, in_specs=(first, whole), out_specs=first, check_vma=False
    )
    # The last example once more until all devices have as many.
    index = jnp.minimum(jnp.arange(size + -size % mesh.size), size - 1)
    return jax.tree.map(lambda k: k[:size], run(take(x1, index), shared))


def symmetrized(kernel: Any) -> Any:
    """The mean of a kernel of one set with its transpose."""
    return jax.tree.map(lambda k: (k + _transpose(k)) / 2, kernel)


def check_batch_size(batch_size: int | None) -> None:
    """Raise ``ValueError`` unless it is None or positive."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"batch_size is {batch_size}; it must be at least 1, or None for all at "
            "once."
        )


def check_memory(needed: int, what: str, advice: Callable[[float], str]) -> None:
    """Raise ``ValueError`` if that many bytes are more than this machine has.

    Args:
        needed: bytes.
        what: needs them.
        advice: what to do, given the share of them that there is.
    """
    available = _memory()
    if available is not None and needed > available:
        raise ValueError(
            f"{what} need {needed / 2**30:.0f} GiB, and this machine has "
            f"{available / 2**30:.0f}. {advice(available / needed)}"
        )


def _memory() -> int | None:
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def indices(size: int, block: int) -> Array:
    """The indices of each block; the last one repeats the last example to be full."""
    count = -(-size // block)
    return jnp.minimum(jnp.arange(count * block), size - 1).reshape(count, block)


def take(x: Any, rows: Array) -> Any:
    """Those examples of a pytree."""
    return jax.tree.map(lambda leaf: leaf[rows], x)


def _transpose(kernel: Array) -> Array:
    """Exchange the two examples, and the two outputs of a full kernel."""
    swapped = jnp.swapaxes(kernel, 0, 1)
    return jnp.swapaxes(swapped, 2, 3) if kernel.ndim == 4 else swapped


def _zeros(kernel: Block, parts: Any, rows: Array, columns: Array) -> Any:
    """Of the whole kernel, with full blocks; they are filled in place."""
    tiles = jax.eval_shape(lambda a, b: kernel(a, b, False), *parts)
    shape = rows.size, columns.size
    return jax.tree.map(lambda t: jnp.zeros((*shape, *t.shape[2:]), t.dtype), tiles)


def _placed(kernel: Any, tile: Any, i: Any, j: Any) -> Any:
    """The kernel with the tile of row i and column j of tiles."""

    def place(whole: Array, part: Array) -> Array:
        start = i * part.shape[0], j * part.shape[1], *(0,) * (part.ndim - 2)
        return jax.lax.dynamic_update_slice(whole, part, start)

    return jax.tree.map(place, kernel, tile)
