"""Per-sample gradients, Fisher diagonals and similarities of streamed layers."""

import argparse
import contextlib
import functools
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from benchmarks.peers import client
from kanjax import model, nn, persample, training
from kanjax.representation import similarity
from kanjax.symmetry import fisher_information

PARTS = ("per_sample", "cka")
PEERS = ("pytorch_cka", "cka_pytorch")
"""Of CKA, in PyTorch."""
IMAGES, UNBLOCKED = 4096, 256
"""The images of a run in blocks, and as many as fit without."""
SIDE, CHANNELS, HIDDEN = 28, (32, 64, 128), 440
EXAMPLES, BATCH, LAYERS, WIDTH = 10_000, 250, 10, 512


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    options = _options(argv)
    result = {"benchmark": "representation", "environment": timing.environment()}
    parts = {"cka": _cka, "per_sample": _per_sample}
    result |= {part: parts[part](options) for part in options.parts}
    timing.write_json(options.out, result)


def network(side: int, channels: Sequence[int], hidden: int) -> model.Sequential:
    """Three strided convolutions and two dense layers, for images of one channel."""
    layers: list[Any] = []
    for inputs, outputs in zip((1, *channels), channels, strict=False):
        layers += [
            nn.Conv(inputs, outputs, (3, 3), strides=2),
            nn.Activation(jax.nn.relu),
        ]
        side = -(-side // 2)
    return model.Sequential(
        (
            *layers,
            nn.Flatten(2),
            nn.Dense(side * side * channels[-1], hidden),
            nn.Activation(jax.nn.relu),
            nn.Dense(hidden, 10),
        )
    )


def _per_sample(options: Any) -> dict[str, Any]:
    """Norms of each image's gradient, in blocks and at once; Fisher diagonals."""
    quick = options.quick
    images, unblocked = (8, 4) if quick else (IMAGES, UNBLOCKED)
    net = network(8, (2, 3), 4) if quick else network(SIDE, CHANNELS, HIDDEN)
    side = 8 if quick else SIDE
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (images, side, side, 1))
    y = jax.random.randint(jax.random.key(2), (images,), 0, 10)
    loss = training.classification(net.apply)

    def norms(params: Any, x: Any, y: Any) -> Any:
        return persample.map_examples(
            lambda _, gradient: optax.tree.norm(gradient), loss, params, (x, y)
        )

    def at_once(params: Any, x: Any, y: Any) -> Any:
        def gradient(x: Any, y: Any) -> Any:
            return jax.grad(lambda p: loss(p, (x[None], y[None]), None)[0])(params)

        return jax.vmap(optax.tree.norm)(jax.vmap(gradient)(x, y))

    def fisher(params: Any, x: Any, y: Any) -> Any:
        return fisher_information.diagonal_fisher(
            net.apply, params, x, y=y, labels="empirical"
        )

    few = (params, x[:unblocked], y[:unblocked])
    programs = {
        "in_blocks": (norms, few),
        "at_once": (at_once, few),
        "fisher_in_blocks": (fisher, few),
    }
    blocks, held = {}, {}
    # All images once, and first, so that the peak is that of the blocks.
    everything = jax.jit(norms).lower(params, x, y).compile()
    held["in_blocks_of_all"] = _temporary_mb(everything)
    before = timing.peak_bytes()
    all_seconds = timing.block(
        lambda: jax.block_until_ready(everything(params, x, y)), 0.0
    )[0]
    growth = timing.peak_bytes() - before
    for name, (function, inputs) in programs.items():
        compiled = jax.jit(function).lower(*inputs).compile()
        held[name] = _temporary_mb(compiled)
        blocks[name] = _block(functools.partial(compiled, *inputs), options)
    np.testing.assert_allclose(jax.jit(norms)(*few), jax.jit(at_once)(*few), rtol=1e-3)
    times = timing.interleave(blocks, options.rounds)
    of = {name: entry["min_ms"] for name, entry in times.items()}
    return {
        "parameters": model.count_parameters(params),
        "images": images,
        "all_seconds": round(all_seconds, 3),
        "all_peak_growth_mb": round(growth / 1e6, 1),
        "timed_images": unblocked,
        "times": times,
        "temporary_mb": held,
        "in_blocks_over_at_once": round(of["in_blocks"] / of["at_once"], 3),
        "fisher_over_per_sample": round(of["fisher_in_blocks"] / of["in_blocks"], 3),
    }


def _temporary_mb(compiled: Any) -> float:
    return round(compiled.memory_analysis().temp_size_in_bytes / 1e6, 1)


def _cka(options: Any) -> dict[str, Any]:
    """All pairs of layers by one stream, and pair by pair as it is usually written."""
    examples, batch, layers, width = (
        (12, 6, 2, 3) if options.quick else (EXAMPLES, BATCH, LAYERS, WIDTH)
    )
    keys = jax.random.split(jax.random.key(0), 2 * layers)
    values = [jax.random.normal(key, (examples, width)) for key in keys]
    plain = [np.asarray(v) for v in values]
    # NumPy's share grows with the batches, and would take minutes for all of them.
    few = 2 * batch

    def batches(each: Sequence[Any], until: int) -> Iterator[Any]:
        for start in range(0, until, batch):
            cut = [v[start : start + batch] for v in each]
            yield cut[:layers], cut[layers:]

    @jax.jit
    def multiply(batch: Sequence[Any]) -> list[Any]:
        """Sum what no way around the kernels can do without: their products."""
        return [jnp.sum(v @ v.T) for v in batch]

    def kernels() -> Any:
        return [multiply((*xs, *ys)) for xs, ys in batches(values, examples)]

    def stream() -> Any:
        return similarity.minibatch_cka(batches(values, examples))

    expected = pair_by_pair(batches(plain, few))
    result = similarity.minibatch_cka(batches(values, few))
    np.testing.assert_allclose(result, expected, atol=1e-3)
    two_batches = "numpy_pair_by_pair_two_batches"
    blocks = {
        "kanjax": _block(stream, options),
        "kernels_alone": _block(kernels, options),
        two_batches: functools.partial(
            timing.block, lambda: pair_by_pair(batches(plain, few)), options.seconds
        ),
    }
    shape = examples, batch, layers, width
    with contextlib.ExitStack() as stack:
        peers: dict[str, Any] = {}
        for name in PEERS if options.peer_python else ():
            peer = stack.enter_context(client.start(name, options.peer_python))
            peers[name] = peer.entry
            if peer.absent is None:
                blocks[name] = functools.partial(
                    peer.block, shape, "stream", options.seconds
                )
        times = timing.interleave(blocks, options.rounds)
    of = {name: entry["min_ms"] for name, entry in times.items()}
    of["numpy_pair_by_pair"] = of.pop(two_batches) * examples / few
    unit = of.pop("kanjax")
    return {
        "examples": examples,
        "batch": batch,
        "layers": layers,
        "width": width,
        "peers": peers,
        "times": times,
        "times_of_kanjax": {name: round(ms / unit, 3) for name, ms in of.items()},
    }


def pair_by_pair(batches: Iterator[Any]) -> np.ndarray:
    """Return debiased linear CKA in NumPy, with kernels made anew for each pair.

    The estimator of Song et al. (2012), as its formula stands.
    """

    def estimate(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
        n = len(k)
        k, l = k * (1 - np.eye(n)), l * (1 - np.eye(n))  # noqa: E741
        first = np.sum(k * l.T) + k.sum() * l.sum() / ((n - 1) * (n - 2))
        return (first - 2 * np.sum(k.sum(0) * l.sum(0)) / (n - 2)) / (n * (n - 3))

    total: Any = 0.0
    for xs, ys in batches:
        table = np.empty((len(xs), len(ys), 3))
        for i, x in enumerate(xs):
            for j, y in enumerate(ys):
                k, other = x @ x.T, y @ y.T
                pairs = (k, other), (k, k), (other, other)
                table[i, j] = [estimate(a, b) for a, b in pairs]
        total = total + table
    return total[..., 0] / np.sqrt(total[..., 1] * total[..., 2])


def _block(run: Callable[[], Any], options: Any) -> Callable[[], list[float]]:
    def ready() -> None:
        jax.block_until_ready(run())

    ready()
    return functools.partial(timing.block, ready, options.seconds)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/representation.json"
    )
    parser.add_argument("--peer-python", help="an interpreter that has the peers")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--rounds", type=int, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (0.01 if options.quick else 0.5)
    if options.peer_python and shutil.which(options.peer_python) is None:
        parser.error(f"--peer-python {options.peer_python!r} is not an executable.")
    return options


if __name__ == "__main__":
    main()
