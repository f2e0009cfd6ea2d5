"""Train a network on a problem, and judge what came of it."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model, pytrees, training
from kanjax.pinn import problems, verdicts
from kanjax.pinn.derivatives import Field
from kanjax.pinn.stages import Run, Stages


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
        losses: the loss before each step, (steps,); NaN after a divergence.
        smallest_weights: the smallest causal weight at each step, (steps,); likewise.
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
    smallest_weights: Float[Array, " steps"]

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr


class Ensemble(NamedTuple):
    """The result of :func:`solve_ensemble`.

    Attributes:
        field: the members' mean, a function of one point.
        spread: their standard deviation at a point: what they disagree on, which is a
            hint at the error and no bound of it.
        params: of all members, with a leading member axis.
        members: what :func:`solve` gives, of each.
        disagreement: the spread relative to the mean (L2) over the domain.
        error: the mean's relative L2 distance to the reference, None without one.
        converged: whether every member has, and they agree.
        reasons: what each check found.
    """

    field: Field
    spread: Field
    params: problems.Parameters
    members: tuple[Solution, ...]
    disagreement: float
    error: float | None
    converged: bool
    reasons: tuple[str, ...]

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr


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
    checkpoint: training.Checkpoint | None = None,
    callback: Callable[[training.Progress], None] | None = None,
    **options: Any,
) -> Solution:
    """Solve a problem by a network, and say whether the solution is to be trusted.

    Trains by :func:`train`, then a third as long with twice as many points. The verdict
    has four checks: residuals fell below tolerance times what they were at first; twice
    the points changed the solution by less than tolerance; the smallest causal weight
    exceeds 0.99 (if there are any); and the solution is as close to its reference (if
    there is one). A loss that is not finite ends the training with the last good
    parameters, and the verdict says so. One program is compiled for each problem and
    model, whatever the steps.

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
        checkpoint: where to store the training, and whether to go on from there, bit
            for bit; also on Ctrl-C.
        callback: called after each round of steps, e.g. by
            :func:`kanjax.training.bar`.
        options: of :func:`train`.

    Raises:
        ValueError: if double precision is not on, or as in :func:`train`.
        CheckpointError: if the checkpoint is of another training.
        FloatingPointError: if a residual or the reference is not finite.

    Examples:
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
    check_precision(precision)
    stages = Stages(problem, net, key, steps, points, options)
    if params is None:
        params = problems.initialize(problem, net, key=stages.keys[0])
    examiner = verdicts.Examiner(problem, net, stages.keys[3], tolerance, options)
    run = stages.train(params, checkpoint=checkpoint, callback=callback)
    return conclude(examiner, run.first, run.coarse, run.params, run)


def solve_ensemble(
    problem: problems.Problem,
    net: model.Model,
    *,
    key: Array,
    members: int = 8,
    steps: int = 300,
    points: int = 1000,
    tolerance: float = 1e-3,
    precision: Literal["double", "single"] = "double",
    checkpoint: training.Checkpoint | None = None,
    callback: Callable[[training.Progress], None] | None = None,
    **options: Any,
) -> Ensemble:
    """Solve a problem by several networks at once; their spread is an uncertainty.

    The members start from parameters of their own and train on points of their own, in
    one program that maps over them.

    Args:
        problem: the problem.
        net: a model from its coordinates to its outputs.
        key: split among members.
        members: how many, at least 2.
        steps: as in :func:`solve`.
        points: of each member, as there.
        tolerance: of each member's checks, and of their disagreement.
        precision: as in :func:`solve`.
        checkpoint: likewise.
        callback: likewise; losses are (members,).
        options: of :func:`train`.

    Raises:
        ValueError: for fewer than two members, or as in :func:`solve`.
        CheckpointError: likewise.
        FloatingPointError: likewise.
    """
    check_precision(precision)
    if not isinstance(members, int) or members < 2:
        raise ValueError(
            f"members must be an integer of at least 2, for a spread; got {members!r}. "
            "Of a single network use solve."
        )
    stages = Stages(problem, net, key, steps, points, options, members=members)
    first = jax.vmap(lambda k: problems.initialize(problem, net, key=k))(stages.keys[0])
    examiner = verdicts.Examiner(problem, net, stages.keys[3][0], tolerance, options)
    run = stages.train(first, checkpoint=checkpoint, callback=callback)
    each = (_member(run, i) for i in range(members))
    solutions = tuple(conclude(examiner, r.first, r.coarse, r.params, r) for r in each)

    def values(z: Array) -> Array:
        return jax.vmap(lambda p: problems.field(problem, net, p)(z))(run.params)

    def mean(z: Array) -> Array:
        return jnp.mean(values(z), axis=0)

    def spread(z: Array) -> Array:
        return jnp.std(values(z), axis=0)

    u = jax.jit(jax.vmap(mean))(examiner.inside)
    disagreement = verdicts.distance(u + jax.vmap(spread)(examiner.inside), u)
    good = sum(s.converged for s in solutions)
    checks = [
        (f"{good} of {members} members converged", good == members),
        (f"members disagree by {disagreement:.1e}", disagreement <= tolerance),
    ]
    error = examiner.error(u)
    if error is not None:
        text = f"the relative error of their mean against the reference is {error:.1e}"
        checks.append((text, error <= tolerance))
    return Ensemble(
        mean,
        spread,
        run.params,
        solutions,
        disagreement,
        error,
        *verdicts.summarize(checks),
    )


def check_precision(precision: str) -> None:
    """Check that double precision is on if it is asked for.

    Args:
        precision: "double" or "single".

    Raises:
        ValueError: if it is not.
    """
    if precision == "double" and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "natural gradient steps need double precision: call solve inside of `with "
            "jax.enable_x64(True):`, or pass precision='single' and expect errors "
            "near 1e-3."
        )


def conclude(
    examiner: verdicts.Examiner,
    first: problems.Parameters,
    coarse: problems.Parameters,
    fine: problems.Parameters,
    run: Any,
) -> Solution:
    """Return the solution that a training came to, with its verdict.

    Args:
        examiner: of the problem.
        first: parameters at the start.
        coarse: parameters after the first stage.
        fine: the last good parameters.
        run: of stages or of relays, with ``good``, ``losses`` and ``smallest``.
    """
    diverged = None if run.good else int(np.argmax(np.isnan(run.losses)))
    v = examiner.judge(first, coarse, fine, diverged)
    return Solution(
        problems.field(examiner.problem, examiner.net, fine),
        fine,
        v.residuals,
        v.change,
        v.error,
        v.smallest_weight,
        v.converged,
        v.reasons,
        jnp.asarray(run.losses),
        jnp.asarray(run.smallest),
    )


def _member(run: Run, index: int) -> Run:
    return jax.tree.map(lambda leaf: leaf[index], run)
