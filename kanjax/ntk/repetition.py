"""Layers in turn, of which those that repeat are compiled once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from kanjax.ntk.covariances import Covariances

_ARRAYS = ("nngp", "ntk", "first", "second")
_REST = tuple(f for f in Covariances.__dataclass_fields__ if f not in _ARRAYS)


def in_turn(
    step: Callable[[Any, Covariances], Covariances],
    steps: Sequence[Any],
    k: Covariances,
) -> Covariances:
    """``step(s, k)`` for each s of steps; equal stretches in a row as one loop.

    XLA would compile the same again for each, and a network's elementwise functions
    take it longer the more of them there are in a row.
    """
    at = 0
    while at < len(steps):
        length, times = _stretch(steps[at:])
        same = steps[at : at + length]
        at += length * times
        k = _repeated(step, same, k, times)
    return k


def _stretch(steps: Sequence[Any]) -> tuple[int, int]:
    """How many steps from the first on repeat, and how often: (1, 1) if none do."""
    for length in range(1, len(steps) // 2 + 1):
        times = 1
        while all(
            times * length + i < len(steps)
            and _equal(steps[i], steps[times * length + i])
            for i in range(length)
        ):
            times += 1
        if times > 1:
            return length, times
    return 1, 1


def _repeated(
    step: Callable[[Any, Covariances], Covariances],
    steps: Sequence[Any],
    k: Covariances,
    times: int,
) -> Covariances:
    rests: list[list[Any]] = []

    def once(k: Covariances) -> Covariances:
        for one in steps:
            k = step(one, k)
        return k

    def arrays(values: list[jax.Array]) -> list[jax.Array]:
        after = once(k.replace(**dict(zip(_ARRAYS, values, strict=True))))
        rests.append(_rest(after))
        return [getattr(after, name) for name in _ARRAYS]

    while times:
        before = [getattr(k, name) for name in _ARRAYS]
        # If the first changes what kind of values there are, the others do no more.
        if times > 1 and len(rests) < 2:
            after = jax.eval_shape(arrays, before)
            stays = all(map(_same_type, before, after))
            if stays and _equal(_rest(k), rests[-1]):
                values, _ = jax.lax.scan(
                    lambda values, _: (arrays(values), None), before, length=times
                )
                return k.replace(**dict(zip(_ARRAYS, values, strict=True)))
        k, times = once(k), times - 1
    return k


def _rest(k: Covariances) -> list[Any]:
    return [getattr(k, name) for name in _REST]


def _same_type(a: Any, b: Any) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype


def _equal(a: Any, b: Any) -> bool:
    """Of pytrees whose arrays are the same objects."""
    leaves, others = jax.tree.leaves(a), jax.tree.leaves(b)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x is y or (isinstance(x, int) and x == y)
        for x, y in zip(leaves, others, strict=True)
    )
