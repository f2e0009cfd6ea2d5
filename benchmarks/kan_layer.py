"""A B-spline KAN layer beside the bare matrix product of its size, and beside peers."""

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
from kanjax import bases, kan

INTERVALS, DEGREE = 5, 3
SHAPES = ((1024, 64, 64), (4096, 256, 256))
QUICK_SHAPES = ((16, 4, 4),)
MODES = ("forward", "forward_backward")
# Batch and widths of a network, of which a step of Adam is timed.
NETWORK, QUICK_NETWORK = (1024, 784, 64, 10), (16, 4, 3, 2)
# pykan keeps several (batch, in, out) arrays; of the large shape they take gigabytes.
SMALL_ONLY = ("pykan",)
LARGE = (SHAPES[-1], NETWORK)


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    options = _options(argv)
    result: dict[str, Any] = {
        "benchmark": "kan_layer",
        "environment": timing.environment(),
        "intervals": INTERVALS,
        "degree": DEGREE,
        "cases": [],
        "peers": {},
    }
    sources = dict(text.split("=", 1) for text in options.source)
    with contextlib.ExitStack() as stack:
        peers = []
        for name in client.NAMES if options.peer_python else ():
            peer = stack.enter_context(
                client.start(name, options.peer_python, sources.get(name))
            )
            result["peers"][name] = peer.entry
            if peer.absent is None:
                peers.append(peer)
        shapes = QUICK_SHAPES if options.quick else SHAPES
        for shape in shapes:
            for mode in MODES:
                result["cases"].append(
                    _case(shape, mode, peers, options.rounds, options.seconds)
                )
        network = QUICK_NETWORK if options.quick else NETWORK
        result["network"] = _compare(
            network,
            "step",
            {"kanjax": _network(network)},
            peers,
            options.rounds,
            options.seconds,
        )
    timing.write_json(options.out, result)


def _case(
    shape: tuple[int, int, int],
    mode: str,
    peers: Sequence[client.Peer],
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """All candidates at one shape, and the layer over the bare product."""
    ours = {"kanjax": _layer(shape), "matrix_product": _product(shape)}
    # The layer with its residual branch, as the peers have one, and without.
    ours["kanjax_without_residual"] = _layer(shape, residual=None)
    case = _compare(shape, mode, ours, peers, rounds, seconds)
    times = case["times"]
    product = times["kanjax"]["min_ms"] / times["matrix_product"]["min_ms"]
    return {**case, "kanjax_over_matrix_product": round(product, 3)}


def _compare(
    shape: tuple[int, ...],
    mode: str,
    ours: dict[str, dict[str, Callable[[], Any]]],
    peers: Sequence[client.Peer],
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """All candidates in turn; ratios are of minima, to kanjax's."""
    blocks: dict[str, Callable[[], Sequence[float]]] = {}
    for name, runs in ours.items():
        runs[mode]()
        blocks[name] = functools.partial(timing.block, runs[mode], seconds)
    for peer in peers:
        if peer.name in SMALL_ONLY and shape in LARGE:
            continue
        peer.warm_up(shape, mode)
        blocks[peer.name] = functools.partial(peer.block, shape, mode, seconds)
    times = timing.interleave(blocks, rounds)
    unit = times["kanjax"]["min_ms"]
    ratios = {
        name: round(entry["min_ms"] / unit, 3)
        for name, entry in times.items()
        if name != "kanjax"
    }
    print(f"{mode} of {shape}", flush=True)
    for name, entry in times.items():
        print(f"  {name:24s} {entry['min_ms']:10.3f} ms  {entry['min_ms'] / unit:7.2f}")
    where = {"batch": shape[0], "in": shape[1], "out": shape[-1], "mode": mode}
    return {**where, "shape": shape, "times": times, "times_of_kanjax": ratios}


def _layer(
    shape: tuple[int, int, int], residual: Any = jax.nn.silu
) -> dict[str, Callable[[], Any]]:
    batch, in_features, out_features = shape
    layer = kan.KANLayer(
        in_features,
        out_features,
        basis=bases.BSpline(INTERVALS, DEGREE),
        residual=residual,
    )
    key_params, key_x = jax.random.split(jax.random.key(0))
    x = jax.random.uniform(key_x, (batch, in_features), minval=-1, maxval=1)
    return _runs(layer.apply, layer.init(key_params), x)


def _network(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """A step of Adam on the sum of squares of the outputs."""
    batch, *widths = shape
    net = kan.KAN(tuple(widths), bases.BSpline(INTERVALS, DEGREE))
    params = jax.jit(net.init)(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (batch, widths[0]), minval=-1)
    optimizer = optax.adam(1e-3)
    start = params, optimizer.init(params)

    @jax.jit
    def update(params: Any, state: Any, x: jax.Array) -> Any:
        gradient = jax.grad(lambda p: jnp.sum(jnp.square(net.apply(p, x))))(params)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, change), state

    return {"step": lambda: jax.block_until_ready(update(*start, x))}


def _product(shape: tuple[int, int, int]) -> dict[str, Callable[[], Any]]:
    """The product that a layer cannot do without, both its operands given."""
    batch, in_features, out_features = shape
    inner = in_features * (INTERVALS + DEGREE)
    key_left, key_right = jax.random.split(jax.random.key(0))
    left = jax.random.normal(key_left, (batch, inner))
    right = jax.random.normal(key_right, (inner, out_features))
    return _runs(lambda right, left: left @ right, right, left)


def _runs(
    apply: Callable[[Any, jax.Array], jax.Array], params: Any, x: jax.Array
) -> dict[str, Callable[[], Any]]:
    def loss(params: Any, x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(apply(params, x)))

    forward = jax.jit(apply)
    backward = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return {
        "forward": lambda: jax.block_until_ready(forward(params, x)),
        "forward_backward": lambda: jax.block_until_ready(backward(params, x)),
    }


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/kan_layer.json"
    )
    parser.add_argument("--peer-python", help="an interpreter that has the peers")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="PEER=FOLDER",
        help="import a peer from a folder; may be given once a peer",
    )
    parser.add_argument("--rounds", type=int, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (2 if options.quick else 12)
    options.seconds = options.seconds or (0.01 if options.quick else 0.5)
    for text in options.source:
        name, separator, folder = text.partition("=")
        if (
            name not in client.NAMES
            or not separator
            or not pathlib.Path(folder).is_dir()
        ):
            parser.error(
                f"--source {text!r}: expected PEER=FOLDER, with PEER one of "
                f"{', '.join(client.NAMES)} and an existing folder."
            )
    if options.peer_python and shutil.which(options.peer_python) is None:
        parser.error(f"--peer-python {options.peer_python!r} is not an executable.")
    return options


if __name__ == "__main__":
    main()
