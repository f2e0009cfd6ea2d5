"""Solve a problem of the library by its recipe, and write what came of it."""

import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import files, model, versions
from kanjax.pinn import domains, problems, recipes, solving

METRICS = "metrics.json"
SIDE, LENGTH = 101, 401


def solve(
    name: str,
    out: pathlib.Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    points: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Solve a problem in double precision and write solution, metrics and figures.

    ``solution.npz`` has the coordinates, and on their grid the field "values" (outputs,
    ...), the "reference" and the size of the "residual" (...), besides "losses". Of
    more than two coordinates the others stay in the middle of the domain.

    Args:
        name: of :data:`kanjax.pinn.recipes.RECIPES`.
        out: the folder.
        seed: of everything random.
        steps: instead of the recipe's.
        points: instead of the recipe's.
        overwrite: whether to replace the solution in the folder.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ValueError: for an unknown name, or a folder that cannot be written or is not
            empty.
    """
    recipe = find(name)
    _check_folder(out, overwrite)
    steps, points = steps or recipe.steps, points or recipe.points
    with jax.enable_x64(True):
        problem = recipe.problem()
        start = time.perf_counter()
        solution = solving.solve(
            problem,
            recipe.net,
            key=jax.random.key(seed),
            steps=steps,
            points=points,
            **recipe.options,
        )
        seconds = time.perf_counter() - start
        arrays = _on_grid(problem, recipe, solution)
    metrics = {
        "problem": name,
        "about": recipe.about,
        "converged": solution.converged,
        "reasons": solution.reasons,
        "error": solution.error,
        "estimated_error": solution.change,
        "residuals": solution.residuals,
        "smallest_causal_weight": solution.smallest_weight,
        "coefficients": dict(solution.params.coefficients),
        "seed": seed,
        "parameters": model.count_parameters(solution.params),
        "steps": len(solution.losses),
        "points": points,
        "options": dict(recipe.options),
        "precision": "double",
        "seconds_with_compilation": seconds,
        "versions": versions.installed(),
    }
    out.mkdir(parents=True, exist_ok=True)
    with files.replacing(out / "solution.npz") as file:
        np.savez_compressed(file, **arrays)
    _draw(out, name, recipe, arrays, first_stage=steps)
    # Last: it says that the rest is there.
    files.write_json(out / METRICS, metrics)
    return metrics


def find(name: str) -> recipes.Recipe:
    """Return the recipe of a problem.

    Args:
        name: of it.

    Raises:
        ValueError: if there is none.
    """
    if name not in recipes.RECIPES:
        known = ", ".join(sorted(recipes.RECIPES))
        raise ValueError(f"there is no problem {name!r}; there are {known}.")
    return recipes.RECIPES[name]


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
        lines.append(f"  coefficient {name} = {float(value):.8g}")
    lines.append(
        f"  {metrics['seconds_with_compilation']:.0f} s, seed {metrics['seed']}"
    )
    return "\n".join(lines)


def _on_grid(
    problem: problems.Problem, recipe: recipes.Recipe, solution: solving.Solution
) -> dict[str, Any]:
    """Return coordinates, and values, references and residuals at their grid."""
    lower, upper = _bounds(problem.domain)
    shown = min(2, len(lower))
    count = LENGTH if shown == 1 else SIDE
    axes = [np.linspace(lower[i], upper[i], count) for i in range(shown)]
    middle = [np.array([(a + b) / 2]) for a, b in zip(lower, upper, strict=True)]
    mesh = np.meshgrid(*axes, *middle[shown:], indexing="ij")
    z = jnp.asarray(np.stack([c.ravel() for c in mesh], axis=1))
    shape = (count,) * shown
    inside = jax.vmap(problem.domain.distance)(z) <= 1e-12

    def on_grid(values: Array) -> np.ndarray:
        rows = jnp.where(inside[:, None], values.reshape(len(z), -1), jnp.nan)
        return np.asarray(rows.T.reshape(-1, *shape))

    residuals = problems.residuals(problem, recipe.net)
    equations = [r for k, r in residuals.items() if k not in problem.conditions]

    def size(point: Array) -> Array:
        each = [jnp.ravel(r(solution.params, point)) for r in equations]
        return jnp.linalg.norm(jnp.concatenate(each))

    names = zip(recipe.coordinates, axes, strict=False)
    arrays: dict[str, Any] = {f"coordinate_{name}": axis for name, axis in names}
    arrays["values"] = on_grid(jax.jit(jax.vmap(solution.field))(z))
    arrays["residual"] = on_grid(jax.jit(jax.vmap(size))(z))[0]
    if problem.reference is not None:
        arrays["reference"] = on_grid(problem.reference(z))
    arrays["losses"] = np.asarray(solution.losses)
    return arrays


def _bounds(domain: domains.Domain) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the least and the largest coordinates."""
    if isinstance(domain, domains.TimeSpace):
        lower, upper = _bounds(domain.space)
        return (domain.start, *lower), (domain.end, *upper)
    if isinstance(domain, domains.Box):
        return domain.lower, domain.upper
    raise TypeError(f"recipes have boxes, with or without time; got {domain!r}.")


def _draw(
    out: pathlib.Path,
    name: str,
    recipe: recipes.Recipe,
    arrays: dict[str, Any],
    first_stage: int,
) -> None:
    from kanjax import plotting

    values, outputs = arrays["values"], recipe.outputs
    known = arrays.get("reference")
    axes = [arrays[f"coordinate_{c}"] for c in recipe.coordinates[: values.ndim - 1]]
    fields = dict(zip(outputs, values, strict=True))
    errors = {}
    if known is not None:
        errors = {
            f"|{output} - reference|": np.abs(v - r)
            for output, v, r in zip(outputs, values, known, strict=True)
        }
    size = {"size of the residual": arrays["residual"]}
    if len(axes) == 1:
        draw = functools.partial(
            plotting.field_curves, axes[0], xlabel=recipe.coordinates[0]
        )
        references = None if known is None else dict(zip(outputs, known, strict=True))
        figures = {"solution": draw(fields, references)}
    else:
        draw = functools.partial(
            plotting.field_maps,
            axes[0],
            axes[1],
            xlabel=recipe.coordinates[0],
            ylabel=recipe.coordinates[1],
        )
        figures = {"solution": draw(fields)}
    figures["residual"] = draw(size, log=True)
    if errors:
        figures["error"] = draw(errors, log=True)
    stages = {"twice the points": first_stage}
    figures["training"] = plotting.descent(
        arrays["losses"], stages=stages, ylabel=f"loss of {name}"
    )
    for title, figure in figures.items():
        figure.savefig(out / f"{title}.png", dpi=150, bbox_inches="tight")


def _check_folder(out: pathlib.Path, overwrite: bool) -> None:
    if reason := files.why_not_writable(out):
        raise ValueError(f"{out} cannot be written: {reason}.")
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file; name a folder for the solution.")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise ValueError(
            f"the folder {out} is not empty; choose another, or pass --overwrite."
        )
    if not (out / METRICS).exists():
        raise ValueError(
            f"the folder {out} holds something that is not a solution; --overwrite "
            "replaces solutions only."
        )
