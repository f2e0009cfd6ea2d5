"""The basis-expansion product, the arithmetic of a Kolmogorov-Arnold layer."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def expansion_dot(
    expand: Callable[[Array], Array],
    x: Float[Array, "*batch in"],
    coef: Float[Array, "size in out"],
) -> Float[Array, "*batch out"]:
    """``y[b, o] = sum over g, i of expand(x)[b, g, i] * coef[g, i, o]``.

    One matrix product with an inner size of ``size * in``. With the inputs last in
    both operands, neither the expansion nor the coefficients are transposed for it.

    Args:
        expand: maps x (..., in) to its expansion (..., size, in).
        x: the inputs.
        coef: the coefficients.

    Returns:
        The outputs, in x's dtype; products of half precision accumulate in float32.

    Raises:
        ValueError: if coef has not the expansion's size and number of inputs.
    """
    expansion = expand(x)
    if expansion.shape[-2:] != coef.shape[:2]:
        raise ValueError(
            f"coef has shape {coef.shape}; for this basis and x of shape {x.shape} "
            f"its first two axes must be (size, in) = {expansion.shape[-2:]}."
        )
    size, in_features, out_features = coef.shape
    rows = expansion.reshape(*x.shape[:-1], size * in_features)
    columns = coef.reshape(size * in_features, out_features)
    accumulator = jnp.promote_types(rows.dtype, jnp.float32)
    y = jnp.matmul(rows, columns, preferred_element_type=accumulator)
    return y.astype(jnp.result_type(x, coef))
