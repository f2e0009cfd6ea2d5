"""The steps by which :func:`kanjax.hopfield.self_consistency.fixed_point` iterates.

A solver of optimistix, in a file of its own so that the room is imported without it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optimistix
from jax import Array

# Changes from which on an accelerated iteration trusts in Newton's step.
_NEAR = 1e-2


class Damped(optimistix.AbstractFixedPointSolver):
    """Damped steps, and Newton's where they are near a solution.

    Its state is the change ``f(x) - x`` at the present x.
    """

    damping: float
    accelerate: bool
    atol: float
    rtol: float = 0.0
    norm: Callable[[Any], Array] = optimistix.max_norm

    def init(
        self, fn: Any, y: Array, args: Any, options: Any, *structures: Any
    ) -> Array:
        """Return the change at the start."""
        return fn(y, args)[0] - y

    def step(
        self, fn: Any, y: Array, args: Any, options: Any, state: Array, tags: Any
    ) -> tuple[Array, Array, Any]:
        """Return the next x, the change there, and nothing."""

        def change(x: Array) -> Array:
            return fn(x, args)[0] - x

        damped = y + (1 - self.damping) * state
        if not self.accelerate:
            return damped, change(damped), None
        newton = y - jnp.linalg.solve(jax.jacfwd(change)(y), state)
        candidates = jnp.stack([damped, newton])
        changes = jax.vmap(change)(candidates)
        # Near a solution alone, so that the start still decides on the branch, and
        # onwards: beyond the end of a branch Newton's steps lead back to it.
        better = (_size(state) < _NEAR) & (_size(changes[1]) < _size(state) / 2)
        better &= jnp.vdot(newton - y, state) > 0
        better = better.astype(jnp.int32)
        return candidates[better], changes[better], None

    def terminate(
        self, fn: Any, y: Array, args: Any, options: Any, state: Array, tags: Any
    ) -> tuple[Array, Any]:
        """Tell whether to stop: at a solution, or where x will not be finite again."""
        size = _size(state)
        done = (size <= self.atol) | ~jnp.isfinite(size)
        return done, optimistix.RESULTS.successful

    def postprocess(
        self, fn: Any, y: Array, aux: Any, args: Any, options: Any, *state: Any
    ) -> tuple[Array, Any, dict[str, Any]]:
        """Return x as it is."""
        return y, aux, {}


def _size(change: Array) -> Array:
    return jnp.max(jnp.abs(change))
