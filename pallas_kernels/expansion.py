"""The basis-expansion product, the arithmetic of a Kolmogorov-Arnold layer.

The product belongs to one form, linear in each of s, c and t:

    F_r(x; s, c, t) = sum_{b, g, i, o} s[b, i] phi_g^(r)(x[b, i]) c[g, i, o] t[b, o]

Its derivatives in t, c and s are the layer's forward pass, its coefficients' gradient
and its inputs' gradient. A derivative in x raises r and multiplies s by dx; transposing
swaps one of the three for another. So one primitive, which says in what it is the
derivative, is closed under differentiation of any order, forward and reverse, and what
computes it is chosen where the program is lowered.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
from jax import Array
from jax.interpreters import ad, batching, mlir
from jaxtyping import Float

from pallas_kernels import backends, batch_axes, varying_axes
from pallas_kernels.expansion_paths import Static, compute, written_out


def expansion_dot(
    x: Float[Array, "*batch in"],
    coef: Float[Array, "size in out"],
    basis: Any,
    *,
    backend: str | None = None,
) -> Float[Array, "*batch out"]:
    """``y[b, o] = sum over g, i of phi_g(x[b, i]) coef[g, i, o]``.

    The expansion of all rows is never stored, forward or backward. Works under every
    transformation of jax, and to any order of differentiation in x and coef.

    Args:
        x: the inputs.
        coef: the coefficients.
        basis: the functions phi, a :class:`pallas_kernels.Basis`; a
            :class:`pallas_kernels.Joined` puts several side by side.
        backend: "auto" takes kernels where the program runs on an NVIDIA GPU (Triton
            through jax-triton, if that is installed) or on a TPU, for shapes and types
            that they serve, and XLA for everything else. "xla" takes XLA everywhere.
            "triton" is "auto", but an error without jax-triton. "mosaic" and "pallas"
            ask for Pallas' kernels on NVIDIA GPUs: through Mosaic on Hopper, for
            products of half precision, and through Triton, which jax deprecates since
            0.12. "interpret" emulates the latter. None asks the variable
            ``KANJAX_KERNELS``.

    Returns:
        The outputs; products of half precision accumulate in float32.

    Raises:
        ValueError: if coef has not the basis' size and x's number of inputs, or for an
            unknown backend.
        ImportError: where the program is compiled for a GPU, for a backend "triton"
            that is not installed.
    """
    chosen = backends.resolve(backend)
    x, coef = _floating(x, coef)
    if coef.ndim != 3 or coef.shape[:2] != (basis.size, x.shape[-1]):
        raise ValueError(
            f"coef has shape {coef.shape}; for this basis and x of shape {x.shape} "
            f"its first two axes must be (size, in) = {(basis.size, x.shape[-1])}."
        )
    leaves, tree = jax.tree.flatten(basis)
    static = Static(
        out="t",
        roles=("x", "c"),
        order=0,
        tree=tree,
        dtype=jnp.result_type(x, coef),
        backend=chosen,
    )
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = _bind(static, [rows, coef, *leaves])
    return y.reshape(*x.shape[:-1], coef.shape[-1])


def _floating(x: Array, coef: Array) -> tuple[Array, Array]:
    """Both as arrays, x in the coefficients' type where its own holds integers."""
    x, coef = jnp.asarray(x), jnp.asarray(coef)
    return (x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(coef.dtype)), coef


expansion_p = jax.extend.core.Primitive("expansion_dot")


def _bind(static: Static, operands: Sequence[Any]) -> Array:
    operands = varying_axes.vary_alike(operands)
    return expansion_p.bind(*operands, static=static)


@functools.partial(jax.jit, static_argnames="static")
def _run(*operands: Array, static: Static) -> Array:
    return expansion_p.bind(*operands, static=static)


expansion_p.def_impl(lambda *operands, static: _run(*operands, static=static))


@expansion_p.def_abstract_eval
def _abstract(*operands: Any, static: Static) -> Any:
    shapes = dict(zip(static.roles, operands, strict=False))
    rows, inputs = shapes["x"].shape[-2:]
    size = jax.tree.unflatten(static.tree, operands[len(static.roles) :]).size
    if static.out == "t":
        shape = (rows, shapes["c"].shape[-1])
    elif static.out == "c":
        shape = (size, inputs, shapes["t"].shape[-1])
    else:
        shape = (rows, inputs)
    return operands[0].update(
        shape=(*batch_axes.sizes(static.axes, operands), *shape),
        dtype=static.dtype,
        weak_type=False,
    )


# ---- derivatives


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, static: Static) -> Any:
    out = _bind(static, primals)
    terms = []
    for i, (role, tangent) in enumerate(zip(static.roles, tangents, strict=False)):
        if type(tangent) is ad.Zero:
            continue
        # In s, c and t the form is linear: it is taken at the tangent.
        if role == "x":
            terms.append(_along_x(primals, tangent, static))
        else:
            terms.append(_bind(static, [*primals[:i], tangent, *primals[i + 1 :]]))
    moved = [t for t in tangents[len(static.roles) :] if type(t) is not ad.Zero]
    if any(t.dtype != jax.dtypes.float0 for t in moved):
        terms.append(_along_leaves(primals, tangents, static))
    if not terms:
        return out, ad.Zero(jax.typeof(out).to_tangent_aval())
    return out, functools.reduce(jnp.add, terms)


def _along_x(primals: Sequence[Any], dx: Array, static: Static) -> Array:
    raised = static._replace(order=static.order + 1)
    # d/dx of S[b, i] stays at (b, i): no sum over i is left that would need an s.
    if static.out == "s":
        slope = _bind(raised, primals)
        everywhere = (True,) * len(static.axes)
        return slope * _aligned(dx, static.has(0), everywhere, 2).astype(slope.dtype)
    # No s yet stands for ones: dx becomes the s.
    if "s" not in static.roles:
        doubled = tuple((level[0], *level) for level in static.axes)
        roles = ("x", "s", *static.roles[1:])
        raised = raised._replace(roles=roles, axes=doubled)
        return _bind(raised, [primals[0], dx, *primals[1:]])
    # Both s and dx scale the input (b, i): their product is the new s.
    place = static.roles.index("s")
    both = tuple(level[0] or level[place] for level in static.axes)
    s = _aligned(primals[place], static.has(place), both, 2)
    s = s * _aligned(dx, static.has(0), both, 2)
    scaled = tuple(
        (*level[:place], flag, *level[place + 1 :])
        for level, flag in zip(static.axes, both, strict=True)
    )
    operands = [*primals[:place], s, *primals[place + 1 :]]
    return _bind(raised._replace(axes=scaled), operands)


def _along_leaves(
    primals: Sequence[Any], tangents: Sequence[Any], static: Static
) -> Array:
    # Knots are not trained: for them the plain form is differentiated.
    number = len(static.roles)

    def plain(*leaves: Array) -> Array:
        return written_out(*primals[:number], *leaves, static=static)

    tangents_ = [ad.instantiate_zeros(t) for t in tangents[number:]]
    return jax.jvp(plain, tuple(primals[number:]), tuple(tangents_))[1]


def _aligned(
    a: Array, has: batch_axes.Level, wanted: batch_axes.Level, ndim: int
) -> Array:
    """Return ``a`` with an axis of length one for each batch axis that it lacks."""
    shape, present = [], iter(a.shape)
    for mine, other in zip(has, wanted, strict=True):
        if other:
            shape.append(next(present) if mine else 1)
    return a.reshape(*shape, *a.shape[a.ndim - ndim :])


ad.primitive_jvps[expansion_p] = _jvp


def _transpose(ct: Any, *operands: Any, static: Static) -> list[Any]:
    place = next(i for i, o in enumerate(operands) if ad.is_undefined_primal(o))
    aval = operands[place].aval
    result: list[Any] = [None] * len(operands)
    if type(ct) is ad.Zero:
        result[place] = ad.Zero(aval)
        return result
    number = len(static.roles)
    # <ct, F(.., v, ..)> is F with ct where the output was: v's place and the output's
    # change roles. Operands stay in order, the cotangent behind the others.
    kept = [i for i in range(number) if i != place]
    others = [*kept, *range(number, len(operands))]
    at = len(kept)
    axes = tuple(
        _inserted([level[i] for i in others], at, any(level)) for level in static.axes
    )
    swapped = static._replace(
        out=static.roles[place],
        roles=(*(static.roles[i] for i in kept), static.out),
        dtype=aval.dtype,
        axes=axes,
    )
    value = _bind(swapped, _inserted([operands[i] for i in others], at, ct))
    # Members share an operand that lacks their axis: its cotangent is their sum.
    absent = [d for d, level in enumerate(static.axes) if not level[place]]
    result[place] = jnp.sum(value, axis=tuple(absent)) if absent else value
    return result


def _inserted(values: list[Any], at: int, value: Any) -> tuple[Any, ...]:
    return (*values[:at], value, *values[at:])


ad.primitive_transposes[expansion_p] = _transpose


# ---- batching


def _batch(
    operands: Sequence[Array], dims: Sequence[int | None], *, static: Static
) -> tuple[Array, int]:
    batched = [d is not None for d in dims]
    roles = dict(zip(static.roles, batched, strict=False))
    leaves = any(batched[len(static.roles) :])
    is_row = [role in ("x", "s", "t") for role in static.roles]
    # Shared coefficients and functions: members are more rows of one product. Not for
    # the cotangent of c, which would be summed over members.
    if static.out != "c" and not roles["c"] and not leaves:
        return _fold(operands, dims, is_row, static, base=2)
    # Shared inputs: members are more outputs, and the expansion is made once for all.
    if static.out != "s" and not roles["x"] and not roles.get("s") and not leaves:
        return _fold(operands, dims, batched, static, base=1)
    # Nothing is shared: one more batch axis, for the kernels one more axis of the grid.
    operands = [
        o if d is None else jnp.moveaxis(o, d, 0)
        for o, d in zip(operands, dims, strict=True)
    ]
    static = static._replace(axes=(tuple(batched), *static.axes))
    return _bind(static, operands), 0


def _fold(
    operands: Sequence[Array],
    dims: Sequence[int | None],
    folded: Sequence[bool],
    static: Static,
    base: int,
) -> tuple[Array, int]:
    """Fold the batch into some operands' rows (base 2) or outputs (base 1)."""
    number = next(
        o.shape[d] for o, d in zip(operands, dims, strict=True) if d is not None
    )
    merged = list(operands)
    for i, fold in enumerate(folded):
        if not fold:
            continue
        a, dim = operands[i], dims[i]
        # The member axis is put right before the axis that it folds into.
        place = a.ndim - base - (dim is not None)
        if dim is None:
            shape = (*a.shape[:place], number, *a.shape[place:])
            a = jnp.broadcast_to(jnp.expand_dims(a, place), shape)
        else:
            a = jnp.moveaxis(a, dim, place)
        length = number * a.shape[place + 1]
        merged[i] = a.reshape(*a.shape[:place], length, *a.shape[place + 2 :])
    y = _bind(static, merged)
    place = y.ndim - base
    rows = y.shape[place] // number
    y = y.reshape(*y.shape[:place], number, rows, *y.shape[place + 1 :])
    return y, place


batching.primitive_batchers[expansion_p] = _batch


# ---- lowering


for _platform in backends.PLATFORMS:
    mlir.register_lowering(
        expansion_p,
        mlir.lower_fun(
            functools.partial(compute, platform=_platform), multiple_results=False
        ),
        platform=_platform,
    )
