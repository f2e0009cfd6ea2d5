"""Find the fastest tiles of the expansion products on this machine's NVIDIA GPU.

Every candidate is timed for every product, type and shape, and the fastest are written
to the table that the kernels read, beside those of other cards.
"""

import argparse
import functools
import itertools
import json
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from benchmarks import kernels
from kanjax import bases
from pallas_kernels import triton_calls, tuning

BASIS = bases.BSpline(5)
CANDIDATES = tuple(
    (rows, inputs, outputs, warps, stages)
    for rows, inputs, outputs in itertools.product((32, 64, 128), (32, 64), (64, 128))
    for warps in (4, 8)
    for stages in (2, 3)
)


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates and write the table."""
    options = _options(argv)
    card = tuning.card_at_hand()
    if card is None or not triton_calls.serve("auto"):
        raise SystemExit(
            "tiles are measured on an NVIDIA GPU with jax-triton; no such."
        )
    table = json.loads(options.out.read_text()) if options.out.exists() else {}
    table[card] = fastest(_timed(options.seconds))
    options.out.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


def fastest(
    duration: Callable[[str, str, tuple[int, int, int], tuple[int, ...]], float],
) -> dict[str, list[int]]:
    """Return the candidate of the least duration, by class of products.

    ``duration`` takes the product, the type, the shape and the candidate.
    """
    best = {}
    shapes = {(rows, *sizes) for rows, *sizes, _ in kernels.SPLINES}
    for out, name, shape in itertools.product("tcs", kernels.TYPES, sorted(shapes)):
        times = {c: duration(out, name, shape, c) for c in CANDIDATES}
        candidate = min(times, key=lambda c: times[c])
        # Where none of them runs the default stays.
        if math.isfinite(times[candidate]):
            key = tuning.shape_class(out, name, *shape[1:])
            best[key] = list(candidate)
    return best


def _timed(seconds: float) -> Callable[..., float]:
    from pallas_kernels import expansion_triton

    def duration(
        out: str, name: str, shape: tuple[int, int, int], candidate: tuple[int, ...]
    ) -> float:
        dtype, precision = kernels.TYPES[name]
        rows, inputs, outputs = shape
        keys = jax.random.split(jax.random.key(0), 3)
        x = jax.random.uniform(keys[0], (rows, inputs), minval=-1).astype(dtype)
        coef = jax.random.normal(keys[1], (BASIS.size, inputs, outputs)).astype(dtype)
        t = jax.random.normal(keys[2], (rows, outputs)).astype(dtype)
        named: dict[str, Any] = {"x": x, "c": coef, "t": t}
        named.pop(out)

        @jax.jit
        def run(named: dict[str, Any]) -> jax.Array:
            given = {k: (a, False) for k, a in named.items()} | {"leaves": None}
            blocks = expansion_triton.Blocks(*candidate)
            return expansion_triton.product(
                BASIS, int(out == "s"), out, {"s": None} | given, 1, dtype, blocks
            )

        try:
            with jax.default_matmul_precision(precision):
                block = functools.partial(kernels.block_of, run, (named,))
                block(0.0)
                return min(block(seconds))
        # Tiles that a card has no room for fail in many ways.
        except Exception as error:
            print(out, name, shape, candidate, type(error).__name__, flush=True)
            return math.inf

    return duration


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=tuning.PATH)
    parser.add_argument("--seconds", type=float, default=0.05)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
