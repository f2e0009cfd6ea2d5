"""Reading and running jaxprs: the one place that knows how jax lays them out."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.extend.core

CALLS = ("jit", "pjit")
"""The primitives of functions that were compiled apart; the name depends on jax."""

Rule = Callable[[int, Any, Sequence[Any]], Sequence[Any]]
"""``rule(index, equation, operands)`` gives the values of an equation's outputs."""


def is_literal(variable: Any) -> bool:
    """Tell whether an operand of an equation is a number written into it."""
    return isinstance(variable, jax.extend.core.Literal)


def inner(equation: Any) -> list[Any]:
    """Return the open jaxprs that an equation calls."""
    inner = []
    for parameter in equation.params.values():
        several = parameter if isinstance(parameter, list | tuple) else (parameter,)
        for value in several:
            if isinstance(value, jax.extend.core.ClosedJaxpr):
                inner.append(value.jaxpr)
            elif isinstance(value, jax.extend.core.Jaxpr):
                inner.append(value)
    return inner


def bind(equation: Any, operands: Sequence[Any]) -> list[Any]:
    """Run one equation on the values of its operands.

    Args:
        equation: of a jaxpr.
        operands: a value for each of ``equation.invars``.
    """
    bound = equation.primitive.get_bind_params(equation.params)
    # Older versions of jax give the inner functions apart.
    functions, options = bound if isinstance(bound, tuple) else ((), bound)
    results = equation.primitive.bind(*functions, *operands, **options)
    return list(results) if equation.primitive.multiple_results else [results]


def evaluate(
    jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], rule: Rule
) -> list[Any]:
    """Run a jaxpr equation by equation, each by the rule.

    Args:
        jaxpr: an open jaxpr.
        consts: the values of its constants.
        arguments: the values of its inputs.
        rule: what gives an equation's outputs; ``bind`` is the plain one.
    """
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if is_literal(variable) else values[variable]

    for index, equation in enumerate(jaxpr.eqns):
        results = rule(index, equation, [read(v) for v in equation.invars])
        values.update(zip(equation.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]
