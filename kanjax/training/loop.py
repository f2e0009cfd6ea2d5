"""The host's side of a fit: stretch after stretch, with history and checkpoints."""

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.training import checkpoints, compiled, results
from kanjax.training import progress as reports

Watcher = Callable[[reports.Progress], Any]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A compiled program with its arguments, and how long to run it.

    Attributes:
        identity: what a checkpoint must agree on to be gone on from.
        single: whether the results lose the member axis.
        compiler_options: names and values, as for ``jax.jit``.
    """

    program: compiled.Program
    params: Any
    model_state: Any
    data: Any
    validation: Any
    key_data: Array
    examples: int
    steps: int
    evaluate_every: int
    single: bool
    checkpoint: checkpoints.Checkpoint | None
    identity: Mapping[str, Any]
    compiler_options: tuple[tuple[str, Any], ...] = ()


class Run(NamedTuple):
    """How far a fit has come; always replaced as a whole."""

    state: compiled.State
    counts: compiled.Counts  # on the host
    done: int
    evaluations: int


class Log:
    """The history while it grows, time axis first, in arrays of its final size."""

    def __init__(self, problem: Problem, like: dict[str, Any]) -> None:
        """Make room for what looks like ``like`` but for the lengths of time axes."""
        # One evaluation before the first step, one where a shorter run had ended.
        evaluations = problem.steps // problem.evaluate_every + 3
        self.steps = _room(like["steps"], problem.steps)
        self.evaluations = _room(like["evaluations"], evaluations)
        self.evaluated_at = np.zeros(evaluations, np.int32)

    def write(self, done: int, evaluations: int, arrays: dict[str, Any]) -> None:
        """Add what was measured after so many steps and evaluations."""
        for name, values in arrays["steps"].items():
            self.steps[name][done : done + len(values)] = values
        for name, values in arrays["evaluations"].items():
            self.evaluations[name][evaluations : evaluations + len(values)] = values
        at = arrays["evaluated_at"]
        self.evaluated_at[evaluations : evaluations + len(at)] = at

    def read(self, done: int, evaluations: int) -> dict[str, Any]:
        """Return what was measured up to so many steps and evaluations."""
        return {
            "steps": {name: v[:done] for name, v in self.steps.items()},
            "evaluations": {n: v[:evaluations] for n, v in self.evaluations.items()},
            "evaluated_at": self.evaluated_at[:evaluations],
        }


# The loss shares a dict with its metrics, under a name that no metric has.
_LOSS = ""


def _room(like: dict[str, Any], length: int) -> dict[str, np.ndarray]:
    return {
        name: np.zeros((length, *values.shape[1:]), values.dtype)
        for name, values in like.items()
    }


def _measured(report: compiled.Report, done: int, count: int) -> dict[str, Any]:
    scores, at = {}, np.zeros(0, np.int32)
    if report.validation_loss is not None:
        scores = {_LOSS: report.validation_loss, **report.validation_metrics}
        at = np.array([done + count], np.int32)
    return {
        "steps": {
            name: values[:count]
            for name, values in {_LOSS: report.loss, **report.metrics}.items()
        },
        "evaluations": {name: values[None] for name, values in scores.items()},
        "evaluated_at": at,
    }


def train(problem: Problem, watchers: Sequence[Watcher]) -> results.Fit:
    """Run to the end, to Ctrl-C, or until no member trains any more.

    Raises:
        CheckpointError: if the checkpoint to go on from is damaged or of another run.
        Interrupted: on Ctrl-C, once the last finished stretch is saved.
    """
    run, log = _start(problem)
    saved = run.done
    every = problem.checkpoint and problem.checkpoint.every
    save_every = every or -(-problem.steps // 10)
    try:
        while True:
            _tell(problem, run, log, watchers)
            if run.done >= problem.steps or not np.any(run.counts.training):
                break
            if run.done - saved >= save_every:
                _save(problem, run, log)
                saved = run.done
            every = problem.evaluate_every
            target = min((run.done // every + 1) * every, problem.steps)
            run = _stretch(problem, run, log, target - run.done)
    except KeyboardInterrupt as interrupt:
        raise _interrupted(problem, run, log) from interrupt
    _save(problem, run, log)
    fit = _result(problem, run, log)
    _warn(problem, fit)
    return fit


def _advance(
    problem: Problem, state: compiled.State, count: int
) -> tuple[compiled.State, compiled.Report]:
    advance = compiled.advancing(problem.compiler_options)
    state, report = advance(
        problem.program,
        state,
        problem.data,
        problem.validation,
        problem.key_data,
        np.int32(count),
    )
    return state, jax.device_get(report)


def _start(problem: Problem) -> tuple[Run, Log]:
    """Return a new run, its initial parameters evaluated, or the one in the
    checkpoint.
    """
    state = compiled.initial(
        problem.program, problem.params, problem.examples, problem.model_state
    )
    stored = problem.checkpoint
    if stored and stored.resume and checkpoints.exists(stored.path):
        return _restore(problem, stored.path, state)
    state, report = _advance(problem, state, 0)
    arrays = _measured(report, 0, 0)
    log = Log(problem, arrays)
    log.write(0, 0, arrays)
    return Run(state, report.counts, 0, len(arrays["evaluated_at"])), log


def _stretch(problem: Problem, run: Run, log: Log, count: int) -> Run:
    state, report = _advance(problem, run.state, count)
    arrays = _measured(report, run.done, count)
    # What is written beyond the run's end is not read until the new run is returned.
    log.write(run.done, run.evaluations, arrays)
    return Run(
        state,
        report.counts,
        run.done + count,
        run.evaluations + len(arrays["evaluated_at"]),
    )


def _save(problem: Problem, run: Run, log: Log) -> None:
    if problem.checkpoint is None:
        return
    history = log.read(run.done, run.evaluations)
    shapes = jax.tree.map(lambda a: {"shape": a.shape, "dtype": str(a.dtype)}, history)
    checkpoints.save(
        problem.checkpoint.path,
        {"state": run.state, "history": history},
        metadata={**problem.identity, "history": shapes},
    )


def _restore(
    problem: Problem, path: str | os.PathLike[str], state: compiled.State
) -> tuple[Run, Log]:
    shapes = checkpoints.metadata(path).get("history")
    if shapes is None:
        raise checkpoints.CheckpointError(
            f"the checkpoint {os.fspath(path)} is not one of a fit."
        )
    history = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a["shape"], jnp.dtype(a["dtype"])),
        shapes,
        is_leaf=lambda a: "dtype" in a and isinstance(a["dtype"], str),
    )
    like = {"state": state, "history": history}
    restored = checkpoints.restore(path, like, metadata=problem.identity)
    state, arrays = restored["state"], restored["history"]
    done = int(state.step)
    if done > problem.steps:
        raise checkpoints.CheckpointError(
            f"the checkpoint {os.fspath(path)} is at step {done}, beyond steps="
            f"{problem.steps}; ask for more steps."
        )
    log = Log(problem, arrays)
    log.write(0, 0, arrays)
    counts = jax.device_get(state.counts)
    return Run(state, counts, done, len(arrays["evaluated_at"])), log


def _interrupted(problem: Problem, run: Run, log: Log) -> results.Interrupted:
    where = f"training was interrupted at step {run.done} of {problem.steps}"
    if problem.checkpoint is None:
        how = "no checkpoint was asked for, so only this exception's .fit holds it."
    else:
        _save(problem, run, log)
        how = (
            "it is saved; go on with the same call and "
            f"checkpoint=Checkpoint({os.fspath(problem.checkpoint.path)!r}, "
            "resume=True)."
        )
    return results.Interrupted(f"{where}; {how}", _result(problem, run, log))


def _tell(problem: Problem, run: Run, log: Log, watchers: Sequence[Watcher]) -> None:
    if not watchers:
        return
    members = problem.program.members
    loss = np.full(members, np.nan)
    if run.done:
        # A member that trains no more shows the loss of its last update.
        last = np.maximum(np.asarray(run.counts.updates) - 1, 0)
        loss = log.steps[_LOSS][last, np.arange(members)]
    scores = None
    if run.evaluations:
        scores = log.evaluations[_LOSS][run.evaluations - 1]
    params, model_state = run.state.params, run.state.model_state
    if problem.single:
        params, model_state = compiled.first((params, model_state))
        loss, scores = jax.tree.map(lambda a: a[0], (loss, scores))
    training = int(np.sum(run.counts.training))
    event = reports.Progress(
        run.done, problem.steps, loss, scores, training, members, params, model_state
    )
    for watcher in watchers:
        watcher(event)


def _result(problem: Problem, run: Run, log: Log) -> results.Fit:
    state, arrays = run.state, log.read(run.done, run.evaluations)
    steps, scores = jax.tree.map(
        lambda a: np.moveaxis(a, 0, 1), (arrays["steps"], arrays["evaluations"])
    )
    counts: Any = run.counts
    best_step = np.where(counts.best_step >= 0, counts.best_step, counts.updates)
    params = compiled.chosen(state), (state.params, state.model_state)
    measured: Any = steps, scores, (counts.updates, best_step, *counts[1:3])
    if problem.single:
        params = compiled.first(params)
        measured = jax.tree.map(lambda a: a[0], measured)
    steps, scores, (updates, best_step, diverged, stopped) = measured
    none = np.zeros((*np.shape(updates), 0), np.float32)
    history = results.History(
        loss=steps.pop(_LOSS),
        metrics=steps,
        validation_loss=scores.pop(_LOSS, none),
        validation_metrics=scores,
        evaluated_at=arrays["evaluated_at"].copy(),
    )
    (best, best_state), (last, last_state) = params
    counted = updates, best_step, stopped, diverged
    return results.Fit(best, last, history, *counted, best_state, last_state)


def _warn(problem: Problem, fit: results.Fit) -> None:
    diverged = np.atleast_1d(fit.diverged)
    if (diverged >= 0).any():
        if problem.single:
            what = f"at step {diverged[0]}"
        else:
            stops = [f"{i} at step {d}" for i, d in enumerate(diverged) if d >= 0]
            what = f"in {len(stops)} of {len(diverged)} members: " + ", ".join(stops)
        warnings.warn(
            f"the loss became non-finite {what}. Training ended there and the last "
            "good parameters are kept; try a smaller learning rate.",
            RuntimeWarning,
            stacklevel=4,
        )
    scores = np.atleast_2d(fit.history.validation_loss)
    if scores.size and not np.isfinite(scores).any(axis=1).all():
        never = np.flatnonzero(~np.isfinite(scores).any(axis=1)).tolist()
        warnings.warn(
            f"the validation loss was never finite (members {never}); params are the "
            "last ones, not the best.",
            RuntimeWarning,
            stacklevel=4,
        )
