"""Binary patterns: random ones, damaged ones, and how well a state recalls them."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.hopfield import checks


def overlaps(state: Array, patterns: Any) -> Float[Array, "*chains patterns"]:
    """``patterns @ state / spins``: 1 for a pattern itself, about 0 for a random one.

    Args:
        state: (..., spins).
        patterns: (patterns, spins).

    Raises:
        ValueError: if the two do not fit.
    """
    state = jnp.asarray(state)
    patterns = checks.check_patterns(patterns, state.shape[-1])
    return state @ patterns.T / patterns.shape[-1]


def random_patterns(
    key: Array, patterns: int, spins: int
) -> Float[Array, "patterns spins"]:
    """Independent spins, -1 and +1 with equal probability.

    Args:
        key: a random key.
        patterns: how many.
        spins: of each.
    """
    return jax.random.rademacher(key, (patterns, spins), jnp.result_type(float))


def corrupt(key: Array, state: Array, fraction: float) -> Array:
    """Turn each spin with a probability.

    Args:
        key: of the spins that turn.
        state: (..., spins).
        fraction: the probability.

    Raises:
        ValueError: if the fraction is not in [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must lie in [0, 1]; got {fraction!r}.")
    state = jnp.asarray(state)
    return jnp.where(jax.random.bernoulli(key, fraction, state.shape), -state, state)
