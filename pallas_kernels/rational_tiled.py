"""The grouped rational function as Pallas kernels, for GPUs (Triton) and TPUs (Mosaic).

A program takes a tile of rows and channels. The coefficients' gradients are summed over
its rows there, and over the tiles afterwards in a fixed order: no atomic additions, so
the result is the same every time.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import rational_math as math


class Tiles(NamedTuple):
    """A tile's numbers of rows and channels."""

    rows: int
    channels: int


GPU_TILES = Tiles(64, 64)
TPU_TILES = Tiles(256, 128)


def compute(
    what: str,
    form: str,
    operands: tuple[Array, ...],
    kernels: str,
    tiles: Tiles | None = None,
    interpret: bool = False,
) -> tuple[Array, ...]:
    """Return what :mod:`pallas_kernels.rational` defines, by one kernel and a small
    sum.

    ``kernels`` is "gpu", "tpu" or, to emulate those for GPUs, "interpret".
    """
    interpret = interpret or kernels == "interpret"
    x, a, b = operands[:3]
    (rows, channels), on_tpu = x.shape, kernels == "tpu"
    wanted = tiles or (TPU_TILES if on_tpu else GPU_TILES)
    tiles = Tiles(*(min(t, _fit(n)) for t, n in zip(wanted, x.shape, strict=True)))
    grid = (-(-rows // tiles.rows), -(-channels // tiles.channels))
    heights = _heights(what, len(a), len(b))
    padded_ = [padded(o, h, tiles) for o, h in zip(operands, heights, strict=True)]
    specs = [_spec(height, tiles) for height in heights]
    exact = jnp.promote_types(x.dtype, jnp.float32)
    shape = (grid[0] * tiles.rows, grid[1] * tiles.channels)
    outs = [jax.ShapeDtypeStruct(shape, exact)]
    out_specs = [_spec(None, tiles)]
    if what == "cotangent":
        for height in (len(a), len(b)):
            outs.append(jax.ShapeDtypeStruct((grid[0], height, shape[1]), exact))
            out_specs.append(
                pl.BlockSpec((1, height, tiles.channels), lambda i, j: (i, 0, j))
            )

    def kernel(*refs: Any) -> None:
        ins, results = refs[: len(heights)], refs[len(heights) :]
        values = [_load(r, h, exact) for r, h in zip(ins, heights, strict=True)]
        _store(what, form, values, results)

    params: Any = None
    if on_tpu:
        params = pltpu.CompilerParams(dimension_semantics=("parallel", "parallel"))
    elif not interpret:
        # Not in every jax; what emulates it needs no such parameters.
        from jax.experimental.pallas import triton

        params = triton.CompilerParams(num_warps=4)
    outputs = pl.pallas_call(
        kernel,
        out_shape=outs,
        in_specs=specs,
        out_specs=out_specs,
        grid=grid,
        interpret=interpret,
        compiler_params=params,
    )(*padded_)
    first, *sums = outputs
    return (first[:rows, :channels], *(jnp.sum(s, 0)[:, :channels] for s in sums))


def _fit(number: int) -> int:
    """Return the power of two that holds a number, at least 16."""
    return max(16, 1 << (number - 1).bit_length())


def padded(a: Array, height: int | None, tiles: Tiles) -> Array:
    """Return ``a`` with zeros up to whole tiles; nothing is copied where they fit."""
    down = -len(a) % tiles.rows if height is None else 0
    right = -a.shape[1] % tiles.channels
    return jnp.pad(a, ((0, down), (0, right))) if down or right else a


def _heights(what: str, m: int, n: int) -> list[int | None]:
    """Return the coefficient rows of each operand; None for what has the rows of x."""
    more = {"value": [], "tangent": [None, m, n], "cotangent": [None]}[what]
    return [None, m, n, *more]


def _spec(height: int | None, tiles: Tiles) -> pl.BlockSpec:
    if height is None:
        return pl.BlockSpec(tuple(tiles), lambda i, j: (i, j))
    return pl.BlockSpec((height, tiles.channels), lambda i, j: (0, j))


def _load(ref: Any, height: int | None, dtype: Any) -> Any:
    if height is None:
        return ref[...].astype(dtype)
    return [ref[pl.ds(i, 1), :].astype(dtype) for i in range(height)]


def _store(what: str, form: str, values: Any, results: Any) -> None:
    x, a, b, *rest = values
    if what == "value":
        results[0][...] = math.pieces(x, a, b, form).value
    elif what == "tangent":
        dx, da, db = rest
        results[0][...] = math.tangent(x, a, b, dx, da, db, form)
    else:
        gx, ga, gb = math.cotangent(x, a, b, rest[0], form)
        results[0][...] = gx
        for ref, moments in zip(results[1:], (ga, gb), strict=True):
            for i, moment in enumerate(moments):
                ref[0, pl.ds(i, 1), :] = jnp.sum(moment, axis=0, keepdims=True)
