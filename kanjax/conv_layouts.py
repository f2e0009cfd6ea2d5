"""Convolutions in loops, laid out so that they are as fast as outside of them.

XLA's compiler for a CPU has fast convolutions for one layout, that of ``nn.Conv``. It
brings others to it at the top level of a program only: in the body of a loop a gradient
for a kernel, whose layout is another, takes several times as long.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array, lax

from kanjax import jaxprs


def channels_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that computes the same with its convolutions channels last.

    To be called in the body of a loop, after differentiation: a gradient taken of the
    result has convolutions of its own. On other platforms than a CPU nothing changes.
    Loops and rematerialized parts within the function stay as they are.

    Args:
        function: any pure function of pytrees of arrays.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import conv_layouts, nn
        >>> net = nn.Conv(1, 2, (3,))
        >>> params = net.init(jax.random.key(0))
        >>> gradient = jax.grad(lambda p, x: jnp.sum(net.apply(p, x)))
        >>> series = jnp.ones((5, 1, 8, 1))
        >>> step = conv_layouts.channels_last(gradient)
        >>> jax.lax.map(lambda x: step(params, x), series)["kernel"].shape
        (5, 3, 1, 2)
    """

    def rewritten(*args: Any) -> Any:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        leaves = jax.tree.leaves(args)
        results = jaxprs.evaluate(traced.jaxpr, traced.consts, leaves, _rule)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return rewritten


def _rule(index: int, equation: Any, operands: Sequence[Any]) -> Sequence[Any]:
    if equation.primitive.name in jaxprs.CALLS and _convolves(equation):
        called = equation.params["jaxpr"]
        return jaxprs.evaluate(called.jaxpr, called.consts, operands, _rule)
    if equation.primitive.name != "conv_general_dilated":
        return jaxprs.bind(equation, operands)
    x, kernel = operands

    def plain(x: Array, kernel: Array) -> Array:
        (y,) = jaxprs.bind(equation, (x, kernel))
        return y

    def canonical(x: Array, kernel: Array) -> Array:
        return _convolve(x, kernel, equation.params)

    return [lax.platform_dependent(x, kernel, cpu=canonical, default=plain)]


def _convolves(equation: Any) -> bool:
    if equation.primitive.name == "conv_general_dilated":
        return True
    return any(_convolves(e) for jaxpr in jaxprs.inner(equation) for e in jaxpr.eqns)


def _convolve(x: Array, kernel: Array, options: dict[str, Any]) -> Array:
    """Convolve in the canonical layout: (batch, ..., channels), (..., in, out)."""
    batch, features, *spatial = options["dimension_numbers"].lhs_spec
    outputs, inputs, *window = options["dimension_numbers"].rhs_spec
    last = x.ndim - 1
    middle = tuple(range(1, last))
    layout = lax.ConvDimensionNumbers(
        (0, last, *middle), (last, last - 1, *range(last - 1)), (0, last, *middle)
    )
    y = lax.conv_general_dilated(
        lax.transpose(x, (batch, *spatial, features)),
        lax.transpose(kernel, (*window, inputs, outputs)),
        **{**options, "dimension_numbers": layout},
    )
    batch, features, *spatial = options["dimension_numbers"].out_spec
    # Where each axis of the result asked for is in ``y``.
    axes = dict(zip((batch, *spatial, features), range(x.ndim), strict=True))
    return lax.transpose(y, [axes[i] for i in range(x.ndim)])
