"""Train a network on a problem, and judge what came of it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.pinn import causal, losses, natural_gradient, problems, samplers
from kanjax.pinn.derivatives import Field

CHECK_POINTS = 2000
CAUSAL_BOUND = 0.99


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
    form: natural_gradient.Form = "parameters",
    momentum: float = 0.0,
    damping: float = 1e-3,
) -> Training:
    """Train by natural gradient steps on points that are drawn again and again.

    Pure: jit it, and vmap it over params and keys for an ensemble.

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
        form: see :func:`kanjax.pinn.natural_gradient.step`.
        momentum: likewise.
        damping: likewise, to start with.

    Raises:
        ValueError: if problem and model do not fit, or resample_every does not divide
            steps.
    """
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

    def round_of_steps(carry: Any, each: Any) -> Any:
        key, epsilon = each
        drawn = problems.sample(
            problem, points, key=key, sampler=sampler, condition_points=condition_points
        )

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

    start = (params, natural_gradient.initial_state(params, damping=damping))
    (params, _), log = jax.lax.scan(
        round_of_steps, start, (jax.random.split(key, rounds), schedule)
    )
    return Training(params, *(values.ravel() for values in log))


class Solution(NamedTuple):
    """The result of :func:`solve`.

    Attributes:
        field: the solution, a function of one point; ``jax.vmap`` it over points.
        params: of the network, and the unknown coefficients.
        residuals: the root mean square of each residual on fresh points, by name.
        change: how much the solution changed when it was trained on with twice as many
            points, relative to its size (L2): an estimate of its error.
        error: its relative L2 distance to the reference, None without one.
        smallest_weight: the smallest causal weight on fresh points; 1 without.
        converged: whether all checks passed.
        reasons: what each check found.
        losses: the loss before each step, (steps,).
    """

    field: Field
    params: problems.Parameters
    residuals: dict[str, float]
    change: float
    error: float | None
    smallest_weight: float
    converged: bool
    reasons: tuple[str, ...]
    losses: Float[Array, " steps"]


def solve(
    problem: problems.Problem,
    net: model.Model,
    *,
    key: Array,
    steps: int = 300,
    points: int = 1000,
    params: problems.Parameters | None = None,
    tolerance: float = 1e-3,
    precision: Literal["double", "single"] = "double",
    **options: Any,
) -> Solution:
    """Solve a problem by a network, and say whether the solution is to be trusted.

    Trains by :func:`train`, then a third as long with twice as many points. The verdict
    has four checks: residuals fell below tolerance times what they were at first; twice
    the points changed the solution by less than tolerance; the smallest causal weight
    exceeds 0.99 (if there are any); and the solution is as close to its reference (if
    there is one). One program is compiled for each problem and model.

    Args:
        problem: the problem.
        net: a model from its coordinates to its outputs, e.g. ``nn.MLP((2, 20, 20, 1),
            jnp.tanh, kernel_scale=1.0)``.
        key: of the parameters and the points.
        steps: of the natural gradient; a multiple of 25 unless resample_every says so.
        points: inside of the domain.
        params: where to start; drawn by default.
        tolerance: of the checks.
        precision: "double" asks for ``jax.enable_x64``, without which the method
            stops at errors near 1e-3; "single" does without.
        options: of :func:`train`.

    Raises:
        ValueError: if double precision is not on, or as in :func:`train`.
        FloatingPointError: if a residual or the reference is not finite.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn, pinn
        >>> def oscillator(u, z):
        ...     return pinn.partial(u, 0, 2)(z) + u(z)
        >>> def released(net):
        ...     return lambda z: 1 + z[0] ** 2 * net(z)
        >>> problem = pinn.Problem(
        ...     pinn.interval(0, 3),
        ...     oscillator,
        ...     constrain=released,
        ...     reference=lambda z: jnp.cos(z[:, 0]),
        ... )
        >>> net = nn.MLP((1, 12, 1), jnp.tanh, kernel_scale=1.0)
        >>> with jax.enable_x64(True):
        ...     solution = pinn.solve(
        ...         problem, net, key=jax.random.key(0), steps=50, points=50
        ...     )
        >>> solution.converged, solution.error < 1e-4
        (True, True)
    """
    if precision == "double" and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "natural gradient steps need double precision: call solve inside of `with "
            "jax.enable_x64(True):`, or pass precision='single' and expect errors "
            "near 1e-3."
        )
    keys = jax.random.split(key, 4)
    first = problems.initialize(problem, net, key=keys[0]) if params is None else params
    every = options.get("resample_every", 25)
    more = max(1, round(steps / 3 / every)) * every
    frozen = _Options(options)
    coarse = _train(problem, net, first, keys[1], steps, points, frozen)
    epsilons = options.get("epsilons", ())
    finer = _Options({**options, "epsilons": epsilons[-1:]})
    fine = _train(problem, net, coarse.params, keys[2], more, 2 * points, finer)
    return _judge(problem, net, (first, coarse, fine), keys[3], tolerance, options)


class _Options:
    """Keyword arguments that a compiled program is kept for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        weights = tuple(sorted((self.values.get("weights") or {}).items()))
        self.known = tuple(sorted((self.values | {"weights": weights}).items()))

    def __hash__(self) -> int:
        return hash(self.known)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Options) and self.known == other.known


@functools.partial(
    jax.jit, static_argnames=("problem", "net", "steps", "points", "options")
)
def _train(
    problem: problems.Problem,
    net: model.Model,
    params: problems.Parameters,
    key: Array,
    steps: int,
    points: int,
    options: _Options,
) -> Training:
    return train(
        problem, net, params, key=key, steps=steps, points=points, **options.values
    )


@functools.partial(jax.jit, static_argnames=("problem", "net", "epsilon", "chunks"))
def _measure(
    problem: problems.Problem,
    net: model.Model,
    params: problems.Parameters,
    points: Any,
    epsilon: float,
    chunks: int,
) -> tuple[dict[str, Array], Array, Array]:
    """Mean squares of residuals, values inside, and the smallest causal weight."""
    residuals = problems.residuals(problem, net)
    values = losses.evaluate(residuals, params, points)
    squares = {k: jnp.sum(r**2, axis=1) for k, r in values.items()}
    inside = points[problems.INTERIOR]
    total = sum(v for k, v in squares.items() if k not in problem.conditions)
    means = causal.chunk_losses(inside[:, 0], jnp.asarray(total), chunks)
    smallest = jnp.min(causal.causal_weights(means, epsilon))
    u = jax.vmap(problems.field(problem, net, params))(inside)
    return {k: jnp.mean(v) for k, v in squares.items()}, u, smallest


def _judge(
    problem: problems.Problem,
    net: model.Model,
    stages: tuple[problems.Parameters, Training, Training],
    key: Array,
    tolerance: float,
    options: Mapping[str, Any],
) -> Solution:
    first, coarse, fine = stages
    fresh = problems.sample(problem, CHECK_POINTS, key=key)
    epsilons = options.get("epsilons", ())
    epsilon = float(epsilons[-1]) if epsilons else 0.0
    measure: Callable[..., Any] = functools.partial(
        _measure, problem, net, points=fresh, epsilon=epsilon, chunks=20
    )
    before, _, _ = measure(params=first)
    _, rough, _ = measure(params=coarse.params)
    after, u, smallest = measure(params=fine.params)
    # A compiled program sorts the names.
    sizes = {k: float(after[k]) ** 0.5 for k in problems.residuals(problem, net)}
    change = _distance(u, rough)
    checks = []
    for name, size in sizes.items():
        scale = max(1e-300, float(before[name]) ** 0.5)
        text = f"{name} fell to {size:.1e}, {size / scale:.1e} of its first value"
        checks.append((text, size <= tolerance * scale))
    text = f"doubling the points changed the solution by {change:.1e}"
    checks.append((text, change <= tolerance))
    if epsilons:
        text = f"the smallest causal weight is {float(smallest):.3f}"
        checks.append((text, float(smallest) > CAUSAL_BOUND))
    error = None
    if problem.reference is not None:
        known = problem.reference(fresh[problems.INTERIOR])
        if not bool(jnp.all(jnp.isfinite(known))):
            raise FloatingPointError("the problem's reference is not finite.")
        error = _distance(u, jnp.reshape(known, u.shape))
        text = f"the relative error against the reference is {error:.1e}"
        checks.append((text, error <= tolerance))
    if not all(jnp.isfinite(jnp.asarray(list(sizes.values())))):
        raise FloatingPointError(
            f"residuals are not finite: {sizes}; look for divisions by zero or roots "
            "of negative numbers in the problem at its first parameters."
        )
    return Solution(
        problems.field(problem, net, fine.params),
        fine.params,
        sizes,
        change,
        error,
        float(smallest),
        all(passed for _, passed in checks),
        tuple(t if passed else f"not converged: {t}" for t, passed in checks),
        jnp.concatenate([coarse.losses, fine.losses]),
    )


def _distance(u: Array, known: Array) -> float:
    """Return the relative L2 distance; absolute where what is known vanishes."""
    size = float(jnp.linalg.norm(jnp.ravel(known)))
    return float(jnp.linalg.norm(jnp.ravel(u - known))) / (size or 1.0)
