"""Products with second derivatives of a function of a pytree; no matrix is ever formed.

Pearlmutter 1994, "Fast Exact Multiplication by the Hessian"; Schraudolph 2002, "Fast
Curvature Matrix-Vector Products for Second-Order Gradient Descent".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks

Params = Any
Product = Callable[[Params], Params]
"""A linear map from pytrees to pytrees of the same structure."""


class Directional(NamedTuple):
    """A function and its first two derivatives along a direction.

    Attributes:
        value: ``f(params)``.
        slope: ``d/dt f(params + t v)`` at t = 0, the product of gradient and v.
        curvature: ``d2/dt2 f(params + t v)`` at t = 0, ``v^T H v``.
    """

    value: Float[Array, ""]
    slope: Float[Array, ""]
    curvature: Float[Array, ""]


def hessian_product(f: Callable[[Params], Array], params: Params) -> Product:
    """The map ``v -> H v`` with the Hessian H of a scalar function at params.

    The gradient is linearised once, so each product costs about one forward and one
    backward pass less than it would from scratch.

    Kinks carry curvature that no derivative sees: of a ReLU network this is the
    Hessian of the linear pieces' composition with the loss.

    Raises:
        TypeError: if f is not scalar (from jax).

    Example:
        >>> import jax.numpy as jnp
        >>> product = hessian_product(lambda w: jnp.sum(w**3), jnp.ones(2))
        >>> float(product(jnp.array([1.0, 2.0]))[1])
        12.0
    """
    _, product = jax.linearize(jax.grad(f), params)
    return product


def gauss_newton_product(
    outputs: Callable[[Params], Any], loss: Callable[[Any], Array], params: Params
) -> Product:
    """The map ``v -> J^T B J v``, the generalised Gauss-Newton matrix at params.

    J is the Jacobian of outputs at params and B the Hessian of loss at these outputs.
    It is what remains of the Hessian of ``loss(outputs(params))`` when the network is
    linearised, and positive semi-definite for a convex loss.

    Args:
        outputs: ``outputs(params)``, an array or a pytree of arrays, such as
            ``lambda p: model.apply(p, x)``.
        loss: the scalar loss of the outputs.
    """
    values, forward = jax.linearize(outputs, params)
    backward = jax.linear_transpose(forward, params)
    inner = hessian_product(loss, values)

    def product(v: Params) -> Params:
        return backward(inner(forward(v)))[0]

    return product


def block_product(product: Product, selected: Params) -> Product:
    """The product with one block of a matrix, zero outside of it.

    Args:
        selected: a pytree of booleans, one a leaf (or a mask of the leaf's shape),
            True for the rows and columns that make the block.
    """

    def masked(v: Params) -> Params:
        return jax.tree.map(
            lambda keep, x: jnp.where(keep, x, jnp.zeros_like(x)), selected, v
        )

    return lambda v: masked(product(masked(v)))


def directional_derivatives(
    f: Callable[[Params], Array], params: Params, direction: Params
) -> Directional:
    """f, its slope and its curvature along a direction, by forward mode alone.

    It costs about four evaluations of f and the memory of one.
    """

    def slope(t: Array) -> tuple[Array, Array]:
        def along(s: Array) -> Array:
            moved = jax.tree.map(
                lambda p, d: p + s.astype(p.dtype) * d, params, direction
            )
            return f(moved)

        return jax.jvp(along, (t,), (jnp.ones_like(t),))

    dtype = jnp.promote_types(jnp.result_type(*jax.tree.leaves(params)), jnp.float32)
    start = jnp.zeros((), dtype)
    (value, first), (_, second) = jax.jvp(slope, (start,), (jnp.ones_like(start),))
    return Directional(value, first, second)


def on_vectors(
    product: Product, like: Params
) -> tuple[Callable[[Array], Array], Array, Callable[[Array], Params]]:
    """A product on vectors in float32 at least, ``like`` as one, and the way back.

    Raises:
        TypeError: if a leaf of like is not of real floating point.
    """
    checks.check_real(like, "like")
    start, unravel = jax.flatten_util.ravel_pytree(like)
    wide = start.astype(jnp.promote_types(start.dtype, jnp.float32))

    def flat(v: Array) -> Array:
        image = product(unravel(v.astype(start.dtype)))
        return jax.flatten_util.ravel_pytree(image)[0].astype(wide.dtype)

    return flat, wide, lambda v: unravel(v.astype(start.dtype))
