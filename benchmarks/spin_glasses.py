"""Dense memories: Monte Carlo beside NumPy loops, phase diagrams, broken symmetry."""

import argparse
import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from kanjax import hopfield
from kanjax.hopfield import replica_breaking

ORDER, BETA, HOT = 4, 24.0, 3.0


def main(argv: Sequence[str] | None = None) -> None:
    """Time sweeps in turn with NumPy's, then the theory, and write the result."""
    options = _options(argv)
    result: dict[str, Any] = {
        "benchmark": "spin_glasses",
        "environment": timing.environment(),
        "sweeps": [
            _sweep_case(chains, beta, options)
            for chains, beta in ((1, BETA), (1, HOT), (8, BETA), (32, BETA))
        ],
        "phase_diagrams": _phases(options.quick),
        # Compiling it takes longer than a quick run should.
        "broken_symmetry": {} if options.quick else _broken_symmetry(),
    }
    timing.write_json(options.out, result)


def _sweep_case(
    chains: int, beta: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Milliseconds a sweep of all chains; ratios of minima, to kanjax's."""
    spins, patterns = (8, 20) if options.quick else (64, 1000)
    sweeps = 2 if options.quick else 100
    stored = hopfield.random_patterns(jax.random.key(0), patterns, spins)
    start = jnp.broadcast_to(stored[0], (chains, spins))
    memory = hopfield.PSpin(stored, ORDER)

    def ours() -> Any:
        key = jax.random.key(1)
        chains = hopfield.glauber(key, memory, start, beta=beta, sweeps=sweeps)
        return jax.block_until_ready(chains.state)

    draw, X = np.random.default_rng(0), np.asarray(stored)
    candidates: dict[str, tuple[Callable[[], Any], int]] = {
        "kanjax": (ours, sweeps),
        "numpy_over_sites_and_chains": (
            functools.partial(over_sites_and_chains, X, np.array(start), draw, beta),
            1,
        ),
        "numpy_over_sites": (
            functools.partial(over_sites, X, np.array(start), draw, beta),
            1,
        ),
    }
    blocks = {}
    for name, (run, count) in candidates.items():
        run()

        def block(run: Any = run, count: int = count) -> list[float]:
            return [t / count for t in timing.block(run, options.seconds)]

        blocks[name] = block
    times = timing.interleave(blocks, options.rounds)
    unit = times["kanjax"]["min_ms"]
    ratios = {
        name: round(entry["min_ms"] / unit, 2)
        for name, entry in times.items()
        if name != "kanjax"
    }
    print(
        f"{chains} chains, beta {beta}: {unit:.3f} ms a sweep; NumPy's ratios {ratios}",
        flush=True,
    )
    shape = {"spins": spins, "patterns": patterns, "chains": chains, "beta": beta}
    return {**shape, "times": times, "times_of_kanjax": ratios}


def over_sites_and_chains(
    patterns: np.ndarray, state: np.ndarray, draw: np.random.Generator, beta: float
) -> None:
    """Visit each spin of each chain, with sums over spins kept up to date."""
    for chain in state:
        over_sites(patterns, chain[None], draw, beta)


def over_sites(
    patterns: np.ndarray, state: np.ndarray, draw: np.random.Generator, beta: float
) -> None:
    """Visit each spin, of all chains at once, with sums over spins kept up to date."""
    spins = state.shape[1]
    sums = state @ patterns.T
    for site in range(spins):
        column = patterns[:, site]
        rest = sums - state[:, site, None] * column
        up = 1 / (1 + np.exp(-2 * beta * triples(rest, spins) @ column))
        state[:, site] = np.where(draw.random(len(state)) < up, 1, -1)
        sums = rest + state[:, site, None] * column


def triples(rest: np.ndarray, spins: int) -> np.ndarray:
    """``e_3 / spins^3`` of all spins but one, by their sums."""
    return rest * (rest * rest - (3 * (spins - 1) - 2)) / (6 * spins**3)


def _phases(quick: bool) -> dict[str, Any]:
    """Seconds for a square of points, with and without compilation."""
    points = 3 if quick else 50
    entries: dict[str, Any] = {"points": points**2}
    for order in (4,) if quick else (2, 4):
        load = jnp.linspace(0.01, 1, points) * (0.2 if order == 2 else 0.6)
        temperature = jnp.linspace(0.02, 1.4 if order == 2 else 1.0, points)
        run = functools.partial(
            hopfield.phase_diagram, load=load, temperature=temperature, order=order
        )
        entries[f"order_{order}"] = {
            **_twice(run),
            "not_converged": int(jnp.sum(~run().converged)),
        }
    print(entries, flush=True)
    return entries


@jax.enable_x64(True)
def _broken_symmetry() -> dict[str, Any]:
    """Seconds for a glass and a state of recall with one step of broken symmetry."""
    solve = jax.jit(replica_breaking.solve, static_argnames=("order", "start"))
    entries: dict[str, Any] = {}
    for name, load, start in (
        ("glass", 1.0, (0.0, 0.0, 0.99)),
        ("recall", 0.4, (1.0, 0.9, 0.99)),
    ):

        def run(load: float = load, start: tuple[float, ...] = start) -> Any:
            return jax.block_until_ready(solve(8.0, load, order=ORDER, start=start))

        entries[name] = {**_twice(run), "converged": bool(run().converged)}
    print(entries, flush=True)
    return entries


def _twice(run: Callable[[], Any]) -> dict[str, float]:
    """Seconds of the first call, which compiles, and the least of three others."""
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - began)
    return {"first_s": round(seconds[0], 3), "again_s": round(min(seconds[1:]), 3)}


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/spin_glasses.json"
    )
    parser.add_argument("--rounds", type=int, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (2 if options.quick else 8)
    options.seconds = options.seconds or (0.01 if options.quick else 0.3)
    return options


if __name__ == "__main__":
    main()
