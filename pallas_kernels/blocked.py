"""The expansion products by XLA, one cache-sized block of rows at a time."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from pallas_kernels import basis as bases
from pallas_kernels import varying_axes

BLOCK_BYTES = {"cpu": 3 * 2**20}
"""The expansion of a block. On CPU it stays in the cache (measured); elsewhere only the
memory is bounded, with few launches."""
OTHER_BYTES = 2**28
LEAST_ROWS = 256
"""Products of fewer rows spend much of their time on packing the coefficients."""
LEAST_APART = 2**13
"""The fewest entries of an expansion that is kept apart from its product: as many are
quicker so (measured), and for fewer compiling a branch is not worth it."""


class Cut(NamedTuple):
    """How a product is computed.

    Attributes:
        blocks: how many blocks of rows there are.
        barrier: True, unknown to the compiler, to keep an expansion apart from the
            product with it, or None.
    """

    blocks: int
    barrier: Array | None = None


def forward(
    basis: Any, order: int, x: Array, s: Array | None, c: Array, *, cut: Cut
) -> Array:
    """``y[b, o] = sum_{g, i} s[b, i] phi_g(x[b, i]) c[g, i, o]``."""
    columns = c.reshape(c.shape[0] * c.shape[1], c.shape[2])

    def product(block: list[Array]) -> Array:
        return _dot(_rows(basis, order, cut.barrier, *block), columns)

    return _map(product, [x] if s is None else [x, s], cut.blocks)


def coefficients(
    basis: Any, order: int, x: Array, s: Array | None, t: Array, *, cut: Cut
) -> Array:
    """``C[g, i, o] = sum_b s[b, i] phi_g(x[b, i]) t[b, o]``."""

    def product(block: list[Array]) -> Array:
        *inputs, cotangent = block
        return _dot(_rows(basis, order, cut.barrier, *inputs).T, cotangent)

    total = _sum(product, [x, t] if s is None else [x, s, t], cut.blocks)
    return total.reshape(basis.size, x.shape[1], t.shape[1])


def scales(basis: Any, order: int, x: Array, c: Array, t: Array, *, cut: Cut) -> Array:
    """``S[b, i] = sum_{g, o} phi_g(x[b, i]) c[g, i, o] t[b, o]``."""
    columns = c.reshape(c.shape[0] * c.shape[1], c.shape[2])

    def sums(block: list[Array]) -> Array:
        inputs, cotangent = block
        values = bases.expand(basis, inputs, order)
        back = _dot(cotangent, columns.T).reshape(values.shape)
        return jnp.sum(back * values, axis=-2)

    return _map(sums, [x, t], cut.blocks)


def number_of_blocks(rows: int, inner: int, itemsize: int, platform: str) -> int:
    """How many blocks keep the expansion of one below the platform's bound."""
    bound = BLOCK_BYTES.get(platform, OTHER_BYTES)
    # So many blocks keep to the bound, but none of fewer rows than LEAST_ROWS.
    wanted = math.ceil(rows * inner * itemsize / bound)
    wanted = max(1, min(wanted, rows // LEAST_ROWS))
    # A divisor nearby spares the padding.
    near = range(wanted, min(2 * wanted, rows) + 1)
    return next((n for n in near if rows % n == 0), wanted)


def opaque_true(x: Array, platform: str) -> Array | None:
    """Return a traced True that XLA cannot fold, ``not x[0] > inf``; None off CPUs."""
    return ~(jnp.sum(x.ravel()[:1]) > jnp.inf) if platform == "cpu" else None


def _rows(
    basis: Any, order: int, barrier: Array | None, x: Array, s: Array | None = None
) -> Array:
    def expand(inputs: list[Array]) -> Array:
        values = bases.expand(basis, inputs[0], order)
        if s is not None:
            values = values * inputs[1][:, None, :].astype(values.dtype)
        return values

    inputs = [x] if s is None else [x, s]
    if barrier is None:
        values = expand(inputs)
    else:
        # XLA for CPUs would make the expansion in the shape that the product takes, in
        # a loop that finds function and input of each entry by division: nine times
        # slower (measured) than one over rows, functions and inputs.
        shape = len(x), basis.size, x.shape[1]

        def nothing(inputs: list[Array]) -> Array:
            return varying_axes.vary_like(jnp.zeros(shape, x.dtype), inputs)

        values = lax.cond(barrier, expand, nothing, inputs)
    return values.reshape(len(x), values.shape[1] * values.shape[2])


def _dot(a: Array, b: Array) -> Array:
    accumulator = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
    return jnp.matmul(a, b, preferred_element_type=accumulator)


def _map(
    function: Callable[[list[Array]], Array], arrays: list[Array], blocks: int
) -> Array:
    """``one`` of every block of rows, put together again."""
    if blocks == 1:
        return function(arrays)
    rows = len(arrays[0])
    cut = _cut(arrays, blocks)
    like = jax.eval_shape(function, _block(cut, 0))

    def body(i: Array, y: Array) -> Array:
        return lax.dynamic_update_index_in_dim(y, function(_block(cut, i)), i, 1)

    # (rows / blocks, blocks, ...): as _cut lays rows out, so that reshaping joins them.
    y = jnp.zeros((like.shape[0], blocks, *like.shape[1:]), like.dtype)
    y = lax.fori_loop(0, blocks, body, varying_axes.vary_like(y, arrays))
    return y.reshape(-1, *like.shape[1:])[:rows]


def _sum(
    function: Callable[[list[Array]], Array], arrays: list[Array], blocks: int
) -> Array:
    """Return the sum of ``one`` over the blocks of rows."""
    if blocks == 1:
        return function(arrays)
    cut = _cut(arrays, blocks, last="constant")
    return lax.fori_loop(
        1,
        blocks,
        lambda i, total: total + function(_block(cut, i)),
        function(_block(cut, 0)),
    )


def _cut(arrays: list[Array], blocks: int, *, last: str = "edge") -> list[Array]:
    """Rows (b, n) -> (b / blocks, blocks, n): every block has rows from everywhere.

    So an array that is spread over devices by rows stays so within each block. The last
    row is repeated to fill up the last one, since at zero a function may be infinite;
    with ``last="constant"``, the last array has zeros there, such as cotangents that
    make these rows count nothing.
    """
    rows = len(arrays[0])
    missing = -rows % blocks
    if missing:
        modes = ["edge"] * (len(arrays) - 1) + [last]
        arrays = [
            jnp.pad(a, ((0, missing), (0, 0)), mode)
            for a, mode in zip(arrays, modes, strict=True)
        ]
    return [a.reshape(-1, blocks, a.shape[-1]) for a in arrays]


def _block(cut: list[Array], i: int | Array) -> list[Array]:
    return [lax.dynamic_index_in_dim(a, i, 1, keepdims=False) for a in cut]
