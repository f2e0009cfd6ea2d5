"""Train a network on a problem by natural gradient or quasi-Newton steps."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from kanjax import model, training
from kanjax.pinn import causal, losses, natural_gradient, problems, samplers

Method = Literal["natural_gradient", "broyden"]
METHODS = ("natural_gradient", "broyden")
CANDIDATES = 8


class Training(NamedTuple):
    """The result of :func:`train`.

    Attributes:
        params: after the last step.
        losses: the weighted loss before each step, (steps,).
        lengths: of each step; 0 where none was better, (steps,).
        smallest: the smallest causal weight at each step, 1 without, (steps,).
    """

    params: problems.Parameters
    losses: Float[Array, " steps"]
    lengths: Float[Array, " steps"]
    smallest: Float[Array, " steps"]


def train(
    problem: problems.Problem,
    net: model.Model,
    params: problems.Parameters,
    *,
    key: Array,
    steps: int = 300,
    points: int = 1000,
    condition_points: int | None = None,
    sampler: samplers.Sampler = samplers.sobol,
    resample_every: int = 25,
    weights: Mapping[str, Any] | None = None,
    epsilons: tuple[float, ...] = (),
    chunks: int = 10,
    adaptive: float | None = None,
    method: Method = "natural_gradient",
    form: natural_gradient.Form = "parameters",
    momentum: float = 0.0,
    damping: float = 1e-3,
) -> Training:
    """Train on points that are drawn again and again.

    By natural gradient steps, or by more and cheaper quasi-Newton steps
    (:func:`kanjax.training.self_scaled_broyden`), which need points that stay for some
    hundred steps. Pure: jit it, and vmap it over params and keys for an ensemble.

    Args:
        problem: the problem.
        net: a model from its coordinates to its outputs.
        params: of :func:`kanjax.pinn.initialize`.
        key: of the points.
        steps: how many; a multiple of resample_every.
        points: inside of the domain.
        condition_points: of each condition; an eighth of points by default.
        sampler: of :mod:`kanjax.pinn.samplers`.
        resample_every: after how many steps to draw points anew.
        weights: of the terms of the loss, by name; 1 where absent.
        epsilons: of causal weights in the first coordinate, one after the other, each
            for an equal number of draws; none by default.
        chunks: of points sorted by time that share a causal weight; divides points.
        adaptive: if not None, more points are drawn where the residual is large, by
            :func:`kanjax.pinn.samplers.residual_adaptive` with this constant, out of
            eight times as many.
        method: "natural_gradient" or "broyden"; causal weights of the second stay as
            long as the points.
        form: of natural gradient steps, see :func:`kanjax.pinn.natural_gradient.step`.
        momentum: likewise.
        damping: likewise, to start with.

    Raises:
        ValueError: if problem and model do not fit, resample_every does not divide
            steps, or the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}; got {method!r}.")
    if steps < 1 or resample_every < 1 or steps % resample_every:
        raise ValueError(
            "steps must be a positive multiple of resample_every; got "
            f"{steps} and {resample_every}."
        )
    residuals = problems.residuals(problem, net)
    equations = [name for name in residuals if name not in problem.conditions]
    rounds = steps // resample_every
    plan = epsilons or (0.0,)
    schedule = jnp.asarray(
        [plan[i * len(plan) // rounds] for i in range(rounds)], float
    )

    def weigh(params: Any, drawn: Any, epsilon: Array) -> tuple[dict[str, Any], Array]:
        weighted: dict[str, Any] = dict(weights or {})
        if not epsilons:
            return weighted, jnp.ones(())
        inner = {name: residuals[name] for name in equations}
        values = losses.evaluate(inner, params, drawn)
        squares = sum(
            weighted.get(k, 1.0) * jnp.sum(r**2, axis=1) for k, r in values.items()
        )
        times = drawn[problems.INTERIOR][:, 0]
        w = causal.point_weights(times, jnp.asarray(squares), epsilon, chunks)
        return weighted | {k: weighted.get(k, 1.0) * w for k in equations}, jnp.min(w)

    def draw(params: Any, key: Array) -> dict[str, Array]:
        many = points if adaptive is None else CANDIDATES * points
        few = max(1, points // 8) if condition_points is None else condition_points
        key, choice = jax.random.split(key)
        drawn = problems.sample(
            problem, many, key=key, sampler=sampler, condition_points=few
        )
        if adaptive is None:
            return drawn
        inner = {name: residuals[name] for name in equations}
        values = losses.evaluate(inner, params, drawn).values()
        sizes = jnp.linalg.norm(jnp.concatenate(list(values), axis=1), axis=1)
        chosen = samplers.residual_adaptive(
            drawn[problems.INTERIOR], sizes, points, key=choice, constant=adaptive
        )
        return drawn | {problems.INTERIOR: chosen}

    def natural_gradient_steps(carry: Any, drawn: Any, epsilon: Array) -> Any:
        def one_step(carry: Any, _: None) -> Any:
            params, state = carry
            weighted, smallest = weigh(params, drawn, epsilon)
            params, state, report = natural_gradient.step(
                losses.stack(residuals, drawn, weighted),
                params,
                state,
                jacobian=losses.jacobian(residuals, drawn, weighted),
                form=form,
                momentum=momentum,
            )
            return (params, state), (report.loss, report.length, smallest)

        return jax.lax.scan(one_step, carry, None, length=resample_every)

    optimizer = training.self_scaled_broyden()

    def broyden_steps(carry: Any, drawn: Any, epsilon: Array) -> Any:
        weighted, smallest = weigh(carry[0], drawn, epsilon)

        def loss(params: Any) -> Array:
            return losses.loss(residuals, params, drawn, weighted)

        def one_step(carry: Any, _: None) -> Any:
            params, state = carry
            value, grad = optax.value_and_grad_from_state(loss)(params, state=state)
            updated: Any = optimizer.update(
                grad, state, params, value=value, grad=grad, value_fn=loss
            )
            moves, state = updated
            search = state[-1]
            # A search that failed moves nothing, and what it knows is of elsewhere.
            better = search.value < value
            params = jax.tree.map(
                lambda p, move: jnp.where(better, p + move, p), params, moves
            )
            known = jnp.where(better, search.value, jnp.inf)
            length = jnp.where(better, search.learning_rate, 0)
            state = (*state[:-1], search._replace(value=known))
            return (params, state), (value, length, smallest)

        start = (carry[0], training.change_loss(carry[1]))
        return jax.lax.scan(one_step, start, None, length=resample_every)

    def round_of_steps(carry: Any, each: Any) -> Any:
        key, epsilon = each
        take = broyden_steps if method == "broyden" else natural_gradient_steps
        return take(carry, draw(carry[0], key), epsilon)

    if method == "broyden":
        start = (params, optimizer.init(params))
    else:
        start = (params, natural_gradient.initial_state(params, damping=damping))
    (params, _), log = jax.lax.scan(
        round_of_steps, start, (jax.random.split(key, rounds), schedule)
    )
    return Training(params, *(values.ravel() for values in log))
