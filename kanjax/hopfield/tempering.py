"""Parallel tempering: chains at neighbouring temperatures exchange their states.

Source: Hukushima, Nemoto (1996), Exchange Monte Carlo method and application to spin
glass simulations, J. Phys. Soc. Jpn. 65. Cold chains alone stay in the valley that they
start in; the hot ones carry states over the hills between valleys.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax.hopfield import checks
from kanjax.hopfield.dynamics import Memory, check_state, glauber


class Ladder(NamedTuple):
    """Chains of all temperatures after some sweeps and exchanges.

    Attributes:
        state: (..., temperatures, spins), the last states, each at the temperature of
            its place.
        observed: what ``observe`` gave after each sweep and its exchanges, with a
            leading axis over sweeps; None without it.
        swap_rates: (..., temperatures - 1), the share of proposed exchanges with the
            next colder temperature that were accepted. Where it is near 0, states
            hardly pass, and the temperatures should lie closer.
    """

    state: Float[Array, "*chains temperatures spins"]
    observed: Any
    swap_rates: Float[Array, "*chains rungs"]


def parallel_tempering(
    key: Array,
    memory: Memory,
    state: Any,
    *,
    betas: Any,
    sweeps: int,
    observe: Callable[[Array], Any] | None = None,
) -> Ladder:
    """Sample at several temperatures at once, which exchange states after each sweep.

    Sweeps are those of :func:`glauber` in random order. After them neighbours in
    temperature exchange their states with probability ``min(1, exp((beta_i - beta_j)
    (E_i - E_j)))``, which keeps Boltzmann's distribution at every temperature: pairs
    (0, 1), (2, 3), ... after even sweeps, (1, 2), (3, 4), ... after odd ones.

    Args:
        key: drives the order, the draws and the exchanges.
        memory: a :class:`Pairwise`, :class:`PSpin`, :class:`Polynomial`, ...
        state: (..., temperatures, spins) of -1 and +1; each leading index is an
            independent ladder.
        betas: (temperatures,), finite, above 0 and rising; at least two.
        sweeps: how many visits each spin gets, at least 2.
        observe: a function of the states (..., temperatures, spins), as there.

    Works under jit and vmap, over keys as well.

    Raises:
        ValueError: for a state that does not fit or has other values, betas out of
            range or order, or fewer than 2 sweeps.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import hopfield
        >>> memory = hopfield.PSpin(hopfield.random_patterns(jax.random.key(0), 2, 50))
        >>> start = jnp.broadcast_to(memory.patterns[0], (8, 4, 50))
        >>> betas = jnp.linspace(0.6, 1.8, 4)
        >>> ladder = hopfield.parallel_tempering(
        ...     jax.random.key(1), memory, start, betas=betas, sweeps=100)
        >>> ladder.state.shape, ladder.swap_rates.shape
        ((8, 4, 50), (8, 3))
    """
    state = check_state(memory, state)
    checks.check_count("sweeps", sweeps, 2)
    betas = checks.check_beta(betas)
    if betas.ndim != 1 or len(betas) < 2 or state.shape[-2:-1] != betas.shape:
        raise ValueError(
            "betas must have shape (temperatures,), at least two, and state "
            f"(..., temperatures, spins); got {betas.shape} and {state.shape}."
        )
    known = checks.known_values(betas)
    if known is not None and not np.all(
        np.isfinite(known) & (np.diff(known, prepend=0) > 0)
    ):
        raise ValueError(f"betas must be finite and rise strictly; got {known!s}.")
    if observe is None:
        return _temper_compiled(key, memory, state, betas, sweeps)
    return _temper(key, memory, state, betas, sweeps, observe)


def _temper(
    key: Array,
    memory: Memory,
    state: Array,
    betas: Array,
    sweeps: int,
    observe: Callable[[Array], Any] | None = None,
) -> Ladder:
    rungs = jnp.arange(len(betas) - 1)

    def step(carry: tuple[Array, Array], count: Array) -> tuple[Any, Any]:
        state, accepted = carry
        key_sweep, key_swap = jax.random.split(jax.random.fold_in(key, count))
        state = glauber(key_sweep, memory, state, beta=betas, sweeps=1).state
        energy = memory.energy(state)
        gain = energy[..., 1:] - energy[..., :-1]
        gain = jnp.broadcast_to(betas[1:] - betas[:-1], gain.shape) * gain
        draw = jnp.log(jax.random.uniform(key_swap, gain.shape, gain.dtype))
        # Every other rung, so that a state takes part in a single exchange.
        turn = jnp.broadcast_to(rungs % 2 == count % 2, gain.shape)
        swap = turn & (draw < gain)
        up = jnp.pad(swap.astype(jnp.int32), [(0, 0)] * (swap.ndim - 1) + [(0, 1)])
        source = jnp.broadcast_to(jnp.arange(len(betas)), up.shape)
        source = source + up - jnp.roll(up, 1, axis=-1)
        state = jnp.take_along_axis(state, source[..., None], axis=-2)
        seen = None if observe is None else observe(state)
        return (state, accepted + swap), seen

    start = state, jnp.zeros((*state.shape[:-2], len(rungs)), state.dtype)
    (state, accepted), observed = jax.lax.scan(step, start, jnp.arange(sweeps))
    proposed = (sweeps + 1 - rungs % 2) // 2
    share = accepted / jnp.broadcast_to(proposed, accepted.shape)
    return Ladder(state, observed, share)


_temper_compiled = jax.jit(_temper, static_argnames=("sweeps",))
