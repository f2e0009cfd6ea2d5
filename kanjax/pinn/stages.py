"""Training in two stages, the second on twice as many points."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from kanjax import model
from kanjax.pinn import loops, optimization, problems


class Run(NamedTuple):
    """How far a training has come; of an ensemble all with a leading member axis.

    Attributes:
        first: parameters at the start.
        coarse: parameters at the end of the first stage; the first ones before.
        carry: parameters and what the optimizer knows.
        good: whether every loss so far was finite; else carry is from before.
        losses: before each step, (steps,); NaN where not trained.
        smallest: the smallest causal weight at each step, (steps,); likewise.
    """

    first: problems.Parameters
    coarse: problems.Parameters
    carry: Any
    good: Bool[Array, ""]
    losses: Float[np.ndarray, "... steps"]
    smallest: Float[np.ndarray, "... steps"]

    @property
    def params(self) -> problems.Parameters:
        """The last good parameters."""
        return self.carry[0]


class Stages(loops.Loop):
    """A training in two stages, to be run.

    Args:
        problem: the problem.
        net: its model.
        key: of all that is random; ``keys`` are of the parameters, of the points of
            both stages and of the verdict.
        steps: of the first stage; the second has a third as many.
        points: of the first stage.
        options: of :func:`kanjax.pinn.train`.
        members: of an ensemble, in whose ``keys`` they are a last axis.

    Raises:
        ValueError: as in :func:`kanjax.pinn.train`.
    """

    def __init__(
        self,
        problem: problems.Problem,
        net: model.Model,
        key: Array,
        steps: int,
        points: int,
        options: Mapping[str, Any],
        *,
        members: int | None = None,
    ) -> None:
        rest = dict(options)
        self.every = rest.pop("resample_every", 25)
        epsilons = tuple(rest.pop("epsilons", ()))
        rest |= {"resample_every": self.every, "is_causal": bool(epsilons)}
        identity = {
            "steps": steps,
            "points": points,
            "members": members,
            "key": np.asarray(jax.random.key_data(key)).tolist(),
            "options": describe(dict(sorted(options.items()))),
        }
        if members is None:
            self.keys = jax.random.split(key, 4)
        else:
            split = jax.vmap(lambda k: jax.random.split(k, 4), out_axes=1)
            self.keys = split(jax.random.split(key, members))
        optimization.plan(key, steps, self.every)
        more = third(steps, self.every)
        bounds = np.arange(0, steps + more + 1, self.every)
        super().__init__(bounds, identity, members)
        coarse = (steps, points, epsilons)
        fine = (more, 2 * points, epsilons[-1:])
        self._rounds: list[tuple[_Program, Array, Array]] = []
        for stage_keys, (length, count, causal) in zip(
            self.keys[1:3], (coarse, fine), strict=True
        ):
            program = _Program(problem, net, count, rest, members is not None)
            for_keys = functools.partial(
                optimization.plan,
                steps=length,
                resample_every=self.every,
                epsilons=causal,
            )
            if members is None:
                keys, schedule = for_keys(stage_keys)
            else:
                keys, schedule = jax.vmap(for_keys, out_axes=(1, None))(stage_keys)
            self._rounds += [
                (program, k, e) for k, e in zip(keys, schedule, strict=True)
            ]
        self._coarse_rounds = steps // self.every

    def start(self, params: problems.Parameters) -> Run:
        """Return the run before the first round.

        Args:
            params: to start from; of an ensemble with a leading member axis.
        """
        params = jax.tree.map(jnp.asarray, params)
        lead = () if self.members is None else (self.members,)
        empty = np.full((*lead, self.steps), np.nan)
        start = self._rounds[0][0].start
        return Run(params, params, start(params), jnp.ones(lead, bool), empty, empty)

    def advance(self, run: Run, done: int) -> Run:
        """Return the run after another round.

        Args:
            run: before it.
            done: rounds before it.
        """
        program, key, epsilon = self._rounds[done]
        carry, good, log = program.advance(run.carry, run.good, key, epsilon)
        losses, smallest = run.losses.copy(), run.smallest.copy()
        steps = slice(done * self.every, (done + 1) * self.every)
        losses[..., steps], smallest[..., steps] = log
        coarse = run.coarse
        if done + 1 == self._coarse_rounds:
            coarse = carry[0]
            carry = self._rounds[-1][0].start(coarse)
        return Run(run.first, coarse, carry, good, losses, smallest)


class _Program:
    """What a round's compiled program is kept for; equal if that is."""

    def __init__(
        self,
        problem: problems.Problem,
        net: model.Model,
        points: int,
        options: Mapping[str, Any],
        maps: bool,
    ) -> None:
        self.problem, self.net, self.maps = problem, net, maps
        self.options: dict[str, Any] = dict(options) | {"points": points}
        self.known = (problem, net, maps, freeze(self.options))
        self._rounds = optimization.rounds(problem, net, **self.options)

    def __hash__(self) -> int:
        return hash(self.known)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self.known == other.known

    def start(self, params: problems.Parameters) -> Any:
        of = self._rounds.start
        return jax.vmap(of)(params) if self.maps else of(params)

    def advance(self, carry: Any, good: Array, key: Array, epsilon: Array) -> Any:
        return _advance(self, carry, good, key, epsilon)

    def single(self, carry: Any, good: Array, key: Array, epsilon: Array) -> Any:
        """Take a round, unless something in it is not finite."""
        after, (losses, _, smallest) = self._rounds.advance(carry, (key, epsilon))
        finite = jnp.all(jnp.isfinite(losses))
        for leaf in jax.tree.leaves(after[0]):
            finite &= jnp.all(jnp.isfinite(leaf))
        good = good & finite
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), after, carry)
        log = (jnp.where(good, values, jnp.nan) for values in (losses, smallest))
        return kept, good, tuple(log)


@functools.partial(jax.jit, static_argnames="program")
def _advance(
    program: _Program, carry: Any, good: Array, key: Array, epsilon: Array
) -> Any:
    if program.maps and program.options.get("method") == "broyden":
        # One member after the other: their line searches are of different lengths, and
        # side by side all would take each step of the longest, ten times as much.
        return jax.lax.map(
            lambda each: program.single(each[0], each[1], each[2], epsilon),
            (carry, good, key),
        )
    if program.maps:
        return jax.vmap(program.single, (0, 0, 0, None))(carry, good, key, epsilon)
    return program.single(carry, good, key, epsilon)


def freeze(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return options of training as what can be hashed, if its values can.

    Args:
        options: by name.
    """
    pairs = (
        (k, tuple(sorted(v.items())) if isinstance(v, Mapping) else v)
        for k, v in options.items()
    )
    return tuple(sorted(pairs))


def third(steps: int, every: int) -> int:
    """Return how many steps the second stage has: about a third as many.

    Args:
        steps: of the first stage.
        every: of a round.
    """
    return max(1, round(steps / 3 / every)) * every


def describe(value: Any) -> Any:
    """Return an option of training as JSON has it: a function by its name.

    Args:
        value: an option, or several by name.
    """
    if isinstance(value, Mapping):
        return {k: describe(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)) and not hasattr(value, "update"):
        return [describe(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__name__", type(value).__name__)
