"""The expansion products written in Triton itself, for NVIDIA GPUs.

The expansion of a tile is made where it is used, one function of the basis after the
other, each a matrix product of a (rows x inputs) with an (inputs x outputs) tile; what
the functions compute is written by :mod:`pallas_kernels.triton_source`. Needs the extra
``kanjax[gpu]``.
"""

# Kernels are read by Triton's own compiler, whose types checkers do not know.
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportArgumentType=false

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import triton
import triton.language as tl
from jax import Array

from pallas_kernels import triton_calls, triton_source, tuning


class Blocks(NamedTuple):
    """The numbers of rows, inputs and outputs of a tile, and of warps and stages."""

    rows: int
    inputs: int
    outputs: int
    warps: int = 4
    stages: int = 2


BLOCKS = {"tensor cores": Blocks(64, 32, 64), "ieee": Blocks(64, 32, 64, warps=8)}
"""Tiles for products on tensor cores and for exact ones of float32: none keeps a number
of a thread in memory (read from the compiler) on cards from Ampere to Blackwell."""
PROGRAMS = 512
"""How many programs the coefficients' gradient is cut into, at least; more than a card
has multiprocessors."""
PRECISIONS = {
    None: "tf32",
    "default": "tf32",
    "tensorfloat32": "tf32",
    "high": "tf32x3",
    "highest": "ieee",
    "float32": "ieee",
}
"""How tiles of float32 are multiplied, by ``jax.default_matmul_precision``: as XLA does
on these cards."""


def product(
    basis: Any,
    order: int,
    out: str,
    named: dict[str, Any],
    members: int,
    dtype: Any,
    blocks: Blocks | None = None,
) -> Array:
    """Return the derivative of the form of :mod:`pallas_kernels.expansion` in ``out``.

    Args:
        basis: of the expansion.
        order: of the derivative in x.
        out: which array's derivative, of "s", "c" and "t".
        named: "x", "s" (or None), "c" and "t" without the one that ``out`` names, and
            "leaves", the rows of the basis' leaves, if it has some; each with whether
            it has a leading axis over members.
        members: the length of that axis.
        dtype: of the result.
        blocks: the tiles; None for those that were measured to be the fastest on this
            card, or else for a default.

    Returns:
        The derivative of every member.

    Raises:
        NotImplementedError: for a basis that does what Triton has no word for.
    """
    function = triton_source.function(basis, order)
    names = {"t": ("x", "s", "c"), "c": ("x", "s", "t"), "s": ("x", "c", "t")}[out]
    x, _ = named["x"]
    rows, inputs = x.shape[-2:]
    outputs = named["t" if out == "c" else "c"][0].shape[-1]
    multiplied = named["t" if out == "c" else "c"][0].dtype
    precision = _precision(multiplied)
    blocks = blocks or _chosen(out, multiplied.name, precision, inputs, outputs)
    blocks = _fitted(blocks, (rows, inputs, outputs))
    # What is absent is not read.
    operands = [named[name] or (x, False) for name in names]
    leaves, batched = named["leaves"] or (x, False)
    steps = [math.prod(a.shape[1:]) if has else 0 for a, has in operands]
    steps.append(math.prod(leaves.shape[1:]) if batched else 0)
    by_rows, by_inputs, by_outputs = (
        triton.cdiv(n, block)
        for n, block in zip((rows, inputs, outputs), blocks, strict=False)
    )
    cuts = 1
    if out == "t":
        shape, grid = (rows, outputs), (by_rows, by_outputs, members)
    elif out == "s":
        shape, grid = (rows, inputs), (by_rows, by_inputs, members)
    else:
        # Where coefficients are few the rows are cut as well, to have work for a whole
        # card; the partial sums are added in a fixed order.
        programs = basis.size * by_inputs * by_outputs
        cuts = min(by_rows, triton.cdiv(PROGRAMS, programs * members))
        shape = (cuts, basis.size, inputs, outputs)
        grid = (programs, cuts, members)
    partial = dtype if cuts == 1 else jnp.float32
    (y,) = triton_calls.call(
        [*(a for a, _ in operands), leaves, *steps, rows],
        {"t": forward_kernel, "c": coefficients_kernel, "s": scales_kernel}[out],
        [jax.ShapeDtypeStruct((members, *shape), partial)],
        grid=grid,
        warps=blocks.warps,
        stages=blocks.stages,
        VALUES=function,
        SIZE=basis.size,
        inputs=inputs,
        outputs=outputs,
        WIDTH=leaves.shape[-1] if named["leaves"] else 1,
        **({} if out == "s" else {"SCALED": named["s"] is not None}),
        PRECISION=precision,
        ROWS=blocks.rows,
        INPUTS=blocks.inputs,
        OUTPUTS=blocks.outputs,
    )
    if out != "c":
        return y
    return y[:, 0] if cuts == 1 else jnp.sum(y, axis=1)


def _precision(dtype: Any) -> str:
    """Return how Triton is to multiply tiles of float32; of others there is one way."""
    config: Any = jax.config
    asked = config.jax_default_matmul_precision if dtype == jnp.float32 else None
    return PRECISIONS.get(asked, "tf32")


def _chosen(out: str, dtype: str, precision: str, inputs: int, outputs: int) -> Blocks:
    name = "tf32" if dtype == "float32" and precision == "tf32" else dtype
    fastest = tuning.measured(tuning.card_at_hand(), out, name, inputs, outputs)
    kind = "ieee" if precision == "ieee" else "tensor cores"
    return Blocks(*fastest) if fastest else BLOCKS[kind]


def _fitted(blocks: Blocks, sizes: tuple[int, int, int]) -> Blocks:
    """Return tiles no larger than the arrays need: powers of two, at least 16."""
    least = [max(16, triton.next_power_of_2(n)) for n in sizes]
    return Blocks(*map(min, blocks, least), blocks.warps, blocks.stages)


@triton.jit
def forward_kernel(
    x_ref,
    s_ref,
    c_ref,
    leaves_ref,
    x_step,
    s_step,
    c_step,
    leaves_step,
    rows,
    y_ref,
    VALUES: tl.constexpr,
    SIZE: tl.constexpr,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    WIDTH: tl.constexpr,
    SCALED: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
):
    """``y[b, o]``, a tile of rows and outputs a program.

    A member of an ensemble is so many steps from the next; 0 where members share.
    """
    member = tl.program_id(2).to(tl.int64)
    x_ref += member * x_step
    s_ref += member * s_step
    c_ref += member * c_step
    leaves_ref += member * leaves_step
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    output = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    total = tl.zeros((ROWS, OUTPUTS), tl.float32)
    for k in range(0, inputs, INPUTS):
        column = k + tl.arange(0, INPUTS)
        x, place = tile(x_ref, row, column, rows, inputs)
        leaf_column = (tl.minimum(column, inputs - 1) if WIDTH > 1 else column * 0)[
            None
        ]
        there = (column < inputs)[:, None] & (output < outputs)[None, :]
        weights = c_ref + column[:, None] * outputs + output[None, :]
        for g in range(0, SIZE):
            values = VALUES(g, x, leaves_ref, leaf_column, WIDTH)
            if SCALED:
                values *= tl.load(s_ref + place).to(tl.float32)
            w = tl.load(weights, mask=there, other=0.0)
            total = tl.dot(values.to(w.dtype), w, total, input_precision=PRECISION)
            weights += inputs * outputs
    y_ref += (member * rows + row[:, None]) * outputs + output[None, :]
    tl.store(y_ref, total, mask=(row < rows)[:, None] & (output < outputs)[None, :])


@triton.jit
def coefficients_kernel(
    x_ref,
    s_ref,
    t_ref,
    leaves_ref,
    x_step,
    s_step,
    t_step,
    leaves_step,
    rows,
    y_ref,
    VALUES: tl.constexpr,
    SIZE: tl.constexpr,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    WIDTH: tl.constexpr,
    SCALED: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
):
    """``C[g, i, o]``, a tile of one function a program, over one cut of the rows."""
    member = tl.program_id(2).to(tl.int64)
    x_ref += member * x_step
    s_ref += member * s_step
    t_ref += member * t_step
    leaves_ref += member * leaves_step
    across: tl.constexpr = (outputs + OUTPUTS - 1) // OUTPUTS
    down: tl.constexpr = (inputs + INPUTS - 1) // INPUTS
    g = tl.program_id(0) // (across * down)
    cell = tl.program_id(0) % (across * down)
    column = cell // across * INPUTS + tl.arange(0, INPUTS)
    output = cell % across * OUTPUTS + tl.arange(0, OUTPUTS)
    leaf_column = (tl.minimum(column, inputs - 1) if WIDTH > 1 else column * 0)[None]
    cut, cuts = tl.program_id(1), tl.num_programs(1)
    total = tl.zeros((INPUTS, OUTPUTS), tl.float32)
    for start in range(cut * ROWS, rows, cuts * ROWS):
        row = start + tl.arange(0, ROWS)
        x, place = tile(x_ref, row, column, rows, inputs)
        values = VALUES(g, x, leaves_ref, leaf_column, WIDTH)
        if SCALED:
            values *= tl.load(s_ref + place).to(tl.float32)
        # Zeros beyond the rows count nothing.
        there = (row < rows)[:, None] & (output < outputs)[None, :]
        place = row[:, None].to(tl.int64) * outputs + output[None, :]
        t = tl.load(t_ref + place, mask=there, other=0.0)
        turned = tl.trans(values.to(t.dtype))
        total = tl.dot(turned, t, total, input_precision=PRECISION)
    y_ref += ((member * cuts + cut) * SIZE + g) * inputs * outputs
    y_ref += column[:, None] * outputs + output[None, :]
    tl.store(
        y_ref, total, mask=(column < inputs)[:, None] & (output < outputs)[None, :]
    )


@triton.jit
def scales_kernel(
    x_ref,
    c_ref,
    t_ref,
    leaves_ref,
    x_step,
    c_step,
    t_step,
    leaves_step,
    rows,
    y_ref,
    VALUES: tl.constexpr,
    SIZE: tl.constexpr,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
):
    """``S[b, i]``, a tile of rows and inputs a program."""
    member = tl.program_id(2).to(tl.int64)
    x_ref += member * x_step
    c_ref += member * c_step
    t_ref += member * t_step
    leaves_ref += member * leaves_step
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * INPUTS + tl.arange(0, INPUTS)
    leaf_column = (tl.minimum(column, inputs - 1) if WIDTH > 1 else column * 0)[None]
    x, place = tile(x_ref, row, column, rows, inputs)
    total = tl.zeros((ROWS, INPUTS), tl.float32)
    for g in range(0, SIZE):
        back = tl.zeros((ROWS, INPUTS), tl.float32)
        for k in range(0, outputs, OUTPUTS):
            output = k + tl.arange(0, OUTPUTS)
            here = (output < outputs)[None, :]
            at = row[:, None].to(tl.int64) * outputs + output[None, :]
            t = tl.load(t_ref + at, mask=(row < rows)[:, None] & here, other=0.0)
            at = (g * inputs + column)[:, None].to(tl.int64) * outputs + output[None, :]
            w = tl.load(c_ref + at, mask=(column < inputs)[:, None] & here, other=0.0)
            t = t.to(w.dtype)
            back = tl.dot(t, tl.trans(w), back, input_precision=PRECISION)
        total += back * VALUES(g, x, leaves_ref, leaf_column, WIDTH)
    y_ref += (member * rows + row[:, None]) * inputs + column[None, :]
    tl.store(y_ref, total, mask=(row < rows)[:, None] & (column < inputs)[None, :])


@triton.jit
def tile(x_ref, row, column, rows, inputs: tl.constexpr):
    """Return a tile of x and the places of its numbers.

    Beyond the last row or input stands that one: what a basis makes of it is a number,
    and the coefficients or cotangents there are 0.
    """
    down = tl.minimum(row, rows - 1)[:, None].to(tl.int64)
    place = down * inputs + tl.minimum(column, inputs - 1)[None, :]
    return tl.load(x_ref + place).to(tl.float32), place
