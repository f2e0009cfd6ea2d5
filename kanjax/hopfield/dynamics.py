"""Dynamics of binary memories: retrieval at zero temperature, and Glauber's at any.

Sources: Hopfield (1982), PNAS 79 (one spin after the other); Little (1974), Math.
Biosci. 19 (all at once); Glauber (1963), J. Math. Phys. 4 (at a temperature).

All functions take states with any leading axes, chains that run at once in one
compiled program.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax.hopfield import checks

Order = Literal["random", "sequential", "parallel"]
Mode = Literal["asynchronous", "synchronous"]

# Spins up to which an order is drawn by comparing all pairs, see _order.
_FEW = 256


@runtime_checkable
class Memory(Protocol):
    """What every binary memory offers."""

    @property
    def size(self) -> int:
        """The number of spins."""
        ...

    def energy(self, state: Array) -> Array:
        """Return the energy of each state (..., spins)."""
        ...

    def fields(self, state: Array) -> Array:
        """``h_i`` (..., spins): half of what turning spin i from +1 to -1 costs."""
        ...

    def rows(self) -> Array:
        """Return what is known of each site, (spins, ...)."""
        ...

    def track(self, state: Array) -> Array:
        """Return what a sweep keeps up to date, of states (..., spins)."""
        ...

    def field_at(self, tracked: Array, row: Array, old: Array) -> Array:
        """Return the field at one site, (...), whose spin is ``old``."""
        ...

    def moved(self, tracked: Array, row: Array, site: Array, change: Array) -> Array:
        """Return what is tracked after the spin of a site () changed."""
        ...


class Retrieval(NamedTuple):
    """Where a retrieval ended.

    Attributes:
        state: (..., spins), the last state.
        converged: (...), whether it is a fixed point: no spin would turn.
        period: (...), 1 at a fixed point, 2 for a state that a synchronous update
            takes to another and back, 0 where ``max_sweeps`` came first.
        sweeps: (...), the updates of all spins that changed something.
    """

    state: Float[Array, "*chains spins"]
    converged: Bool[Array, "*chains"]
    period: Int[Array, "*chains"]
    sweeps: Int[Array, "*chains"]


class Chains(NamedTuple):
    """Monte Carlo chains after some sweeps.

    Attributes:
        state: (..., spins), the last states.
        observed: what ``observe`` gave after each sweep, with a leading axis over
            sweeps; None without it.
    """

    state: Float[Array, "*chains spins"]
    observed: Any


def retrieve(
    memory: Memory,
    state: Any,
    *,
    mode: Mode = "asynchronous",
    max_sweeps: int = 100,
    key: Array | None = None,
) -> Retrieval:
    """Follow ``s_i <- sign(h_i)`` until nothing changes; a field of 0 keeps the spin.

    Args:
        memory: a :class:`Pairwise`, :class:`PSpin`, :class:`Polynomial`, ...
        state: (..., spins) of -1 and +1.
        mode: "asynchronous" visits one spin after the other, and the energy never
            rises. "synchronous" updates all at once; it may end in a cycle of two
            states, which is reported.
        max_sweeps: the most updates of all spins.
        key: draws the order of the visits anew for each sweep; 0, 1, 2, ... if None.

    Works under jit and vmap. A chain that has ended stays as it is.

    Raises:
        ValueError: for a state that does not fit or has other values, an unknown mode,
            or a key with synchronous updates, which have no order.

    Examples:
        >>> import jax
        >>> from kanjax import hopfield
        >>> patterns = hopfield.random_patterns(jax.random.key(0), 3, 200)
        >>> memory = hopfield.PSpin(patterns, order=2)
        >>> cue = hopfield.corrupt(jax.random.key(1), patterns, 0.2)
        >>> hopfield.retrieve(memory, cue).converged
        Array([ True,  True,  True], dtype=bool)
    """
    state = check_state(memory, state)
    checks.check_count("max_sweeps", max_sweeps, 1)
    if mode not in ("asynchronous", "synchronous"):
        raise ValueError(f"mode must be 'asynchronous' or 'synchronous'; got {mode!r}.")
    if mode == "synchronous" and key is not None:
        raise ValueError("synchronous updates have no order to draw; leave key out.")
    return _retrieve(memory, state, key, mode, max_sweeps)


def glauber(
    key: Array,
    memory: Memory,
    state: Any,
    *,
    beta: Any,
    sweeps: int,
    order: Order = "random",
    observe: Callable[[Array], Any] | None = None,
) -> Chains:
    """Visit one spin after the other and draw it: ``P(s_i = +1) = sigma(2 beta h_i)``.

    The stationary distribution is Boltzmann's, ``exp(-beta E)``. At infinite beta it
    is the asynchronous update of :func:`retrieve`. All spins drawn at once are Little's
    dynamics, whose distribution for pairs is ``prod_i cosh(beta h_i)``.

    Args:
        key: drives the order and the draws.
        memory: a :class:`Pairwise`, :class:`PSpin`, :class:`Polynomial`, ...
        state: (..., spins) of -1 and +1; each leading index is a chain of its own.
        beta: the inverse temperature, above 0: a scalar, or of shapes that broadcast
            with the leading axes of state, a temperature for each chain.
        sweeps: how many visits each spin gets.
        order: "random" draws a new order for each sweep, the same for all chains of
            the call; "sequential" is 0, 1, 2, ...; "parallel" is all spins at once.
        observe: a function of the states (..., spins), evaluated after each sweep,
            such as ``memory.energy`` or ``memory.overlaps``.

    Works under jit and vmap, over keys as well.

    Raises:
        ValueError: for a state that does not fit or has other values, a beta that is
            not positive or does not broadcast, or an unknown order.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import hopfield
        >>> memory = hopfield.PSpin(hopfield.random_patterns(jax.random.key(0), 2, 50))
        >>> start = jnp.broadcast_to(memory.patterns[0], (3, 50))
        >>> beta = jnp.array([0.5, 2.0, jnp.inf])
        >>> chains = hopfield.glauber(
        ...     jax.random.key(1), memory, start, beta=beta, sweeps=20,
        ...     observe=memory.overlaps)
        >>> chains.observed.shape
        (20, 3, 2)
    """
    state = check_state(memory, state)
    checks.check_count("sweeps", sweeps, 1)
    if order not in ("random", "sequential", "parallel"):
        raise ValueError(
            f"order must be 'random', 'sequential' or 'parallel'; got {order!r}."
        )
    beta = checks.check_beta(beta)
    chains = state.shape[:-1]
    if jnp.broadcast_shapes(beta.shape, chains) != chains:
        raise ValueError(
            f"beta has shape {beta.shape}, which does not broadcast to the chains' "
            f"{chains}; repeat the state along an axis for each temperature."
        )

    if observe is None:
        return _sample_compiled(key, memory, state, beta, sweeps, order)
    return _sample(key, memory, state, beta, sweeps, order, observe)


def is_fixed_point(memory: Memory, state: Any) -> Bool[Array, "*chains"]:
    """Whether no spin of a state (..., spins) would turn; a field of 0 keeps it.

    Args:
        memory: what the state is of.
        state: (..., spins) of -1 and +1.

    Raises:
        ValueError: for a state that does not fit or has other values.
    """
    state = check_state(memory, state)
    return jnp.all(_turn(memory.fields(state), 0, state) == state, axis=-1)


@functools.partial(jax.jit, static_argnames=("mode", "max_sweeps"))
def _retrieve(
    memory: Memory, state: Array, key: Array | None, mode: Mode, max_sweeps: int
) -> Retrieval:
    still = jnp.zeros(state.shape[:-1], state.dtype)
    rows = memory.rows()

    def update(state: Array, count: Array) -> Array:
        if mode == "synchronous":
            return _turn(memory.fields(state), 0, state)
        order = _order(
            memory.size, None if key is None else jax.random.fold_in(key, count)
        )
        return _sweep(
            memory, rows, state, order, jnp.zeros((memory.size, *still.shape))
        )

    def step(carry: Any) -> Any:
        state, previous, period, sweeps, count = carry
        new = update(state, count)
        fixed = jnp.all(new == state, axis=-1)
        # Asynchronous sweeps in a fixed order cannot cycle: the energy falls.
        cycles = jnp.all(new == previous, axis=-1) & (mode == "synchronous")
        outcome = jnp.where(fixed, 1, jnp.where(cycles, 2, 0))
        active = period == 0
        moved = active & ~fixed
        return (
            jnp.where(moved[..., None], new, state),
            jnp.where(moved[..., None], state, previous),
            jnp.where(active, outcome, period),
            sweeps + moved,
            count + 1,
        )

    period = jnp.zeros(state.shape[:-1], jnp.int32)
    # One update more than max_sweeps tells whether the last one led to a fixed point.
    end, _, period, sweeps, _ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[2] == 0) & (carry[4] <= max_sweeps),
        step,
        (state, jnp.zeros_like(state), period, period, jnp.array(0, jnp.int32)),
    )
    return Retrieval(end, period == 1, period, sweeps)


def _sample(
    key: Array,
    memory: Memory,
    state: Array,
    beta: Array,
    sweeps: int,
    order: Order,
    observe: Callable[[Array], Any] | None = None,
) -> Chains:
    # Here, or each sweep would lay them out anew; and many keys cost what one does.
    rows = memory.rows()
    counts = jnp.arange(sweeps)
    pairs = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(counts)
    keys = jax.vmap(jax.random.fold_in)(pairs[:, 0], counts), pairs[:, 1]

    def sweep(state: Array, keys: tuple[Array, Array]) -> tuple[Array, Any]:
        key_order, key_noise = keys
        shape = (memory.size, *state.shape[:-1])
        noise = jax.random.logistic(key_noise, shape, state.dtype)
        noise = noise / jnp.broadcast_to(2 * beta, shape).astype(state.dtype)
        if order == "parallel":
            state = _turn(memory.fields(state), jnp.moveaxis(noise, 0, -1), state)
        else:
            visits = _order(memory.size, key_order if order == "random" else None)
            state = _sweep(memory, rows, state, visits, noise)
        return state, None if observe is None else observe(state)

    return Chains(*jax.lax.scan(sweep, state, keys))


_sample_compiled = jax.jit(_sample, static_argnames=("sweeps", "order"))


def _sweep(
    memory: Memory, rows: Array, state: Array, order: Array, noise: Array
) -> Array:
    """Visit all sites in an order; noise (sites, ...) is what a field has to beat."""
    # Each site is visited once, so that its spin before the visit is known.
    old = jnp.moveaxis(state, -1, 0)[order]
    bars = noise.astype(state.dtype)

    def visit(tracked: Array, at: Any) -> tuple[Array, Array]:
        site, old, bar = at
        row = jax.lax.dynamic_index_in_dim(rows, site, keepdims=False)
        new = _turn(memory.field_at(tracked, row, old), bar, old)
        return memory.moved(tracked, row, site, new - old), new

    def visit_all() -> Array:
        new = jax.lax.scan(visit, memory.track(state), (order, old, bars))[1]
        return jnp.moveaxis(jnp.zeros_like(new).at[order].set(new), 0, -1)

    # Until the first spin turns, all visits see the fields of the state as it is: where
    # by these none would turn, as is common when it is cold, there is no need to visit.
    fields = jnp.moveaxis(memory.fields(state), -1, 0)[order]
    still = jnp.all(_turn(fields, bars, old) == old)
    return jax.lax.cond(still, lambda: state, visit_all)


def _turn(field: Array, bar: Array | int, old: Array) -> Array:
    return jnp.where(field > bar, 1, jnp.where(field < bar, -1, old)).astype(old.dtype)


def _order(size: int, key: Array | None) -> Int[Array, " sites"]:
    sites = jnp.arange(size)
    if key is None:
        return sites
    if size > _FEW:
        return jax.random.permutation(key, sites)
    # The same by ranks: to compare all pairs of a few is quicker than to sort them.
    draws = jax.random.bits(jax.random.split(key)[1], (size,))
    equal = draws[:, None] == draws[None]
    before = (draws[:, None] < draws[None]) | (equal & (sites[:, None] < sites[None]))
    ranks = jnp.sum(before, axis=0, dtype=sites.dtype)
    return jnp.zeros_like(sites).at[ranks].set(sites, unique_indices=True)


def check_state(memory: Memory, state: Any) -> Array:
    """Return states (..., spins) of a memory as floating point.

    Raises:
        ValueError: for a state or patterns that do not fit or have other values.
    """
    state = checks.check_spins("state", state)
    patterns = getattr(memory, "patterns", None)
    if patterns is not None:
        checks.check_spins("patterns", checks.check_patterns(patterns))
    if state.shape[-1:] != (memory.size,):
        raise ValueError(
            f"state must have shape (..., {memory.size}), the memory's spins; got "
            f"{state.shape}."
        )
    return state
