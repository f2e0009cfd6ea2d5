"""Burgers' equation beside jinns and DeepXDE: steps of training, and time to a goal.

All have the start and the walls by construction. A step is one of Adam on the mean
squared residual, in single precision; solutions are in double precision, each by what
its package has for it, until the relative error is below the goal.
"""

import argparse
import contextlib
import json
import pathlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from benchmarks.peers import client
from kanjax import nn, pinn
from kanjax.pinn import library, losses, recipes, samplers

WIDTHS, POINTS = (2, 128, 128, 128, 128, 1), 1024
ROUNDS, SECONDS = 12, 0.5
SMALL, GOAL, CHECK_POINTS = (2, 20, 20, 20, 1), 1e-4, 4000
# A power of 2, as jinns asks for with Sobol points.
SOLVE_POINTS, STEPS = 2048, 20000
# How long peers may take, in times of kanjax' seconds.
PATIENCE = 2.5
VISCOSITY = 0.01 / np.pi
SCRIPTS = {
    "jinns": "jinns_burgers",
    "deepxde_torch": "deepxde_burgers",
    "deepxde_jax": "deepxde_burgers",
}
MEMBERS = 8
# By their names, with how many steps to time.
MEMBER_METHODS = {
    "broyden": ("broyden", 25),
    "natural_gradient": ("natural_gradient", 2),
    "adam": (optax.adam(1e-3), 25),
}
PARTS = ("step", "solve", "ensemble")


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help=f"a Python that has the peer: {', '.join(SCRIPTS)}",
    )
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(argv)
    result: dict[str, Any] = {
        "benchmark": "burgers",
        "environment": timing.environment(),
    }
    if set(options.parts) < set(PARTS) and options.out.exists():
        # The other part of the file stays as it is.
        result = json.loads(options.out.read_text(encoding="utf-8")) | result
    with contextlib.ExitStack() as stack:
        peers: dict[str, client.Peer] = {}
        for item in options.peer:
            name, _, python = item.partition("=")
            if name not in SCRIPTS or not python:
                parser.error(f"--peer takes NAME=PYTHON of {list(SCRIPTS)}; got {item}")
            peers[name] = stack.enter_context(client.start(SCRIPTS[name], python))
        entries = {name: peer.entry for name, peer in peers.items()}
        result["peers"] = result.get("peers", {}) | entries
        there = {name: peer for name, peer in peers.items() if not peer.absent}
        if "step" in options.parts:
            result["step"] = _steps(there, options.quick)
            timing.write_json(options.out, result)
        if "solve" in options.parts:
            result["solve"] = _solutions(there, options.quick)
            timing.write_json(options.out, result)
        if "ensemble" in options.parts:
            result["ensemble"] = _ensemble(options.quick)
    timing.write_json(options.out, result)


def _steps(peers: Mapping[str, client.Peer], quick: bool) -> dict[str, Any]:
    widths, points = ((2, 4, 1), 8) if quick else (WIDTHS, POINTS)
    problem = library.burgers(VISCOSITY)
    net = nn.MLP(widths, jnp.tanh, kernel_scale=1.0)
    residuals = pinn.residuals(problem, net)
    params = pinn.initialize(problem, net, key=jax.random.key(0))
    z = {"residual": samplers.sobol(problem.domain, points, key=jax.random.key(1))}
    optimizer = optax.adam(1e-3)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        slope = jax.grad(lambda p: losses.loss(residuals, p, z))(params)
        moves, state = optimizer.update(slope, state, params)
        return optax.apply_updates(params, moves), state

    @jax.jit
    def products(params: Any) -> list[Any]:
        """What any way has to multiply: four rows a point through hidden layers."""
        values, results = jnp.ones((4 * points, widths[1])), []
        for layer in params.network[1:-1]:
            after = values @ layer["kernel"]
            results += [after @ layer["kernel"].T, values.T @ after]
            values = after
        return [*results, values]

    start = params, optimizer.init(params)
    request = {
        "task": "step",
        "widths": list(widths),
        "points": points,
        "viscosity": VISCOSITY,
    }
    seconds = 0.0 if quick else SECONDS
    for peer in peers.values():
        peer.ask(seconds=None, **request)
    mine = {
        "kanjax": lambda: jax.block_until_ready(step(*start)),
        "matrix_products": lambda: jax.block_until_ready(products(params)),
    }
    blocks: dict[str, Any] = {}
    for name, run in mine.items():
        run()
        blocks[name] = lambda run=run: timing.block(run, seconds)
    for name, peer in peers.items():
        blocks[name] = lambda p=peer: p.ask(seconds=seconds, **request)["durations"]
    times = timing.interleave(blocks, 1 if quick else ROUNDS)
    ratios = {
        name: {
            kind: round(each[kind] / times["kanjax"][kind], 2)
            for kind in ("min_ms", "median_ms")
        }
        for name, each in times.items()
        if name != "kanjax"
    }
    return {
        "widths": widths,
        "points": points,
        "times": times,
        "times_of_kanjax": ratios,
    }


def _ensemble(quick: bool) -> dict[str, Any]:
    """Time steps of one network, and of several as ``solve_ensemble`` takes them."""
    points = 16 if quick else SOLVE_POINTS
    problem, net = library.burgers(VISCOSITY), nn.MLP(SMALL, jnp.tanh, kernel_scale=1.0)
    rows = {}
    for name, (method, count) in MEMBER_METHODS.items():
        steps = 3 if quick else count
        blocks = {}
        with jax.enable_x64(True):
            for members in (None, MEMBERS):
                options = {"method": method, "resample_every": steps}
                loop = pinn.stages.Stages(
                    problem,
                    net,
                    jax.random.key(0),
                    steps,
                    points,
                    options,
                    members=members,
                )
                draw = lambda key: pinn.initialize(problem, net, key=key)  # noqa: E731
                draw = draw if members is None else jax.vmap(draw)
                begun = loop.start(draw(loop.keys[0]))
                run = lambda loop=loop, begun=begun: loop.advance(begun, 0)  # noqa: E731
                run()
                repeats = 4 if members is None else 1
                blocks[f"{members or 1}"] = lambda run=run, repeats=repeats: [
                    seconds for _ in range(repeats) for seconds in timing.block(run, 0)
                ]
            times = timing.interleave(blocks, 1 if quick else ROUNDS // 2)
        one, several = times["1"], times[f"{MEMBERS}"]
        shares = {
            kind: round(several[kind] / (MEMBERS * one[kind]), 3)
            for kind in ("min_ms", "median_ms")
        }
        rows[name] = {"steps": steps, "times": times, "share_of_single_runs": shares}
    return {"members": MEMBERS, "points": points, "methods": rows}


def _solutions(peers: Mapping[str, client.Peer], quick: bool) -> dict[str, Any]:
    problem = library.burgers(VISCOSITY)
    assert problem.reference is not None
    with jax.enable_x64(True):
        z = samplers.sobol(problem.domain, CHECK_POINTS, key=jax.random.key(1))
        u = problem.reference(z)
    points, steps = (16, 100) if quick else (SOLVE_POINTS, STEPS)
    results = {"kanjax": _solve(problem, z, u, points, steps)}
    limit = PATIENCE * results["kanjax"]["seconds"]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "reference.npz"
        np.savez(path, z=np.asarray(z), u=np.asarray(u))
        request = {
            "task": "solve",
            "widths": list(SMALL),
            "points": points,
            "viscosity": VISCOSITY,
            "goal": GOAL,
            "reference": str(path),
            "seconds": limit,
            "steps": steps,
        }
        for name, peer in peers.items():
            if name == "jinns":
                for method in ("broyden", "natural_gradient"):
                    results[f"jinns_{method}"] = peer.ask(method=method, **request)
            else:
                results[name] = peer.ask(**request)
    return {"goal": GOAL, "widths": SMALL, "points": points, "results": results}


def _solve(
    problem: pinn.Problem, z: jax.Array, u: jax.Array, points: int, steps: int
) -> dict[str, Any]:
    """Train by the recipe of ``kanjax pinn burgers`` until the goal is reached."""
    options = {**recipes.RECIPES["burgers"].options, "resample_every": 50}
    if points == SOLVE_POINTS:
        options["resample_every"] = 500
    net = nn.MLP(SMALL, jnp.tanh, kernel_scale=1.0)
    start, processor = time.perf_counter(), time.process_time()
    with jax.enable_x64(True):
        begin, advance = pinn.optimization.rounds(
            problem, net, points=points, **options
        )
        run = jax.jit(advance)

        @jax.jit
        def error(params: Any) -> jax.Array:
            values = jax.vmap(pinn.field(problem, net, params))(z)
            return jnp.linalg.norm(values - u) / jnp.linalg.norm(u)

        first, key = jax.random.split(jax.random.key(0))
        carry = begin(pinn.initialize(problem, net, key=first))
        done, reached, curve = 0, float("inf"), []
        while done < steps and reached >= GOAL:
            key, draw = jax.random.split(key)
            carry, _ = run(carry, (draw, jnp.zeros(())))
            done += options["resample_every"]
            reached = float(error(carry[0]))
            curve.append([time.perf_counter() - start, reached])
    return {
        "error": reached,
        "seconds_and_errors": curve,
        "steps": done,
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
    }


if __name__ == "__main__":
    main()
