"""Solve a problem of the library by its recipe, and write what came of it."""

import dataclasses
import json
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from kanjax import files, model, training, versions
from kanjax.pinn import recipes, relays, solving, stages
from kanjax.solutions import grids, report

CONFIG, METRICS, CHECKPOINT = "config.json", "metrics.json", "checkpoint"
TRAINING_SHARE = 0.9
Report = Callable[[str, float], Any]
"""``report(what, share)``."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to solve, and how.

    Args:
        problem: of :data:`kanjax.pinn.recipes.RECIPES` or ``WINDOW_RECIPES``.
        seed: of everything random.
        steps: of training, in windows of time of each; the recipe's if None.
        points: inside of the domain, or of each window; the recipe's if None.
        members: of an ensemble; 1 is a single network, as windows of time have it.

    Raises:
        ValueError: for an unknown problem, a count that is not positive, or an ensemble
            in windows of time.
    """

    problem: str
    seed: int = 0
    steps: int | None = None
    points: int | None = None
    members: int = 1

    def __post_init__(self) -> None:
        recipe = find(self.problem)
        for name in ("steps", "points"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(recipe, name))
        for name in ("steps", "points", "members"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be positive; got {getattr(self, name)!r}."
                )
        if isinstance(recipe, recipes.WindowRecipe) and self.members > 1:
            raise ValueError(
                f"{self.problem} is solved in windows of time, by one network each; "
                f"got members={self.members}. Leave it out."
            )


def solve(
    config: Config,
    out: pathlib.Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Solve a problem in double precision and write solution, report and figures.

    ``solution.npz`` has the coordinates, and on their grid the field "values" (outputs,
    ...), the "reference", of an ensemble the "spread", and the size of the "residual"
    (...), besides "losses". The training's checkpoint lies in the folder from its first
    tenth on.

    Args:
        config: what to solve.
        out: the folder.
        overwrite: whether to replace the solution in the folder.
        resume: whether to go on with the one in the folder, bit for bit.
        progress: told what is done, and which share of all.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ValueError: for a folder that cannot be written or is not empty, or that is of
            another config.
    """
    tell = progress or (lambda what, share: None)
    _open_folder(out, config, overwrite, resume)
    recipe = find(config.problem)
    tell("compiling the training", 0.0)

    def show(event: training.Progress) -> None:
        steps = f"step {event.step}/{event.steps}"
        tell(
            f"training: {steps}, {training.describe(event)}",
            TRAINING_SHARE * event.step / event.steps,
        )

    checkpoint = training.Checkpoint(
        out / CHECKPOINT, config=dataclasses.asdict(config), resume=resume
    )
    options: dict[str, Any] = {
        "key": jax.random.key(config.seed),
        "steps": config.steps,
        "points": config.points,
        "checkpoint": checkpoint,
        "callback": show,
        **recipe.options,
    }
    with jax.enable_x64(True):
        start = time.perf_counter()
        if isinstance(recipe, recipes.WindowRecipe):
            windows = recipe.windows()
            problem = relays.join(windows, recipe.count)
            solution = relays.solve_relay(
                windows, recipe.net, count=recipe.count, **options
            )
        elif config.members > 1:
            problem = recipe.problem()
            solution = solving.solve_ensemble(
                problem, recipe.net, members=config.members, **options
            )
        else:
            problem = recipe.problem()
            solution = solving.solve(problem, recipe.net, **options)
        seconds = time.perf_counter() - start
        tell("evaluating the solution", TRAINING_SHARE)
        arrays = grids.evaluate(problem, recipe, solution)
    metrics = _metrics(config, recipe, solution, seconds)
    with files.replacing(out / "solution.npz") as file:
        np.savez_compressed(file, **arrays)
    tell("drawing the figures", 0.95)
    report.write(out, recipe, arrays, metrics)
    # Last: it says that the rest is there.
    files.write_json(out / METRICS, metrics)
    tell("done", 1.0)
    return metrics


def find(name: str) -> recipes.AnyRecipe:
    """Return the recipe of a problem.

    Args:
        name: of it.

    Raises:
        ValueError: if there is none.
    """
    known = {**recipes.RECIPES, **recipes.WINDOW_RECIPES}
    if name not in known:
        names = ", ".join(sorted(known))
        raise ValueError(f"there is no problem {name!r}; there are {names}.")
    return known[name]


def read_config(out: pathlib.Path) -> Config:
    """Return the config of a solution's folder.

    Args:
        out: the folder.

    Raises:
        ValueError: if it is no such folder, or its config is damaged.
    """
    path = out / CONFIG
    if not path.exists():
        raise ValueError(f"nothing to resume in {out}: it holds no {CONFIG}.")
    try:
        return Config(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def verdict(metrics: dict[str, Any]) -> str:
    """Say in lines whether a solution is to be trusted, and why.

    Args:
        metrics: of :func:`solve`.
    """
    trusted = metrics["converged"]
    head = "converged" if trusted else "NOT converged: do not trust this solution"
    lines = [f"{metrics['problem']}: {head}"]
    lines += [f"  {reason}" for reason in metrics["reasons"]]
    for name, value in metrics["coefficients"].items():
        lines.append(f"  coefficient {name} = {float(np.mean(value)):.8g}")
        if metrics["members"] > 1:
            lines[-1] += f" +- {float(np.std(value)):.1e}"
    lines.append(
        f"  {metrics['seconds_with_compilation']:.0f} s, seed {metrics['seed']}"
    )
    return "\n".join(lines)


def _metrics(
    config: Config,
    recipe: recipes.AnyRecipe,
    solution: solving.Solution | solving.Ensemble,
    seconds: float,
) -> dict[str, Any]:
    is_ensemble = isinstance(solution, solving.Ensemble)
    each = solution.members if is_ensemble else (solution,)
    names = each[0].residuals
    windows = recipe.count if isinstance(recipe, recipes.WindowRecipe) else 1
    metrics = {
        "problem": config.problem,
        "about": recipe.about,
        "network": repr(recipe.net),
        "converged": solution.converged,
        "reasons": solution.reasons,
        "error": solution.error,
        "estimated_error": max(s.change for s in each),
        "residuals": {k: max(s.residuals[k] for s in each) for k in names},
        "smallest_causal_weight": min(s.smallest_weight for s in each),
        "coefficients": dict(solution.params.coefficients),
        "seed": config.seed,
        "members": config.members,
        "windows": windows,
        "parameters": model.count_parameters(each[0].params) // windows,
        "first_steps": windows * (config.steps or recipe.steps),
        "steps": len(each[0].losses),
        "points": config.points,
        "options": stages.describe(recipe.options),
        "precision": "double",
        "seconds_with_compilation": seconds,
        "versions": versions.installed(),
    }
    if is_ensemble:
        metrics["disagreement"] = solution.disagreement
        metrics["member_reasons"] = [s.reasons for s in each]
        metrics["member_errors"] = [s.error for s in each]
    return metrics


def _open_folder(
    out: pathlib.Path, config: Config, overwrite: bool, resume: bool
) -> None:
    if reason := files.why_not_writable(out):
        raise ValueError(f"{out} cannot be written: {reason}.")
    if resume:
        stored = read_config(out)
        if stored != config:
            raise ValueError(
                f"{out} holds a solution of another config, {stored}; resume with the "
                "same, or start anew with --overwrite."
            )
        return
    if out.exists():
        _check_old(out, overwrite)
        # The config goes last: without it the rest would be nothing to replace.
        for path in out.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != CONFIG:
                path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(out / CONFIG, dataclasses.asdict(config))


def _check_old(out: pathlib.Path, overwrite: bool) -> None:
    if not out.is_dir():
        raise ValueError(f"{out} is a file; name a folder for the solution.")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise ValueError(
            f"the folder {out} is not empty; choose another, or pass --overwrite to "
            "replace it or --resume to go on with it."
        )
    if not (out / CONFIG).exists() and not (out / METRICS).exists():
        raise ValueError(
            f"the folder {out} holds something that is not a solution; --overwrite "
            "replaces solutions only."
        )
