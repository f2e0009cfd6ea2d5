"""The grouped rational function as Pallas kernels for Mosaic GPU (Hopper and later).

It has the value and the fused backward pass of :mod:`pallas_kernels.rational_tiled`, to
be held against what goes through Triton. Mosaic spreads an array over threads in one
way only and so neither broadcasts a row nor sums over rows: coefficients come for eight
rows, and their gradients are added up place by place, to be summed afterwards.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl

from pallas_kernels import mosaic_calls, rational_math, rational_tiled

TILES = rational_tiled.Tiles(64, 128)
HEIGHT = 8
"""Rows taken at once: two numbers a thread."""


def compute(
    what: str, form: str, operands: tuple[Array, ...], interpret: bool = False
) -> tuple[Array, ...]:
    """Return what :mod:`pallas_kernels.rational` defines, for "value" or
    "cotangent".
    """
    x, a, b = operands[:3]
    counts = (len(a), len(b))
    rows, channels = x.shape
    padded = [rational_tiled.padded(o, None, TILES) for o in (x, *operands[3:])]
    shape = padded[0].shape
    grid = (shape[0] // TILES.rows, shape[1] // TILES.channels)
    exact = jnp.promote_types(x.dtype, jnp.float32)

    def for_rows(coef: Array) -> Array:
        wide = rational_tiled.padded(coef, len(coef), TILES)
        return jnp.broadcast_to(wide[:, None], (len(coef), HEIGHT, shape[1]))

    tile = pl.BlockSpec(tuple(TILES), lambda i, j: (i, j))
    in_specs, out_specs = [tile] * len(padded), [tile]
    outs = [jax.ShapeDtypeStruct(shape, exact)]
    for count in counts:
        block = (count, HEIGHT, TILES.channels)
        in_specs.append(pl.BlockSpec(block, lambda i, j: (0, 0, j)))
        if what == "cotangent":
            sums = (grid[0], count, HEIGHT, shape[1])
            outs.append(jax.ShapeDtypeStruct(sums, exact))
            out_specs.append(pl.BlockSpec((1, *block), lambda i, j: (i, 0, 0, j)))

    def kernel(*refs: Any) -> None:
        ins, results = refs[: len(in_specs)], refs[len(in_specs) :]
        *rows_of, a_ref, b_ref = ins
        a, b = (
            [ref[i].astype(exact) for i in range(count)]
            for ref, count in zip((a_ref, b_ref), counts, strict=True)
        )

        def rows_at(k: Any) -> list[Array]:
            at = pl.ds(k * HEIGHT, HEIGHT)
            x, *g = (ref[at, :].astype(exact) for ref in rows_of)
            if what == "value":
                results[0][at, :] = rational_math.pieces(x, a, b, form).value
                return []
            gx, by_a, by_b = rational_math.cotangent(x, a, b, g[0], form)
            results[0][at, :] = gx
            return by_a + by_b

        def step(k: Array, sums: list[Array]) -> list[Array]:
            return [s + m for s, m in zip(sums, rows_at(k), strict=True)]

        totals = lax.fori_loop(1, TILES.rows // HEIGHT, step, rows_at(0))
        for ref, count in zip(results[1:], counts, strict=False):
            for i in range(count):
                ref[0, i] = totals.pop(0)

    first, *sums = mosaic_calls.call(
        kernel,
        out_shape=outs,
        in_specs=in_specs,
        out_specs=out_specs,
        grid=grid,
        interpret=interpret,
    )(*padded, *(for_rows(coef) for coef in (a, b)))
    return (
        first[:rows, :channels],
        *(jnp.sum(s, axis=(0, 2))[:, :channels] for s in sums),
    )
