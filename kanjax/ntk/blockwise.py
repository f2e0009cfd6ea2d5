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

# Entries of an array that, with what is made of them, stay in a core's cache.
_PART = 2**15


def rectangle(
    kernel: Block, x1: Any, x2: Any, sizes: Sequence[int], blocks: Sequence[int]
) -> Any:
    """All blocks of rows and columns, one pair after the other."""
    if list(blocks) == list(sizes):
        return kernel(x1, x2, False)
    rows, columns = (_starts(n, b) for n, b in zip(sizes, blocks, strict=True))

    def row(matrix: Any, i: Array) -> tuple[Any, None]:
        block_rows = _take_block(x1, i, blocks[0])

        def fill(matrix: Any, j: Array) -> tuple[Any, None]:
            tile = kernel(block_rows, _take_block(x2, j, blocks[1]), False)
            return _set_tile(matrix, tile, i, j), None

        return jax.lax.scan(fill, matrix, columns)

    return jax.lax.scan(row, _empty(kernel, x1, x2, sizes, blocks), rows)[0]


def symmetric(
    kernel: Block, x: Any, size: int, block: int, *, separate_diagonal: bool = False
) -> Any:
    """Return the blocks on and above the diagonal, mirrored.

    Args:
        kernel: of two blocks.
        x: (size, ...).
        size: the number of examples.
        block: how many of them are in a block.
        separate_diagonal: whether blocks on the diagonal are computed with
            ``same=True``, by a program of their own.
    """
    if block == size:
        return symmetrized(kernel(x, x, True))
    starts = _starts(size, block)
    i, j = (starts[v] for v in np.triu_indices(len(starts), k=int(separate_diagonal)))
    matrix = _empty(kernel, x, x, (size, size), (block, block))

    def fill(matrix: Any, corner: tuple[Array, Array]) -> tuple[Any, None]:
        first, second = (_take_block(x, start, block) for start in corner)
        return _set_tile(matrix, kernel(first, second, False), *corner), None

    def fill_diagonal(matrix: Any, corner: Array) -> tuple[Any, None]:
        rows = _take_block(x, corner, block)
        tile = (
            kernel(rows, rows, True)
            if separate_diagonal
            else _tile(matrix, corner, corner, block)
        )
        return _set_tile(matrix, symmetrized(tile), corner, corner), None

    def mirror_tile(matrix: Any, corner: tuple[Array, Array]) -> tuple[Any, None]:
        tile = jax.tree.map(_transpose, _tile(matrix, *corner, block))
        return _set_tile(matrix, tile, *reversed(corner)), None

    # Blocks may overlap: the order, the diagonal's last, makes the whole symmetric.
    # A loop that placed two tiles at each step would copy the whole each time.
    matrix, _ = jax.lax.scan(fill, matrix, (i, j))
    matrix, _ = jax.lax.scan(fill_diagonal, matrix, starts)
    return jax.lax.scan(mirror_tile, matrix, (i, j))[0]


def _starts(size: int, block: int) -> Array:
    """Where blocks begin; the last ends with the examples, and may overlap."""
    return jnp.minimum(jnp.arange(-(-size // block)) * block, size - block)


def _take_block(x: Any, start: Array, size: int) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), x)


def _empty(
    kernel: Block, x1: Any, x2: Any, sizes: Sequence[int], blocks: Sequence[int]
) -> Any:
    first, second = (
        jax.tree.map(lambda leaf, n=n: leaf[:n], x)
        for x, n in zip((x1, x2), blocks, strict=True)
    )
    tile = jax.eval_shape(lambda a, b: kernel(a, b, False), first, second)
    return jax.tree.map(lambda t: jnp.zeros((*sizes, *t.shape[2:]), t.dtype), tile)


def _set_tile(matrix: Any, tile: Any, i: Array, j: Array) -> Any:
    def fill(k: Array, t: Array) -> Array:
        return jax.lax.dynamic_update_slice(k, t, (i, j, *(0,) * (k.ndim - 2)))

    return jax.tree.map(fill, matrix, tile)


def _tile(matrix: Any, i: Array, j: Array, block: int) -> Any:
    def cut(k: Array) -> Array:
        start = (i, j, *(0,) * (k.ndim - 2))
        return jax.lax.dynamic_slice(k, start, (block, block, *k.shape[2:]))

    return jax.tree.map(cut, matrix)


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
    least = -(-size // _PART)
    axis = next(a for a in range(len(shape)) if math.prod(shape[: a + 1]) >= least)
    lead, n, rest = shape[:axis], shape[axis], shape[axis + 1 :]
    # A number of blocks that divides the axis spares the padding.
    fewest = -(-least // math.prod(lead))
    count = next((c for c in range(fewest, min(n, 2 * fewest)) if n % c == 0), fewest)
    rows = -(-n // count)

    def parts(array: Array) -> Array:
        """(parts, rows, *rest)."""
        trailing = array.shape[axis + 1 :]
        wide = jnp.broadcast_to(array, (*lead, n, *trailing)).reshape(-1, n, *trailing)
        width = [(0, 0), (0, count * rows - n)] + [(0, 0)] * len(trailing)
        return jnp.pad(wide, width, mode="edge").reshape(-1, rows, *trailing)

    # Operands that only broadcast along the cut axes are the same for all blocks.
    is_split = [math.prod(a.shape[: axis + 1]) > 1 for a in arrays]
    mapped = [parts(a) for a, split in zip(arrays, is_split, strict=True) if split]

    def block(mapped: list[Array]) -> Any:
        left = iter(mapped)
        operands = [
            next(left) if split else a.reshape(a.shape[axis:])
            for a, split in zip(arrays, is_split, strict=True)
        ]
        values = function(*operands)
        return jax.tree.map(lambda v: jnp.broadcast_to(v, (rows, *rest)), values)

    def join(result: Array) -> Array:
        joined = result.reshape(*lead, count * rows, *rest)
        return jax.lax.slice_in_dim(joined, 0, n, axis=axis)

    return jax.tree.map(join, jax.lax.map(block, mapped))


def rows(function: Callable[[Any], Any], x: Any, size: int, block: int) -> Any:
    """``function(x)`` of all examples, a pytree of (size, ...), in blocks of them."""
    if block >= size:
        return function(x)
    parts = indices(size, block)
    tiles = jax.lax.map(lambda i: function(take(x, i)), parts)
    return jax.tree.map(lambda t: t.reshape(-1, *t.shape[2:])[:size], tiles)


def spread(
    rows: Callable[[Any, Any], Any], mesh: Mesh, x1: Any, size: int, shared: Any
) -> Any:
    """``rows(x1, shared)`` with the examples of x1 spread over a mesh's devices.

    Each device has all that is shared; the result stays where its rows were computed.
    """
    first, matrix = PartitionSpec(mesh.axis_names), PartitionSpec()
    run = jax.shard_map(
        rows, mesh=mesh, in_specs=(first, matrix), out_specs=first, check_vma=False
    )
    # The last example once more until all devices have as many.
    index = jnp.minimum(jnp.arange(size + -size % mesh.size), size - 1)
    return jax.tree.map(lambda k: k[:size], run(take(x1, index), shared))


def symmetrized(kernel: Any) -> Any:
    """Return the mean of a kernel of one set with its transpose."""
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
    """Return the size of the fewest blocks of at most that many that are about
    equal.
    """
    return -(-size // -(-size // most))


def indices(size: int, block: int) -> Array:
    """Return the indices of each block; the last one repeats the last example to be
    full.
    """
    count = -(-size // block)
    return jnp.minimum(jnp.arange(count * block), size - 1).reshape(count, block)


def take(x: Any, rows: Array) -> Any:
    """Those examples of a pytree."""
    return jax.tree.map(lambda leaf: leaf[rows], x)


def _transpose(kernel: Array) -> Array:
    """Exchange the two examples, and the two outputs of a full kernel."""
    swapped = jnp.swapaxes(kernel, 0, 1)
    return jnp.swapaxes(swapped, 2, 3) if kernel.ndim == 4 else swapped
