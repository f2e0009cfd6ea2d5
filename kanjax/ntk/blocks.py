"""Kernels of pairs of examples, block by block, so that memory stays bounded."""

import math
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


# Elements of an array.
_PART = 2**14


def rectangle(
    kernel: Block, x1: Any, x2: Any, sizes: Sequence[int], blocks: Sequence[int]
) -> Any:
    """All blocks of rows and columns, one pair after the other."""
    if list(blocks) == list(sizes):
        return kernel(x1, x2, False)
    rows, columns = (indices(n, b) for n, b in zip(sizes, blocks, strict=True))

    def row(i: Array) -> Any:
        part = take(x1, i)
        return jax.lax.map(lambda j: kernel(part, take(x2, j), False), columns)

    tiles = jax.lax.map(row, rows)
    return jax.tree.map(
        lambda t: _join(jnp.swapaxes(t, 1, 2))[: sizes[0], : sizes[1]], tiles
    )


def symmetric(kernel: Block, x: Any, size: int, block: int) -> Any:
    """The blocks on and above the diagonal, mirrored."""
    if block == size:
        return symmetrized(kernel(x, x, True))
    each = indices(size, block)
    count = each.shape[0]
    # Symmetrised behind the loop: within, blocks would be computed again for their
    # transposes.
    diagonal = jax.lax.map(lambda i: kernel(take(x, i), take(x, i), True), each)
    diagonal = jax.vmap(symmetrized)(diagonal)
    i, j = np.triu_indices(count, k=1)
    above = jax.lax.map(
        lambda pair: kernel(take(x, pair[0]), take(x, pair[1]), False),
        (each[i], each[j]),
    )

    place = np.zeros((count, count), int)
    place[i, j] = place[j, i] = np.arange(len(i))

    def assemble(diagonal: Array, above: Array) -> Array:
        def row(b: Array) -> Array:
            tiles = above[jnp.asarray(place)[b]]
            is_below = (jnp.arange(count) < b).reshape(-1, *(1,) * (tiles.ndim - 1))
            tiles = jnp.where(is_below, jax.vmap(_transpose)(tiles), tiles)
            return jnp.swapaxes(tiles.at[b].set(diagonal[b]), 0, 1)

        # Row by row, so that nothing else of the kernel's size is in memory.
        rows = jax.lax.map(row, jnp.arange(count))
        return _join(rows)[:size, :size]

    return jax.tree.map(assemble, diagonal, above)


def in_parts(function: Callable[..., Any], *arrays: Array) -> Any:
    """``function(*arrays)`` of each element, in parts that stay in a core's cache.

    On a CPU, where XLA writes most intermediate results to memory, and where each of
    many elementwise functions in a row computes cheap ones before it again: it joins
    no operations across the loop that is here.

    Args:
        function: of arrays that broadcast against each other, element by element.
        arrays: of equal rank.

    Returns:
        A pytree of arrays of the arrays' common shape.
    """
    shape = jnp.broadcast_shapes(*(a.shape for a in arrays))
    size = math.prod(shape)
    if size < 2 * _PART or jax.default_backend() != "cpu":
        return function(*arrays)
    axis = next(a for a, n in enumerate(shape) if n > 1)
    n = shape[axis]
    least = min(n, -(-size // _PART))
    count = next((c for c in range(least, min(n, 2 * least)) if n % c == 0), least)
    rows = -(-n // count)
    width = [(0, 0)] * len(shape)
    width[axis] = (0, count * rows - n)
    split = (*shape[:axis], count, rows)

    def parts(array: Array) -> Array:
        padded = jnp.pad(array, width, mode="edge")
        return jnp.moveaxis(padded.reshape(*split, *array.shape[axis + 1 :]), axis, 0)

    is_split = [a.shape[axis] == n for a in arrays]

    def part(mapped: list[Array]) -> Any:
        rest = iter(mapped)
        own = [
            next(rest) if one else a for one, a in zip(is_split, arrays, strict=True)
        ]
        return in_parts(function, *own) if rows == 1 else function(*own)

    mapped = [parts(a) for one, a in zip(is_split, arrays, strict=True) if one]
    whole = (*shape[:axis], count * rows, *shape[axis + 1 :])

    def join(result: Array) -> Array:
        joined = jnp.moveaxis(result, 0, axis).reshape(whole)
        return jax.lax.slice_in_dim(joined, 0, n, axis=axis)

    return jax.tree.map(join, jax.lax.map(part, mapped))


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


def even(size: int, most: int) -> int:
    """The size of the fewest blocks of at most that many that are about equal."""
    return -(-size // -(-size // most))


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


def _join(tiles: Array) -> Array:
    """(row blocks, rows, column blocks, columns, ...) to (rows, columns, ...)."""
    i, a, j, b = tiles.shape[:4]
    return tiles.reshape(i * a, j * b, *tiles.shape[4:])
