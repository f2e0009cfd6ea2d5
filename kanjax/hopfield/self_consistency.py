"""Self-consistent equations ``x = f(x)`` of mean-field theories, and their branches.

A damped iteration finds the solution that a start leads to; its derivatives with
respect to whatever f closes over are those of the implicit function theorem. Steps are
those of :mod:`kanjax.hopfield.damped_steps`, all else is done by optimistix.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, Int

from kanjax.hopfield import checks


class FixedPoint(NamedTuple):
    """Where an iteration ended.

    Attributes:
        value: the last x, a pytree like the start.
        residual: the largest change that f would still make in x.
        converged: whether that is within the tolerance.
        steps: how often x was updated.
    """

    value: Any
    residual: Float[Array, ""]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


def fixed_point(
    function: Callable[[Any], Any],
    start: Any,
    *,
    damping: float = 0.5,
    tolerance: float | None = None,
    max_steps: int = 5_000,
    accelerate: bool = False,
) -> FixedPoint:
    """Iterate ``x <- damping x + (1 - damping) f(x)`` until f changes nothing.

    Works under jit, vmap and grad. Derivatives of ``value`` go to what ``function``
    closes over, by ``dx = (1 - df/dx)^{-1} df``, and none to the start; they mean
    something at points that converged, and are infinite where branches meet.

    Args:
        function: f, from a pytree of floating point to one like it.
        start: the x to begin with; it decides which branch is found.
        damping: the share of the old x, in [0, 1).
        tolerance: the largest change by f of a solution; ``eps^(3/4)`` of the precision
            if None, which is 6e-6 and 2e-12.
        max_steps: the most updates; ``converged`` tells whether they sufficed.
        accelerate: whether to take a step of Newton's where one at least halves the
            change, near a solution; where branches end, damping alone takes thousands.
            It costs a Jacobian an update.

    Raises:
        ValueError: for a damping, tolerance or number of steps out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> def magnet(beta):
        ...     return fixed_point(lambda m: jnp.tanh(beta * m), jnp.array(1.0))
        >>> round(float(magnet(1.5).value), 4)
        0.8586
        >>> round(float(jax.grad(lambda beta: magnet(beta).value)(1.5)), 3)
        0.373
    """
    if not 0 <= damping < 1:
        raise ValueError(f"damping must lie in [0, 1); got {damping!r}.")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance must be positive; got {tolerance!r}.")
    checks.check_count("max_steps", max_steps, 1)
    import optimistix

    from kanjax.hopfield import damped_steps

    flat, unravel = ravel_pytree(jax.lax.stop_gradient(start))
    flat = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    rounding = float(jnp.finfo(flat.dtype).eps)
    limit = rounding**0.75 if tolerance is None else tolerance

    def update(x: Array, _: Any) -> Array:
        return ravel_pytree(function(unravel(x)))[0].astype(x.dtype)

    solution = optimistix.fixed_point(
        update,
        damped_steps.Damped(damping=damping, accelerate=accelerate, atol=limit),
        flat,
        max_steps=max_steps,
        throw=False,
    )
    residual = jax.lax.stop_gradient(jnp.max(jnp.abs(solution.state)))
    count = jnp.asarray(solution.stats["num_steps"], jnp.int32)
    return FixedPoint(unravel(solution.value), residual, residual <= limit, count)


def over_plane(
    solve: Callable[[Array, Array], Any], rows: Array, columns: Array
) -> Any:
    """Evaluate a function of two control parameters at all pairs of their values.

    Args:
        solve: of two scalars, such as a closure around :func:`fixed_point`.
        rows: (rows,), values of the first.
        columns: (columns,), values of the second.

    Returns:
        what ``solve`` returns, each leaf with leading axes (rows, columns).
    """
    inner = jax.vmap(solve, (None, 0))
    return jax.vmap(inner, (0, None))(jnp.asarray(rows), jnp.asarray(columns))


def follow(
    solve: Callable[[Any, Array], FixedPoint], start: Any, controls: Array
) -> FixedPoint:
    """Continue a branch: each solution is where the search for the next one starts.

    Args:
        solve: of a start and a control parameter.
        start: for the first one.
        controls: (points, ...), in the order to be followed.

    Returns:
        the solutions, each leaf with a leading axis (points,).
    """

    def step(value: Any, control: Array) -> tuple[Any, FixedPoint]:
        solution = solve(value, control)
        return solution.value, solution

    return jax.lax.scan(step, start, jnp.asarray(controls))[1]
