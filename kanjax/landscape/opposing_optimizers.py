"""Descent that tames the opposing direction: dampened momentum and split steps.

Rosenfeld, Risteski 2023, arXiv 2311.04163: what of Adam matters where two groups of
outliers pull in turn. As optax transformations.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

Params = Any


def sgd_dampened(
    learning_rate: optax.ScalarOrSchedule,
    *,
    momentum: float = 0.9,
    dampening: float = 0.0,
) -> optax.GradientTransformation:
    """Make gradient descent with momentum whose new gradients count less.

    ``m <- momentum m + (1 - dampening) g`` from ``m = 0``, and a step of
    ``-learning_rate m``. A dampening equal to the momentum makes m an average, as in
    Adam, in which a sign that alternates cancels; 0 is the usual heavy ball.

    Args:
        learning_rate: a number or a schedule.
        momentum: in [0, 1).
        dampening: in [0, 1).

    Raises:
        ValueError: if momentum or dampening is outside of [0, 1).
    """
    for name, number in (("momentum", momentum), ("dampening", dampening)):
        if not 0 <= number < 1:
            raise ValueError(f"{name} is {number}; it must be in [0, 1).")
    return optax.chain(
        optax.scale(1 - dampening),
        optax.trace(decay=momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


def split_sgd(
    small: optax.ScalarOrSchedule, big: optax.ScalarOrSchedule, quantile: float
) -> optax.GradientTransformation:
    """Make gradient descent whose largest coordinates take steps of a fixed size.

    Coordinates whose ``|g|`` exceeds the quantile of all of them move by
    ``-big sign(g)``, the others by ``-small g``.

    Args:
        small: the step size of the others, a number or a schedule.
        big: the step of the largest, likewise.
        quantile: in [0, 1], of ``|g|`` over all leaves together.

    Raises:
        ValueError: if quantile is outside of [0, 1].
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile is {quantile}; it must be in [0, 1].")

    def init(params: Params) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

    def update(updates: Params, state: Any, params: Any = None) -> Any:
        del params
        leaves = jax.tree.leaves(updates)
        sizes = jnp.concatenate([jnp.abs(jnp.ravel(g)) for g in leaves])
        limit = jnp.quantile(sizes.astype(float), quantile)
        plain, fixed = (
            rate(state.count) if callable(rate) else rate for rate in (small, big)
        )

        def step(g: jax.Array) -> jax.Array:
            moved = jnp.where(jnp.abs(g) > limit, fixed * jnp.sign(g), plain * g)
            return -moved.astype(g.dtype)

        counted = optax.ScaleByScheduleState(count=optax.safe_increment(state.count))
        return jax.tree.map(step, updates), counted

    return optax.GradientTransformation(init, update)
