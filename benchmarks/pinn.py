"""Errors and times of networks that solve differential equations, by problem."""

import argparse
import functools
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from kanjax import kan, model, nn, pinn
from kanjax.pinn import flows, recipes, samplers, windows

# What is asked for: the relative error, and the minutes it may take on two cores.
TARGETS = {
    "poisson": (1e-6, 3),
    "heat": (1e-6, 3),
    "helmholtz": (1e-5, 5),
    "burgers": (1e-5, 10),
    "kovasznay": (1e-6, 5),
    "advection_30": (1e-3, 5),
    "advection_50": (1e-3, 5),
    "lorenz_20": (1e-2, 5),
    "l_shape_feature": (1e-4, None),
    "allen_cahn": (1e-4, 15),
    "cavity_3200": (5e-2, 15),
    "korteweg_de_vries": (1e-3, 15),
    "kuramoto_sivashinsky": (1e-3, 15),
}
CHECK_POINTS = 4000
# Of the cavity: Reynolds numbers of its steps, and the pseudo-time of the last ones.
LADDER = (*(100,) * 3, *(400,) * 3, *(1000,) * 3, *(3200,) * 20)
PSEUDO_TIME, DEGREE, LADDER_POINTS = 2.0, 28, 2600


def main(argv: Sequence[str] | None = None) -> None:
    """Solve all problems in double precision and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(argv)
    names = [*recipes.RECIPES, *recipes.WINDOW_RECIPES, "cavity_3200"]
    names = names[:1] if options.quick else options.only or names
    result = {"benchmark": "pinn", "environment": timing.environment()}
    kept = []
    if options.only and options.out.exists():
        # Other rows of the file stay as they are.
        kept = json.loads(options.out.read_text())["rows"]
    with jax.enable_x64(True):
        for name in names:
            kept = [row for row in kept if row["name"] != name]
            if name == "cavity_3200":
                row = _climb(name, options.seed)
            elif name in recipes.WINDOW_RECIPES:
                row = _solve_windows(name, recipes.WINDOW_RECIPES[name], options.seed)
            else:
                row = _solve(name, recipes.RECIPES[name], options.seed, options.quick)
            kept.append(row)
            # After each row: all of them take an hour.
            timing.write_json(options.out, result | {"rows": kept})


def _solve(name: str, recipe: recipes.Recipe, seed: int, quick: bool) -> dict[str, Any]:
    steps, points = (50, 50) if quick else (recipe.steps, recipe.points)
    start, start_processor = time.perf_counter(), time.process_time()
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
        "processor_seconds": time.process_time() - start_processor,
        "error": solution.error,
        "estimated_error": solution.change,
        "converged": solution.converged,
        "coefficients": {k: float(v) for k, v in solution.params.coefficients.items()},
        "error_asked": error,
        "minutes_asked": minutes,
    }


def _solve_windows(
    name: str, recipe: recipes.WindowRecipe, seed: int
) -> dict[str, Any]:
    cut = recipe.windows()
    solve = functools.partial(
        windows.solve_windows,
        cut,
        recipe.net,
        count=recipe.count,
        steps=recipe.steps,
        points=recipe.points,
        **recipe.options,
    )
    inside = cut.problem(cut.start).domain
    draws = samplers.sobol(inside, CHECK_POINTS, key=jax.random.key(seed + 1))
    z = draws.at[:, 0].multiply(recipe.count)

    @jax.jit
    def run(key: jax.Array) -> Any:
        relay = solve(key=key)
        return relay.params, relay.losses[:, -1], jax.vmap(relay.field)(z)

    start, start_processor = time.perf_counter(), time.process_time()
    params, losses, values = jax.block_until_ready(run(jax.random.key(seed)))
    seconds = time.perf_counter() - start
    processor_seconds = time.process_time() - start_processor
    known = cut.reference(z) if cut.reference else values
    error, minutes = TARGETS.get(name, (None, None))
    return {
        "name": name,
        "seed": seed,
        "network": _describe(recipe.net),
        "optimizer": recipe.options.get("method", "natural_gradient"),
        "windows": recipe.count,
        "parameters": model.count_parameters(params) // recipe.count,
        "steps": recipe.count * recipe.steps,
        "points": recipe.points,
        "seconds_with_compilation": seconds,
        "processor_seconds": processor_seconds,
        "error": float(jnp.linalg.norm(values - known) / jnp.linalg.norm(known)),
        "largest_loss": float(jnp.max(losses)),
        "error_asked": error,
        "minutes_asked": minutes,
    }


def _climb(name: str, seed: int) -> dict[str, Any]:
    """Solve the cavity by way of smaller Reynolds numbers, in one program."""
    net = pinn.PolynomialProducts((0.0, 0.0), (1.0, 1.0), (DEGREE, DEGREE), 2)
    problem = flows.lid_driven_cavity(LADDER[-1], cells=128, stream=True)
    assert problem.reference is not None
    z = samplers.sobol(problem.domain, CHECK_POINTS, key=jax.random.key(seed + 1))
    known = problem.reference(z)
    options = recipes.RECIPES["cavity"].options
    options = {**options, "resample_every": 1, "damping": 1e-12}

    def fit(params: Any, reynolds: jax.Array, key: jax.Array) -> Any:
        trained = pinn.train(
            flows.lid_driven_cavity(reynolds, stream=True),
            net,
            params,
            key=key,
            steps=1,
            points=LADDER_POINTS,
            condition_points=LADDER_POINTS // 5,
            # Flows on the way need not pass through time.
            pseudo_time={
                "momentum": jnp.where(reynolds < LADDER[-1], 1e6, PSEUDO_TIME)
            },
            **options,
        )
        return trained.params, trained.losses

    @jax.jit
    def run(key: jax.Array, z: jax.Array) -> Any:
        first, key = jax.random.split(key)
        # From rest.
        start = jax.tree.map(jnp.zeros_like, pinn.initialize(problem, net, key=first))
        params, losses = pinn.curriculum.curriculum(fit, start, LADDER, key=key)
        return jax.vmap(pinn.field(problem, net, params))(z), losses

    start, start_processor = time.perf_counter(), time.process_time()
    values, losses = jax.block_until_ready(run(jax.random.key(seed), z))
    seconds = time.perf_counter() - start

    def error(outputs: slice) -> float:
        gap = values[:, outputs] - known[:, outputs]
        return float(jnp.linalg.norm(gap) / jnp.linalg.norm(known[:, outputs]))

    asked, minutes = TARGETS[name]
    return {
        "name": name,
        "seed": seed,
        "network": f"PolynomialProducts of degree {DEGREE}",
        "optimizer": "natural_gradient",
        "reynolds": LADDER,
        "pseudo_time": PSEUDO_TIME,
        "parameters": 2 * (DEGREE + 1) ** 2,
        "steps": len(LADDER),
        "points": LADDER_POINTS,
        "seconds_with_compilation": seconds,
        "processor_seconds": time.process_time() - start_processor,
        "error": error(slice(2)),
        "error_of_the_pressure": error(slice(2, 3)),
        "losses": losses[:, -1].tolist(),
        "error_asked": asked,
        "minutes_asked": minutes,
    }


def _describe(net: model.Model) -> str:
    if isinstance(net, model.Sequential):
        return ", ".join(_describe(layer) for layer in net.layers)
    if isinstance(net, nn.Separable):
        return f"{_describe(net.first)} times {_describe(net.rest)}"
    if isinstance(net, kan.KANLayer):
        shape = (net.in_features, net.out_features)
        return f"KANLayer {shape}, {type(net.basis).__name__} {net.basis.size}"
    shape = getattr(net, "widths", None) or getattr(net, "features", "")
    return f"{type(net).__name__} {shape}".strip()


if __name__ == "__main__":
    main()
