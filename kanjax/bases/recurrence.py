"""Families of polynomials by their three-term recurrences.

Source: Abramowitz and Stegun (1964), table 22.7.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from kanjax.bases.basis import Domain, to_unit

Squash = Callable[[Array], Array] | None
Step = Callable[[int | Array, Array, Array], Array]
"""``p_(n+1)`` for n of at least 1, from n, ``p_n`` and ``p_(n-1)``."""


def prepare(x: Array, domain: Domain, squash: Squash) -> Array:
    """Map the domain to [-1, 1], then squash, so that nothing beyond it explodes."""
    t = to_unit(jnp.asarray(x), domain)
    return t if squash is None else squash(t)


def all_degrees(step: Step, first: Array, size: int, axis: int) -> Array:
    """``p_0 = 1``, ``p_1 = first`` and so on, ``size`` of them, along a new axis."""
    values = [jnp.ones_like(first), first]
    for n in range(1, size - 1):
        values.append(step(n, values[-1], values[-2]))
    return jnp.stack(values[:size], axis=axis)


def one_degree(step: Step, first: Array, degree: int | Array) -> Array:
    """``p_degree`` alone; the degree may be traced."""

    def next_two(n: Array, two: tuple[Array, Array]) -> tuple[Array, Array]:
        return two[1], step(n.astype(first.dtype) + 1, two[1], two[0])

    start = (jnp.ones_like(first), first)
    return jax.lax.fori_loop(0, degree, next_two, start)[0]
