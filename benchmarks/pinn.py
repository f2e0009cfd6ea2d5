"""Errors and times of networks that solve differential equations, by problem."""

import argparse
import pathlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import timing
from kanjax import model, nn, pinn


class Row(NamedTuple):
    """A problem, a network's widths, and how long to train."""

    problem: pinn.Problem
    widths: tuple[int, ...]
    steps: int
    points: int
    resample_every: int = 25


ROWS = {
    "poisson": Row(pinn.library.poisson(), (2, 20, 20, 1), 300, 900),
    "heat": Row(pinn.library.heat(), (2, 20, 20, 1), 300, 900),
    "helmholtz": Row(pinn.library.helmholtz(), (2, 24, 24, 1), 400, 1500),
    "burgers": Row(pinn.library.burgers(), (2, 20, 20, 20, 1), 500, 1500, 50),
    "pendulum": Row(pinn.library.pendulum(), (1, 20, 20, 2), 300, 200),
    "lorenz": Row(pinn.library.lorenz(), (1, 20, 20, 3), 200, 100),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Solve all problems in double precision and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(argv)
    rows = list(ROWS)[:1] if options.quick else options.only or list(ROWS)
    result: dict[str, Any] = {
        "benchmark": "pinn",
        "environment": timing.environment(),
        "rows": [],
    }
    with jax.enable_x64(True):
        for name in rows:
            result["rows"].append(_solve(name, ROWS[name], options.quick))
    timing.write_json(options.out, result)


def _solve(name: str, row: Row, quick: bool) -> dict[str, Any]:
    net = nn.MLP(row.widths, jnp.tanh, kernel_scale=1.0)
    steps, points = (50, 50) if quick else (row.steps, row.points)
    start = time.perf_counter()
    solution = pinn.solve(
        row.problem,
        net,
        key=jax.random.key(0),
        steps=steps,
        points=points,
        resample_every=row.resample_every,
    )
    return {
        "name": name,
        "seed": 0,
        "parameters": model.count_parameters(solution.params),
        "steps": len(solution.losses),
        "points": points,
        "seconds_with_compilation": time.perf_counter() - start,
        "error": solution.error,
        "estimated_error": solution.change,
        "converged": solution.converged,
    }


if __name__ == "__main__":
    main()
