"""The expansion products for NVIDIA GPUs, through Pallas' Triton lowering.

Programs of a grid run at once here, so each sums over all that its tile needs itself.
jax deprecates this lowering since 0.12: the default is the same in Triton itself, and
this is what is emulated.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl

from pallas_kernels import basis as bases

WARPS, STAGES = 4, 2
PROGRAMS = 512
"""How many programs the coefficients' gradient is cut into, at least; more than a card
has multiprocessors."""


class Columns:
    """A leaf of a basis inside of a kernel: ``leaf[..., i]`` loads a row of (n, in)."""

    def __init__(self, ref: Any, columns: Any) -> None:
        self.ref = ref
        self.columns = columns if ref.shape[1] > 1 else pl.ds(0, 1)

    def __getitem__(self, index: tuple[Any, Any]) -> Array:
        """Return the row of that number, (1, in)."""
        return self.ref[pl.ds(index[1], 1), self.columns]


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

    def kernel(tile: "_Tile", y: Any) -> None:
        def over_inputs(k: Array, total: Array) -> Array:
            columns = pl.ds(k * tiles.inputs, tiles.inputs)

            def add(g: Array, values: Array, total: Array) -> Array:
                weights = tile["c"][g, columns, :]
                return total + _dot(values.astype(weights.dtype), weights)

            return tile.over_functions(order, columns, add, total)

        zero = jnp.zeros(y.shape, y.dtype)
        y[...] = lax.fori_loop(0, inputs // tiles.inputs, over_inputs, zero)

    by_rows = pl.BlockSpec((tiles.rows, inputs), lambda i, j: (i, 0))
    weights = pl.BlockSpec((basis.size, inputs, tiles.outputs), lambda i, j: (0, 0, j))
    return _call(
        kernel,
        basis,
        {"x": (x, by_rows), "s": (s, by_rows), "c": (c, weights)},
        shape=(rows, outputs),
        block=pl.BlockSpec((tiles.rows, tiles.outputs), lambda i, j: (i, j)),
        grid=(rows // tiles.rows, outputs // tiles.outputs),
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
    """``C[g, i, o]``, a tile of one function a program, and a sum over partial ones.

    Where coefficients are few the rows are cut as well, to have work for a whole card;
    the partial sums are added in a fixed order.
    """
    (rows, inputs), outputs = x.shape, t.shape[1]
    cells = (inputs // tiles.inputs, outputs // tiles.outputs)
    per = rows // tiles.rows
    cuts = min(per, -(-PROGRAMS // (basis.size * cells[0] * cells[1])))
    while per % cuts:
        cuts -= 1

    sums = []
    for _, basis_part in bases.parts(basis):

        def kernel(tile: "_Tile", y: Any) -> None:
            # Read outside of the loop, where the emulation cannot.
            g, first = pl.program_id(0), pl.program_id(3) * (per // cuts)

            def over_rows(k: Array, total: Array) -> Array:
                at = pl.ds((first + k) * tiles.rows, tiles.rows)
                values = tile.function(order, g, at, pl.ds(0, tiles.inputs))
                cotangents = tile["t"][at, :]
                return total + _dot(values.astype(cotangents.dtype), cotangents, True)

            zero = jnp.zeros(y.shape[2:], y.dtype)
            y[0, 0] = lax.fori_loop(0, per // cuts, over_rows, zero)

        columns = pl.BlockSpec((rows, tiles.inputs), lambda g, i, o, k: (0, i))
        partial = _call(
            kernel,
            basis_part,
            {
                "x": (x, columns),
                "s": (s, columns),
                "t": (
                    t,
                    pl.BlockSpec((rows, tiles.outputs), lambda g, i, o, k: (0, o)),
                ),
            },
            shape=(cuts, basis_part.size, inputs, outputs),
            block=pl.BlockSpec(
                (1, 1, tiles.inputs, tiles.outputs), lambda g, i, o, k: (k, g, i, o)
            ),
            grid=(basis_part.size, *cells, cuts),
            tiles=tiles,
            interpret=interpret,
            input_axis=1,
        )
        sums.append(jnp.sum(partial, axis=0))
    return jnp.concatenate(sums)


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

    def kernel(tile: "_Tile", y: Any) -> None:
        def add(g: Array, values: Array, total: Array) -> Array:
            def over_outputs(k: Array, back: Array) -> Array:
                at = pl.ds(k * tiles.outputs, tiles.outputs)
                weights = tile["c"][g, :, at]
                cotangents = tile["t"][:, at].astype(weights.dtype)
                return back + _dot(cotangents, weights.T)

            zero = jnp.zeros_like(total)
            steps = outputs // tiles.outputs
            return total + values * lax.fori_loop(0, steps, over_outputs, zero)

        zero = jnp.zeros(y.shape, y.dtype)
        y[...] = tile.over_functions(order, pl.ds(0, tiles.inputs), add, zero)

    return _call(
        kernel,
        basis,
        {
            "x": (x, pl.BlockSpec((tiles.rows, tiles.inputs), lambda i, j: (i, j))),
            "c": (
                c,
                pl.BlockSpec(
                    (basis.size, tiles.inputs, outputs), lambda i, j: (0, j, 0)
                ),
            ),
            "t": (t, pl.BlockSpec((tiles.rows, outputs), lambda i, j: (i, 0))),
        },
        shape=(rows, inputs),
        block=pl.BlockSpec((tiles.rows, tiles.inputs), lambda i, j: (i, j)),
        grid=(rows // tiles.rows, inputs // tiles.inputs),
        tiles=tiles,
        interpret=interpret,
        input_axis=1,
    )


PRODUCTS = {"t": forward, "c": coefficients, "s": scales}


class _Tile:
    """The operands of a program, and the basis on them."""

    def __init__(self, named: dict[str, Any], tree: Any, leaves: list[Any]) -> None:
        self.named, self.tree, self.leaves = named, tree, leaves

    def __getitem__(self, role: str) -> Any:
        return self.named[role]

    def basis(self, columns: Any) -> Any:
        views = [Columns(leaf, columns) for leaf in self.leaves]
        return jax.tree.unflatten(self.tree, views)

    def function(self, order: int, g: Array, rows: Any, columns: Any) -> Array:
        """One function of a basis that is not joined, times the scales."""
        return self._values(self.basis(columns), order, g, rows, columns)

    def over_functions(
        self,
        order: int,
        columns: Any,
        add: Callable[[Array, Array, Array], Array],
        total: Array,
    ) -> Array:
        """Fold ``add(g, values of function g, total)`` over all functions."""
        for first, member in bases.parts(self.basis(columns)):

            def step(g: Array, total: Array, first: int = first, member: Any = member):
                values = self._values(member, order, g, slice(None), columns)
                return add(first + g, values, total)

            total = lax.fori_loop(0, member.size, step, total)
        return total

    def _values(
        self, basis: Any, order: int, g: Array, rows: Any, columns: Any
    ) -> Array:
        x = self.named["x"][rows, columns]
        exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        function = bases.derivative(lambda v: basis.function(g, v), order)
        values = function(exact)
        if self.named.get("s") is not None:
            values = values * self.named["s"][rows, columns].astype(values.dtype)
        return values


def _call(
    kernel: Callable[[_Tile, Any], None],
    basis: Any,
    operands: dict[str, tuple[Array | None, pl.BlockSpec]],
    *,
    shape: tuple[int, ...],
    block: pl.BlockSpec,
    grid: tuple[int, ...],
    tiles: Any,
    interpret: bool,
    input_axis: int | None = None,
) -> Array:
    """Run a kernel on named operands and the leaves of a basis.

    ``input_axis``: the axis of the grid that runs over tiles of inputs, if one does.
    """
    present = {k: (a, spec) for k, (a, spec) in operands.items() if a is not None}
    leaves, tree = jax.tree.flatten(basis)
    specs = [_leaf_spec(leaf, tiles.inputs, input_axis) for leaf in leaves]

    def body(*refs: Any) -> None:
        *ins, y = refs
        named = dict(zip(present, ins, strict=False))
        kernel(_Tile(named, tree, ins[len(present) :]), y)

    params: Any = None
    if not interpret:
        # Not in every jax; what emulates it needs no such parameters.
        from jax.experimental.pallas import triton

        params = triton.CompilerParams(num_warps=WARPS, num_stages=STAGES)
    dtype = jnp.promote_types(present["x"][0].dtype, jnp.float32)
    return pl.pallas_call(
        body,
        out_shape=jax.ShapeDtypeStruct(shape, dtype),
        in_specs=[*(spec for _, spec in present.values()), *specs],
        out_specs=block,
        grid=grid,
        interpret=interpret,
        compiler_params=params,
    )(*(a for a, _ in present.values()), *leaves)


def _leaf_spec(leaf: Array, tile: int, input_axis: int | None) -> pl.BlockSpec:
    number, inputs = leaf.shape
    if inputs == 1 or input_axis is None:
        return pl.BlockSpec((number, inputs), lambda *_: (0, 0))
    return pl.BlockSpec((number, tile), lambda *i: (0, i[input_axis]))


def _dot(a: Array, b: Array, transposed: bool = False) -> Array:
    """Return ``a @ b``, or ``a.T @ b``."""
    contracted = ((0,) if transposed else (1,), (0,))
    accumulator = jnp.promote_types(a.dtype, jnp.float32)
    return lax.dot_general(
        a, b, (contracted, ((), ())), preferred_element_type=accumulator
    )
