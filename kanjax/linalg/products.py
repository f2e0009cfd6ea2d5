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

from kanjax import checks, jaxprs

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
    """Return the map ``v -> H v`` with the Hessian H of a scalar function at params.

    The gradient is linearised once, so each product costs about one forward and one
    backward pass less than it would from scratch.

    Kinks carry curvature that no derivative sees: of a ReLU network this is the
    Hessian of the linear pieces' composition with the loss.

    Raises:
        TypeError: if f is not scalar (from jax).

    Examples:
        >>> import jax.numpy as jnp
        >>> product = hessian_product(lambda w: jnp.sum(w**3), jnp.ones(2))
        >>> float(product(jnp.array([1.0, 2.0]))[1])
        12.0
    """
    checks.check_real(params, "params")
    _, product = linearize(jax.grad(f), params)
    return product


def linearize(
    function: Callable[[Params], Any], params: Params
) -> tuple[Any, Callable[[Params], Any]]:
    """Return the function's value at params, and the map ``v -> J v`` with its
    Jacobian J.

    By forward mode; by the transpose of reverse mode for a function that has no forward
    mode, as ``jax.custom_vjp`` makes them. Then its backward rule must be linear in the
    cotangent, as rules written in jax are.

    Args:
        function: ``function(params)``, an array or a pytree of arrays.
        params: a pytree of real floating-point arrays.

    Raises:
        TypeError: if neither mode serves, with what to do.

    Examples:
        >>> import jax.numpy as jnp
        >>> value, product = linearize(jnp.square, jnp.array(3.0))
        >>> float(product(jnp.array(2.0)))
        12.0
    """
    if has_forward_mode(function, params):
        return jax.linearize(function, params)
    values, pull = jax.vjp(function, params)
    try:
        push = jax.linear_transpose(lambda u: pull(u)[0], values)
        jax.eval_shape(push, params)
    except Exception as error:
        raise TypeError(
            "the function has a custom_vjp without forward mode, and its backward rule "
            "cannot be transposed. Give it a custom_jvp, or a backward rule in plain "
            "jax."
        ) from error
    return values, lambda v: push(v)[0]


def has_forward_mode(function: Callable[[Params], Any], params: Params) -> bool:
    """Whether jax can push tangents through a function, by tracing it.

    A ``custom_vjp`` in forward mode leaves an equation that only reverse mode can
    remove; evaluating it is an error.
    """
    jaxpr = jax.make_jaxpr(lambda p: jax.jvp(function, (p,), (p,))[1])(params)
    return not _has_primitive(jaxpr.jaxpr, "custom_lin")


def _has_primitive(jaxpr: Any, name: str) -> bool:
    return any(
        eqn.primitive.name == name
        or any(_has_primitive(sub, name) for sub in jaxprs.inner(eqn))
        for eqn in jaxpr.eqns
    )


def gauss_newton_product(
    outputs: Callable[[Params], Any], loss: Callable[[Any], Array], params: Params
) -> Product:
    """Return the map ``v -> J^T B J v``, the generalised Gauss-Newton matrix at params.

    J is the Jacobian of outputs at params and B the Hessian of loss at these outputs.
    It is what remains of the Hessian of ``loss(outputs(params))`` when the network is
    linearised, and positive semi-definite for a convex loss.

    Args:
        outputs: ``outputs(params)``, an array or a pytree of arrays, such as
            ``lambda p: model.apply(p, x)``.
        loss: the scalar loss of the outputs.
        params: where the matrix is taken.
    """
    checks.check_real(params, "params")
    values, forward = linearize(outputs, params)
    backward = jax.linear_transpose(forward, params)
    inner = hessian_product(loss, values)

    def product(v: Params) -> Params:
        return backward(inner(forward(v)))[0]

    return product


def block_product(product: Product, selected: Params) -> Product:
    """Return the product with one block of a matrix, zero outside of it.

    Args:
        product: ``v -> A v`` on pytrees.
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

    It costs about four evaluations of f and the memory of one. A function that has no
    forward mode (``jax.custom_vjp``) is taken by reverse mode twice.

    Args:
        f: a scalar function of parameters.
        params: where to take them.
        direction: a pytree like params.
    """
    checks.check_real(params, "params")

    def along(s: Array) -> Array:
        moved = jax.tree.map(lambda p, d: p + s.astype(p.dtype) * d, params, direction)
        return f(moved)

    def slope(t: Array) -> tuple[Array, Array]:
        return jax.jvp(along, (t,), (jnp.ones_like(t),))

    dtype = jnp.promote_types(jnp.result_type(*jax.tree.leaves(params)), jnp.float32)
    start = jnp.zeros((), dtype)
    if has_forward_mode(along, start):
        (value, first), (_, second) = jax.jvp(slope, (start,), (jnp.ones_like(start),))
    else:
        value, first = jax.value_and_grad(along)(start)
        second = jax.grad(jax.grad(along))(start)
    return Directional(value, first, second)


def on_vectors(
    product: Product, like: Params
) -> tuple[Callable[[Array], Array], Array, Callable[[Array], Params]]:
    """Return a product on vectors in float32 at least, ``like`` as one, and the way
    back.

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
