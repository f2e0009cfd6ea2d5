"""The grouped rational function written in Triton itself, for NVIDIA GPUs.

It has the value and the fused backward pass of :mod:`pallas_kernels.rational_tiled`.
Needs the extra ``kanjax[gpu]``.
"""

# Kernels are read by Triton's own compiler, whose types checkers do not know.
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import triton
import triton.language as tl
from jax import Array

from pallas_kernels import batch_axes, triton_calls

ROWS, CHANNELS, WARPS = 32, 64, 4
"""With 64 rows a thread of the backward pass keeps numbers in memory on sm_90."""


def compute(
    what: str,
    form: str,
    operands: Sequence[Array],
    axes: Sequence[batch_axes.Level] = (),
) -> tuple[Array, ...]:
    """Return what :mod:`pallas_kernels.rational` defines, for "value" or
    "cotangent".
    """
    lengths = batch_axes.sizes(axes, operands)
    members = math.prod(lengths)
    flat = batch_axes.flattened(axes, operands)
    (rows, channels), (m, _), (n, _) = (o.shape[-2:] for o, _ in flat[:3])
    grid = (triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS), members)
    dtype = operands[0].dtype
    outs = [jax.ShapeDtypeStruct((members, rows, channels), dtype)]
    if what == "cotangent":
        for number in (m, n):
            shape = (members, grid[0], number, channels)
            outs.append(jax.ShapeDtypeStruct(shape, jnp.float32))
    steps = [math.prod(o.shape[1:]) if has else 0 for o, has in flat]
    first, *sums = triton_calls.call(
        [*(o for o, _ in flat), *steps, rows],
        value_kernel if what == "value" else cotangent_kernel,
        outs,
        grid=grid,
        warps=WARPS,
        channels=channels,
        M=m,
        N=n,
        FORM_A=form == "A",
        ROWS=ROWS,
        CHANNELS=CHANNELS,
    )
    values = (first, *(jnp.sum(partial, axis=1) for partial in sums))
    return tuple(v.reshape(*lengths, *v.shape[1:]) for v in values)


@triton.jit
def value_kernel(
    x_ref,
    a_ref,
    b_ref,
    x_step,
    a_step,
    b_step,
    rows,
    y_ref,
    channels: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    FORM_A: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Return a tile of ``P(x) / Q(x)``; M and N are the numbers of rows of a and b.

    A member of an ensemble is so many steps from the next; 0 where members share.
    """
    member = tl.program_id(2).to(tl.int64)
    x_ref += member * x_step
    a_ref += member * a_step
    b_ref += member * b_step
    y_ref += member * rows * channels
    column, place, inside = tile(rows, channels, ROWS, CHANNELS)
    x = tl.load(x_ref + place, mask=inside, other=0.0).to(tl.float32)
    value, _, _, _ = pieces(x, a_ref, b_ref, column, channels, M, N, FORM_A)
    tl.store(y_ref + place, value, mask=inside)


@triton.jit
def cotangent_kernel(
    x_ref,
    a_ref,
    b_ref,
    g_ref,
    x_step,
    a_step,
    b_step,
    g_step,
    rows,
    gx_ref,
    ga_ref,
    gb_ref,
    channels: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    FORM_A: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Return the gradient in x, and the coefficients' summed over the rows of a
    tile.
    """
    member = tl.program_id(2).to(tl.int64)
    x_ref += member * x_step
    a_ref += member * a_step
    b_ref += member * b_step
    g_ref += member * g_step
    gx_ref += member * rows * channels
    ga_ref += member * tl.num_programs(0) * M * channels
    gb_ref += member * tl.num_programs(0) * N * channels
    column, place, inside = tile(rows, channels, ROWS, CHANNELS)
    x = tl.load(x_ref + place, mask=inside, other=0.0).to(tl.float32)
    # Zeros beyond the rows count nothing.
    g = tl.load(g_ref + place, mask=inside, other=0.0).to(tl.float32)
    value, slope, inverse, sign = pieces(
        x, a_ref, b_ref, column, channels, M, N, FORM_A
    )
    tl.store(gx_ref + place, g * slope, mask=inside)

    there = column < channels
    moment = g * inverse
    below = -moment * value
    for i in tl.static_range(M):
        row = (tl.program_id(0) * M + i) * channels + column
        tl.store(ga_ref + row, tl.sum(moment, axis=0), mask=there)
        moment *= x
    step = tl.where(x >= 0, x, -x) if FORM_A else x
    below *= step if FORM_A else step * sign
    for j in tl.static_range(N):
        row = (tl.program_id(0) * N + j) * channels + column
        total = tl.sum(below, axis=0)
        if FORM_A:
            b = tl.load(b_ref + j * channels + column, mask=there, other=0.0)
            total = tl.where(b >= 0, total, -total)
        tl.store(gb_ref + row, total, mask=there)
        below *= step


@triton.jit
def tile(rows, channels: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Return the columns of this program, the places of its numbers, and which there
    are.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    place = row[:, None].to(tl.int64) * channels + column[None, :]
    inside = (row < rows)[:, None] & (column < channels)[None, :]
    return column, place, inside


@triton.jit
def pieces(
    x,
    a_ref,
    b_ref,
    column,
    channels: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    FORM_A: tl.constexpr,
):
    """As :func:`pallas_kernels.rational_math.pieces`."""
    there = column < channels
    p, dp = tl.zeros_like(x), tl.zeros_like(x)
    for i in tl.static_range(M):
        a = tl.load(a_ref + (M - 1 - i) * channels + column, mask=there, other=0.0)
        dp = dp * x + p
        p = p * x + a.to(tl.float32)[None, :]
    sign_x = tl.where(x >= 0, 1.0, -1.0)
    point = x * sign_x if FORM_A else x
    h, dh = tl.zeros_like(x), tl.zeros_like(x)
    for j in tl.static_range(N):
        b = tl.load(b_ref + (N - 1 - j) * channels + column, mask=there, other=0.0)
        b = b.to(tl.float32)[None, :]
        dh = dh * point + h
        h = h * point + (tl.abs(b) if FORM_A else b)
    below = point * h
    sign = sign_x if FORM_A else tl.where(below >= 0, 1.0, -1.0)
    inverse = 1.0 / (1.0 + (below if FORM_A else below * sign))
    value = p * inverse
    slope = (dp - value * (h + point * dh) * sign) * inverse
    return value, slope, inverse, sign
