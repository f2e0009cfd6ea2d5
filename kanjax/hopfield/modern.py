"""The continuous modern Hopfield network, whose update is softmax attention.

Source: Ramsauer et al. (2020), Hopfield Networks is All You Need, arXiv 2008.02217.
Stored patterns are the rows of ``patterns`` (patterns, features), which need not be
binary; a state has the same features, behind any leading axes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax.checks import as_floating
from kanjax.hopfield import checks, sparse


class Retrieval(NamedTuple):
    """Where a retrieval ended.

    Attributes:
        state: (..., features), the last state.
        weights: (..., patterns), what each pattern has in the next update of it.
        steps: (...), the updates made.
        converged: (...), whether the last update moved the state by no more than the
            tolerance; False where ``max_steps`` came first or a value is not finite.
    """

    state: Float[Array, "*batch features"]
    weights: Float[Array, "*batch patterns"]
    steps: Int[Array, "*batch"]
    converged: Bool[Array, "*batch"]


def energy(
    state: Any, patterns: Any, beta: Any, *, mask: Any = None, alpha: float = 1.0
) -> Float[Array, "*batch"]:
    """Return the energy, in [0, 2 M^2] for states no longer than the longest pattern.

    ``E = -(1 / beta) log sum_i exp(beta x_i . s) + s . s / 2 + (1 / beta) log N +
    M^2 / 2`` with M the largest norm of the N patterns (eq. 2). For alpha above 1 the
    entropy of entmax takes the place of Shannon's: its conjugate that of the
    log-sum-exp, and its largest value that of log N. It is infinite for a state of
    which a mask hides all patterns.

    Arguments and what is raised are as for :func:`weights`.

    Examples:
        >>> import jax.numpy as jnp
        >>> patterns = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
        >>> round(float(energy(jnp.array([0.5, 0.2]), patterns, 2.0)), 6)
        0.947101
    """
    state, patterns, beta, mask = prepare(state, patterns, beta, mask)
    squares = jnp.sum(jnp.square(patterns), axis=-1)
    stored = jnp.ones(squares.shape, bool) if mask is None else mask
    lengths = jnp.max(jnp.where(stored, squares, 0), axis=-1)
    number = jnp.sum(stored, axis=-1, keepdims=True)
    even = stored / jnp.maximum(number, 1)
    soft = sparse.conjugate(_logits(state, patterns, beta, mask), alpha)
    quadratic = (jnp.sum(jnp.square(state), axis=-1) + lengths) / 2
    spread = sparse.entropy(even.astype(soft.dtype), alpha)
    energy = quadratic + (spread - soft) / beta
    return jnp.where(number[..., 0] > 0, energy, jnp.inf)


def weights(
    state: Any, patterns: Any, beta: Any, *, mask: Any = None, alpha: float = 1.0
) -> Float[Array, "*batch patterns"]:
    """``softmax(beta X s)``: how much of each pattern the update takes.

    Args:
        state: (..., features).
        patterns: (patterns, features).
        beta: the inverse temperature, above 0; a scalar, or of shapes that broadcast
            with the leading axes of state.
        mask: (..., patterns), True where a pattern is stored; all of them if None. A
            state for which none is gets weights of zero.
        alpha: 1 for softmax; above 1 for entmax, whose weights are sparse, and 2 for
            sparsemax.

    Raises:
        ValueError: for shapes that do not fit, no pattern, or beta not above 0.
    """
    state, patterns, beta, mask = prepare(state, patterns, beta, mask)
    return sparse.entmax(_logits(state, patterns, beta, mask), alpha)


def update(
    state: Any, patterns: Any, beta: Any, *, mask: Any = None, alpha: float = 1.0
) -> Float[Array, "*batch features"]:
    """One update of the state, ``X^T softmax(beta X s)`` (eq. 3).

    It never raises the energy, from which it differs by ``s - grad E``. Arguments and
    what is raised are as for :func:`weights`.

    Args:
        state: (..., features).
        patterns: (patterns, features).
        beta: the inverse temperature.
        mask: as for :func:`weights`.
        alpha: as for :func:`weights`.

    Examples:
        >>> import jax.numpy as jnp
        >>> patterns = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
        >>> update(jnp.array([0.5, 0.2]), patterns, 2.0).round(6)
        Array([0.554599, 0.279406], dtype=float32)
    """
    p = weights(state, patterns, beta, mask=mask, alpha=alpha)
    return p @ _floating(patterns, p)


def iterate(
    state: Any,
    patterns: Any,
    beta: Any,
    *,
    steps: int,
    mask: Any = None,
    alpha: float = 1.0,
) -> Float[Array, "states *batch features"]:
    """Return the states of a number of updates, the first one included.

    Differentiable in forward and reverse mode, at the cost of keeping all states.

    Args:
        state: (..., features).
        patterns: (patterns, features).
        beta: the inverse temperature, above 0.
        steps: the number of updates, at least 1.
        mask: as for :func:`weights`.
        alpha: as for :func:`weights`.

    Other arguments and what is raised are as for :func:`weights`.
    """
    checks.check_count("steps", steps, 1)
    start, patterns, beta, mask = prepare(state, patterns, beta, mask)

    def step(state: Array, _: None) -> tuple[Array, Array]:
        new = update(state, patterns, beta, mask=mask, alpha=alpha)
        return new.astype(state.dtype), new

    _, states = jax.lax.scan(step, start, None, length=steps)
    return jnp.concatenate([start[None], states])


def retrieve(
    state: Any,
    patterns: Any,
    beta: Any,
    *,
    tolerance: float = 1e-6,
    max_steps: int = 1000,
    mask: Any = None,
    alpha: float = 1.0,
) -> Retrieval:
    """Update each state until an update moves it by no more than the tolerance.

    Each state stops by itself, so that a result does not depend on its batch.
    The last state is differentiated as the fixed point it is near, by the implicit
    function theorem: with respect to patterns and beta, not to where it started.

    Args:
        state: (..., features).
        patterns: (patterns, features).
        beta: the inverse temperature, above 0.
        tolerance: the largest distance of two states in a row, at least 0.
        max_steps: the most updates; ``converged`` tells whether they sufficed.
        mask: as for :func:`weights`.
        alpha: as for :func:`weights`.

    Raises:
        ValueError: as :func:`weights` does, and for a negative tolerance or max_steps
            below 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> found = retrieve(jnp.array([0.5, 0.2]), jnp.eye(2), 8.0)
        >>> found.state.round(3), bool(found.converged)
        (Array([1., 0.], dtype=float32), True)
    """
    checks.check_count("max_steps", max_steps, 1)
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0; got {tolerance!r}.")
    start, patterns, beta, mask = prepare(state, patterns, beta, mask)

    def image(state: Array) -> Array:
        new = update(state, patterns, beta, mask=mask, alpha=alpha)
        return new.astype(state.dtype)

    end, steps, converged = fixed_point(image, start, tolerance, max_steps)
    p = weights(end, patterns, beta, mask=mask, alpha=alpha)
    return Retrieval(end, p, steps, converged)


def fixed_point(
    image: Callable[[Array], Array], start: Array, tolerance: float, max_steps: int
) -> tuple[Array, Array, Array]:
    """Where updates lead, their number, and whether they settled, for each state.

    Args:
        image: the update of states (..., features), by itself for each of them, with a
            symmetric Jacobian.
        start: (..., features).
        tolerance: as for :func:`retrieve`.
        max_steps: as for :func:`retrieve`.

    The end has the first derivatives, with respect to what ``image`` is made of, that
    the implicit function theorem gives a fixed point.
    """
    end, steps, settled = jax.lax.stop_gradient(
        _iterate_until(image, jax.lax.stop_gradient(start), tolerance, max_steps)
    )
    # What image closes over (patterns, beta) is made explicit, so that its gradient can
    # be stopped: only ``change`` below carries the dependence on it.
    slopeless, hoisted = jax.closure_convert(image, end)
    hoisted = jax.lax.stop_gradient(hoisted)

    def product(v: Array) -> Array:
        return v - jax.jvp(lambda s: slopeless(s, *hoisted), (end,), (v,))[1]

    # Zero, with the slope of one more update: (1 - J)^-1 makes it that of the end.
    here = image(end)
    change = here - jax.lax.stop_gradient(here)
    # 1 - J is symmetric, and positive definite at a stable fixed point. States do not
    # interact, so the whole batch is one system.
    eps = float(jnp.finfo(end.dtype).eps)
    moved, _ = jax.scipy.sparse.linalg.cg(product, change, tol=10 * eps)
    return end + moved, steps, settled


def _iterate_until(
    image: Callable[[Array], Array], start: Array, tolerance: float, max_steps: int
) -> tuple[Array, Array, Array]:
    def step(carry: Any) -> Any:
        state, steps, settled = carry
        new = image(state)
        moved = jnp.linalg.norm(new - state, axis=-1)
        # A state that settled stays as it was then, whoever else is still on the way: a
        # batch ends where each of its states would alone.
        # A comparison with NaN is False: such a state goes on till max_steps.
        state = jnp.where(settled[..., None], state, new)
        return state, steps + ~settled, settled | (moved <= tolerance)

    def active(carry: Any) -> Array:
        return jnp.any(~carry[2] & (carry[1] < max_steps))

    batch = start.shape[:-1]
    begin = (start, jnp.zeros(batch, jnp.int32), jnp.zeros(batch, bool))
    return jax.lax.while_loop(active, step, begin)


def jacobian_product(
    state: Any, patterns: Any, beta: Any, vector: Any
) -> Float[Array, "*batch features"]:
    """Return the update's Jacobian at a state, times a vector.

    ``J = beta X^T (diag(p) - p p^T) X``: beta times the covariance of the patterns
    under the weights p.

    Args:
        state: (..., features).
        patterns: as for :func:`weights`.
        beta: as for :func:`weights`.
        vector: (..., features).
    """
    state, patterns, beta, _ = prepare(state, patterns, beta, None)
    p = weights(state, patterns, beta)
    X = _floating(patterns, p)
    along = jnp.asarray(vector) @ X.T
    centered = along - jnp.sum(p * along, axis=-1, keepdims=True)
    scale = jnp.expand_dims(beta, -1).astype(p.dtype)
    return scale * ((p * centered) @ X)


def prepare(
    state: Any, patterns: Any, beta: Any, mask: Any
) -> tuple[Array, Array, Array, Array | None]:
    """Return the arguments of :func:`weights` as arrays of one type, checked.

    Args:
        state: (..., features).
        patterns: (patterns, features).
        beta: the inverse temperature, or one for each state.
        mask: (..., patterns), True where a pattern is looked at; or None.
    """
    state = as_floating(state)
    if state.ndim == 0:
        raise ValueError("state must have shape (..., features); got a scalar.")
    patterns = checks.check_patterns(patterns, state.shape[-1])
    dtype = jnp.result_type(state, patterns)
    beta = checks.check_beta(beta).astype(dtype)
    if mask is not None:
        mask = jnp.asarray(mask)
        if mask.dtype != jnp.bool_:
            raise TypeError(f"mask must be boolean; got {mask.dtype}.")
        if mask.shape[-1:] != patterns.shape[:1]:
            raise ValueError(
                f"mask must have shape (..., {patterns.shape[0]}), an entry for each "
                f"pattern; got {mask.shape}."
            )
    state, patterns = state.astype(dtype), patterns.astype(dtype)
    return state, patterns, _finite(beta, state, patterns), mask


def _finite(beta: Array, state: Array, patterns: Array) -> Array:
    """Return the inverse temperature; one so large that it is no other than infinity.

    Then no product of state and pattern overflows, and any two that differ do so by
    more than the exponential has room for: weights are shared by the largest.
    """
    known = checks.known_values(beta)
    if known is not None and np.all(np.isfinite(known)):
        return beta
    lengths = jnp.sqrt(jnp.max(jnp.sum(jnp.square(patterns), axis=-1)))
    bound = lengths * jnp.sqrt(jnp.sum(jnp.square(state), axis=-1))
    largest = float(jnp.finfo(beta.dtype).max) / 4
    cold = largest / jnp.where(bound > 1, bound, 1)
    return jnp.where(jnp.isposinf(beta), jax.lax.stop_gradient(cold), beta)


def align(beta: Array, state: Array) -> Float[Array, "*batch 1"]:
    """Give the inverse temperature the axes of the states.

    Args:
        beta: (), or (...) with one for each state.
        state: (..., features).
    """
    batch = jnp.broadcast_shapes(beta.shape, state.shape[:-1])
    return jnp.broadcast_to(beta, batch)[..., None]


def _logits(state: Array, patterns: Array, beta: Array, mask: Array | None) -> Array:
    logits = align(beta, state) * (state @ patterns.T)
    return logits if mask is None else jnp.where(mask, logits, -jnp.inf)


def _floating(patterns: Any, like: Array) -> Array:
    return jnp.asarray(patterns).astype(like.dtype)
