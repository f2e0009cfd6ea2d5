"""A block of the Kolmogorov-Arnold transformer beside PyTorch's and one with an MLP."""

import argparse
import contextlib
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import timing
from benchmarks.peers import client
from kanjax import kan, model, nn

# Batch, tokens, features: KAT-Tiny on images of 224 pixels.
SHAPE, QUICK_SHAPE = (16, 197, 192), (2, 3, 24)
HEADS = 3
MODES = ("forward", "step")
PEER = "kat_block"


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    options = _options(argv)
    shape = QUICK_SHAPE if options.quick else SHAPE
    features = shape[2]
    mlps = {
        "kanjax": kan.rational_mlp(features),
        "kanjax_with_mlp": model.Sequential(
            (
                nn.Dense(features, 4 * features),
                nn.Activation(jax.nn.gelu),
                nn.Dense(4 * features, features),
            )
        ),
    }
    ours = {name: _block(mlp, shape) for name, mlp in mlps.items()}
    case: dict[str, Any] = dict(
        zip(("batch", "tokens", "features"), shape, strict=True)
    )
    result: dict[str, Any] = {
        "benchmark": "kat",
        "environment": timing.environment(),
        "peers": {},
        "block": case,
    }
    with contextlib.ExitStack() as stack:
        peers = []
        if options.peer_python:
            sources = {f"{PEER}_plain": None}
            if options.source:
                sources[f"{PEER}_official"] = options.source
            for name, source in sources.items():
                peer = stack.enter_context(
                    client.start(PEER, options.peer_python, source)
                )
                result["peers"][name] = peer.entry
                if peer.absent is None:
                    peers.append((name, peer))
        for mode in MODES:
            case[mode] = _compare(ours, peers, shape, mode, options)
    timing.write_json(options.out, result)


def _compare(
    ours: dict[str, dict[str, Callable[[], Any]]],
    peers: Sequence[tuple[str, client.Peer]],
    shape: tuple[int, ...],
    mode: str,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Times of all candidates, and their ratios of minima to kanjax's block."""
    blocks: dict[str, Callable[[], Sequence[float]]] = {}
    for name, runs in ours.items():
        runs[mode]()
        blocks[name] = functools.partial(timing.block, runs[mode], options.seconds)
    for name, peer in peers:
        peer.warm_up(shape, mode)
        blocks[name] = functools.partial(peer.block, shape, mode, options.seconds)
    times = timing.interleave(blocks, options.rounds)
    unit = times["kanjax"]["min_ms"]
    print(f"{mode} of a block {shape}", flush=True)
    for name, entry in times.items():
        print(f"  {name:24s} {entry['min_ms']:10.3f} ms  {entry['min_ms'] / unit:7.2f}")
    ratios = {
        name: round(entry["min_ms"] / unit, 3)
        for name, entry in times.items()
        if name != "kanjax"
    }
    return {"times": times, "times_of_kanjax": ratios}


def _block(mlp: model.Model, shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Forward, and one step of AdamW on the mean square of the outputs."""
    block = nn.TransformerBlock(nn.Attention(shape[2], HEADS), mlp)
    key_params, key_x = jax.random.split(jax.random.key(0))
    x = jax.random.normal(key_x, shape)
    optimizer = optax.adamw(1e-4)
    params = jax.jit(block.init)(key_params)
    state = {"params": params, "optimizer": optimizer.init(params)}

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, x: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            return jnp.mean(jnp.square(block.apply(params, x)))

        gradient = jax.grad(loss)(state["params"])
        change, new = optimizer.update(gradient, state["optimizer"], state["params"])
        return {
            "params": optax.apply_updates(state["params"], change),
            "optimizer": new,
        }

    def step() -> None:
        state.update(jax.block_until_ready(update(dict(state), x)))

    forward = jax.jit(block.apply)
    return {
        "forward": lambda: jax.block_until_ready(forward(state["params"], x)),
        "step": step,
    }


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kat", description=__doc__
    )
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of a block of repeats")
    parser.add_argument("--peer-python", help="a Python that has torch")
    parser.add_argument(
        "--source", help="a folder that holds the authors' kat_rational"
    )
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (1 if options.quick else 15)
    options.seconds = options.seconds or (0.001 if options.quick else 0.5)
    return options


if __name__ == "__main__":
    main()
