"""Gauss-Newton steps of a sum of squares: the energy natural gradient of networks.

For a residual vector r with Jacobian J the step solves ``(J^T J + lambda) d = J^T r``
(Mueller, Zeinhofer 2023, "Achieving High Accuracy with PINNs via Energy Natural
Gradient Descent", arXiv 2302.13163), or the same in kernel form, ``d = J^T (J J^T +
lambda)^-1 r``, with the momentum of SPRING (Goldshlager, Abrahamsen, Lin 2024, arXiv
2401.10190; Guzman-Cordero et al. 2025, arXiv 2505.12149). The length of the step is
found by halving, and lambda follows from it.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.scipy.linalg
from jax import Array
from jaxtyping import Bool, Float, Int

Params = Any
Form = Literal["parameters", "residuals", "matrix_free"]

FORMS = ("parameters", "residuals", "matrix_free")
HALVINGS = 12
LARGEST_DAMPING = 1e3


class State(NamedTuple):
    """What a step leaves for the next.

    Attributes:
        damping: lambda, as a multiple of the mean diagonal of ``J^T J``.
        direction: the last direction, (parameters,).
    """

    damping: Float[Array, ""]
    direction: Float[Array, " parameters"]


class Report(NamedTuple):
    """What a step did.

    Attributes:
        loss: the sum of squares before it.
        length: the multiple of the direction that was taken; 0 if none was better.
        damping: the lambda that was used.
    """

    loss: Float[Array, ""]
    length: Float[Array, ""]
    damping: Float[Array, ""]


def initial_state(params: Params, *, damping: float = 1e-3) -> State:
    """Start with no momentum.

    Args:
        params: the pytree to be trained.
        damping: the first lambda, as a multiple of the mean diagonal of ``J^T J``.

    Raises:
        ValueError: unless damping is positive.
    """
    if not 0 < damping < float("inf"):
        raise ValueError(f"damping must be positive and finite; got {damping!r}.")
    flat, _ = jax.flatten_util.ravel_pytree(params)
    return State(jnp.asarray(damping, flat.dtype), jnp.zeros_like(flat))


def step(
    residuals: Callable[[Params], Float[Array, " residuals"]],
    params: Params,
    state: State,
    *,
    jacobian: Callable[[Params], Float[Array, "residuals parameters"]] | None = None,
    form: Form = "parameters",
    momentum: float = 0.0,
    max_iterations: int = 100,
) -> tuple[Params, State, Report]:
    """Take one damped Gauss-Newton step down ``sum r^2``; never up.

    In single precision ``J^T J`` loses what sets this method apart: use double.

    Args:
        residuals: r, a function of the parameters.
        params: where to step from.
        state: of :func:`initial_state` or the last step.
        jacobian: J, a function of the parameters, whose columns run as
            ``ravel_pytree`` does; ``jax.jacrev`` of the residuals by default. Not used
            in matrix-free form.
        form: "parameters" solves with ``J^T J`` (best for up to about 2,000
            parameters), "residuals" with ``J J^T`` (best for fewer residuals than
            parameters), "matrix_free" by conjugate gradients with products alone.
        momentum: mu of SPRING, 0 to 1: the last direction is kept where the residuals
            do not contradict it, which pays when the points change at each step.
        max_iterations: of conjugate gradients.

    Returns:
        The new parameters, the new state, and a :class:`Report`.

    Raises:
        ValueError: for an unknown form, or a momentum outside of [0, 1).
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}; got {form!r}.")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1; got {momentum!r}.")
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def loss(theta: Array) -> Array:
        return jnp.sum(residuals(unravel(theta)) ** 2)

    if form == "matrix_free":
        solve = _by_products(residuals, unravel, flat, max_iterations)
    else:
        matrix = jacobian or (lambda p: _dense_jacobian(residuals, p))
        solve = _by_matrix(residuals(params), matrix(params), form)
    direction = solve(state.damping, momentum * state.direction)
    before = loss(flat)
    length, after = _halve(loss, flat, direction, before)
    better = after < before
    length = jnp.where(better, length, 0)
    theta = jnp.where(better, flat - length * direction, flat)
    report = Report(before, length, state.damping)
    kept = jnp.where(better, direction, 0)
    return unravel(theta), State(_damp(state.damping, length), kept), report


Solve = Callable[[Array, Array], Array]


def _by_matrix(r: Array, j: Array, form: Form) -> Solve:
    """``phi + (J^T J + lambda)^-1 J^T (r - J phi)`` by a Cholesky factor."""
    scale = jnp.sum(j**2) / j.shape[1]
    gram = j.T @ j if form == "parameters" else j @ j.T

    def solve(damping: Array, phi: Array) -> Array:
        rest = r - j @ phi
        right = j.T @ rest if form == "parameters" else rest
        damped = gram + damping * scale * jnp.eye(gram.shape[0], dtype=gram.dtype)
        solution = jax.scipy.linalg.cho_solve(
            (jnp.linalg.cholesky(damped), True), right
        )
        return phi + (solution if form == "parameters" else j.T @ solution)

    return solve


def _by_products(
    residuals: Callable[[Params], Array],
    unravel: Callable[[Array], Params],
    flat: Array,
    max_iterations: int,
) -> Solve:
    """Return the same by conjugate gradients, with a stochastic scale of the
    diagonal.
    """
    import lineax

    r, forward = jax.linearize(lambda theta: residuals(unravel(theta)), flat)
    backward = jax.linear_transpose(forward, flat)
    signs = jax.random.rademacher(jax.random.key(0), flat.shape, flat.dtype)
    scale = jnp.sum(forward(signs) ** 2) / flat.size

    def solve(damping: Array, phi: Array) -> Array:
        operator = lineax.FunctionLinearOperator(
            lambda v: backward(forward(v))[0] + damping * scale * v,
            jax.eval_shape(lambda: flat),
            lineax.positive_semidefinite_tag,
        )
        solver = lineax.CG(rtol=1e-6, atol=1e-14, max_steps=max_iterations)
        right = backward(r - forward(phi))[0]
        # An unfinished solution is still a direction of descent.
        return phi + lineax.linear_solve(operator, right, solver, throw=False).value

    return solve


def _dense_jacobian(residuals: Callable[[Params], Array], params: Params) -> Array:
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return jax.jacrev(lambda theta: residuals(unravel(theta)))(flat)


def _halve(
    loss: Callable[[Array], Array], flat: Array, direction: Array, before: Array
) -> tuple[Array, Array]:
    """Return the first of 1, 1/2, 1/4, ... that lowers the loss, and the loss there."""

    def at(length: Array) -> Array:
        return loss(flat - length * direction)

    def goes_on(carry: tuple[Array, Array, Int[Array, ""]]) -> Bool[Array, ""]:
        _, after, count = carry
        return ~(after < before) & (count < HALVINGS)

    def shorter(carry: tuple[Array, Array, Int[Array, ""]]) -> Any:
        length, _, count = carry
        return length / 2, at(length / 2), count + 1

    full = jnp.ones((), flat.dtype)
    start = (full, at(full), jnp.zeros((), int))
    length, after, _ = jax.lax.while_loop(goes_on, shorter, start)
    return length, after


def _damp(damping: Array, length: Array) -> Array:
    """Less after a long step, more after a short one, much more after none."""
    # Of the rules tried on Poisson's equation, those that let lambda fall slowly while
    # steps are halved once or twice came furthest.
    factor = jnp.where(length == 1, 1 / 3, jnp.where(length >= 0.25, 0.6, 3.0))
    factor = jnp.where(length == 0, 10.0, factor)
    smallest = 4 * jnp.finfo(damping.dtype).eps
    return jnp.clip(damping * factor, smallest, LARGEST_DAMPING)
