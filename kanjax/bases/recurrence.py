"""Families of polynomials by their three-term recurrences.

Source: Abramowitz and Stegun (1964), table 22.7.
"""

import abc
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from kanjax.bases.basis import Domain, check_at_least, check_domain, to_unit

Squash = Callable[[Array], Array] | None
Step = Callable[[int | Array, Array, Array], Array]
"""``p_(n+1)`` for n of at least 1, from n, ``p_n`` and ``p_(n-1)``."""


class Polynomials(abc.ABC):
    """What families share: ``p_0 = 1``, and a recurrence from ``p_1`` on.

    Families are dataclasses with these three fields and ``start_and_step``.
    """

    degree: int
    domain: Domain
    squash: Squash

    def __post_init__(self) -> None:
        check_at_least("degree", self.degree, 0)
        check_domain(self.domain)

    @property
    def size(self) -> int:
        """degree + 1."""
        return self.degree + 1

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all polynomials at x (...,) -> (..., size), or along ``axis``."""
        first, step = self.start_and_step(self._prepared(x))
        values = [jnp.ones_like(first), first]
        for n in range(1, self.degree):
            values.append(step(n, values[-1], values[-2]))
        return jnp.stack(values[: self.size], axis=axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one polynomial at x."""
        if jnp.ndim(index):
            # A loop ends for all at once.
            shape = jnp.broadcast_shapes(jnp.shape(index), jnp.shape(x))
            values = jnp.broadcast_to(self(x), (*shape, self.size))
            index = jnp.broadcast_to(index, shape)[..., None]
            return jnp.take_along_axis(values, index, axis=-1)[..., 0]
        first, step = self.start_and_step(self._prepared(x))

        def next_two(n: Array, two: tuple[Array, Array]) -> tuple[Array, Array]:
            return two[1], step(n.astype(first.dtype) + 1, two[1], two[0])

        start = (jnp.ones_like(first), first)
        return jax.lax.fori_loop(0, index, next_two, start)[0]

    @abc.abstractmethod
    def start_and_step(self, t: Array) -> tuple[Array, Step]:
        """``p_1`` at t, and how the next ones follow."""

    def _prepared(self, x: Array) -> Array:
        """Return the domain as [-1, 1], then squashed, so that nothing beyond it
        explodes.
        """
        t = to_unit(jnp.asarray(x), self.domain)
        return t if self.squash is None else self.squash(t)
