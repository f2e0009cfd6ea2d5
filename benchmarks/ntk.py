"""Tangent kernels beside neural-tangents': infinite width and empirical.

The peer runs in its own environment, in turn with ours; of its three ways to the
empirical kernel the fastest is timed. That values are equal is for the tests to say.
"""

import argparse
import contextlib
import functools
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.peers import client
from kanjax import linalg, model, nn, ntk

PEER = "neural_tangents"
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
# 64 images of 32 x 32 have 4 billion pairs of positions: minutes each.
LONG_CASES = (("myrtle", 64, 32),)
QUICK_CASES = (
    ("dense", 8, 2),
    ("myrtle", 2, 4),
    ("mlp_trace", 3, 4),
    ("resnet_full", 2, 4),
)
# Blocks of examples of the convolutional kernel, by image size; the peer's as well.
BATCH = {32: 4}


def main(argv: Sequence[str] | None = None) -> None:
    """Time all cases and write the result."""
    options = _options(argv)
    cases = QUICK_CASES if options.quick else CASES
    cases = cases + LONG_CASES if options.long else cases
    result: dict[str, Any] = {
        "benchmark": "ntk",
        "environment": timing.environment(),
        "cases": [],
        "peers": {},
        "scale": None if options.quick else scale(),
    }
    with contextlib.ExitStack() as stack:
        peer = None
        if options.peer_python:
            peer = stack.enter_context(client.start(PEER, options.peer_python))
            result["peers"][PEER] = (
                {"absent": peer.absent} if peer.absent else {"versions": peer.versions}
            )
            peer = None if peer.absent else peer
        for case in cases:
            result["cases"].append(_case(case, peer, options.rounds, options.seconds))
    timing.write_json(options.out, result)


def _case(
    case: tuple[str, int, int], peer: Any, rounds: int, seconds: float
) -> dict[str, Any]:
    kind, n, size = case
    run = runs(kind, n, size)
    run()
    blocks: dict[str, Callable[[], Sequence[float]]] = {
        "kanjax": functools.partial(timing.block, run, seconds)
    }
    if peer is not None:
        peer.warm_up((n, size), kind)
        blocks[PEER] = functools.partial(peer.block, (n, size), kind, seconds)
    times = timing.interleave(blocks, rounds)
    unit = times["kanjax"]["min_ms"]
    print(f"{kind} n={n} size={size}", flush=True)
    for name, entry in times.items():
        print(f"  {name:16s} {entry['min_ms']:12.3f} ms {entry['min_ms'] / unit:8.2f}")
    return {
        "kind": kind,
        "n": n,
        "size": size,
        "times": times,
        "times_of_kanjax": {
            name: round(entry["min_ms"] / unit, 3)
            for name, entry in times.items()
            if name != "kanjax"
        },
    }


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
        batch = BATCH.get(size)
        return lambda: jax.block_until_ready(kernel(x, batch_size=batch))
    net, x = (mlp(size), _data((n, size)))
    if kind.startswith("resnet"):
        net, x = resnet(), _data((n, size, size, 3))
    params = net.init(jax.random.key(0))
    outputs = kind.split("_")[1]
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
        "--out", type=pathlib.Path, default="benchmarks/results/ntk.json"
    )
    parser.add_argument("--peer-python", help="an interpreter with neural-tangents")
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
