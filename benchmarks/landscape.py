"""Planes, Hessian eigenvalues, weight matching and subspaces, beside their floors."""

import argparse
import contextlib
import functools
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import timing
from benchmarks.peers import client
from kanjax import landscape, nn, symmetry, training

PEERS = {"plane": "loss_landscapes", "top5": "pyhessian"}
NETWORKS = ((500, 64, 32, 10), (1797, 64, 256, 256, 10))
QUICK_NETWORKS = ((20, 4, 5, 3),)
POINTS = 51
MATCHED = (784, 1024, 1024, 1024, 10)
QUICK_MATCHED = (4, 16, 16, 16, 3)
SUBSPACE = ((784, 1000, 200, 10), 10_000, 128)
QUICK_SUBSPACE = ((4, 8, 3), 16, 8)


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    options = _options(argv)
    result: dict[str, Any] = {
        "benchmark": "landscape",
        "environment": timing.environment(),
        "points": POINTS,
        "cases": [],
        "peers": {},
    }
    with contextlib.ExitStack() as stack:
        peers = {}
        for mode, name in PEERS.items() if options.peer_python else ():
            peer = stack.enter_context(client.start(name, options.peer_python))
            result["peers"][name] = peer.entry
            if peer.absent is None:
                peers[mode] = peer
        for shape in QUICK_NETWORKS if options.quick else NETWORKS:
            for case in (_plane, _top5):
                result["cases"].append(case(shape, peers, options))
    result["cases"].append(_matching(options))
    result["cases"].append(_subspace(options))
    timing.write_json(options.out, result)


def _problem(shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Loss, forward pass and parameters, of shape (samples, in, hidden..., out)."""
    samples, *widths = shape
    net = nn.MLP(tuple(widths))
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (samples, widths[0]))
    y = jax.random.randint(keys[1], (samples,), 0, widths[-1])
    loss = training.on_batch(training.classification(net.apply), (x, y))
    return loss, lambda p: net.apply(p, x), net.init(keys[2])


def _plane(shape: tuple[int, ...], peers: Any, options: Any) -> dict[str, Any]:
    """Times are of the whole plane; one evaluation of the loss is a point's floor."""
    loss, forward, params = _problem(shape)
    directions = landscape.random_directions(jax.random.key(1), params)
    run = jax.jit(
        lambda p, d1, d2: landscape.plane(loss, p, d1, d2, points=POINTS).losses
    )
    # A small forward pass takes less than its dispatch, so as many as points run in one
    # program as well, on parameters that all differ, or a compiler would share work.
    scales = jnp.linspace(1.0, 1.1, POINTS**2)

    def repeated(p: Any) -> Any:
        return jax.lax.map(lambda s: loss(jax.tree.map(lambda v: s * v, p)), scales)

    floor, single, pure = jax.jit(repeated), jax.jit(loss), jax.jit(forward)
    blocks = {
        "kanjax": _block(lambda: run(params, *directions), options),
        "losses_in_one_program": _block(lambda: floor(params), options),
        "one_jitted_loss": _block(lambda: single(params), options),
        "one_jitted_forward_pass": _block(lambda: pure(params), options),
    }
    times = _timed("plane", shape, blocks, peers, options)
    per_point = times["kanjax"]["min_ms"] / POINTS**2
    return _case("plane", shape, times) | {
        "per_point_ms": round(per_point, 4),
        "per_point_over": {
            "loss_in_one_program": round(
                times["kanjax"]["min_ms"] / times["losses_in_one_program"]["min_ms"], 3
            ),
            **{
                name: round(per_point / times[name]["min_ms"], 3)
                for name in ("one_jitted_loss", "one_jitted_forward_pass")
            },
        },
    }


def _top5(shape: tuple[int, ...], peers: Any, options: Any) -> dict[str, Any]:
    loss, _, params = _problem(shape)
    run = jax.jit(lambda p: landscape.hessian_eigenpairs(loss, p, 5, jax.random.key(1)))
    found = run(params)
    blocks = {"kanjax": _block(lambda: run(params), options)}
    times = _timed("top5", shape, blocks, peers, options)
    return _case("top5", shape, times) | {
        "values": [float(v) for v in found.values],
        "residuals": [float(v) for v in found.residuals],
        "converged": bool(found.converged),
        "products": int(found.products),
    }


def _matching(options: Any) -> dict[str, Any]:
    """Weight matching of two independent networks and of a planted permutation."""
    widths = QUICK_MATCHED if options.quick else MATCHED
    net = nn.MLP(widths)
    spec = symmetry.permutation_spec(net)
    a, b = (net.init(k) for k in jax.random.split(jax.random.key(0)))
    planted = symmetry.random_permutation(spec, jax.random.key(1))
    moved = symmetry.apply_permutation(spec, planted, a)
    run = jax.jit(lambda a, b: symmetry.match_weights(spec, a, b))
    found = run(a, moved)
    inverse = symmetry.invert_permutation(planted)
    same = [jnp.all(found.permutation[n] == inverse[n]) for n in spec.names]
    blocks = {
        "independent": _block(lambda: run(a, b), options),
        "planted": _block(lambda: run(a, moved), options),
    }
    times = _timed("matching", widths, blocks, {}, options)
    return _case("matching", widths, times) | {
        "sweeps": int(run(a, b).sweeps),
        "planted_recovered": bool(jnp.all(jnp.stack(same))),
    }


def _subspace(options: Any) -> dict[str, Any]:
    """One step of Adam in a Fastfood subspace beside one of the full network."""
    widths, dimension, batch = QUICK_SUBSPACE if options.quick else SUBSPACE
    loss, _, params = _problem((batch, *widths))
    space = landscape.subspace(jax.random.key(1), params, dimension)
    few = landscape.subspace_loss(loss, params, space)
    optimizer = optax.adam(1e-3)

    def stepper(f: Callable[[Any], Any], start: Any) -> Callable[[], Any]:
        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(p: Any, moments: Any) -> Any:
            updates, moments = optimizer.update(jax.grad(f)(p), moments, p)
            return optax.apply_updates(p, updates), moments

        state = [jax.tree.map(jnp.copy, start), optimizer.init(start)]

        def run() -> Any:
            state[:] = step(*state)
            return state[0]

        return run

    blocks = {
        "full": _block(stepper(loss, params), options),
        "fastfood": _block(stepper(few, jnp.zeros(dimension)), options),
    }
    times = _timed("subspace", widths, blocks, {}, options)
    return _case("subspace", widths, times) | {
        "dimension": dimension,
        "parameters": space.size,
        "fastfood_over_full": round(
            times["fastfood"]["min_ms"] / times["full"]["min_ms"], 3
        ),
    }


def _block(run: Callable[[], Any], options: Any) -> Callable[[], list[float]]:
    def ready() -> None:
        jax.block_until_ready(run())

    ready()
    return functools.partial(timing.block, ready, options.seconds)


def _timed(
    mode: str, shape: Any, blocks: dict[str, Any], peers: Any, options: Any
) -> dict[str, Any]:
    if mode in peers:
        peer = peers[mode]
        blocks[peer.name] = functools.partial(peer.block, shape, mode, options.seconds)
    times = timing.interleave(blocks, options.rounds)
    print(f"{mode} of {shape}", flush=True)
    for name, entry in times.items():
        print(f"  {name:24s} {entry['min_ms']:10.3f} ms")
    return times


def _case(mode: str, shape: Any, times: dict[str, Any]) -> dict[str, Any]:
    case: dict[str, Any] = {"mode": mode, "shape": list(shape), "times": times}
    if "kanjax" in times:
        unit = times["kanjax"]["min_ms"]
        case["times_of_kanjax"] = {
            name: round(entry["min_ms"] / unit, 3)
            for name, entry in times.items()
            if name != "kanjax"
        }
    return case


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/landscape.json"
    )
    parser.add_argument("--peer-python", help="an interpreter that has the peers")
    parser.add_argument("--rounds", type=int, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.01 if options.quick else 0.5)
    if options.peer_python and shutil.which(options.peer_python) is None:
        parser.error(f"--peer-python {options.peer_python!r} is not an executable.")
    return options


if __name__ == "__main__":
    main()
