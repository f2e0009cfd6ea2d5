"""``fit_ensemble`` of many small KANs beside as many calls of ``fit``."""

import argparse
import operator
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import timing
from kanjax import bases, kan, training
from kanjax.data import Examples

WIDTHS = ((4, 5, 1), (4, 16, 1))
QUICK_WIDTHS = ((2, 1),)
ROWS, BATCH, INTERVALS = 300, 32, 5


def main(argv: Sequence[str] | None = None) -> None:
    """Time all variants in turn and write the result."""
    options = _options(argv)
    cases = [
        _case(widths, options.members, options.steps, options.rounds)
        for widths in (QUICK_WIDTHS if options.quick else WIDTHS)
    ]
    result = {
        "benchmark": "ensemble",
        "environment": timing.environment(),
        "members": options.members,
        "steps": options.steps,
        "rows": ROWS,
        "batch": BATCH,
        "intervals": INTERVALS,
        "cases": cases,
    }
    timing.write_json(options.out, result)


def _case(
    widths: tuple[int, ...], members: int, steps: int, rounds: int
) -> dict[str, Any]:
    """Ratios are of minima: the ensemble's time to that of the separate fits."""
    variants = _variants(widths, members, steps)
    # Each variant is a program of its own, so its first run compiles it; what they
    # have in common is compiled for the first, which is not the separate fits.
    jax.clear_caches()
    with_compilation = {
        name: timing.summary([_duration(run)]) for name, run in variants.items()
    }
    blocks = {name: lambda run=run: [_duration(run)] for name, run in variants.items()}
    compiled = timing.interleave(blocks, rounds)
    print(f"widths {widths}", flush=True)
    case: dict[str, Any] = {"widths": list(widths)}
    for title, times in (
        ("with_compilation", with_compilation),
        ("compiled", compiled),
    ):
        unit = times["separate"]["min_ms"]
        ratios = {
            name: round(entry["min_ms"] / unit, 3)
            for name, entry in times.items()
            if name != "separate"
        }
        case[title] = {"times": times, "times_of_separate": ratios}
        for name, entry in times.items():
            ratio = entry["min_ms"] / unit
            print(f"  {title:18s} {name:20s} {entry['min_ms']:10.1f} ms {ratio:6.3f}")
    return case


def _variants(
    widths: tuple[int, ...], members: int, steps: int
) -> dict[str, Callable[[], Any]]:
    model = kan.KAN(widths, basis=bases.BSpline(INTERVALS))
    key_x, key_init, key_fit = jax.random.split(jax.random.key(0), 3)
    x = jax.random.uniform(key_x, (ROWS, widths[0]), minval=-1, maxval=1)
    y = jnp.sin(3 * jnp.sum(x, axis=1, keepdims=True))
    data = Examples(x, y)
    loss = training.regression(model.apply)
    settings: dict[str, Any] = {
        "optimizer": optax.adam(1e-2),
        "steps": steps,
        "batch_size": BATCH,
    }
    params = jax.vmap(model.init)(jax.random.split(key_init, members))
    each = [jax.tree.map(operator.itemgetter(i), params) for i in range(members)]
    keys = list(jax.random.split(key_fit, members))

    def separate() -> Any:
        return [
            training.fit(loss, member, data, key=key, **settings).params
            for member, key in zip(each, keys, strict=True)
        ]

    def ensemble(shared: bool) -> Any:
        fitted = training.fit_ensemble(
            loss, params, data, key=key_fit, shared_batches=shared, **settings
        )
        return fitted.params

    return {
        "per_member_batches": lambda: ensemble(False),
        "shared_batches": lambda: ensemble(True),
        "separate": separate,
    }


def _duration(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - began


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/ensemble.json"
    )
    parser.add_argument("--members", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args(argv)
    options.members = options.members or (2 if options.quick else 32)
    options.steps = options.steps or (5 if options.quick else 500)
    options.rounds = options.rounds or (1 if options.quick else 7)
    return options


if __name__ == "__main__":
    main()
