"""The grouped safe Pade rational function, the activation of group-rational layers.

One primitive has three tasks: the value, its tangent (linear in the changes of x and
of the coefficients) and its cotangent (the fused backward pass). The last two are each
other's transpose, so both modes of differentiation stay inside; derivatives of higher
order are those of the plain form.

Sources: Molina et al. (2020), arXiv 1907.06732; Yang and Wang (2025), arXiv 2409.10594.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
from jax import Array, lax
from jax.interpreters import ad, batching, mlir
from jaxtyping import Float

from pallas_kernels import (
    backends,
    batch_axes,
    rational_math,
    triton_calls,
    varying_axes,
)

FORMS = ("A", "B")
BLOCK_BYTES = 2**16
"""On CPU a block of rows and what some ten sums need of it stay in the cache."""
SUM_ROWS = 2
"""Rows that a block is added up to; to a single one, the compiler adds number by
number."""


class Static(NamedTuple):
    """What a call of the primitive is beside its operands.

    Operands are x (rows, channels), a (m + 1, channels) and b (n, channels), then for
    "tangent" their changes, for "cotangent" the value's. ``axes`` are batch axes,
    outermost first: for each, which operands have it.
    """

    what: str
    form: str
    backend: str
    axes: tuple[tuple[bool, ...], ...] = ()


def group_rational(
    x: Float[Array, "*batch channels"],
    numerator: Float[Array, "numerators m+1"],
    denominator: Float[Array, "denominators n"],
    form: str = "A",
    *,
    backend: str | None = None,
) -> Float[Array, "*batch channels"]:
    """``P(x) / Q(x)``, with coefficients shared by contiguous groups of channels.

    ``P(x) = sum_i a_i x^i``. Form A has ``Q(x) = 1 + sum_j |b_j| |x|^j``, form B has
    ``Q(x) = 1 + |sum_j b_j x^j|``; neither has a pole. The coefficients' gradients are
    summed in a fixed order, in float32 for inputs of half precision.

    Args:
        x: the inputs.
        numerator: a_0 to a_m of each group, or one row for all.
        denominator: b_1 to b_n of each group, or one row for all.
        form: "A" or "B".
        backend: as for :func:`pallas_kernels.expansion_dot`.

    Returns:
        The values, in x's type.

    Raises:
        ValueError: for an unknown form or backend, or if the groups of the two differ
            or do not divide the channels.
    """
    if form not in FORMS:
        raise ValueError(f"form must be 'A' or 'B'; got {form!r}.")
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        # Coefficients in the type of integers would be cut off.
        x = x.astype(numerator.dtype)
    channels = x.shape[-1]
    groups = max(len(numerator), len(denominator))
    if {len(numerator), len(denominator)} - {1, groups} or channels % groups:
        raise ValueError(
            f"the groups of numerator ({len(numerator)}) and denominator "
            f"({len(denominator)}) must be one number that divides the {channels} "
            "channels of x, or one of them 1."
        )
    static = Static("value", form, backends.resolve(backend))
    a, b = (_by_channel(coef, channels) for coef in (numerator, denominator))
    (y,) = _bind(static, [x.reshape(math.prod(x.shape[:-1]), channels), a, b])
    return y.reshape(x.shape)


def _by_channel(coef: Array, channels: int) -> Array:
    """Return (groups, n) -> (n, channels); by a broadcast, since repeating is a
    gather.
    """
    groups, number = coef.shape
    wide = jnp.broadcast_to(coef.T[:, :, None], (number, groups, channels // groups))
    return wide.reshape(number, channels)


rational_p = jax.extend.core.Primitive("group_rational")
rational_p.multiple_results = True


def _bind(static: Static, operands: Sequence[Any]) -> list[Array]:
    return rational_p.bind(*varying_axes.vary_alike(operands), static=static)


@functools.partial(jax.jit, static_argnames="static")
def _run(*operands: Array, static: Static) -> list[Array]:
    return rational_p.bind(*operands, static=static)


rational_p.def_impl(lambda *operands, static: _run(*operands, static=static))


@rational_p.def_abstract_eval
def _abstract(*operands: Any, static: Static) -> list[Any]:
    sizes = batch_axes.sizes(static.axes, operands)
    like = operands[:3] if static.what == "cotangent" else operands[:1]
    return [o.update(shape=(*sizes, *o.shape[-2:]), weak_type=False) for o in like]


# ---- derivatives


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, static: Static) -> Any:
    out = _bind(static, primals)
    moved = [type(t) is not ad.Zero for t in tangents]
    filled = [ad.instantiate_zeros(t) for t in tangents]
    at_point, linear = any(moved[:3]), any(moved[3:])
    # value -> tangent -> cotangent: the tangent is linear in its last operands, and its
    # transpose, the cotangent, is in turn; so the three are closed under both.
    if static.what == "value" and any(moved[1:3]):
        doubled = tuple((*level, *level) for level in static.axes)
        along = static._replace(what="tangent", axes=doubled)
        return out, _bind(along, [*primals, *filled])
    changes = []
    if linear:
        changes.append(_bind(static, [*primals[:3], *filled[3:]]))
    if at_point:
        # The slope in x alone fuses with what is around it; and second derivatives.
        def plain(*point: Array) -> list[Array]:
            return _plain(*point, *primals[3:], static=static)

        changes.append(jax.jvp(plain, tuple(primals[:3]), tuple(filled[:3]))[1])
    if not changes:
        return out, [ad.Zero(jax.typeof(o).to_tangent_aval()) for o in out]
    return out, [
        functools.reduce(jnp.add, terms) for terms in zip(*changes, strict=True)
    ]


ad.primitive_jvps[rational_p] = _jvp


def _transpose(cts: Sequence[Any], *operands: Any, static: Static) -> list[Any]:
    point, linear = operands[:3], operands[3:]
    unknown = [ad.is_undefined_primal(o) for o in linear]
    result: list[Any] = [None] * len(operands)
    if all(type(ct) is ad.Zero for ct in cts):
        for i, (o, wanted) in enumerate(zip(linear, unknown, strict=True), start=3):
            result[i] = ad.Zero(o.aval) if wanted else None
        return result
    filled = [ad.instantiate_zeros(ct) for ct in cts]
    flags = (True,) * len(filled)
    full = tuple((*level[:3], *flags) for level in static.axes)
    # The transpose of a linear map's transpose is the map itself.
    what = "cotangent" if static.what == "tangent" else "tangent"
    values = _bind(static._replace(what=what, axes=full), [*point, *filled])
    for i, (value, wanted) in enumerate(zip(values, unknown, strict=True), start=3):
        absent = [d for d, level in enumerate(static.axes) if not level[i]]
        if wanted:
            result[i] = jnp.sum(value, axis=tuple(absent)) if absent else value
    return result


ad.primitive_transposes[rational_p] = _transpose


# ---- batching


def _batch(
    operands: Sequence[Array], dims: Sequence[int | None], *, static: Static
) -> tuple[list[Array], list[int]]:
    batched = [d is not None for d in dims]
    moved = [
        o if d is None else jnp.moveaxis(o, d, 0)
        for o, d in zip(operands, dims, strict=True)
    ]
    # Operands come in threes: x and what belongs to it, a, b.
    is_row = [i % 3 == 0 for i in range(len(operands))]
    if static.what != "cotangent" and not static.axes and batched == is_row:
        # The coefficients are shared: the batch is more rows.
        number = moved[0].shape[0]
        rows = [
            o.reshape(number * o.shape[1], o.shape[2]) if row else o
            for o, row in zip(moved, is_row, strict=True)
        ]
        (y,) = _bind(static, rows)
        return [y.reshape(moved[0].shape)], [0]
    values = _bind(static._replace(axes=(tuple(batched), *static.axes)), moved)
    return values, [0] * len(values)


batching.primitive_batchers[rational_p] = _batch


# ---- lowering


def _compute(*operands: Array, static: Static, platform: str) -> list[Array]:
    for kernels in backends.kernels(static.backend, platform):
        values = _by_kernels(kernels, operands, static)
        if values is not None:
            return _like(values, operands)
    members = math.prod(batch_axes.sizes(static.axes, operands))

    def unbatched(*operands: Array) -> list[Array]:
        return _like(_by_xla(operands, static, platform, members), operands)

    return batch_axes.map_over(unbatched, static.axes)(*operands)


def _like(values: Sequence[Array], operands: Sequence[Array]) -> list[Array]:
    return [y.astype(o.dtype) for y, o in zip(values, operands, strict=False)]


def _by_kernels(
    kernels: str, operands: Sequence[Array], static: Static
) -> Sequence[Array] | None:
    """Return the primitive by these kernels, or None if they do not serve it."""
    if not _serve(kernels, operands, static):
        return None
    # Triton and Pallas take long to import; most programs never need them.
    if kernels == "triton":
        members = math.prod(batch_axes.sizes(static.axes, operands))
        if not triton_calls.serve(static.backend, members):
            return None
        from pallas_kernels import rational_triton

        return rational_triton.compute(static.what, static.form, operands, static.axes)

    def unbatched(*operands: Array) -> Sequence[Array]:
        if kernels == "mosaic":
            from pallas_kernels import rational_mosaic

            return rational_mosaic.compute(static.what, static.form, operands)
        from pallas_kernels import rational_tiled

        return rational_tiled.compute(static.what, static.form, operands, kernels)

    return batch_axes.map_over(unbatched, static.axes)(*operands)


def _serve(kernels: str, operands: Sequence[Array], static: Static) -> bool:
    """Whether kernels take operands of these types and shapes.

    Those in Triton and for Mosaic on GPUs have no tangent, and the latter no batch axes
    and one type.
    """
    singles = {"float32"} if kernels == "mosaic" else {"float32", "bfloat16", "float16"}
    types = {o.dtype.name for o in operands}
    has_task = static.what != "tangent" or kernels not in ("triton", "mosaic")
    has_axes = not static.axes or kernels != "mosaic"
    known = kernels == "interpret" or types <= singles
    return known and has_task and has_axes and operands[0].size > 0


def _by_xla(
    operands: Sequence[Array], static: Static, platform: str, members: int
) -> tuple[Array, ...]:
    exact = jnp.promote_types(operands[0].dtype, jnp.float32)
    if static.what != "cotangent":
        return (_elementwise([o.astype(exact) for o in operands], static),)
    x, a, b, g = operands
    return _cotangent(x, a, b, g, static.form, members, platform)


def _cotangent(
    x: Array, a: Array, b: Array, g: Array, form: str, members: int, platform: str
) -> tuple[Array, Array, Array]:
    """All three gradients, a block of rows at a time.

    A block's rows are added up to :data:`SUM_ROWS`, and these only at the end.
    """
    exact = jnp.promote_types(x.dtype, jnp.float32)
    number, channels = x.shape
    size = number * channels * exact.itemsize * members
    blocks = max(1, min(number // 16, size // BLOCK_BYTES if platform == "cpu" else 1))
    rows_a, rows_b = _rows(a.astype(exact)), _rows(b.astype(exact))
    if blocks == 1:
        xs, gs = x.astype(exact), g.astype(exact)
        gx, by_a, by_b = rational_math.cotangent(xs, rows_a, rows_b, gs, form)
        return gx, _sums(by_a), _sums(by_b)
    even = (n for n in range(blocks, 2 * blocks) if number % (n * SUM_ROWS) == 0)
    blocks = next(even, blocks)
    missing = -number % (blocks * SUM_ROWS)
    shape = (blocks, (number + missing) // blocks, channels)
    # Rows of zeros in g count nothing.
    cut = [jnp.pad(v, ((0, missing), (0, 0))).reshape(shape) for v in (x, g)]

    def step(i: Array, carry: Any) -> Any:
        gx, sums = carry
        xs, gs = (lax.dynamic_index_in_dim(v, i, 0, False).astype(exact) for v in cut)
        rows_gx, by_a, by_b = rational_math.cotangent(xs, rows_a, rows_b, gs, form)
        gx = lax.dynamic_update_index_in_dim(gx, rows_gx, i, 0)
        moments = [m.reshape(-1, SUM_ROWS, channels) for m in by_a + by_b]
        return gx, [s + jnp.sum(m, 0) for s, m in zip(sums, moments, strict=True)]

    zero = jnp.zeros((SUM_ROWS, channels), exact)
    zeros = (jnp.zeros(shape, exact), [zero] * (len(a) + len(b)))
    start = jax.tree.map(lambda zero: varying_axes.vary_like(zero, [x, a, b, g]), zeros)
    gx, sums = lax.fori_loop(0, blocks, step, start)
    ga, gb = _sums(sums[: len(a)]), _sums(sums[len(a) :])
    return gx.reshape(number + missing, channels)[:number], ga, gb


def _sums(moments: Sequence[Array]) -> Array:
    """Over the rows of each: (number, channels)."""
    return jnp.stack([jnp.sum(moment, axis=0) for moment in moments])


def _elementwise(operands: Sequence[Array], static: Static) -> Array:
    x, a, b, *changes = operands
    if static.what == "value":
        return rational_math.pieces(x, _rows(a), _rows(b), static.form).value
    dx, da, db = changes
    point = x, _rows(a), _rows(b)
    return rational_math.tangent(*point, dx, _rows(da), _rows(db), static.form)


def _rows(coef: Array) -> list[Array]:
    return [coef[i : i + 1] for i in range(len(coef))]


def _plain(*operands: Array, static: Static) -> list[Array]:
    """Return the primitive by jax's own differentiation of the value.

    Half precision is evaluated in float32 and rounded once.
    """
    exact = jnp.promote_types(operands[0].dtype, jnp.float32)

    def value(x: Array, a: Array, b: Array) -> Array:
        return rational_math.pieces(x, _rows(a), _rows(b), static.form).value

    def unbatched(*operands: Array) -> list[Array]:
        x, a, b, *rest = (o.astype(exact) for o in operands)
        if static.what == "value":
            values = [value(x, a, b)]
        elif static.what == "tangent":
            values = [jax.jvp(value, (x, a, b), tuple(rest))[1]]
        else:
            values = list(jax.vjp(value, x, a, b)[1](*rest))
        return _like(values, operands)

    return batch_axes.map_over(unbatched, static.axes)(*operands)


for _platform in backends.PLATFORMS:
    mlir.register_lowering(
        rational_p,
        mlir.lower_fun(functools.partial(_compute, platform=_platform)),
        platform=_platform,
    )
