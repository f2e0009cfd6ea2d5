"""Layers in turn, with runs of identical layers compiled as one ``lax.scan``.

    a, (b, c), (b, c), (b, c), d   ->   a, scan over 3 of (b, c), d

A scan carries two arrays, ``nngp`` and ``ntk``; all else that covariances know (masks,
axes, what is centered) must be the same after one time as before it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from kanjax.ntk.covariances import Covariances
from kanjax.ntk.per_example import Reader, Writer

_ARRAYS = ("nngp", "ntk")
_REST = sorted({*Covariances.__dataclass_fields__} - {*_ARRAYS, "tape"})


def in_turn(
    step: Callable[[Any, Covariances], Covariances],
    steps: Sequence[Any],
    k: Covariances,
) -> Covariances:
    """Apply ``step(s, k)`` for each s of steps, repeated runs of steps as one scan.

    XLA would compile the same again for each, and a network's elementwise functions
    take it longer the more of them there are in a row.
    """
    at = 0
    while at < len(steps):
        length, times = _repeated_run(steps[at:])
        same = steps[at : at + length]
        at += length * times
        k = _repeated(step, same, k, times)
    return k


def _repeated_run(steps: Sequence[Any]) -> tuple[int, int]:
    """How many steps from the first on repeat, and how often: (1, 1) if none do."""
    # The shortest repeating run first: it is compiled once and repeats most.
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
    def once(k: Covariances) -> Covariances:
        for layer in steps:
            k = step(layer, k)
        return k

    def after(values: list[jax.Array], tape: Writer | Reader) -> Covariances:
        return once(k.replace(tape=tape, **dict(zip(_ARRAYS, values, strict=True))))

    def arrays(values: list[jax.Array], tape: Writer | Reader) -> list[jax.Array]:
        return _arrays(after(values, tape))

    def stays() -> bool:
        """Whether the next time leaves what kind of values there are."""
        # Traced with shapes alone; the list takes out what eval_shape cannot return.
        rests = []

        def seen(values: list[jax.Array]) -> list[jax.Array]:
            k = after(values, Writer())
            rests.append(_rest(k))
            return _arrays(k)

        same = map(_same_type, _arrays(k), jax.eval_shape(seen, _arrays(k)))
        return all(same) and _equal(_rest(k), rests[0])

    # If the first changes the kind of values, the others do no more.
    # Unrolled until the kind of values is stable, as after a first layer that centers.
    tries = 2
    while times:
        # The choice goes to the tape: examples with themselves and pairs must take the
        # same way, for notes are read in the order that they were written in.
        if tries and times > 1 and k.tape.choose(stays):
            values = k.tape.loop(arrays, _arrays(k), times)
            return k.replace(**dict(zip(_ARRAYS, values, strict=True)))
        k, times, tries = once(k), times - 1, tries - 1
    return k


def _arrays(k: Covariances) -> list[jax.Array]:
    return [getattr(k, name) for name in _ARRAYS]


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
