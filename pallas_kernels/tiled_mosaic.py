"""The expansion products for NVIDIA's Hopper GPUs, through Pallas' Mosaic lowering.

For half precision, whose products are warp-group instructions: the left operand is the
tile of the expansion, made in registers, or a tile of cotangents, the right one a tile
in shared memory. A program goes step by step over what its tile sums, while the next
step's operands are copied.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels import basis as bases
from pallas_kernels import mosaic_calls, rewrite

PROGRAMS = 264
"""How many programs the coefficients' gradient is cut into, at least: two for each
multiprocessor of an H100."""
STAGES = 2
"""How many steps' operands are in shared memory at once."""

Block = tuple[tuple[int | None, ...], Callable[..., tuple[Any, ...]]]
"""A block's shape, and its place for the numbers of a program and of a step."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """A leaf of a basis inside of a kernel: ``leaf[..., i]`` is a row of (n, in).

    It comes spread over a tile, whose inputs are on ``axis``.
    """

    ref: Any
    shape: tuple[int, ...]
    axis: int

    def __getitem__(self, index: tuple[Any, Any]) -> Array:
        """Return the row of that number, on the whole tile."""
        if self.ref.shape[1] == 1:
            return lax.broadcast(self.ref[index[1], 0], self.shape)
        return lax.broadcast_in_dim(self.ref[index[1]], self.shape, (self.axis,))


def forward(
    basis: Any,
    order: int,
    *,
    x: Array,
    s: Array | None,
    c: Array,
    tiles: Any,
    interpret: bool,
) -> Array:
    """``y[b, o]``, a tile of rows and outputs a program."""
    (rows, inputs), outputs = x.shape, c.shape[2]
    shape = (tiles.rows, tiles.outputs)

    def step(tile: "_Tile", y: Any, total: Any) -> None:
        _sum_products(tile, order, tile.at[3], tile.refs["c"], y, total, interpret)

    by_rows = (tiles.rows, tiles.inputs), lambda b, o, i, g: (b, i)
    weights = (None, tiles.inputs, tiles.outputs), lambda b, o, i, g: (g, i, o)
    return _call(
        step,
        basis,
        {"x": (x, by_rows), "s": (s, by_rows), "c": (c, weights)},
        shape=(rows, outputs),
        block=(shape, lambda b, o, i, g: (b, o)),
        programs=(rows // tiles.rows, outputs // tiles.outputs),
        steps=(inputs // tiles.inputs, basis.size),
        leaves=(1, lambda b, o, i, g: i),
        total=_accumulator(shape, x.dtype, interpret),
        interpret=interpret,
    )


def coefficients(
    basis: Any,
    order: int,
    *,
    x: Array,
    s: Array | None,
    t: Array,
    tiles: Any,
    interpret: bool,
) -> Array:
    """``C[g, i, o]``, a tile of one function a program, and a sum over partial ones.

    The rows are cut where coefficients are few, as for Triton. Inputs come transposed:
    an operand in registers cannot be turned there.
    """
    (rows, inputs), outputs = x.shape, t.shape[1]
    across = outputs // tiles.outputs
    cells = inputs // tiles.inputs * across
    steps = rows // tiles.rows
    cuts = min(steps, -(-PROGRAMS // (basis.size * cells)))
    while steps % cuts:
        cuts -= 1
    per = steps // cuts

    def step(tile: "_Tile", y: Any, total: Any) -> None:
        _sum_products(tile, order, tile.at[1], tile.refs["t"], y, total, interpret)

    turned = (
        (tiles.inputs, tiles.rows),
        lambda k, g, cell, b: (cell // across, k * per + b),
    )
    by_outputs = (
        (tiles.rows, tiles.outputs),
        lambda k, g, cell, b: (k * per + b, cell % across),
    )
    shape = (tiles.inputs, tiles.outputs)
    partial = _call(
        step,
        basis,
        {
            "x": (x.T, turned),
            "s": (s if s is None else s.T, turned),
            "t": (t, by_outputs),
        },
        shape=(cuts, basis.size, inputs, outputs),
        block=(
            (None, None, *shape),
            lambda k, g, cell, b: (k, g, cell // across, cell % across),
        ),
        programs=(cuts, basis.size, cells),
        steps=(per,),
        leaves=(0, lambda k, g, cell, b: cell // across),
        total=_accumulator(shape, x.dtype, interpret),
        interpret=interpret,
    )
    return jnp.sum(partial, axis=0)


def scales(
    basis: Any,
    order: int,
    *,
    x: Array,
    c: Array,
    t: Array,
    tiles: Any,
    interpret: bool,
) -> Array:
    """``S[b, i]``, a tile of rows and inputs a program."""
    (rows, inputs), outputs = x.shape, c.shape[2]
    shape = (tiles.rows, tiles.inputs)

    def spread(a: Array) -> Array:
        # As products are, over threads; older releases of jax do not find it.
        return a if interpret else plgpu.layout_cast(a, plgpu.Layout.WGMMA)

    def step(tile: "_Tile", y: Any, total: Any) -> None:
        @pl.when(tile.first)
        def _() -> None:
            total[...] = spread(jnp.zeros(total.shape, total.dtype))

        back = _product(tile.refs["t"], tile.refs["c"], interpret)
        total[...] = spread(total[...]) + tile.values(order, tile.at[2]) * back

        @pl.when(tile.last)
        def _() -> None:
            y[...] = spread(total[...])

    by_rows = shape, lambda b, i, g, o: (b, i)
    weights = (None, tiles.inputs, tiles.outputs), lambda b, i, g, o: (g, i, o)
    by_outputs = (tiles.rows, tiles.outputs), lambda b, i, g, o: (b, o)
    return _call(
        step,
        basis,
        {"x": (x, by_rows), "c": (c, weights), "t": (t, by_outputs)},
        shape=(rows, inputs),
        block=by_rows,
        programs=(rows // tiles.rows, inputs // tiles.inputs),
        steps=(basis.size, outputs // tiles.outputs),
        leaves=(1, lambda b, i, g, o: i),
        total=plgpu.SMEM(shape, _exact(x.dtype)),
        interpret=interpret,
    )


PRODUCTS = {"t": forward, "c": coefficients, "s": scales}


class _Tile:
    """The operands of a step, and the basis on them."""

    def __init__(
        self,
        refs: dict[str, Any],
        basis: Any,
        at: Sequence[Array],
        steps: Sequence[int],
    ) -> None:
        self.refs, self.basis, self.at = refs, basis, at
        now = list(zip(at[len(at) - len(steps) :], steps, strict=True))
        self.first = _all([place == 0 for place, _ in now])
        self.last = _all([place == number - 1 for place, number in now])

    def values(self, order: int, g: Array) -> Array:
        """One function's values, times the scales."""
        x = self.refs["x"][...]
        exact = x.astype(_exact(x.dtype))
        values = _function(bases.parts(self.basis), order, g, exact)
        if "s" in self.refs:
            values = values * self.refs["s"][...].astype(values.dtype)
        return values


def _function(parts: list[tuple[int, Any]], order: int, g: Array, x: Array) -> Array:
    """Return the derivative of function ``g`` of the parts, of which one is
    evaluated.
    """
    *before, (first, member) = parts

    def last() -> Array:
        function = bases.derivative(lambda v: member.function(g - first, v), order)
        return rewrite.rewritten(function, x, rewrite.MOSAIC_GPU)

    if not before:
        return last()
    return lax.cond(g >= first, last, lambda: _function(before, order, g, x))


def _call(
    step: Callable[[_Tile, Any, Any], None],
    basis: Any,
    operands: dict[str, tuple[Array | None, Block]],
    *,
    shape: tuple[int, ...],
    block: Block,
    programs: tuple[int, ...],
    steps: tuple[int, ...],
    leaves: tuple[int, Callable[..., Any]],
    total: Any,
    interpret: bool,
) -> Array:
    """Take every step of every program.

    ``leaves`` has the axis of the tile of x that runs over inputs, and which tile of
    the inputs it is.
    """
    present = {k: (a, spec) for k, (a, spec) in operands.items() if a is not None}
    arrays, tree = jax.tree.flatten(basis)
    axis, place = leaves
    tile_shape: Any = present["x"][1][0]
    count = len(steps)

    def spec(block: Block) -> pl.BlockSpec:
        # Steps come first, for else Mosaic mistakes one axis for another; but what
        # emulates it takes the last axes in order.
        if interpret:
            return pl.BlockSpec(*block)
        return pl.BlockSpec(block[0], lambda *at: block[1](*at[count:], *at[:count]))

    def leaf_spec(leaf: Array) -> pl.BlockSpec:
        if leaf.shape[1] == 1:
            return pl.BlockSpec(memory_space=plgpu.GMEM)
        return spec(((len(leaf), tile_shape[axis]), lambda *at: (0, place(*at))))

    def kernel(*refs: Any) -> None:
        *ins, y, sums = refs
        at = [pl.program_id(i) for i in range(len(programs) + count)]
        if not interpret:
            at = at[count:] + at[:count]
        views = [Columns(ref, tile_shape, axis) for ref in ins[len(present) :]]
        here = jax.tree.unflatten(tree, views)
        named = dict(zip(present, ins, strict=False))
        step(_Tile(named, here, at, steps), y, sums)

    semantics: Any = ["sequential"] * count + ["parallel"] * len(programs)
    return mosaic_calls.call(
        kernel,
        out_shape=jax.ShapeDtypeStruct(shape, _exact(present["x"][0].dtype)),
        in_specs=[*(spec(b) for _, b in present.values()), *map(leaf_spec, arrays)],
        out_specs=spec(block),
        scratch_shapes=[total],
        grid=(*programs, *steps) if interpret else (*steps, *programs),
        interpret=interpret,
        params=plgpu.CompilerParams(
            dimension_semantics=semantics,
            max_concurrent_steps=STAGES,
            lowering_semantics=plgpu.LoweringSemantics.Warpgroup,
        ),
    )(*(a for a, _ in present.values()), *arrays)


def _accumulator(shape: tuple[int, int], dtype: Any, interpret: bool) -> Any:
    """Return registers that hold zeros; memory where the kernel is emulated."""
    return (
        plgpu.SMEM(shape, _exact(dtype))
        if interpret
        else plgpu.WGMMAAccumulatorRef(shape)
    )


def _sum_products(
    tile: _Tile, order: int, g: Array, right: Any, y: Any, total: Any, interpret: bool
) -> None:
    """Add the tile of function ``g`` times ``right``; after the last step, give y."""
    values = tile.values(order, g).astype(right.dtype)
    if interpret:

        @pl.when(tile.first)
        def _() -> None:
            total[...] = jnp.zeros(total.shape, total.dtype)

        total[...] += jnp.dot(values, right[...], preferred_element_type=total.dtype)
    else:
        plgpu.wgmma(total, values, right)
        plgpu.wgmma_wait(0)

    @pl.when(tile.last)
    def _() -> None:
        y[...] = total[...]


def _product(left: Any, right: Any, interpret: bool) -> Array:
    """``left @ right.T``, both in shared memory."""
    if interpret:
        accumulator = _exact(left.dtype)
        return jnp.dot(left[...], right[...].T, preferred_element_type=accumulator)

    def run(total: Any) -> Array:
        plgpu.wgmma(total, left, mosaic_calls.transposed(right))
        plgpu.wgmma_wait(0)
        return total[...]

    return pl.run_scoped(
        run, plgpu.WGMMAAccumulatorRef((left.shape[0], right.shape[0]))
    )


def _exact(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)


def _all(conditions: Sequence[Array]) -> Array:
    result = conditions[0]
    for condition in conditions[1:]:
        result = result & condition
    return result
