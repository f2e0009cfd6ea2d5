"""The expansion products as Pallas kernels: a tile of outputs at a time.

The expansion of a tile is made where it is used, one function of the basis after the
other, each a matrix product of a (rows x inputs) with an (inputs x outputs) tile.
"""

import importlib
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

HALVES = (jnp.bfloat16, jnp.float16)
HALF_OR_SINGLE = (jnp.float32, *HALVES)


class Tiles(NamedTuple):
    """The tiles' numbers of rows, inputs and outputs."""

    rows: int
    inputs: int
    outputs: int


TILES = {
    "gpu": Tiles(64, 32, 64),
    "mosaic": Tiles(64, 64, 128),
    "tpu": Tiles(256, 128, 128),
}


def serves(basis: Any, named: dict[str, Any], kernels: str) -> bool:
    """Whether kernels take operands of these types and shapes.

    What emulates them takes all types, those for Mosaic on GPUs one of half precision.
    """
    arrays = [a for a in named.values() if a is not None]
    types = {a.dtype for a in arrays}
    known = HALVES if kernels == "mosaic" else HALF_OR_SINGLE
    right = kernels == "interpret" or types <= set(map(jnp.dtype, known))
    leaves = jax.tree.leaves(basis)
    rank = all(leaf.ndim in (1, 2) for leaf in leaves)
    alike = kernels != "mosaic" or len(types) == 1
    return right and rank and alike and all(math.prod(a.shape) for a in arrays)


def product(
    basis: Any,
    order: int,
    out: str,
    named: dict[str, Any],
    kernels: str,
    interpret: bool,
    tiles: Tiles | None = None,
) -> Array:
    """Return the derivative of the form of :mod:`pallas_kernels.expansion` in ``out``.

    Args:
        basis: of the expansion.
        order: of the derivative in x.
        out: which array's derivative, of "x", "s", "c" and "t".
        named: "x", "s" (or None), "c" and "t" without the one that ``out`` names.
        kernels: "gpu" (through Triton), "mosaic" (for the same) or "tpu".
        interpret: emulate the kernel with ordinary operations.
        tiles: the tiles' sizes; powers of two for Triton, at least 16.

    Returns:
        The derivative in float32 (float64 for such inputs).
    """
    sizes = {"rows": len(named["x"]), "inputs": named["x"].shape[1]}
    sizes["outputs"] = named["t" if out == "c" else "c"].shape[-1]
    if out == "s":
        sizes["outputs"] = named["t"].shape[1]
    fitted = _fitted(tiles or TILES[kernels], sizes, kernels)
    padded = {k: a if a is None else _padded(k, a, fitted) for k, a in named.items()}
    columns = [_columns(leaf, fitted.inputs) for leaf in jax.tree.leaves(basis)]
    basis = jax.tree.unflatten(jax.tree.structure(basis), columns)
    # Each lowering takes long to import.
    module = importlib.import_module(f"pallas_kernels.tiled_{kernels}")
    y = module.PRODUCTS[out](basis, order, **padded, tiles=fitted, interpret=interpret)
    axes = {"t": ("rows", "outputs"), "s": ("rows", "inputs")}
    lengths = [sizes[axis] for axis in axes.get(out, ("inputs", "outputs"))]
    return y[..., : lengths[0], : lengths[1]]


def _fitted(tiles: Tiles, sizes: dict[str, int], kernels: str) -> Tiles:
    """Tiles no larger than the arrays need: powers of two, or what Mosaic asks for."""
    if kernels == "gpu":
        lengths = [max(16, 1 << (n - 1).bit_length()) for n in sizes.values()]
    elif kernels == "mosaic":
        lengths = [-(-n // 64) * 64 for n in sizes.values()]
    else:
        # Blocks are multiples of (8, 128) or span the axis.
        lengths = [
            -(-sizes["rows"] // 8) * 8,
            *(sizes[k] for k in ("inputs", "outputs")),
        ]
    return Tiles(*(min(t, n) for t, n in zip(tiles, lengths, strict=True)))


def _padded(role: str, a: Array, tiles: Tiles) -> Array:
    """Return ``a`` with zeros up to whole tiles; nothing is copied where they fit.

    Of x the last row and input are repeated: at zero a function may be infinite.
    """
    axes = {
        "x": (tiles.rows, tiles.inputs),
        "s": (tiles.rows, tiles.inputs),
        "c": (1, tiles.inputs, tiles.outputs),
        "t": (tiles.rows, tiles.outputs),
    }[role]
    missing = [(0, -n % tile) for n, tile in zip(a.shape, axes, strict=True)]
    mode = "edge" if role == "x" else "constant"
    return jnp.pad(a, missing, mode) if any(m for _, m in missing) else a


def _columns(leaf: Array, tile: int) -> Array:
    """Return a leaf of a basis, (n,) or (in, n), as (n, 1) or (n, in) with whole
    tiles.
    """
    if leaf.ndim == 1:
        return leaf[:, None]
    return jnp.pad(leaf.T, ((0, 0), (0, -len(leaf) % tile)))
