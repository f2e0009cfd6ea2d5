"""Solve an equation in windows of time, and judge what came of it.

Once through all windows, then once more with a third as many steps on twice as many
points, each window from where the finer one before it ended: what the two differ by at
the end has grown as errors do. Every window is one round of the host's loop.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from kanjax import model, training
from kanjax.pinn import domains, loops, optimization, problems, stages, verdicts
from kanjax.pinn.solving import Solution, check_precision, conclude
from kanjax.pinn.windows import Windows, evaluate


@dataclasses.dataclass(frozen=True)
class Team:
    """The networks of all windows as one model of all times.

    Its parameters are what each window starts from and its network, with a leading
    axis (windows,).

    Args:
        windows: the equation.
        net: the model of one window.
        count: of windows.
    """

    windows: Windows
    net: model.Model
    count: int

    def init(self, key: Array) -> Any:
        """Return the same parameters for each window, and the first start."""
        start = jax.tree.map(lambda v: jnp.asarray(v, float), self.windows.start)
        drawn = problems.initialize(self.windows.problem(start), self.net, key=key)
        return jax.tree.map(
            lambda leaf: jnp.repeat(leaf[None], self.count, axis=0), (start, drawn)
        )

    def apply(self, params: Any, x: Array, *, key: Array | None = None) -> Array:
        """Return the solution at a point x (coordinates,): (outputs,)."""
        starts, networks = params
        return jnp.atleast_1d(evaluate(self.windows, self.net, starts, networks, x))


def join(windows: Windows, count: int) -> problems.Problem:
    """Return the problem of all windows, whose network is a :class:`Team`.

    Args:
        windows: the equation.
        count: how many.
    """
    problem = windows.problem(windows.start)
    end, domain = count * windows.duration, problem.domain
    if isinstance(domain, domains.TimeSpace):
        domain = domains.TimeSpace(0.0, end, domain.space)
    else:
        domain = domains.interval(0.0, end)
    return dataclasses.replace(
        problem,
        domain=domain,
        # The windows' own constraints are in the networks.
        constrain=lambda net: net,
        reference=windows.reference,
    )


def solve_relay(
    windows: Windows,
    net: model.Model,
    *,
    count: int,
    key: Array,
    steps: int,
    points: int,
    tolerance: float = 1e-3,
    precision: Literal["double", "single"] = "double",
    checkpoint: training.Checkpoint | None = None,
    callback: Callable[[training.Progress], None] | None = None,
    **options: Any,
) -> Solution:
    """Solve an equation in windows, and say whether the solution is to be trusted.

    The verdict is that of :func:`kanjax.pinn.solve`; its ``change`` is what a second,
    finer run through all windows changed. :func:`kanjax.pinn.windows.solve_windows` is
    the bare training, to be jitted.

    Args:
        windows: the equation.
        net: a model from its coordinates to its outputs; all windows have one of it.
        count: how many windows.
        key: of the parameters and the points.
        steps: of training in each window; a multiple of 25 unless resample_every says
            so.
        points: inside of each window.
        tolerance: of the checks.
        precision: as in :func:`kanjax.pinn.solve`.
        checkpoint: where to store the training, and whether to go on from there, bit
            for bit; also on Ctrl-C.
        callback: called after each window.
        options: of :func:`kanjax.pinn.train`.

    Raises:
        ValueError: if double precision is not on, or as in :func:`kanjax.pinn.train`.
        CheckpointError: if the checkpoint is of another training.
        FloatingPointError: if a residual or the reference is not finite.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn
        >>> from kanjax.pinn import windows
        >>> turn = lambda s: jnp.stack([s[1], -s[0]])
        >>> cut = windows.ordinary_windows(turn, (1.0, 0.0), 1.0)
        >>> net = nn.MLP((1, 8, 2), jnp.tanh, kernel_scale=1.0)
        >>> with jax.enable_x64(True):
        ...     solution = solve_relay(
        ...         cut, net, count=3, key=jax.random.key(0), steps=50, points=30
        ...     )
        >>> solution.converged, solution.error < 1e-4
        (True, True)
    """
    check_precision(precision)
    team, problem = Team(windows, net, count), join(windows, count)
    relay = Relays(team, key, steps, points, options)
    first = problems.initialize(problem, team, key=relay.keys[0])
    examiner = verdicts.Examiner(problem, team, relay.keys[3], tolerance, options)
    run = relay.train(first.network, checkpoint=checkpoint, callback=callback)
    coarse, fine = (problems.Parameters(p, {}) for p in (run.coarse, run.fine))
    return conclude(examiner, first, coarse, fine, run)


class Run(NamedTuple):
    """How far a training has come.

    Attributes:
        start: what the next window starts from.
        coarse: the team's parameters after the first run, or as far as it has come.
        fine: after the second; where that has not been, those of the first.
        good: whether every loss so far was finite.
        losses: before each step, (steps,); NaN where not trained.
        smallest: the smallest causal weight at each step, (steps,); likewise.
    """

    start: Any
    coarse: Any
    fine: Any
    good: Bool[Array, ""]
    losses: Float[np.ndarray, " steps"]
    smallest: Float[np.ndarray, " steps"]

    @property
    def params(self) -> Any:
        """The last good parameters."""
        return self.fine


class Relays(loops.Loop):
    """Two runs through all windows.

    Args:
        team: the windows and their networks.
        key: of all that is random; ``keys`` are of the parameters, of the points of
            both runs and of the verdict.
        steps: of a window in the first run; the second has a third as many.
        points: of a window in the first run.
        options: of :func:`kanjax.pinn.train`.
    """

    def __init__(
        self,
        team: Team,
        key: Array,
        steps: int,
        points: int,
        options: Mapping[str, Any],
    ) -> None:
        self.team, self.keys = team, jax.random.split(key, 4)
        every = options.get("resample_every", 25)
        optimization.plan(key, steps, every)
        more = stages.third(steps, every)
        lengths = np.repeat([steps, more], team.count)
        identity = {
            "windows": team.count,
            "steps": steps,
            "points": points,
            "key": np.asarray(jax.random.key_data(key)).tolist(),
            "options": stages.describe(dict(sorted(options.items()))),
        }
        super().__init__(np.append(0, np.cumsum(lengths)), identity)
        self._programs = tuple(
            _Program(team, stages.freeze(each), each)
            for each in (
                {**options, "steps": steps, "points": points},
                {**options, "steps": more, "points": 2 * points},
            )
        )

    def start(self, params: Any) -> Run:
        """Return the run before the first window.

        Args:
            params: of the team.
        """
        params = jax.tree.map(jnp.asarray, params)
        first = jax.tree.map(lambda leaf: leaf[0], params[0])
        empty = np.full(self.steps, np.nan)
        return Run(first, params, params, jnp.ones((), bool), empty, empty)

    def advance(self, run: Run, done: int) -> Run:
        """Return the run after another window.

        Args:
            run: before it.
            done: windows before it, of both runs.
        """
        stage, window = divmod(done, self.team.count)
        params = run.fine
        # The network of the same window, or in the first run of the one before.
        origin = window if stage else max(window - 1, 0)
        network = jax.tree.map(lambda leaf: leaf[origin], params[1])
        start = run.start
        if window == 0:
            start = jax.tree.map(lambda leaf: leaf[0], params[0])
        key = jax.random.fold_in(self.keys[1 + stage], window)
        end, network, good, log = _advance(self._programs[stage], start, network, key)
        if not good:
            return run._replace(good=good)
        losses, smallest = run.losses.copy(), run.smallest.copy()
        steps = slice(self.bounds[done], self.bounds[done + 1])
        losses[steps], smallest[steps] = log
        params = jax.tree.map(
            lambda rows, row: rows.at[window].set(row), params, (start, network)
        )
        coarse = run.coarse if stage else params
        return Run(end, coarse, params, good, losses, smallest)


@dataclasses.dataclass(frozen=True)
class _Program:
    """What a window's compiled program is kept for; equal if that is."""

    team: Team
    known: tuple[tuple[str, Any], ...]
    options: Mapping[str, Any] = dataclasses.field(compare=False)


@functools.partial(jax.jit, static_argnames="program")
def _advance(program: _Program, start: Any, network: Any, key: Array) -> Any:
    """Train in a window; say whether all in it is finite."""
    team = program.team
    problem = team.windows.problem(start)
    trained = optimization.train(problem, team.net, network, key=key, **program.options)
    end = team.windows.end(problems.field(problem, team.net, trained.params))
    checked = jax.tree.leaves((end, trained.params, trained.losses))
    good = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in checked]))
    return end, trained.params, good, (trained.losses, trained.smallest)
