"""A function in the operations that Pallas' Mosaic lowering for GPUs knows.

It does not know functions with a derivative rule of their own, nor a few operations
that bases and their derivatives are made of.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core
from jax import Array, lax


def rewritten(f: Callable[[Array], Array], x: Array) -> Array:
    """``f(x)`` with calls put in place of themselves and unknown operations replaced.

    The logarithm of 1 + x loses digits where x is small: about 1e-7 of its value at 1.
    """
    (value,) = _run(jax.make_jaxpr(f)(x), x)
    return value


def _run(closed: Any, *args: Any) -> list[Any]:
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(variable: Any) -> Any:
        literal = isinstance(variable, jax.extend.core.Literal)
        return variable.val if literal else values[variable]

    for eqn in jaxpr.eqns:
        apply: Any = REPLACED.get(eqn.primitive.name, eqn.primitive.bind)
        outputs = apply(*map(read, eqn.invars), **eqn.params)
        several = isinstance(outputs, list | tuple)
        values |= dict(zip(eqn.outvars, outputs if several else [outputs], strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _call(*args: Any, call_jaxpr: Any, **_: Any) -> list[Any]:
    return _run(call_jaxpr, *args)


def _jit(*args: Any, jaxpr: Any, **_: Any) -> list[Any]:
    return _run(jaxpr, *args)


def _while(
    *args: Any,
    cond_jaxpr: Any,
    body_jaxpr: Any,
    cond_nconsts: int,
    body_nconsts: int,
) -> list[Any]:
    carry = cond_nconsts + body_nconsts
    for_cond, for_body = args[:cond_nconsts], args[cond_nconsts:carry]
    return lax.while_loop(
        lambda now: _run(cond_jaxpr, *for_cond, *now)[0],
        lambda now: _run(body_jaxpr, *for_body, *now),
        list(args[carry:]),
    )


def _integer_pow(x: Array, y: int) -> Array:
    power = x if abs(y) == 1 else lax.integer_pow(x, abs(y))
    return 1 / power if y < 0 else power


REPLACED: dict[str, Callable[..., Any]] = {
    "add_any": lax.add,
    "custom_jvp_call": _call,
    "integer_pow": _integer_pow,
    "jit": _jit,
    "log1p": lambda x, **_: lax.log(1 + x),
    "pjit": _jit,
    "while": _while,
}
