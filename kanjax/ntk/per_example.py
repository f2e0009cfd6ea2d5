"""Per-example statistics for infinite-width kernels: recorded once, read for each pair.

An activation needs the variances of both examples' values, and attention where both
look. They depend on one example each, so they are not computed again for each pair: a
first pass takes each example with itself through the network, with a :class:`Writer` as
``Covariances.tape``, and those between two examples find the notes in a
:class:`Reader`. Layers come in the same order in both.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Values = Any
Body = Callable[[Values, Any], Values]
"""``body(values, tape) -> values``: a layer in a loop."""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Choice:
    """What was chosen of two ways through the layers."""

    made: bool


class Writer:
    """Of examples with themselves: computes what is asked for and notes it.

    Attributes:
        notes: arrays that begin with the examples, choices, and lists of both in loops.
    """

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def ask(self, compute: Callable[[], Array], examples: int) -> tuple[Array, Array]:
        """Both are the same example's."""
        self.notes.append(compute())
        return self.notes[-1], self.notes[-1]

    def choose(self, choice: Callable[[], bool]) -> bool:
        """Make a choice that stays the same for pairs."""
        self.notes.append(_Choice(choice()))
        return self.notes[-1].made

    def loop(self, body: Body, values: Values, times: int) -> Values:
        """Return a scan whose notes are those of all its steps."""

        def step(values: Values, _: None) -> tuple[Values, list[Any]]:
            inside = Writer()
            return body(values, inside), inside.notes

        values, notes = jax.lax.scan(step, values, length=times)
        # Examples lead, as in all notes, so that blocks of examples are cut alike.
        self.notes.append(jax.tree.map(lambda n: jnp.moveaxis(n, 0, 1), notes))
        return values


class Reader:
    """Of pairs of examples: what was noted of the first and of the second."""

    def __init__(self, first: Sequence[Any], second: Sequence[Any]) -> None:
        self._notes = zip(first, second, strict=True)

    def ask(self, compute: Callable[[], Array], examples: int) -> tuple[Array, Array]:
        """Return what was noted, shaped to broadcast against each other."""
        first, second = next(self._notes)
        return (first, second) if examples == 1 else (first[:, None], second[None])

    def choose(self, choice: Callable[[], bool]) -> bool:
        """Return the choice that was made."""
        return next(self._notes)[0].made

    def loop(self, body: Body, values: Values, times: int) -> Values:
        """Return a scan each of whose steps reads its own notes."""

        def step(values: Values, notes: Any) -> tuple[Values, None]:
            return body(values, Reader(*notes)), None

        # Back to steps first, over which a scan goes.
        notes = jax.tree.map(lambda n: jnp.moveaxis(n, 1, 0), next(self._notes))
        return jax.lax.scan(step, values, notes, length=times)[0]
