"""Hopfield layers, Glauber sweeps and a large memory beside what they compete with."""

import argparse
import contextlib
import functools
import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.peers import client
from kanjax import hopfield

# Batch, states, patterns, features.
SHAPE, QUICK_SHAPE = (32, 128, 1024, 256), (2, 4, 8, 4)
MODES = ("forward", "forward_backward")
PEER = "hopfield_layers"
ROOT = pathlib.Path(__file__).resolve().parents[1]


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    options = _options(argv)
    if options.peak:
        shape = tuple(options.peak)
        run = _layer(shape)["forward_backward"]
        _layer(QUICK_SHAPE)["forward_backward"]()
        print(json.dumps({"peak_mb": timing.peak_growth_mb(run)}))
        return
    peers: dict[str, Any] = {}
    result: dict[str, Any] = {
        "benchmark": "hopfield",
        "environment": timing.environment(),
        "peers": peers,
        "layer": _layer_case(options, peers),
        "glauber": _glauber_case(options),
        "large_memory": _memory_case(options),
    }
    timing.write_json(options.out, result)


def _layer_case(options: argparse.Namespace, peers: dict[str, Any]) -> dict[str, Any]:
    """Times and peaks at one shape; ratios are of minima, to kanjax's layer."""
    shape = QUICK_SHAPE if options.quick else SHAPE
    case: dict[str, Any] = dict(
        zip(("batch", "states", "patterns", "features"), shape, strict=True)
    )
    ours = _layer(shape)
    with contextlib.ExitStack() as stack:
        peer = None
        if options.peer_python:
            peer = stack.enter_context(
                client.start(PEER, options.peer_python, options.source)
            )
            peers[PEER] = peer.entry
            peer = None if peer.absent else peer
        for mode in MODES:
            ours[mode]()
            blocks: dict[str, Callable[[], Sequence[float]]] = {
                "kanjax": functools.partial(timing.block, ours[mode], options.seconds)
            }
            if peer is not None:
                peer.warm_up(shape, mode)
                blocks[PEER] = functools.partial(
                    peer.block, shape, mode, options.seconds
                )
            case[mode] = _compare(f"layer, {mode}", blocks, "kanjax", options.rounds)
    case["peak_mb"] = {
        "kanjax": _peak([sys.executable, "-m", "benchmarks.hopfield"], shape)
    }
    if peer is not None:
        command = [
            options.peer_python,
            "-W",
            "ignore",
            "-m",
            f"benchmarks.peers.{PEER}",
        ]
        if options.source:
            command += ["--source", options.source]
        case["peak_mb"][PEER] = _peak(command, shape)
    print(f"  peak in MB: {case['peak_mb']}", flush=True)
    return case


def _layer(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """One head of the default layer, states beside stored patterns."""
    batch, states, patterns, features = shape
    layer = hopfield.Hopfield(features, examples_at_once=2)
    keys = jax.random.split(jax.random.key(0), 3)
    params = layer.init(keys[0])
    x = jax.random.normal(keys[1], (batch, states, features))
    stored = jax.random.normal(keys[2], (batch, patterns, features))

    def apply(params: Any, x: jax.Array, stored: jax.Array) -> jax.Array:
        return layer.apply(params, x, stored=stored)

    def loss(params: Any, x: jax.Array, stored: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(apply(params, x, stored)))

    forward = jax.jit(apply)
    backward = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    return {
        "forward": lambda: jax.block_until_ready(forward(params, x, stored)),
        "forward_backward": lambda: jax.block_until_ready(backward(params, x, stored)),
    }


def _peak(command: list[str], shape: tuple[int, ...]) -> float:
    """What a fresh process takes for forward and backward beyond a toy shape."""
    command = [*command, "--peak", *map(str, shape)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])["peak_mb"]


def _glauber_case(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a sweep; ratios to the sweep with Hebb's couplings."""
    spins, chains, patterns = (20, 3, 2) if options.quick else (1000, 64, 100)
    sweeps = 2 if options.quick else 10
    stored = hopfield.random_patterns(jax.random.key(0), patterns, spins)
    start = jnp.broadcast_to(stored[0], (chains, spins))
    memories = {
        "kanjax": hopfield.Pairwise(hopfield.hebb(stored)),
        "kanjax_matrix_free": hopfield.PSpin(stored, 2),
        "kanjax_four_spins": hopfield.PSpin(stored, 4),
    }

    def ours(memory: hopfield.Memory) -> Callable[[], Any]:
        key = jax.random.key(1)
        return lambda: jax.block_until_ready(
            hopfield.glauber(key, memory, start, beta=2.0, sweeps=sweeps).state
        )

    couplings, state = np.asarray(hopfield.hebb(stored)), np.array(start)
    candidates = {name: ours(memory) for name, memory in memories.items()}
    candidates["numpy_over_sites_and_chains"] = lambda: _numpy_sweep(couplings, state)
    candidates["numpy_over_sites"] = lambda: _numpy_sites(couplings, state)
    blocks = {}
    for name, run in candidates.items():
        run()
        count = sweeps if name in memories else 1

        def block(run: Any = run, count: int = count) -> list[float]:
            return [t / count for t in timing.block(run, options.seconds)]

        blocks[name] = block
    times = _compare("a Glauber sweep", blocks, "kanjax", options.rounds)
    return {"spins": spins, "chains": chains, "patterns": patterns, **times}


def _numpy_sweep(couplings: np.ndarray, state: np.ndarray) -> None:
    """One visit of each spin of each chain, as it is written down."""
    draw = np.random.default_rng(0)
    for chain in state:
        for site in range(len(chain)):
            field = couplings[site] @ chain
            up = draw.random() < 1 / (1 + np.exp(-4 * field))
            chain[site] = 1 if up else -1


def _numpy_sites(couplings: np.ndarray, state: np.ndarray) -> None:
    """The same with the chains as vectors."""
    draw = np.random.default_rng(0)
    for site in range(state.shape[1]):
        p = 1 / (1 + np.exp(-4 * (state @ couplings[site])))
        state[:, site] = np.where(draw.random(len(state)) < p, 1, -1)


def _memory_case(options: argparse.Namespace) -> dict[str, Any]:
    """One update from many patterns beside the two products it is made of."""
    patterns, features, size = (64, 8, 16) if options.quick else (10**6, 256, 8000)
    stored = jax.random.normal(jax.random.key(0), (patterns, features))
    case: dict[str, Any] = {
        "patterns": patterns,
        "features": features,
        "block_of_32": size,
    }
    for states in (1, 32):
        x = jax.random.normal(jax.random.key(1), (states, features))
        # The weights of a single state are small beside the patterns themselves.
        block = None if states == 1 else size
        products = jax.jit(lambda x, stored: (x @ stored.T) @ stored)
        update = jax.jit(
            functools.partial(hopfield.associate, beta=0.1, batch_size=block)
        )
        blocks = {}
        for name, run in (("two_products", products), ("kanjax", update)):
            call = functools.partial(
                lambda run, x: jax.block_until_ready(run(x, stored)), run, x
            )
            call()
            blocks[name] = functools.partial(timing.block, call, options.seconds)
        title = f"{states} states, {patterns:,} patterns"
        case[f"states_{states}"] = _compare(
            title, blocks, "two_products", options.rounds
        )
    return case


def _compare(
    title: str,
    blocks: dict[str, Callable[[], Sequence[float]]],
    unit_name: str,
    rounds: int,
) -> dict[str, Any]:
    times = timing.interleave(blocks, rounds)
    unit = times[unit_name]["min_ms"]
    print(title, flush=True)
    for name, entry in times.items():
        print(f"  {name:28s} {entry['min_ms']:10.3f} ms  {entry['min_ms'] / unit:7.2f}")
    ratios = {
        name: round(entry["min_ms"] / unit, 3)
        for name, entry in times.items()
        if name != unit_name
    }
    return {"times": times, f"times_of_{unit_name}": ratios}


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/hopfield.json"
    )
    parser.add_argument("--peer-python", help="an interpreter that has PyTorch")
    parser.add_argument("--source", help="a folder that hflayers is imported from")
    parser.add_argument("--rounds", type=int, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    parser.add_argument("--peak", type=int, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (2 if options.quick else 8)
    options.seconds = options.seconds or (0.01 if options.quick else 0.5)
    if options.peer_python and shutil.which(options.peer_python) is None:
        parser.error(f"--peer-python {options.peer_python!r} is not an executable.")
    if options.source:
        options.source = str(pathlib.Path(options.source).resolve())
    return options


if __name__ == "__main__":
    main()
