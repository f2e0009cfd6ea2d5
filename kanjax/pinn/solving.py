"""Train a network on a problem, and judge what came of it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model, pytrees
from kanjax.pinn import causal, losses, problems
from kanjax.pinn.derivatives import Field
from kanjax.pinn.optimization import Training, train

CHECK_POINTS = 2000
CAUSAL_BOUND = 0.99


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

    __repr__ = pytrees.short_repr


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
        steps: of training; a multiple of 25 unless resample_every says so.
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
