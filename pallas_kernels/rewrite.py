"""A function in the operations that Pallas' Mosaic lowerings know.

For GPUs that is without functions with a derivative rule of their own and without a few
operations that bases and their derivatives are made of, for TPUs without polynomials.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core
from jax import Array, lax


def rewritten(
    f: Callable[[Array], Array], x: Array, replaced: dict[str, Callable[..., Any]]
) -> Array:
    """``f(x)`` with calls put in place of themselves and operations replaced."""
    (value,) = _run(jax.make_jaxpr(f)(x), replaced, x)
    return value


def _run(closed: Any, replaced: dict[str, Callable[..., Any]], *args: Any) -> list[Any]:
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(variable: Any) -> Any:
        literal = isinstance(variable, jax.extend.core.Literal)
        return variable.val if literal else values[variable]

    for eqn in jaxpr.eqns:
        name, inputs = eqn.primitive.name, [read(v) for v in eqn.invars]
        if name in CALLS:
            outputs: Any = _run(eqn.params[CALLS[name]], replaced, *inputs)
        elif name == "while":
            outputs = _while(replaced, *inputs, **eqn.params)
        else:
            apply: Any = replaced.get(name, eqn.primitive.bind)
            outputs = apply(*inputs, **eqn.params)
        several = isinstance(outputs, list | tuple)
        values |= dict(zip(eqn.outvars, outputs if several else [outputs], strict=True))
    return [read(variable) for variable in jaxpr.outvars]


CALLS = {"custom_jvp_call": "call_jaxpr", "jit": "jaxpr", "pjit": "jaxpr"}
"""Calls of a function, and the parameter that has it."""


def _while(
    replaced: dict[str, Callable[..., Any]],
    *args: Any,
    cond_jaxpr: Any,
    body_jaxpr: Any,
    cond_nconsts: int,
    body_nconsts: int,
) -> list[Any]:
    carry = cond_nconsts + body_nconsts
    for_cond, for_body = args[:cond_nconsts], args[cond_nconsts:carry]
    return lax.while_loop(
        lambda now: _run(cond_jaxpr, replaced, *for_cond, *now)[0],
        lambda now: _run(body_jaxpr, replaced, *for_body, *now),
        list(args[carry:]),
    )


def _integer_pow(x: Array, y: int) -> Array:
    power = x if abs(y) == 1 else lax.integer_pow(x, abs(y))
    return 1 / power if y < 0 else power


def _polynomial(x: Array, *coefficients: Array) -> Array:
    value, *others = reversed(coefficients)
    for coefficient in others:
        value = value * x + coefficient
    return value


TPU: dict[str, Callable[..., Any]] = {
    "polynomial": _polynomial,
    "stop_gradient": lambda x: x,
}
# The logarithm of 1 + x loses digits where x is small: about 1e-7 of its value at 1.
MOSAIC_GPU: dict[str, Callable[..., Any]] = {
    **TPU,
    "add_any": lax.add,
    "integer_pow": _integer_pow,
    "log1p": lambda x, **_: lax.log(1 + x),
}
