"""Formulas recovered from samples, beside pykan in the same run, and times of parts.

For every formula of ``benchmarks.formulas`` a network is trained sparsely, pruned, read
off and refitted. A formula counts as recovered when the one found is exact to 0.1 % of
the target's standard deviation, on new points of the domain and outside of it.
"""

import argparse
import contextlib
import functools
import pathlib
import shutil
import time
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import formulas, timing
from benchmarks.peers import client
from kanjax import bases, kan
from kanjax.kan import symbolic

SHAPE, QUICK_SHAPE = (64, 64, 64), (3, 4, 2)
ROWS, QUICK_ROWS = 10_000, 200


def main(argv: Sequence[str] | None = None) -> None:
    """Recover all formulas, time the parts and write the result."""
    options = _options(argv)
    chosen = list(enumerate(formulas.FORMULAS))[: 1 if options.quick else None]
    if options.only:
        chosen = [(i, one) for i, one in chosen if one.name in options.only]
    result: dict[str, Any] = {
        "benchmark": "symbolic",
        "environment": timing.environment((*timing.PACKAGES, "scipy", "sympy")),
        "tolerance": formulas.TOLERANCE,
        "starts": options.starts,
        "parts": _parts(options),
        "formulas": [],
        "peers": {},
    }
    with contextlib.ExitStack() as stack:
        peer = None
        if options.peer_python:
            peer = stack.enter_context(
                client.start("pykan_symbolic", options.peer_python)
            )
            result["peers"]["pykan"] = peer.entry
        for index, one in chosen:
            entry = {
                "name": one.name,
                "formula": one.text,
                "kanjax": _ours(one, options),
            }
            if peer is not None and peer.absent is None:
                asked = {"index": index, "starts": options.starts}
                entry["pykan"] = peer.ask(**asked)
            result["formulas"].append(entry)
            _tell(entry)
            # It takes long: what is there is kept if it ends early.
            result["summary"] = _summary(result["formulas"])
            timing.write_json(options.out, result)


def _ours(one: formulas.Formula, options: Any) -> dict[str, Any]:
    """The formula found, its errors, and the time, compilation included."""
    x, y = (jnp.asarray(v, jnp.float32) for v in formulas.samples(one))
    if options.quick:
        x, y = x[:200], y[:200]
    hidden, products = one.hidden
    net = kan.KAN(
        (x.shape[1], hidden + products, 1),
        bases.BSpline(5, domain=one.domain),
        products=(products, 0) if products else None,
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        # That a formula is not exact is what is measured.
        warnings.filterwarnings("ignore", "no exact formula", RuntimeWarning)
        found = kan.discover(
            net,
            jax.random.key(0),
            x,
            y,
            starts=options.starts,
            steps=5 if options.quick else 300,
        )
    try:
        (expression,) = symbolic.formula(found.model, found.params, x, digits=7)
    except ValueError as error:
        seconds = round(time.perf_counter() - start, 2)
        failed = {"recovered": False, "rmse": None, "failed": str(error)}
        return {**failed, "seconds": seconds}
    seconds = time.perf_counter() - start
    names = [f"x{i + 1}" for i in range(x.shape[1])]
    return {
        **formulas.judge(one, expression, names),
        "seconds": round(seconds, 2),
        "functions": [edge.fit.name for edge in found.edges],
    }


def _tell(entry: dict[str, Any]) -> None:
    print(entry["name"], entry["formula"], flush=True)
    for who in ("kanjax", "pykan"):
        if who in entry:
            one = entry[who]
            state = "recovered" if one["recovered"] else "not recovered"
            text = f"  {who:8s} {state:14s} {one['seconds']:8.1f} s  {one['rmse']}"
            print(text, flush=True)


def _summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for who in ("kanjax", "pykan"):
        those = [entry[who] for entry in entries if who in entry]
        if those:
            found[who] = {
                "recovered": sum(one["recovered"] for one in those),
                "of": len(those),
                "seconds": round(sum(one["seconds"] for one in those), 1),
            }
    return found


def _parts(options: Any) -> dict[str, Any]:
    """One edge with the whole library; a grid update and a refinement."""
    points = jnp.linspace(-1, 1, 100)
    curve = 5 * jnp.sin(3 * points + 2) + 0.7
    library = list(symbolic.LIBRARY)
    shape = QUICK_SHAPE if options.quick else SHAPE
    rows = QUICK_ROWS if options.quick else ROWS
    net = kan.KAN(shape)
    params = net.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (rows, shape[0]), minval=-1)
    blocks = {
        "one_edge": lambda: symbolic.suggest(points, curve, library=library),
        "update_grid": lambda: jax.block_until_ready(
            kan.update_grid(net, params, x)[1]
        ),
        "refine": lambda: jax.block_until_ready(kan.refine(net, params, x, 10)[1]),
    }
    for run in blocks.values():
        run()
    times = timing.interleave(
        {
            name: functools.partial(timing.block, run, options.seconds)
            for name, run in blocks.items()
        },
        options.rounds,
    )
    for name, entry in times.items():
        print(f"{name:14s} {entry['min_ms']:10.3f} ms")
    return {
        "functions": len(library),
        "shape": list(shape),
        "rows": rows,
        "times": times,
        "best": symbolic.suggest(points, curve)[0].name,
        "r2": float(np.max([f.r2 for f in symbolic.suggest(points, curve)])),
    }


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/symbolic.json"
    )
    parser.add_argument("--peer-python", help="an interpreter that has pykan")
    parser.add_argument(
        "--starts", type=int, help="trainings of which the best is kept"
    )
    parser.add_argument("--only", nargs="+", help="names of formulas, such as I.12.1")
    parser.add_argument("--rounds", type=int, help="blocks of each part")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    options = parser.parse_args(argv)
    options.starts = options.starts or (1 if options.quick else 3)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.01 if options.quick else 0.5)
    if options.peer_python and shutil.which(options.peer_python) is None:
        parser.error(f"--peer-python {options.peer_python!r} is not an executable.")
    return options


if __name__ == "__main__":
    main()
