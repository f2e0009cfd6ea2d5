"""The kernels written plainly: what they must equal, and where they cannot serve."""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from pallas_kernels import basis as bases


def expansion_dot(
    x: Float[Array, "*batch in"], coef: Float[Array, "size in out"], basis: Any
) -> Float[Array, "*batch out"]:
    """:func:`pallas_kernels.expansion_dot` as one sum over the whole expansion."""
    values = bases.expand(basis, x, 0)
    return jnp.einsum("...gi,gio->...o", values, coef)


def form(
    basis: Any,
    order: int,
    out: str,
    x: Array,
    s: Array | None = None,
    c: Array | None = None,
    t: Array | None = None,
) -> Array:
    """Return the derivative of the form of :mod:`pallas_kernels.expansion` in
    ``out``.
    """
    values = bases.expand(basis, x, order)
    if s is None and out == "t":
        return jnp.einsum("bgi,gio->bo", values, c)
    if s is None:
        s = jnp.ones_like(x)
    if out == "t":
        return jnp.einsum("bgi,bi,gio->bo", values, s, c)
    if out == "c":
        return jnp.einsum("bgi,bi,bo->gio", values, s, t)
    return jnp.einsum("bgi,gio,bo->bi", values, c, t)
