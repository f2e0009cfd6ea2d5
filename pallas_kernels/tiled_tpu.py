"""The expansion products for TPUs, through Pallas' Mosaic lowering.

A TPU takes the programs of a grid in order, so the last axes of the grid run over what
a tile sums, and the sum stays in vector memory between them. A program holds the
coefficients of one function only.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import basis as bases
from pallas_kernels import rewrite

Cell = Callable[..., tuple[int | Array, ...]]


@dataclasses.dataclass(frozen=True)
class Columns:
    """A leaf of a basis inside of a kernel: ``leaf[..., i]`` loads a row of (n, in)."""

    ref: Any

    def __getitem__(self, index: tuple[Any, Any]) -> Array:
        """Return the row of that number, (1, in)."""
        return self.ref[pl.ds(index[1], 1), :]


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
    """``y[b, o]`` on a grid of rows, outputs, inputs and functions."""
    (rows, inputs), outputs = x.shape, c.shape[2]

    def add(refs: dict[str, Any], values: Array) -> Array:
        weights = refs["c"][0]
        return _dot(values.astype(weights.dtype), weights)

    by_rows = pl.BlockSpec((tiles.rows, tiles.inputs), lambda b, o, i, g: (b, i))
    weights = pl.BlockSpec(
        (1, tiles.inputs, tiles.outputs), lambda b, o, i, g: (g, i, o)
    )
    return _call(
        add,
        basis,
        order,
        {"x": (x, by_rows), "s": (s, by_rows), "c": (c, weights)},
        shape=(rows, outputs),
        block=pl.BlockSpec((tiles.rows, tiles.outputs), lambda b, o, i, g: (b, o)),
        grid=(
            rows // tiles.rows,
            outputs // tiles.outputs,
            inputs // tiles.inputs,
            basis.size,
        ),
        function_axis=3,
        input_axis=2,
        summed=(2, 3),
        tiles=tiles,
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
    """``C[g, i, o]`` on a grid of functions, inputs, outputs and rows."""
    (rows, inputs), outputs = x.shape, t.shape[1]

    def add(refs: dict[str, Any], values: Array) -> Array:
        cotangents = refs["t"][...]
        return _dot(values.astype(cotangents.dtype).T, cotangents)[None]

    by_rows = pl.BlockSpec((tiles.rows, tiles.inputs), lambda g, i, o, b: (b, i))
    by_outputs = pl.BlockSpec((tiles.rows, tiles.outputs), lambda g, i, o, b: (b, o))
    return _call(
        add,
        basis,
        order,
        {"x": (x, by_rows), "s": (s, by_rows), "t": (t, by_outputs)},
        shape=(basis.size, inputs, outputs),
        block=pl.BlockSpec(
            (1, tiles.inputs, tiles.outputs), lambda g, i, o, b: (g, i, o)
        ),
        grid=(
            basis.size,
            inputs // tiles.inputs,
            outputs // tiles.outputs,
            rows // tiles.rows,
        ),
        function_axis=0,
        input_axis=1,
        summed=(3,),
        tiles=tiles,
        interpret=interpret,
    )


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
    """``S[b, i]`` on a grid of rows, inputs, functions and outputs."""
    (rows, inputs), outputs = x.shape, c.shape[2]

    def add(refs: dict[str, Any], values: Array) -> Array:
        weights = refs["c"][0]
        return values * _dot(refs["t"][...].astype(weights.dtype), weights.T)

    by_rows = pl.BlockSpec((tiles.rows, tiles.inputs), lambda b, i, g, o: (b, i))
    weights = pl.BlockSpec(
        (1, tiles.inputs, tiles.outputs), lambda b, i, g, o: (g, i, o)
    )
    by_outputs = pl.BlockSpec((tiles.rows, tiles.outputs), lambda b, i, g, o: (b, o))
    return _call(
        add,
        basis,
        order,
        {"x": (x, by_rows), "c": (c, weights), "t": (t, by_outputs)},
        shape=(rows, inputs),
        block=by_rows,
        grid=(
            rows // tiles.rows,
            inputs // tiles.inputs,
            basis.size,
            outputs // tiles.outputs,
        ),
        function_axis=2,
        input_axis=1,
        summed=(2, 3),
        tiles=tiles,
        interpret=interpret,
    )


PRODUCTS = {"t": forward, "c": coefficients, "s": scales}


def _call(
    add: Callable[[dict[str, Any], Array], Array],
    basis: Any,
    order: int,
    operands: dict[str, tuple[Array | None, pl.BlockSpec]],
    *,
    shape: tuple[int, ...],
    block: pl.BlockSpec,
    grid: tuple[int, ...],
    function_axis: int,
    input_axis: int,
    summed: tuple[int, ...],
    tiles: Any,
    interpret: bool,
) -> Array:
    """Sum ``add(operands' tiles, values of a function)`` over the axes ``summed``."""
    present = {k: (a, spec) for k, (a, spec) in operands.items() if a is not None}
    leaves, tree = jax.tree.flatten(basis)
    leaf_specs = [_leaf_spec(leaf, tiles.inputs, input_axis) for leaf in leaves]
    dtype = jnp.promote_types(present["x"][0].dtype, jnp.float32)
    block_shape: Any = block.block_shape

    def kernel(*refs: Any) -> None:
        *ins, y, total = refs
        named = dict(zip(present, ins, strict=False))
        places = [pl.program_id(axis) for axis in range(len(grid))]
        g = places[function_axis]

        @pl.when(_all(places[axis] == 0 for axis in summed))
        def _() -> None:
            total[...] = jnp.zeros(total.shape, total.dtype)

        here = jax.tree.unflatten(tree, [Columns(r) for r in ins[len(present) :]])
        for first, member in bases.parts(here):

            @pl.when((g >= first) & (g < first + member.size))
            def _(first: int = first, member: Any = member) -> None:
                values = _values(member, order, g - first, named)
                total[...] += add(named, values)

        @pl.when(_all(places[axis] == grid[axis] - 1 for axis in summed))
        def _() -> None:
            y[...] = total[...]

    semantics: Any = [
        "arbitrary" if axis in summed else "parallel" for axis in range(len(grid))
    ]
    return pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct(shape, dtype),
        in_specs=[*(spec for _, spec in present.values()), *leaf_specs],
        out_specs=block,
        scratch_shapes=[pltpu.VMEM(block_shape, dtype)],
        grid=grid,
        interpret=interpret,
        compiler_params=pltpu.CompilerParams(dimension_semantics=semantics),
    )(*(a for a, _ in present.values()), *leaves)


def _leaf_spec(leaf: Array, tile: int, input_axis: int) -> pl.BlockSpec:
    number, inputs = leaf.shape
    if inputs == 1:
        return pl.BlockSpec((number, 1), lambda *_: (0, 0))
    return pl.BlockSpec((number, tile), lambda *i: (0, i[input_axis]))


def _values(basis: Any, order: int, g: Array, refs: dict[str, Any]) -> Array:
    """One function's values on a tile, times the scales."""
    x = refs["x"][...]
    exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    function = bases.derivative(lambda v: basis.function(g, v), order)
    values = rewrite.rewritten(function, exact, rewrite.TPU)
    if "s" in refs:
        values = values * refs["s"][...].astype(values.dtype)
    return values


def _all(conditions: Any) -> Array:
    result = True
    for condition in conditions:
        result = result & condition
    return jnp.asarray(result)


def _dot(a: Array, b: Array) -> Array:
    accumulator = jnp.promote_types(a.dtype, jnp.float32)
    return jnp.dot(a, b, preferred_element_type=accumulator)
