"""The expansion products as Pallas kernels: a tile of outputs at a time.

The expansion of a tile is made where it is used, one function of the basis after the
other, each a matrix product of a (rows x inputs) with an (inputs x outputs) tile.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pallas_kernels import tiled_gpu, tiled_tpu

HALF_OR_SINGLE = (jnp.float32, jnp.bfloat16, jnp.float16)


class Tiles(NamedTuple):
    """The tiles' numbers of rows, inputs and outputs."""

    rows: int
    inputs: int
    outputs: int


GPU_TILES = Tiles(64, 32, 64)
TPU_TILES = Tiles(256, 128, 128)


def serves(basis: Any, named: dict[str, Any], interpret: bool) -> bool:
    """Whether the kernels take operands of these types and shapes."""
    arrays = [a for a in named.values() if a is not None]
    types = {a.dtype for a in arrays}
    right = interpret or all(t in HALF_OR_SINGLE for t in types)
    leaves = jax.tree.leaves(basis)
    rank = all(leaf.ndim in (1, 2) for leaf in leaves)
    return right and rank and all(a.size for a in arrays)


def product(
    basis: Any,
    order: int,
    out: str,
    named: dict[str, Any],
    platform: str,
    interpret: bool,
    tiles: Tiles | None = None,
) -> Array:
    """The derivative of the form of :mod:`pallas_kernels.expansion` in ``out``.

    Args:
        named: "x", "s" (or None), "c" and "t" without the one that ``out`` names.
        platform: "tpu" for the kernels made for Mosaic, anything else for Triton's.
        interpret: emulate the kernel with ordinary operations.
        tiles: the tiles' sizes; powers of two for Triton, at least 16.

    Returns:
        The derivative in float32 (float64 for such inputs).
    """
    on_tpu = platform == "tpu"
    wanted = tiles or (TPU_TILES if on_tpu else GPU_TILES)
    sizes = {"rows": len(named["x"]), "inputs": named["x"].shape[1]}
    sizes["outputs"] = named["t" if out == "c" else "c"].shape[-1]
    if out == "s":
        sizes["outputs"] = named["t"].shape[1]
    fitted = _fitted(wanted, sizes, on_tpu)
    padded = {k: a if a is None else _padded(k, a, fitted) for k, a in named.items()}
    columns = [_columns(leaf, fitted.inputs) for leaf in jax.tree.leaves(basis)]
    basis = jax.tree.unflatten(jax.tree.structure(basis), columns)
    kernels = tiled_tpu.PRODUCTS if on_tpu else tiled_gpu.PRODUCTS
    y = kernels[out](basis, order, **padded, tiles=fitted, interpret=interpret)
    axes = {"t": ("rows", "outputs"), "s": ("rows", "inputs")}
    own = [sizes[axis] for axis in axes.get(out, ("inputs", "outputs"))]
    return y[..., : own[0], : own[1]]


def _fitted(tiles: Tiles, sizes: dict[str, int], on_tpu: bool) -> Tiles:
    """Tiles no larger than the arrays need: a power of two, or what Mosaic asks for."""
    if not on_tpu:
        own = [max(16, 1 << (n - 1).bit_length()) for n in sizes.values()]
    else:
        # Blocks are multiples of (8, 128) or span the axis.
        own = [-(-sizes["rows"] // 8) * 8, *(sizes[k] for k in ("inputs", "outputs"))]
    return Tiles(*(min(t, n) for t, n in zip(tiles, own, strict=True)))


def _padded(role: str, a: Array, tiles: Tiles) -> Array:
    """``a`` with zeros up to whole tiles; nothing is copied where they fit."""
    axes = {
        "x": (tiles.rows, tiles.inputs),
        "s": (tiles.rows, tiles.inputs),
        "c": (1, tiles.inputs, tiles.outputs),
        "t": (tiles.rows, tiles.outputs),
    }[role]
    missing = [(0, -n % tile) for n, tile in zip(a.shape, axes, strict=True)]
    return jnp.pad(a, missing) if any(m for _, m in missing) else a


def _columns(leaf: Array, tile: int) -> Array:
    """A leaf of a basis, (n,) or (in, n), as (n, 1) or (n, in) with whole tiles."""
    if leaf.ndim == 1:
        return leaf[:, None]
    return jnp.pad(leaf.T, ((0, 0), (0, -len(leaf) % tile)))
