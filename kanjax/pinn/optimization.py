"""Train a network on a problem by natural gradient, quasi-Newton or optax steps."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from kanjax import model, training
from kanjax.pinn import losses, natural_gradient, problems, samplers
from kanjax.pinn.objectives import Objective

Method = Literal["natural_gradient", "broyden"] | optax.GradientTransformation
METHODS = ("natural_gradient", "broyden")

# What an optimizer knows of parameters at the start; and a round of its steps, from
# both, points and an epsilon to what `Rounds.advance` gives.
Steps = tuple[Callable[[Any], Any], Callable[[Any, Any, Array], Any]]


class Training(NamedTuple):
    """The result of :func:`train`.

    Attributes:
        params: after the last step.
        losses: the weighted loss before each step, (steps,).
        lengths: of each step; 0 where none was better, (steps,). 1 for optax steps.
        smallest: the smallest causal weight at each step, 1 without, (steps,).
    """

    params: problems.Parameters
    losses: Float[Array, " steps"]
    lengths: Float[Array, " steps"]
    smallest: Float[Array, " steps"]


class Rounds(NamedTuple):
    """Training cut into rounds, each on points of its own; see :func:`rounds`.

    Attributes:
        start: ``start(params)`` gives what the first round takes, a pair of parameters
            and what the optimizer knows.
        advance: ``advance(carry, (key, epsilon))`` gives what the next round takes, and
            losses, lengths and smallest causal weights, each (resample_every,).
    """

    start: Callable[[problems.Parameters], Any]
    advance: Callable[[Any, tuple[Array, Array]], tuple[Any, tuple[Array, ...]]]


def train(
    problem: problems.Problem,
    net: model.Model,
    params: problems.Parameters,
    *,
    key: Array,
    steps: int = 300,
    resample_every: int = 25,
    epsilons: tuple[float, ...] = (),
    **options: Any,
) -> Training:
    """Train on points that are drawn again and again.

    By natural gradient steps; by more and cheaper quasi-Newton steps
    (:func:`kanjax.training.self_scaled_broyden`), which need points that stay for some
    hundred steps; or by an optimizer of optax. Pure: jit it, and vmap it over params
    and keys for an ensemble.

    Args:
        problem: the problem.
        net: a model from its coordinates to its outputs.
        params: of :func:`kanjax.pinn.initialize`.
        key: of the points.
        steps: how many; a multiple of resample_every.
        resample_every: after how many steps to draw points anew.
        epsilons: of causal weights in the first coordinate, one after the other, each
            for an equal number of draws; none by default. The method is patented, see
            :mod:`kanjax.pinn.causal`.
        options: of :func:`rounds`: points, sampler, weights, method and others.

    Raises:
        ValueError: if problem and model do not fit, resample_every does not divide
            steps, or the method is unknown.
    """
    start, advance = rounds(
        problem,
        net,
        resample_every=resample_every,
        is_causal=bool(epsilons),
        **options,
    )
    keys, schedule = plan(key, steps, resample_every, epsilons)
    (params, _), log = jax.lax.scan(advance, start(params), (keys, schedule))
    return Training(params, *(values.ravel() for values in log))


def plan(
    key: Array, steps: int, resample_every: int, epsilons: tuple[float, ...] = ()
) -> tuple[Array, Float[Array, " rounds"]]:
    """Return the key and the causal epsilon of each round.

    Args:
        key: split among rounds.
        steps: in all.
        resample_every: steps of a round; divides steps.
        epsilons: in order, each for as many rounds; 0 where there is none.

    Raises:
        ValueError: if resample_every does not divide steps.
    """
    if steps < 1 or resample_every < 1 or steps % resample_every:
        raise ValueError(
            "steps must be a positive multiple of resample_every; got "
            f"{steps} and {resample_every}."
        )
    count, values = steps // resample_every, epsilons or (0.0,)
    schedule = [values[i * len(values) // count] for i in range(count)]
    return jax.random.split(key, count), jnp.asarray(schedule, float)


def rounds(
    problem: problems.Problem,
    net: model.Model,
    *,
    points: int = 1000,
    condition_points: int | None = None,
    sampler: samplers.Sampler = samplers.sobol,
    resample_every: int = 25,
    weights: Mapping[str, Any] | None = None,
    is_causal: bool = False,
    chunks: int = 10,
    adaptive: float | None = None,
    pseudo_time: Mapping[str, float] | None = None,
    method: Method = "natural_gradient",
    form: natural_gradient.Form = "parameters",
    momentum: float = 0.0,
    damping: float = 1e-3,
) -> Rounds:
    """Return how training starts and how a round of steps goes on, for loops of one's
    own.

    Args:
        problem: the problem.
        net: a model from its coordinates to its outputs.
        points: inside of the domain.
        condition_points: of each condition; an eighth of points by default.
        sampler: of :mod:`kanjax.pinn.samplers`.
        resample_every: steps of a round, after which points are drawn anew.
        weights: of the terms of the loss, by name; 1 where absent.
        is_causal: whether the epsilon of a round weighs points by earlier residuals, in
            the order of the first coordinate.
        chunks: of points sorted by time that share a causal weight; divides points.
        adaptive: if not None, more points are drawn where the residual is large, by
            :func:`kanjax.pinn.samplers.residual_adaptive` with this constant, out of
            eight times as many.
        pseudo_time: steps tau of pseudo-time by equation, see
            :func:`kanjax.pinn.losses.pseudo_time`; from the last step of an optax
            method, from the start of the round of others.
        method: "natural_gradient", "broyden", or an optimizer of optax, such as
            ``kanjax.training.soap(3e-3)``. Causal weights of "broyden" stay as long as
            the points.
        form: of natural gradient steps, see :func:`kanjax.pinn.natural_gradient.step`.
        momentum: likewise.
        damping: likewise, to start with.

    Raises:
        ValueError: if problem and model do not fit, or the method is unknown.
    """
    if isinstance(method, str) and method not in METHODS:
        raise ValueError(
            f"method must be one of {METHODS} or an optimizer of optax; got {method!r}."
        )
    objective = Objective(
        problem,
        net,
        residuals=problems.residuals(problem, net),
        points=points,
        condition_points=condition_points,
        sampler=sampler,
        weights=weights or {},
        is_causal=is_causal,
        chunks=chunks,
        adaptive=adaptive,
        pseudo_time=pseudo_time,
    )
    if not isinstance(method, str):
        initialize, step = _optax_steps(objective, method, resample_every)
    elif method == "broyden":
        initialize, step = _broyden_steps(objective, resample_every)
    else:
        initialize, step = _natural_gradient_steps(
            objective, resample_every, form, momentum, damping
        )

    def start(params: problems.Parameters) -> Any:
        return params, initialize(params)

    def advance(carry: Any, each: tuple[Array, Array]) -> Any:
        key, epsilon = each
        return step(carry, objective.draw(carry[0], key), epsilon)

    return Rounds(start, advance)


def _natural_gradient_steps(
    objective: Objective,
    count: int,
    form: natural_gradient.Form,
    momentum: float,
    damping: float,
) -> Steps:
    def steps(carry: Any, drawn: Any, epsilon: Array) -> Any:
        residuals = objective.residuals_from(carry[0])

        def step(carry: Any, _: None) -> Any:
            params, state = carry
            weights, smallest = objective.weigh(params, drawn, epsilon)
            params, state, report = natural_gradient.step(
                losses.stack(residuals, drawn, weights),
                params,
                state,
                jacobian=losses.jacobian(residuals, drawn, weights),
                form=form,
                momentum=momentum,
            )
            return (params, state), (report.loss, report.length, smallest)

        return jax.lax.scan(step, carry, None, length=count)

    return functools.partial(natural_gradient.initial_state, damping=damping), steps


def _broyden_steps(objective: Objective, count: int) -> Steps:
    broyden = training.self_scaled_broyden()

    def steps(carry: Any, drawn: Any, epsilon: Array) -> Any:
        residuals = objective.residuals_from(carry[0])
        weights, smallest = objective.weigh(carry[0], drawn, epsilon)

        def loss(params: Any) -> Array:
            return losses.loss(residuals, params, drawn, weights)

        def step(carry: Any, _: None) -> Any:
            params, state = carry
            value, grad = optax.value_and_grad_from_state(loss)(params, state=state)
            updated: Any = broyden.update(
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
        return jax.lax.scan(step, start, None, length=count)

    return broyden.init, steps


def _optax_steps(
    objective: Objective, optimizer: optax.GradientTransformation, count: int
) -> Steps:
    def steps(carry: Any, drawn: Any, epsilon: Array) -> Any:
        def step(carry: Any, _: None) -> Any:
            params, state = carry
            residuals = objective.residuals_from(jax.lax.stop_gradient(params))
            weights, smallest = objective.weigh(params, drawn, epsilon)
            value, slope = jax.value_and_grad(
                lambda p: losses.loss(residuals, p, drawn, weights)
            )(params)
            moves, state = optimizer.update(slope, state, params)
            params = optax.apply_updates(params, moves)
            return (params, state), (value, jnp.ones_like(value), smallest)

        return jax.lax.scan(step, carry, None, length=count)

    return optimizer.init, steps
