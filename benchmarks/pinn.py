"""Errors and times of networks that solve differential equations, by problem."""

import argparse
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax

from benchmarks import timing
from kanjax import model, pinn
from kanjax.pinn import recipes

# What is asked for: the relative error, and the minutes it may take on two cores.
TARGETS = {
    "poisson": (1e-6, 3),
    "heat": (1e-6, 3),
    "helmholtz": (1e-5, 5),
    "burgers": (1e-5, 10),
    "kovasznay": (1e-6, 5),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Solve all problems in double precision and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(argv)
    names = list(recipes.RECIPES)
    names = names[:1] if options.quick else options.only or names
    result: dict[str, Any] = {
        "benchmark": "pinn",
        "environment": timing.environment(),
        "rows": [],
    }
    with jax.enable_x64(True):
        for name in names:
            row = _solve(name, recipes.RECIPES[name], options.seed, options.quick)
            result["rows"].append(row)
    timing.write_json(options.out, result)


def _solve(name: str, recipe: recipes.Recipe, seed: int, quick: bool) -> dict[str, Any]:
    steps, points = (50, 50) if quick else (recipe.steps, recipe.points)
    start = time.perf_counter()
    solution = pinn.solve(
        recipe.problem(),
        recipe.net,
        key=jax.random.key(seed),
        steps=steps,
        points=points,
        **recipe.options,
    )
    error, minutes = TARGETS.get(name, (None, None))
    return {
        "name": name,
        "seed": seed,
        "network": _describe(recipe.net),
        "optimizer": recipe.options.get("method", "natural_gradient"),
        "parameters": model.count_parameters(solution.params),
        "steps": len(solution.losses),
        "points": points,
        "seconds_with_compilation": time.perf_counter() - start,
        "error": solution.error,
        "estimated_error": solution.change,
        "converged": solution.converged,
        "coefficients": {k: float(v) for k, v in solution.params.coefficients.items()},
        "error_asked": error,
        "minutes_asked": minutes,
    }


def _describe(net: model.Model) -> str:
    if isinstance(net, model.Sequential):
        return ", ".join(_describe(layer) for layer in net.layers)
    shape = getattr(net, "widths", None) or getattr(net, "features", "")
    return f"{type(net).__name__} {shape}".strip()


if __name__ == "__main__":
    main()
