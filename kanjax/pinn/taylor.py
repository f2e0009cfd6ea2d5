"""Values and derivatives of a field in one pass.

Instead of differentiating a derivative again, a field's own program is run once on
stacks of a value and its derivatives: each entry goes through products with weights,
and elementwise functions follow the chain rule. Entries are arrays of their own, not
one array: where points are mapped over, each is contiguous, and to pick one is free. Li
et al. (2023), "Forward Laplacian", arXiv 2307.08214; Dangel et al. (2025), "Collapsing
Taylor Mode Automatic Differentiation", arXiv 2505.13644. An operation without a rule
here is differentiated by nested ``jax.jvp``, itself alone, so that every field that jax
can differentiate goes.
"""

import functools
import math
import operator
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
    """Derivatives of a variable along one line: ``entries[k]`` is the k-th."""

    entries: tuple[Array, ...]


class Collapsed(NamedTuple):
    """A variable, its derivatives along lines, and the sum of some second ones.

    The first entry is the value, the last the sum of second derivatives along the last
    ``summed`` lines; between them are first derivatives along all lines.
    """

    entries: tuple[Array, ...]
    summed: int

    @property
    def lines_summed(self) -> range:
        """Where the slopes along the summed lines are."""
        last = len(self.entries) - 1
        return range(last - self.summed, last)


def along(
    u: Callable[[Array], Array], z: Array, direction: Array, order: int
) -> tuple[Array, ...]:
    """Return the derivatives of order 0 to ``order`` along a line.

    Args:
        u: a function of one point.
        z: the point, (coordinates,).
        direction: of the line, (coordinates,).
        order: the highest.

    Returns:
        ``u``, its slope, and so on: order + 1 arrays.
    """
    rest = (jnp.zeros_like(z),) * (order - 1)
    return _run(u, z, Curve((z, direction, *rest)[: order + 1])).entries


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
    start = Collapsed((z, *lines, jnp.zeros_like(z)), summed)
    value, *slopes, second = _run(u, z, start).entries
    return value, jnp.stack(slopes), second


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
    """Apply what is linear in the only stack to each of its entries."""
    (place,) = (i for i, x in enumerate(operands) if _is_stack(x))
    stack = operands[place]
    before, after = operands[:place], operands[place + 1 :]
    entries = (function(*before, entry, *after) for entry in stack.entries)
    return stack._replace(entries=tuple(entries))


def _linear(function: Callable[..., Array], operands: Sequence[Any], like: Any) -> Any:
    """Apply what is linear in all operands, a chosen condition apart."""
    lifted = [
        x if _is_stack(x) or not _is_smooth(jnp.result_type(x)) else _lift(like, x)
        for x in operands
    ]
    count = len(like.entries)
    columns = (x.entries if _is_stack(x) else (x,) * count for x in lifted)
    rows = zip(*columns, strict=True)
    return like._replace(entries=tuple(function(*row) for row in rows))


def _product(function: Callable[..., Array], a: Any, b: Any) -> Any:
    """Leibniz' rule for a bilinear function."""
    x, y = a.entries, b.entries
    if isinstance(a, Curve):
        return Curve(tuple(_leibniz(function, x, y, k) for k in range(len(x))))
    first = (
        function(u, y[0]) + function(x[0], v)
        for u, v in zip(x[1:-1], y[1:-1], strict=True)
    )
    second = function(x[-1], y[0]) + function(x[0], y[-1])
    for i in a.lines_summed:
        second += 2 * function(x[i], y[i])
    return a._replace(entries=(function(x[0], y[0]), *first, second))


def _leibniz(
    function: Callable[..., Array], x: Sequence[Array], y: Sequence[Array], k: int
) -> Array:
    terms = [math.comb(k, i) * function(x[i], y[k - i]) for i in range(k + 1)]
    return functools.reduce(operator.add, terms)


def _compose(function: Callable[[Array], Array], a: Any, slopes: Any = None) -> Any:
    """Faa di Bruno's rule for an elementwise function."""
    x = a.entries
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
        return Curve(tuple(terms))
    second = d[1] * x[-1]
    if a.summed:
        second += d[2] * sum(x[i] ** 2 for i in a.lines_summed)
    return a._replace(entries=(d[0], *(d[1] * v for v in x[1:-1]), second))


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
    stacks = [operands[i].entries for i in places]

    def outputs(values: Sequence[Array]) -> list[Array]:
        filled = list(operands)
        for i, value in zip(places, values, strict=True):
            filled[i] = value
        return function(filled)

    if isinstance(like, Curve):
        order = len(like.entries) - 1

        def curve(t: Array) -> list[Array]:
            powers = [t**k / math.factorial(k) for k in range(order + 1)]
            terms = ([p * v for p, v in zip(powers, s, strict=True)] for s in stacks)
            return outputs([functools.reduce(operator.add, each) for each in terms])

        results = [curve]
        for _ in range(order):
            results.append(
                lambda t, f=results[-1]: jax.jvp(f, (t,), (jnp.ones_like(t),))[1]
            )
        zero = jnp.zeros((), jnp.finfo(stacks[0][0].dtype).dtype)
        each = [f(zero) for f in results]
        return [Curve(entries) for entries in zip(*each, strict=True)]
    at, *lines, last = zip(*stacks, strict=True)

    def slope(values: Sequence[Array], tangents: Sequence[Array]) -> list[Array]:
        return jax.jvp(lambda *v: outputs(v), tuple(values), tuple(tangents))[1]

    def curvature(tangents: Sequence[Array]) -> list[Array]:
        return jax.jvp(lambda *v: slope(v, tangents), tuple(at), tuple(tangents))[1]

    rows = [outputs(at), *(slope(at, line) for line in lines)]
    seconds = slope(at, last)
    for line in lines[len(lines) - like.summed :]:
        seconds = [s + c for s, c in zip(seconds, curvature(line), strict=True)]
    columns = zip(*rows, seconds, strict=True)
    return [like._replace(entries=entries) for entries in columns]


def _lift(like: Any, value: Any) -> Any:
    """Return a constant as a stack: all derivatives are 0."""
    value = jnp.asarray(value)
    zeros = (jnp.zeros_like(value),) * (len(like.entries) - 1)
    return like._replace(entries=(value, *zeros))


def _value(x: Any) -> Any:
    return x.entries[0] if _is_stack(x) else x


def _is_stack(x: Any) -> bool:
    return isinstance(x, (Curve, Collapsed))


def _is_smooth(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)
