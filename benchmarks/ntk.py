"""Tangent kernels beside neural-tangents': infinite width and empirical.

The peer runs in its own environment, in turn with ours. Of its three ways to the
empirical kernel the fastest is timed, and the fastest of the two that run on its jax as
it was released. That values are equal is for the tests to say.
"""

import argparse
import contextlib
import functools
import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.peers import client
from kanjax import bases, kan, linalg, model, nn, ntk

ROOT = pathlib.Path(__file__).resolve().parents[1]
PEER = "neural_tangents"
RELEASED = "neural_tangents_as_released"
PARTS = ("times", "peaks", "auto", "scale")
METHODS = ("auto", "structured", "jacobian", "vector_products")
OUTPUTS = 10
# Case: (kind, n, what): n examples, depth or image size or kind of kernel.
CASES: tuple[tuple[str, int, int], ...] = (
    ("dense", 1000, 3),
    ("dense", 1000, 10),
    ("dense", 4000, 3),
    ("dense", 4000, 10),
    ("myrtle", 64, 8),
    ("mlp_trace", 128, 64),
    ("mlp_full", 128, 64),
    ("resnet_trace", 32, 8),
    ("resnet_full", 32, 8),
)
# 64 images of 32 x 32 have 4 billion pairs of positions: many minutes with the peer,
# so that they run once, with compilation.
LONG_CASES = (("myrtle", 64, 32),)
KINDS = tuple(dict.fromkeys(case[0] for case in CASES))
QUICK_CASES = (
    ("dense", 8, 2),
    ("myrtle", 2, 4),
    ("mlp_trace", 3, 4),
    ("resnet_full", 2, 4),
)
# Network, examples, kind of kernel: which method is best differs among them.
AUTO_CASES = (
    ("mlp_1", 256, "trace"),
    ("mlp_1", 8, "trace"),
    ("mlp_10", 64, "trace"),
    ("mlp_10", 64, "full"),
    ("mlp_10", 4, "full"),
    ("mlp_10", 1, "trace"),
    ("resnet", 16, "trace"),
    ("resnet", 16, "full"),
    ("resnet", 2, "trace"),
    ("kan", 64, "trace"),
    ("kan", 512, "trace"),
    ("mlp_100", 4, "full"),
    ("mlp_100", 32, "trace"),
    ("scan_1", 32, "trace"),
    ("scan_10", 32, "trace"),
    ("scan_10", 8, "full"),
    ("scan_100", 2, "trace"),
)
QUICK_AUTO_CASES = (("mlp_1", 2, "trace"),)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all parts, or those that are named, and write the result."""
    options = _options(argv)
    if options.peak:
        kind, n, size = options.peak[0], *map(int, options.peak[1:])
        runs(*QUICK_CASES[0])()
        run = runs(kind, n, size)
        print(json.dumps({"peak_mb": timing.peak_growth_mb(run)}))
        return
    result = _before(options)
    # First, while nothing else has been in this process's memory.
    if "scale" in options.parts:
        result["scale"] = None if options.quick else scale()
    cases = QUICK_CASES if options.quick else CASES
    cases = [c for c in cases + LONG_CASES * options.long if c[0] in options.kinds]
    if not {"times", "peaks"} & set(options.parts):
        cases = []
    with contextlib.ExitStack() as stack:
        peer = None
        if options.peer_python and cases:
            peer = stack.enter_context(client.start(PEER, options.peer_python))
            result["peers"][PEER] = peer.entry
            peer = None if peer.absent else peer
        for case in cases:
            kind, n, size = case
            entry = result["cases"].setdefault(f"{kind} n={n} size={size}", {})
            if "times" in options.parts:
                entry.update(_times(case, peer, options.rounds, options.seconds))
            if "peaks" in options.parts and case not in LONG_CASES:
                entry.update(_peaks(case, peer, options.peer_python, entry))
    if "auto" in options.parts:
        auto = QUICK_AUTO_CASES if options.quick else AUTO_CASES
        result["auto"] = [_auto(*case, options) for case in auto]
    timing.write_json(options.out, result)


def _before(options: argparse.Namespace) -> dict[str, Any]:
    """An empty result, or what the file has where only some parts are measured."""
    result: dict[str, Any] = {"benchmark": "ntk"}
    if options.some and options.out.exists():
        result = json.loads(options.out.read_text())
    result["environment"] = timing.environment()
    empty = {"cases": {}, "peers": {}, "auto": [], "scale": None}
    return {**empty, **result}


def _times(
    case: tuple[str, int, int], peer: Any, rounds: int, seconds: float
) -> dict[str, Any]:
    kind, n, size = case
    run = runs(kind, n, size)
    is_long = case in LONG_CASES
    if not is_long:
        run()
    blocks: dict[str, Callable[[], Sequence[float]]] = {
        "kanjax": functools.partial(timing.block, run, seconds)
    }
    found: dict[str, Any] = {"date": timing.environment()["date"]}
    if peer is not None:
        modes = {PEER: kind}
        if kind.startswith(("mlp", "resnet")):
            modes = found["peer_modes"] = _fastest(peer, case)
        elif not is_long:
            peer.block((n, size), kind, 0.0)
        for name, mode in modes.items():
            blocks[name] = functools.partial(peer.block, (n, size), mode, seconds)
    rounds = 1 if is_long else rounds
    return found | _compared(f"{kind} n={n} size={size}", blocks, rounds)


def _fastest(peer: Any, case: tuple[str, int, int]) -> dict[str, str]:
    """The peer's fastest ways to the empirical kernel, each run twice.

    The third, structured derivatives, needs a repair on the newest jax that it knows.
    """
    kind, *shape = case
    seconds = {}
    for implementation in (1, 2, 3):
        mode = f"{kind}:{implementation}"
        peer.block(tuple(shape), mode, 0.0)
        seconds[mode] = peer.block(tuple(shape), mode, 0.0)[0]
    *released, _ = seconds
    return {
        PEER: min(seconds, key=lambda mode: seconds[mode]),
        RELEASED: min(released, key=lambda mode: seconds[mode]),
    }


def _compared(
    title: str, blocks: dict[str, Callable[[], Sequence[float]]], rounds: int
) -> dict[str, Any]:
    """Times in turn, and their multiples of the first."""
    times = timing.interleave(blocks, rounds)
    first = next(iter(blocks))
    unit = times[first]["min_ms"]
    print(title, flush=True)
    for name, entry in times.items():
        print(f"  {name:28s} {entry['min_ms']:12.3f} ms {entry['min_ms'] / unit:8.2f}")
    ratios = {
        name: round(entry["min_ms"] / unit, 3)
        for name, entry in times.items()
        if name != first
    }
    return {"times": times, f"times_of_{first}": ratios}


def _peaks(
    case: tuple[str, int, int], peer: Any, python: str, entry: dict[str, Any]
) -> dict[str, Any]:
    """What a fresh process takes for a case, beyond a toy one."""
    kind, *shape = case
    ours = [sys.executable, "-m", "benchmarks.ntk"]
    peaks = {"kanjax": _peak(ours, kind, shape)}
    if peer is not None:
        theirs = [python, "-W", "ignore", "-m", f"benchmarks.peers.{PEER}"]
        for name, mode in entry.get("peer_modes", {PEER: kind}).items():
            peaks[name] = _peak(theirs, mode, shape)
    print(f"{kind} {shape}: peak in MB {peaks}", flush=True)
    return {"peak_mb": peaks}


def _peak(command: list[str], mode: str, shape: list[int]) -> float:
    command = [*command, "--peak", mode, *map(str, shape)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])["peak_mb"]


def _auto(kind: str, n: int, outputs: str, options: Any) -> dict[str, Any]:
    """Each method by itself, and what auto takes of the best."""
    net, x = _network(kind, n)
    params = net.init(jax.random.key(0))

    def block(method: Any) -> Callable[[], Sequence[float]]:
        compute = jax.jit(
            lambda p, x: ntk.empirical(
                net.apply, p, x, outputs=cast(Any, outputs), method=method
            )
        )
        run = lambda: jax.block_until_ready(compute(params, x))  # noqa: E731
        run()
        return functools.partial(timing.block, run, options.seconds / 5)

    blocks = {method: block(method) for method in METHODS}
    found = _compared(f"{kind} n={n} {outputs}", blocks, options.rounds)
    times = {name: entry["min_ms"] for name, entry in found["times"].items()}
    best = min(time for name, time in times.items() if name != "auto")
    return {
        "network": kind,
        "n": n,
        "outputs": outputs,
        "times": found["times"],
        "auto_over_best": round(times["auto"] / best, 3),
    }


def _network(kind: str, n: int) -> tuple[Any, jax.Array]:
    """A network and n examples, for the choice of a method."""
    if kind == "resnet":
        return resnet(), _data((n, 8, 8, 3))
    if kind == "kan":
        return kan.KAN((8, 16, 1), basis=bases.BSpline(5)), _data((n, 8)) / 4
    if kind.startswith("scan"):
        return _Recurrent(int(kind.removeprefix("scan_"))), _data((n, 12, 128))
    return nn.MLP((64, 256, 256, int(kind.removeprefix("mlp_")))), _data((n, 64))


class _Recurrent(NamedTuple):
    """One weight used in every step of a scan: its structure is not in sight."""

    outputs: int

    def init(self, key: jax.Array) -> dict[str, jax.Array]:
        sizes = {"state": (128, 128), "out": (128, self.outputs)}
        keys = jax.random.split(key, 2)
        return {
            name: jax.random.normal(k, size) / 12
            for (name, size), k in zip(sizes.items(), keys, strict=True)
        }

    def apply(self, params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        def step(state: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
            return jnp.tanh(state @ params["state"] + x), None

        start = jnp.zeros((x.shape[0], 128))
        return jax.lax.scan(step, start, jnp.swapaxes(x, 0, 1))[0] @ params["out"]


def runs(kind: str, n: int, size: int) -> Callable[[], Any]:
    """What one repeat of a case calls."""
    if kind == "dense":
        x = _data((n, 64))
        layers = (512,) * size
        kernel = ntk.infinite(nn.MLP((64, *layers, 1), parameterization="ntk"))
        return lambda: jax.block_until_ready(kernel(x))
    if kind == "myrtle":
        x = _data((n, size, size, 3))
        kernel = ntk.infinite(myrtle(size))
        return lambda: jax.block_until_ready(kernel(x))
    net, x = (mlp(size), _data((n, size)))
    if kind.startswith("resnet"):
        net, x = resnet(), _data((n, size, size, 3))
    params = net.init(jax.random.key(0))
    outputs: Any = kind.split("_")[1]
    compute = jax.jit(
        lambda params, x: ntk.empirical(net.apply, params, x, outputs=outputs)
    )
    return lambda: jax.block_until_ready(compute(params, x))


def mlp(inputs: int) -> nn.MLP:
    """Two hidden layers of 512."""
    return nn.MLP((inputs, 512, 512, OUTPUTS))


def resnet() -> model.Sequential:
    """Two residual blocks of 16 and a global pool."""
    relu = nn.Activation(jax.nn.relu)
    block = model.Residual(
        model.Sequential((relu, nn.Conv(16, 16, (3, 3)), relu, nn.Conv(16, 16, (3, 3))))
    )
    head = (relu, nn.GlobalPool(2), nn.Dense(16, OUTPUTS))
    return model.Sequential((nn.Conv(3, 16, (3, 3)), block, block, *head))


def myrtle(size: int) -> model.Sequential:
    """Convolutions with ReLU and pooling by 2, till one position is left."""
    relu = nn.Activation(jax.nn.relu)
    options: dict[str, Any] = {"parameterization": "ntk", "kernel_scale": 2**0.5}
    layers: list[Any] = [nn.Conv(3, 64, (3, 3), **options), relu]
    while size > 2:
        layers += [nn.Conv(64, 64, (3, 3), **options), relu, nn.Pool((2, 2))]
        size //= 2
    layers += [nn.GlobalPool(2), nn.Dense(64, 1, parameterization="ntk")]
    return model.Sequential(tuple(layers))


def scale() -> dict[str, Any]:
    """A kernel and a spectrum of a network of a million parameters, 4,096 inputs."""
    net = nn.MLP((64, 960, 960, 1))
    params = net.init(jax.random.key(0))
    x = _data((4096, 64))
    compute = jax.jit(lambda p, x: ntk.empirical(net.apply, p, x, batch_size=512))
    kernel_seconds = timing.block(
        lambda: jax.block_until_ready(compute(params, x)), 0.0
    )
    product = ntk.tangent_product(net.apply, params, x, batch_size=512)
    spectrum = jax.jit(
        lambda key: linalg.eigenpairs(
            product, jnp.zeros((4096, 1)), 20, key, which="largest"
        )
    )
    spectrum_seconds = timing.block(
        lambda: jax.block_until_ready(spectrum(jax.random.key(1))), 0.0
    )
    found = spectrum(jax.random.key(1))
    values = np.linalg.eigvalsh(np.asarray(compute(params, x)))[::-1][:20]
    error = np.max(np.abs(found.values - values) / values[0])
    return {
        "parameters": sum(p.size for p in jax.tree.leaves(params)),
        "inputs": 4096,
        "kernel_seconds_with_compilation": round(kernel_seconds[0], 3),
        "spectrum_seconds_with_compilation": round(spectrum_seconds[0], 3),
        "spectrum_error": float(error),
        "spectrum_residual": float(jnp.max(found.residuals) / values[0]),
        "peak_memory_gb": round(timing.peak_bytes() / 1e9, 3),
    }


def _data(shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(np.random.RandomState(0).normal(size=shape), jnp.float32)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--long", action="store_true", help="32 x 32 images as well")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, help="measure only these, keep the others"
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="only these cases")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument(
        "--out", type=pathlib.Path, default=ROOT / "benchmarks/results/ntk.json"
    )
    parser.add_argument("--peer-python", help="an interpreter with neural-tangents")
    parser.add_argument("--rounds", type=int, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    options = parser.parse_args(argv)
    options.some = bool(options.parts or options.kinds)
    options.parts, options.kinds = options.parts or PARTS, options.kinds or KINDS
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.01 if options.quick else 0.5)
    if options.peer_python and shutil.which(options.peer_python) is None:
        parser.error(f"--peer-python {options.peer_python!r} is not an executable.")
    return options


if __name__ == "__main__":
    main()
