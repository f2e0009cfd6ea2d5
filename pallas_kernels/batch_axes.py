"""Batch axes of a primitive's operands, when ``vmap`` gave it some.

A level is one batch axis: a flag for each operand, whether it has the axis. Levels are
ordered outermost first, as are the leading axes of the operands.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

Level = tuple[bool, ...]


def sizes(axes: Sequence[Level], operands: Sequence[Any]) -> tuple[int, ...]:
    """Return the length of every batch axis."""
    lengths = []
    for depth, level in enumerate(axes):
        operand = level.index(True)
        axis = sum(outer[operand] for outer in axes[:depth])
        lengths.append(operands[operand].shape[axis])
    return tuple(lengths)


def map_over(f: Callable[..., Any], axes: Sequence[Level]) -> Callable[..., Any]:
    """``f``, which knows of no batch axes, over all of them."""
    for level in reversed(axes):
        f = jax.vmap(f, in_axes=tuple(0 if flag else None for flag in level))
    return f
