"""Values and derivatives of a field in one pass, as one stacked array a variable.

Instead of differentiating a derivative again, a field's own program is run once on
stacks of a value and its derivatives: products with weights take the stack at once, and
elementwise functions follow the chain rule. Li et al. (2023), "Forward Laplacian",
arXiv 2307.08214; Dangel et al. (2025), "Collapsing Taylor Mode Automatic
Differentiation", arXiv 2505.13644. An operation without a rule here is differentiated
by nested ``jax.jvp``, itself alone, so that every field that jax can differentiate
goes.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import jaxprs

LINEAR = frozenset(
    (
        *("neg", "add", "sub", "add_any", "reduce_sum", "cumsum"),
        *("reshape", "broadcast_in_dim", "squeeze", "expand_dims", "transpose"),
        *("slice", "concatenate", "rev", "pad", "copy", "convert_element_type"),
        *("real", "imag", "complex", "reduce_precision"),
    )
)
"""Linear in all operands together."""
LINEAR_IN_FIRST = frozenset(("div", "gather", "dynamic_slice"))
"""Linear in the first operand if the others are constant."""
BILINEAR = frozenset(("mul", "dot_general"))
SMOOTH = frozenset(
    (
        *("tanh", "sin", "cos", "exp", "log", "logistic", "sqrt", "rsqrt", "square"),
        *("integer_pow", "erf", "exp2", "log1p", "expm1", "tan", "sinh", "cosh"),
    )
)
"""Elementwise, of one operand, and holomorphic where it is complex."""


class Curve(NamedTuple):
    """Derivatives of a variable along one line: ``stack[k]`` is the k-th."""

    stack: Array


class Collapsed(NamedTuple):
    """A variable, its derivatives along lines, and the sum of some second ones.

    The stack's first entry is the value, the last the sum of second derivatives along
    the last ``summed`` lines; between them are first derivatives along all lines.
    """

    stack: Array
    summed: int


def along(u: Callable[[Array], Array], z: Array, direction: Array, order: int) -> Array:
    """Return the derivatives of order 0 to ``order`` along a line.

    Args:
        u: a function of one point.
        z: the point, (coordinates,).
        direction: of the line, (coordinates,).
        order: the highest.

    Returns:
        (order + 1, ...): ``u``, its slope, and so on.
    """
    rest = [jnp.zeros_like(z)] * (order - 1)
    start = Curve(jnp.stack([z, direction, *rest][: order + 1]))
    return _run(u, z, start).stack


def collapsed(
    u: Callable[[Array], Array], z: Array, lines: Array, summed: int
) -> tuple[Array, Array, Array]:
    """Return a value, its derivatives along lines, and a sum of second ones.

    Args:
        u: a function of one point.
        z: the point, (coordinates,).
        lines: directions, (lines, coordinates).
        summed: along how many of them, the last ones, to sum second derivatives.

    Returns:
        (...), (lines, ...) and (...).
    """
    stack = jnp.concatenate([z[None], lines, jnp.zeros_like(z)[None]])
    stack = _run(u, z, Collapsed(stack, summed)).stack
    return stack[0], stack[1:-1], stack[-1]


def _run(u: Callable[[Array], Array], z: Array, start: Any) -> Any:
    program = jax.make_jaxpr(u)(z)
    (result,) = _evaluate(program.jaxpr, program.consts, [start], start)
    return result if _is_stack(result) else _lift(start, result)


def _evaluate(
    jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], like: Any
) -> list[Any]:
    def rule(_: int, equation: Any, operands: Sequence[Any]) -> list[Any]:
        if not any(map(_is_stack, operands)):
            return jaxprs.bind(equation, operands)
        return _apply(equation, operands, like)

    return jaxprs.evaluate(jaxpr, consts, arguments, rule)


def _apply(equation: Any, operands: Sequence[Any], like: Any) -> list[Any]:
    name = equation.primitive.name
    if name in jaxprs.CALLS:
        program = equation.params["jaxpr"]
        return _evaluate(program.jaxpr, program.consts, operands, like)
    if not any(_is_smooth(v.aval.dtype) for v in equation.outvars):
        return jaxprs.bind(equation, [_value(x) for x in operands])
    bind = functools.partial(_bind, equation)
    stacked = [_is_stack(x) for x in operands]
    if name in LINEAR or (name == "select_n" and not stacked[0]):
        return [_linear(bind, operands, like)]
    if name in LINEAR_IN_FIRST and not any(stacked[1:]):
        return [_through(bind, operands)]
    if name in BILINEAR and sum(stacked) == 1:
        return [_through(bind, operands)]
    if name in BILINEAR:
        return [_product(bind, *operands)]
    if name in SMOOTH:
        slopes = _slopes_of_tanh if name == "tanh" else None
        return [_compose(bind, operands[0], slopes)]
    if name == "div":
        inverse = operands[1]
        if _is_stack(inverse):
            inverse = _compose(lambda x: 1 / x, inverse)
        if not stacked[0]:
            return [_through(jnp.multiply, (operands[0], inverse))]
        return [_product(jnp.multiply, operands[0], inverse)]
    return _differentiate(functools.partial(jaxprs.bind, equation), operands, like)


def _bind(equation: Any, *operands: Any) -> Array:
    return jaxprs.bind(equation, operands)[0]


def _through(function: Callable[..., Array], operands: Sequence[Any]) -> Any:
    """Apply what is linear in the only stack to all of its entries at once."""
    axes = [0 if _is_stack(x) else None for x in operands]
    stack = next(x for x in operands if _is_stack(x))
    entries = [x.stack if _is_stack(x) else x for x in operands]
    return stack._replace(stack=jax.vmap(function, axes)(*entries))


def _linear(function: Callable[..., Array], operands: Sequence[Any], like: Any) -> Any:
    """Apply what is linear in all operands, a chosen condition apart."""
    lifted = [
        x if _is_stack(x) or not _is_smooth(jnp.result_type(x)) else _lift(like, x)
        for x in operands
    ]
    axes = [0 if _is_stack(x) else None for x in lifted]
    entries = [x.stack if _is_stack(x) else x for x in lifted]
    return like._replace(stack=jax.vmap(function, axes)(*entries))


def _product(function: Callable[..., Array], a: Any, b: Any) -> Any:
    """Leibniz' rule for a bilinear function."""
    x, y = a.stack, b.stack
    if isinstance(a, Curve):
        terms = [
            sum(math.comb(k, i) * function(x[i], y[k - i]) for i in range(k + 1))
            for k in range(len(x))
        ]
        return Curve(jnp.stack(terms))
    first = jax.vmap(function, (0, None))(x[1:-1], y[0])
    first += jax.vmap(function, (None, 0))(x[0], y[1:-1])
    second = function(x[-1], y[0]) + function(x[0], y[-1])
    if a.summed:
        lines = slice(-1 - a.summed, -1)
        second += 2 * jnp.sum(jax.vmap(function)(x[lines], y[lines]), axis=0)
    stack = [function(x[0], y[0])[None], first, second[None]]
    return a._replace(stack=jnp.concatenate(stack))


def _compose(function: Callable[[Array], Array], a: Any, slopes: Any = None) -> Any:
    """Faa di Bruno's rule for an elementwise function."""
    x = a.stack
    order = len(x) - 1 if isinstance(a, Curve) else 2
    d = slopes(x[0], order) if slopes else _slopes(function, x[0], order)
    if isinstance(a, Curve):
        terms = [d[0]]
        if order >= 1:
            terms.append(d[1] * x[1])
        if order >= 2:
            terms.append(d[1] * x[2] + d[2] * x[1] ** 2)
        if order >= 3:
            terms.append(d[1] * x[3] + 3 * d[2] * x[1] * x[2] + d[3] * x[1] ** 3)
        if order >= 4:
            mixed = d[2] * (4 * x[1] * x[3] + 3 * x[2] ** 2)
            mixed += 6 * d[3] * x[1] ** 2 * x[2]
            terms.append(d[1] * x[4] + mixed + d[4] * x[1] ** 4)
        return Curve(jnp.stack(terms))
    squares = jnp.sum(x[len(x) - 1 - a.summed : -1] ** 2, axis=0)
    # One product for all lines and the sum.
    rest = d[1] * x[1:]
    rest = rest.at[-1].add(d[2] * squares)
    return a._replace(stack=jnp.concatenate([d[0][None], rest]))


def _slopes(function: Callable[[Array], Array], x: Array, order: int) -> list[Array]:
    """Return an elementwise function and its derivatives."""
    functions = [function]
    for _ in range(order):
        functions.append(
            lambda y, f=functions[-1]: jax.jvp(f, (y,), (jnp.ones_like(y),))[1]
        )
    return [f(x) for f in functions]


def _slopes_of_tanh(x: Array, order: int) -> list[Array]:
    """Polynomials in tanh, so that it is computed once."""
    t = jnp.tanh(x)
    d = 1 - t**2
    slopes = [t, d, -2 * t * d, (6 * t**2 - 2) * d, (16 - 24 * t**2) * t * d]
    return slopes[: order + 1]


def _differentiate(
    function: Callable[[list[Any]], list[Any]], operands: Sequence[Any], like: Any
) -> list[Any]:
    """Differentiate one operation along lines by nested jvp."""
    places = [i for i, x in enumerate(operands) if _is_stack(x)]
    stacks = [operands[i].stack for i in places]

    def outputs(values: Sequence[Array]) -> list[Array]:
        filled = list(operands)
        for i, value in zip(places, values, strict=True):
            filled[i] = value
        return function(filled)

    if isinstance(like, Curve):
        order = len(stacks[0]) - 1

        def curve(t: Array) -> list[Array]:
            powers = [t**k / math.factorial(k) for k in range(order + 1)]
            weigh = functools.partial(jnp.tensordot, jnp.stack(powers), axes=1)
            return outputs([weigh(s) for s in stacks])

        results = [curve]
        for _ in range(order):
            results.append(
                lambda t, f=results[-1]: jax.jvp(f, (t,), (jnp.ones_like(t),))[1]
            )
        zero = jnp.zeros((), jnp.finfo(stacks[0].dtype).dtype)
        each = [f(zero) for f in results]
        return [Curve(jnp.stack(entries)) for entries in zip(*each, strict=True)]
    at = [s[0] for s in stacks]

    def slope(values: Sequence[Array], tangents: Sequence[Array]) -> list[Array]:
        return jax.jvp(lambda *v: outputs(v), tuple(values), tuple(tangents))[1]

    def curvature(*tangents: Array) -> list[Array]:
        return jax.jvp(lambda *v: slope(v, tangents), tuple(at), tuple(tangents))[1]

    values = outputs(at)
    firsts = jax.vmap(lambda *t: slope(at, t))(*(s[1:-1] for s in stacks))
    seconds = slope(at, [s[-1] for s in stacks])
    if like.summed:
        lines = slice(-1 - like.summed, -1)
        curved = jax.vmap(curvature)(*(s[lines] for s in stacks))
        seconds = [s + jnp.sum(c, axis=0) for s, c in zip(seconds, curved, strict=True)]
    return [
        like._replace(stack=jnp.concatenate([v[None], first, second[None]]))
        for v, first, second in zip(values, firsts, seconds, strict=True)
    ]


def _lift(like: Any, value: Any) -> Any:
    """Return a constant as a stack: all derivatives are 0."""
    value = jnp.asarray(value)
    zeros = jnp.zeros((len(like.stack) - 1, *value.shape), value.dtype)
    return like._replace(stack=jnp.concatenate([value[None], zeros]))


def _value(x: Any) -> Any:
    return x.stack[0] if _is_stack(x) else x


def _is_stack(x: Any) -> bool:
    return isinstance(x, (Curve, Collapsed))


def _is_smooth(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)
