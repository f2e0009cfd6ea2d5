"""Causal training: later times count once earlier ones are solved.

Wang, Sankaran, Perdikaris (2022), "Respecting causality is all you need for training
physics-informed neural networks", arXiv 2203.07404. The code here is our own, written
from the paper's equations. Its authors state that the algorithm is patented (University
of Pennsylvania) and not free for commercial use: ask them before you use it there.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int

Params = Any
EPSILONS = (1e-2, 1e-1, 1.0, 10.0, 100.0)
"""The paper's sequence of causality parameters."""


def causal_weights(
    losses: Float[Array, " times"], epsilon: float | Array, initial: float | Array = 0.0
) -> Float[Array, " times"]:
    """Weigh times by what is left of all earlier residuals.

    ``w_i = exp(-epsilon (L_0 + sum_{k<i} L_k))`` (section 3 of the paper); constants
    for differentiation.

    Args:
        losses: the mean squared residual at each time, in the order of time, (times,).
        epsilon: how steeply; 0 gives ones.
        initial: the loss of the initial condition, if that is soft.

    Examples:
        >>> causal_weights(jnp.arange(1.0, 4.0), 0.5).round(3).tolist()[0]
        1.0
    """
    # A running sum never decreases, where a difference of two could by rounding.
    earlier = jnp.cumsum(losses.at[-1].set(0))
    earlier = jnp.roll(earlier, 1).at[0].set(0) + initial
    return jax.lax.stop_gradient(jnp.exp(-epsilon * earlier))


class Causal(NamedTuple):
    """A causal loss.

    Attributes:
        loss: ``mean_i w_i L_i + L_0``.
        smallest: the smallest weight; near 1 once all times count.
    """

    loss: Float[Array, ""]
    smallest: Float[Array, ""]


def causal_loss(
    losses: Float[Array, " times"], epsilon: float | Array, initial: float | Array = 0.0
) -> Causal:
    """Return the weighted mean of the losses of all times, and the initial one.

    Args:
        losses: the mean squared residual at each time, in the order of time, (times,).
        epsilon: of the weights.
        initial: the (weighted) loss of the initial condition.
    """
    weights = causal_weights(losses, epsilon, initial)
    return Causal(jnp.mean(weights * losses) + initial, jnp.min(weights))


def chunk_losses(
    times: Float[Array, " points"], squares: Float[Array, " points"], chunks: int
) -> Float[Array, " chunks"]:
    """Sort points by time and average their squared residuals in equal chunks.

    Args:
        times: of each point, in any order, (points,).
        squares: the squared residual of each, (points,).
        chunks: how many; divides the number of points.

    Raises:
        ValueError: if it does not.
    """
    _check_chunks(times.shape[0], chunks)
    ordered = squares[jnp.argsort(times)]
    return jnp.mean(ordered.reshape(chunks, -1), axis=1)


def point_weights(
    times: Float[Array, " points"],
    squares: Float[Array, " points"],
    epsilon: float | Array,
    chunks: int,
    initial: float | Array = 0.0,
) -> Float[Array, " points"]:
    """Return the causal weight of each point's chunk, in the order of the points.

    For losses that take weights by point, such as :func:`kanjax.pinn.losses.stack`.

    Args:
        times: of each point, in any order, (points,).
        squares: the squared residual of each, (points,).
        epsilon: of the weights.
        chunks: how many; divides the number of points.
        initial: the loss of the initial condition.

    Raises:
        ValueError: if chunks does not divide the points.
    """
    _check_chunks(times.shape[0], chunks)
    order = jnp.argsort(times)
    means = jnp.mean(squares[order].reshape(chunks, -1), axis=1)
    weights = jnp.repeat(
        causal_weights(means, epsilon, initial),
        times.shape[0] // chunks,
        total_repeat_length=times.shape[0],
    )
    return jnp.zeros_like(weights).at[order].set(weights)


class Annealing(NamedTuple):
    """The result of :func:`anneal`.

    Attributes:
        params: after the last step.
        steps: taken at each epsilon, (epsilons,).
        losses: at the end of each block of steps, (epsilons, blocks); NaN where none.
        smallest: the smallest weight there, (epsilons, blocks); NaN where none.
        records: what ``record`` gave there, with leading axes (epsilons, blocks).
        converged: whether the last smallest weight exceeds delta: below, the field at
            late times is not trained and not to be trusted.
    """

    params: Params
    steps: Int[Array, " epsilons"]
    losses: Float[Array, "epsilons blocks"]
    smallest: Float[Array, "epsilons blocks"]
    records: Any
    converged: Bool[Array, ""]


def anneal(
    loss: Callable[[Params, Array], Causal],
    params: Params,
    optimizer: optax.GradientTransformation,
    *,
    epsilons: Sequence[float] | Array = EPSILONS,
    steps: int,
    delta: float = 0.99,
    block: int = 100,
    record: Callable[[Params, Array], Any] | None = None,
) -> Annealing:
    """Train at rising epsilons, each until the smallest weight exceeds delta.

    Algorithm 1 of the paper. One program whatever the epsilons, and pure: jit it, or
    vmap it over an ensemble's parameters.

    Args:
        loss: ``loss(params, epsilon)``, e.g. by :func:`causal_loss`.
        params: to start from.
        optimizer: of optax; its state goes on from epsilon to epsilon.
        epsilons: rising, (epsilons,); an array is not checked and can be traced.
        steps: at most, for each epsilon; a multiple of block.
        delta: the bound of the stopping criterion.
        block: steps between tests of it.
        record: ``record(params, epsilon)``, floating-point arrays to keep at the end of
            each block, such as weights or an error; nothing by default.

    Raises:
        ValueError: if there is no epsilon, one is negative, or block does not divide
            steps.
    """
    listed = not isinstance(epsilons, Array)
    if len(epsilons) == 0 or (listed and min(epsilons) < 0):
        raise ValueError(
            f"epsilons must be at least one, and not negative; got {epsilons!r}."
        )
    if steps < 1 or block < 1 or steps % block:
        raise ValueError(
            f"steps must be a positive multiple of block; got {steps} and {block}."
        )
    blocks = steps // block

    def note(params: Params, epsilon: Array, result: Causal) -> Any:
        return result, () if record is None else record(params, epsilon)

    def one_step(carry: Any, _: None) -> Any:
        params, state, epsilon, _ = carry

        def value(p: Params) -> tuple[Array, Causal]:
            result = loss(p, epsilon)
            return result.loss, result

        slope, result = jax.grad(value, has_aux=True)(params)
        updates, state = optimizer.update(slope, state, params)
        return (optax.apply_updates(params, updates), state, epsilon, result), None

    def one_block(carry: Any) -> Any:
        (params, state, epsilon, result), i, log = carry
        training = (params, state, epsilon, result)
        training, _ = jax.lax.scan(one_step, training, None, length=block)
        entry = note(training[0], epsilon, training[3])
        log = jax.tree.map(lambda rows, row: rows.at[i].set(row), log, entry)
        return training, i + 1, log

    def goes_on(carry: Any) -> Array:
        (*_, result), i, _ = carry
        return (i < blocks) & ((i == 0) | (result.smallest <= delta))

    def stage(carry: Any, epsilon: Array) -> Any:
        params, state = carry
        first = loss(params, epsilon)
        log = jax.tree.map(
            lambda entry: jnp.full((blocks, *entry.shape), jnp.nan, entry.dtype),
            jax.eval_shape(note, params, epsilon, first),
        )
        training = (params, state, epsilon, first)
        start = (training, jnp.zeros((), int), log)
        training, i, log = jax.lax.while_loop(goes_on, one_block, start)
        return training[:2], (i, log)

    dtype = jnp.result_type(*jax.tree.leaves(params))
    start = (params, optimizer.init(params))
    (params, _), (counts, (results, records)) = jax.lax.scan(
        stage, start, jnp.asarray(epsilons, dtype)
    )
    last = loss(params, jnp.asarray(epsilons[-1], dtype))
    return Annealing(
        params,
        counts * block,
        results.loss,
        results.smallest,
        records,
        last.smallest > delta,
    )


def march(
    fit: Callable[[Any, Array], tuple[Any, Any]],
    start: Any,
    windows: int,
    *,
    key: Array,
) -> tuple[Any, Any]:
    """Solve window after window of time, each from where the last one ended.

    Args:
        fit: ``fit(start, key)`` gives the state at the window's end, and what to keep
            of the window, such as parameters. Its own time starts at 0.
        start: the state at the first window's start.
        windows: how many.
        key: split among windows.

    Returns:
        The last state, and what was kept, with a leading axis (windows,).
    """
    return jax.lax.scan(fit, start, jax.random.split(key, windows))


def _check_chunks(points: int, chunks: int) -> None:
    if chunks < 1 or points % chunks:
        raise ValueError(f"chunks must divide the {points} points; got {chunks}.")
