"""The expansion products by what serves them where a program is lowered."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax import Array

from pallas_kernels import backends, batch_axes, blocked, reference, triton_calls

NDIM = {"x": 2, "s": 2, "c": 3, "t": 2}


class Static(NamedTuple):
    """What a call of the primitive is beside its operands.

    The operands are those that ``roles`` names, then the leaves of the basis.
    ``axes`` are batch axes, outermost first: for each, which operands have it.
    """

    out: str
    roles: tuple[str, ...]
    order: int
    tree: Any
    dtype: Any
    backend: str
    axes: tuple[tuple[bool, ...], ...] = ()

    @property
    def out_ndim(self) -> int:
        """The result's number of axes, without batch axes."""
        return NDIM[self.out]

    def has(self, operand: int) -> tuple[bool, ...]:
        """Which batch axes an operand has."""
        return tuple(level[operand] for level in self.axes)


def compute(*operands: Array, static: Static, platform: str) -> Array:
    """Return the primitive by what serves it on a platform."""
    for kernels in backends.kernels(static.backend, platform):
        y = _by_kernels(kernels, operands, static)
        if y is not None:
            return y.astype(static.dtype)
    members = math.prod(batch_axes.sizes(static.axes, operands))
    # Outside of vmap, under which the branch would compute and select.
    barrier = blocked.opaque_true(operands[static.roles.index("x")], platform)

    def product(*operands: Array) -> Array:
        named, basis = _named(operands, static)
        y = _by_xla(basis, named, static, platform, members, barrier)
        return y.astype(static.dtype)

    return batch_axes.map_over(product, static.axes)(*operands)


def _by_kernels(
    kernels: str, operands: Sequence[Array], static: Static
) -> Array | None:
    """Return the primitive by these kernels, or None if they do not serve it."""
    if kernels == "triton":
        return _by_triton(operands, static)
    # Pallas takes long to import; most programs never need it.
    from pallas_kernels import tiled

    # Mosaic takes no batch axes on GPUs.
    if kernels == "mosaic" and static.axes:
        return None
    interpret = kernels == "interpret"
    named, basis = _named(batch_axes.of_member(static.axes, operands), static)
    if not tiled.serves(basis, named, kernels):
        return None

    def product(*operands: Array) -> Array:
        named, basis = _named(operands, static)
        kind = "gpu" if interpret else kernels
        return tiled.product(basis, static.order, static.out, named, kind, interpret)

    return batch_axes.map_over(product, static.axes)(*operands)


def _by_triton(operands: Sequence[Array], static: Static) -> Array | None:
    from pallas_kernels import tiled

    named, basis = _named(batch_axes.of_member(static.axes, operands), static)
    lengths = batch_axes.sizes(static.axes, operands)
    members = math.prod(lengths)
    serves = tiled.serves(basis, named, "triton")
    if not serves or not triton_calls.serve(static.backend, members):
        return None
    # Triton takes long to import; most programs never need it.
    from pallas_kernels import expansion_triton, triton_source

    flat = batch_axes.flattened(static.axes, operands)
    number = len(static.roles)
    arrays: dict[str, Any] = dict.fromkeys(("s", "leaves"))
    arrays |= dict(zip(static.roles, flat, strict=False))
    if flat[number:]:
        arrays["leaves"] = triton_source.leaf_rows(flat[number:])
    try:
        y = expansion_triton.product(
            basis, static.order, static.out, arrays, members, static.dtype
        )
    except NotImplementedError as error:
        if static.backend == "triton":
            raise
        triton_calls.log(f"XLA serves in place of kernels in Triton: {error}.")
        return None
    return y.reshape(*lengths, *y.shape[1:])


def _by_xla(
    basis: Any,
    named: dict[str, Any],
    static: Static,
    platform: str,
    members: int,
    barrier: Array | None,
) -> Array:
    x = named["x"]
    inner = basis.size * x.shape[1] * members
    blocks = blocked.number_of_blocks(len(x), inner, x.dtype.itemsize, platform)
    product = {"t": blocked.forward, "c": blocked.coefficients, "s": blocked.scales}
    is_large = len(x) * inner >= blocked.LEAST_APART
    cut = blocked.Cut(blocks, barrier if is_large else None)
    return product[static.out](basis, static.order, **named, cut=cut)


def written_out(*operands: Array, static: Static) -> Array:
    """Return the primitive by ordinary operations, the expansion stored."""

    def product(*operands: Array) -> Array:
        named, basis = _named(operands, static)
        return reference.form(basis, static.order, static.out, **named).astype(
            static.dtype
        )

    return batch_axes.map_over(product, static.axes)(*operands)


def _named(operands: Sequence[Array], static: Static) -> tuple[dict[str, Any], Any]:
    number = len(static.roles)
    absent: dict[str, Any] = {} if static.out == "s" else {"s": None}
    named = absent | dict(zip(static.roles, operands[:number], strict=True))
    return named, jax.tree.unflatten(static.tree, operands[number:])
