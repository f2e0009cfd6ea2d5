"""Batch axes of a primitive's operands, when ``vmap`` gave it some.

A level is one batch axis: a flag for each operand, whether it has the axis. Levels are
ordered outermost first, as are the leading axes of the operands.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Level = tuple[bool, ...]


def sizes(axes: Sequence[Level], operands: Sequence[Any]) -> tuple[int, ...]:
    """Return the length of every batch axis."""
    lengths = []
    for depth, level in enumerate(axes):
        operand = level.index(True)
        axis = sum(outer[operand] for outer in axes[:depth])
        lengths.append(operands[operand].shape[axis])
    return tuple(lengths)


def of_member(axes: Sequence[Level], operands: Sequence[Any]) -> list[Any]:
    """Return the operands' shapes and types without batch axes."""
    counts = [sum(level[i] for level in axes) for i in range(len(operands))]
    return [
        jax.ShapeDtypeStruct(o.shape[count:], o.dtype)
        for o, count in zip(operands, counts, strict=True)
    ]


def flattened(
    axes: Sequence[Level], operands: Sequence[Array]
) -> list[tuple[Array, bool]]:
    """Return each operand with all batch axes as one in front, and whether it has one.

    An operand that has no batch axis stays as it is; one that has some is repeated
    along the others.
    """
    lengths = sizes(axes, operands)
    flat = []
    for i, operand in enumerate(operands):
        has = [level[i] for level in axes]
        if any(has):
            present = iter(operand.shape)
            placed = [next(present) if flag else 1 for flag in has]
            rest = tuple(present)
            operand = operand.reshape(*placed, *rest)
            operand = jnp.broadcast_to(operand, (*lengths, *rest))
            operand = operand.reshape(math.prod(lengths), *rest)
        flat.append((operand, any(has)))
    return flat


def map_over(f: Callable[..., Any], axes: Sequence[Level]) -> Callable[..., Any]:
    """``f``, which knows of no batch axes, over all of them."""
    for level in reversed(axes):
        f = jax.vmap(f, in_axes=tuple(0 if flag else None for flag in level))
    return f
