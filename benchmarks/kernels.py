"""The fused kernels beside what they cannot do without, on whatever device there is.

First their errors there against float64, on shapes that no tile divides. Then the
expansion product beside the matrix product of its inner size with the expansion given;
the grouped rational function beside GELU, beside autodiff of its definition and on a
CUDA device beside FlashKAT, where ``--peer-python`` has PyTorch and ``--source`` says
where FlashKAT is.
``--figure`` draws the products under the device's roofline, which is measured as well.
"""

import argparse
import contextlib
import functools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pallas_kernels
from benchmarks import timing
from benchmarks.peers import client
from kanjax import bases
from pallas_kernels import reference

SPLINES = tuple(
    (batch, inputs, outputs, intervals)
    for intervals in (5, 32)
    for batch, inputs, outputs in ((1024, 64, 64), (4096, 256, 256), (8192, 784, 64))
)
RATIONALS = ((64, 1000, 512), (8192, 768))
GROUPS = 8
MODES = {
    "splines": ("forward", "forward_backward"),
    "rationals": ("forward", "backward", "forward_backward"),
}
PEER = "flashkat"
# What arrays are of, and how products of matrices of them are taken.
TYPES = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", "tensorfloat32"),
    "bfloat16": ("bfloat16", "default"),
}
Block = Callable[[float], list[float]]
"""The durations of repeats for so many seconds, at least one."""


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    options = _options(argv)
    device = jax.devices()[0]
    result: dict[str, Any] = {
        "benchmark": "kernels",
        "environment": timing.environment(),
        "device": {"platform": device.platform, "kind": device.device_kind},
        "errors": _errors(options.dtypes),
        "limits": _limits(options),
        "peers": {},
        "failed": {},
        "splines": [],
        "rationals": [],
    }
    for name in options.dtypes:
        result["splines"] += _spline_cases(name, result, options)
    with contextlib.ExitStack() as stack:
        peer = None
        if options.peer_python:
            peer = stack.enter_context(
                client.start(PEER, options.peer_python, options.source)
            )
            result["peers"][PEER] = peer.entry
        for name in options.dtypes:
            # Nothing is multiplied as matrices in them.
            if name != "tf32":
                result["rationals"] += _rational_cases(name, peer, result, options)
    timing.write_json(options.out, result)
    if options.figure:
        _figure(result).savefig(options.figure, dpi=110, bbox_inches="tight")


def _errors(dtypes: Sequence[str]) -> dict[str, dict[str, float]]:
    """The largest error of values and gradients, as a share of the largest number."""
    keys = jax.random.split(jax.random.key(0), 5)
    basis = bases.BSpline(5)
    x = jax.random.uniform(keys[0], (301, 97), minval=-1)
    coef = jax.random.normal(keys[1], (basis.size, 97, 83))
    z = jax.random.normal(keys[2], (301, 96))
    a, b = jax.random.normal(keys[3], (8, 6)), jax.random.normal(keys[4], (8, 4))
    cases = {
        "expansion_dot": (
            functools.partial(pallas_kernels.expansion_dot, basis=basis),
            functools.partial(reference.expansion_dot, basis=basis),
            (x, coef),
        ),
        "group_rational": (pallas_kernels.group_rational, _plain_rational, (z, a, b)),
    }
    errors: dict[str, dict[str, float]] = {}
    for name, (ours, plain, operands) in cases.items():
        errors[name] = {}
        for kind in dtypes:
            dtype, precision = TYPES[kind]
            given = [v.astype(dtype) for v in operands]
            with jax.default_matmul_precision(precision):
                found = _value_and_gradients(ours, given)
            with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
                doubled = [jnp.asarray(np.asarray(v, float)) for v in given]
                exact = _value_and_gradients(plain, doubled)
            errors[name][kind] = max(
                float(
                    np.abs(np.asarray(one, float) - other).max() / np.abs(other).max()
                )
                for one, other in zip(found, map(np.asarray, exact), strict=True)
            )
    return errors


def _error(ours: jax.Array, exact: jax.Array) -> float:
    off = np.abs(np.asarray(ours, float) - np.asarray(exact))
    return float(off.max() / np.abs(exact).max())


def _value_and_gradients(
    f: Callable[..., jax.Array], operands: Sequence[jax.Array]
) -> list[jax.Array]:
    @jax.jit
    def both(*operands: jax.Array) -> Any:
        y, pull = jax.vjp(f, *operands)
        return y, pull(jnp.ones_like(y))

    return jax.tree.leaves(both(*operands))


def _spline_cases(
    name: str, result: dict[str, Any], options: argparse.Namespace
) -> list[dict[str, Any]]:
    dtype, precision = TYPES[name]
    cases = []
    with jax.default_matmul_precision(precision):
        for shape in ((16, 4, 4, 3),) if options.quick else SPLINES:
            names = zip(("batch", "in", "out", "intervals"), shape, strict=True)
            candidates = _splines(shape, dtype, result["failed"])
            modes = MODES["splines"]
            cases += _cases(candidates, modes, dict(names), name, options)
    return cases


def _rational_cases(
    name: str,
    peer: client.Peer | None,
    result: dict[str, Any],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    dtype, _ = TYPES[name]
    cases = []
    for shape in ((16, 16),) if options.quick else RATIONALS:
        candidates = _rationals(shape, dtype, result["failed"])
        if peer is not None and not result["peers"][PEER].keys() & {"absent", "failed"}:
            try:
                candidates[PEER] = _of_peer(peer, shape, dtype)
            except client.PeerError as error:
                result["peers"][PEER]["failed"] = str(error)
        modes, names = MODES["rationals"], {"shape": list(shape)}
        for case in _cases(candidates, modes, names, name, options):
            case["of_copy"] = _of_copy(case, result["limits"])
            cases.append(case)
    return cases


def _of_peer(peer: client.Peer, shape: tuple[int, ...], dtype: str) -> dict[str, Block]:
    """The peer's runs, all of which have been seen to work."""
    runs = {}
    for mode in MODES["rationals"]:
        peer.warm_up(shape, f"{dtype} {mode}")
        runs[mode] = functools.partial(peer.block, shape, f"{dtype} {mode}")
    return runs


def _limits(options: argparse.Namespace) -> dict[str, float]:
    """The most float32 operations and bytes a second that were seen."""
    side = 64 if options.quick else 3072
    a = jax.random.normal(jax.random.key(0), (side, side))
    long = jnp.ones(2**12 if options.quick else 2**26)
    runs = {
        "product": _runs(jnp.matmul, a, a)["forward"],
        "copy": _runs(lambda v: v + 1, long)["forward"],
    }
    times = _timed(runs, options)
    seconds = {name: found["min_ms"] / 1e3 for name, found in times.items()}
    return {
        "operations_per_s": 2 * side**3 / seconds["product"],
        "bytes_per_s": 2 * long.nbytes / seconds["copy"],
    }


def _figure(result: dict[str, Any]) -> Any:
    """The forward passes of both products, counted in float32."""
    from kanjax import plotting

    points: dict[str, list[tuple[float, float]]] = {}
    for case in result["splines"]:
        if case["mode"] != "forward" or case["dtype"] != "float32":
            continue
        rows, columns = case["batch"], case["out"]
        inner = case["in"] * bases.BSpline(case["intervals"]).size
        operations = 2 * rows * inner * columns
        moved = {
            "matrix_product": rows * inner + inner * columns + rows * columns,
            "expansion_dot": rows * case["in"] + inner * columns + rows * columns,
        }
        for name, numbers in moved.items():
            speed = operations / (case["times"][name]["min_ms"] / 1e3)
            pairs = points.setdefault(name.replace("_", " "), [])
            pairs.append((operations / (4 * numbers), speed))
    limits = result["limits"]
    # A large square product is not always the fastest.
    seen = [speed for pairs in points.values() for _, speed in pairs]
    return plotting.roofline(
        points,
        peak=max(limits["operations_per_s"], *seen),
        bandwidth=limits["bytes_per_s"],
        title=f"Forward pass in float32 on {result['environment']['cpu']}"
        if result["device"]["platform"] == "cpu"
        else f"Forward pass in float32 on {result['device']['kind']}",
    )


def _cases(
    candidates: dict[str, dict[str, Block]],
    modes: Sequence[str],
    names: dict[str, Any],
    dtype: str,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """The times of all candidates in all modes, as multiples of the first too."""
    cases = []
    for mode in modes:
        runs = {name: blocks[mode] for name, blocks in candidates.items()}
        times = _timed(runs, options)
        unit = next(iter(times.values()))["min_ms"]
        ratios = {name: round(t["min_ms"] / unit, 3) for name, t in times.items()}
        print(mode, names, dtype, ratios, flush=True)
        case = {**names, "dtype": dtype, "mode": mode}
        cases.append({**case, "times": times, "over_first": ratios})
    return cases


def _timed(
    blocks: dict[str, Block], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    for block in blocks.values():
        block(0.0)
    seconds = options.seconds
    return timing.interleave(
        {k: functools.partial(block, seconds) for k, block in blocks.items()},
        options.rounds,
    )


def _splines(
    shape: tuple[int, ...], dtype: str, failed: dict[str, str]
) -> dict[str, dict[str, Block]]:
    batch, inputs, outputs, intervals = shape
    basis = bases.BSpline(intervals)
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.uniform(keys[0], (batch, inputs), minval=-1).astype(dtype)
    coef = jax.random.normal(keys[1], (basis.size, inputs, outputs)).astype(dtype)
    left = jax.random.normal(keys[2], (batch, inputs * basis.size)).astype(dtype)
    right = jax.random.normal(keys[3], (inputs * basis.size, outputs)).astype(dtype)

    ours = functools.partial(pallas_kernels.expansion_dot, basis=basis)

    def plain(x: jax.Array, coef: jax.Array) -> jax.Array:
        return reference.expansion_dot(x, coef, basis)

    others = ["xla"] if dtype == "float32" else ["xla", "mosaic"]
    return {
        "matrix_product": _runs(jnp.matmul, left, right),
        "expansion_dot": _runs(ours, x, coef),
        "expansion_stored": _runs(plain, x, coef),
        **_by_others("expansion_dot", ours, (x, coef), others, failed),
    }


def _rationals(
    shape: tuple[int, ...], dtype: str, failed: dict[str, str]
) -> dict[str, dict[str, Block]]:
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], shape).astype(dtype)
    start = bases.Rational(GROUPS, start="gelu").init(keys[1])
    coef = start["numerator"], start["denominator"]

    ours = pallas_kernels.group_rational
    others = ["xla", "mosaic"] if dtype == "float32" else ["xla"]
    return {
        "gelu": _runs(jax.nn.gelu, x),
        "group_rational": _runs(ours, x, *coef),
        "plain_autodiff": _runs(_plain_rational, x, *coef),
        **_by_others("group_rational", ours, (x, *coef), others, failed),
    }


def _plain_rational(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """The definition, by powers."""
    parts = x.reshape(*x.shape[:-1], GROUPS, x.shape[-1] // GROUPS)
    a, b = (jnp.broadcast_to(c, (*x.shape[:-1], *c.shape)) for c in (a, b))
    p = sum(a[..., i, None] * parts**i for i in range(a.shape[-1]))
    terms = [b[..., j, None] * parts ** (j + 1) for j in range(b.shape[-1])]
    q = 1 + sum(jnp.abs(term) for term in terms)
    return (p / q).reshape(x.shape).astype(x.dtype)


def _by_others(
    name: str,
    f: Callable[..., jax.Array],
    operands: Sequence[jax.Array],
    backends: Sequence[str],
    failed: dict[str, str],
) -> dict[str, dict[str, Block]]:
    """A GPU's other kernels; of those that do not run it is kept why."""
    found = {}
    for backend in backends if jax.default_backend() == "gpu" else ():
        label = f"{name}_{backend}"
        try:
            runs = _runs(functools.partial(f, backend=backend), *operands)
            for block in runs.values():
                block(0.0)
            found[label] = runs
        except Exception as error:
            failed[label] = f"{type(error).__name__}: {error}"[:500]
    return found


def _of_copy(case: dict[str, Any], limits: dict[str, float]) -> dict[str, float]:
    """The bandwidth of what must be read and written, as a share of a copy's.

    Forward that is x and y, backward x and two cotangents; both together read x once.
    """
    arrays = {"forward": 2, "backward": 3, "forward_backward": 4}[case["mode"]]
    moved = arrays * math.prod(case["shape"]) * jnp.dtype(case["dtype"]).itemsize
    return {
        name: round(moved / (found["min_ms"] / 1e3) / limits["bytes_per_s"], 3)
        for name, found in case["times"].items()
    }


def _runs(f: Callable[..., jax.Array], *operands: jax.Array) -> dict[str, Block]:
    """The value, the gradients of all operands for a given cotangent, and both."""
    forward = jax.jit(f)
    cotangent = jnp.ones_like(forward(*operands))

    @jax.jit
    def backward(cotangent: jax.Array, *operands: jax.Array) -> Any:
        return jax.vjp(f, *operands)[1](cotangent)

    @jax.jit
    def both(cotangent: jax.Array, *operands: jax.Array) -> Any:
        y, pull = jax.vjp(f, *operands)
        return y, pull(cotangent)

    return {
        "forward": functools.partial(block_of, forward, operands),
        "backward": functools.partial(block_of, backward, (cotangent, *operands)),
        "forward_backward": functools.partial(block_of, both, (cotangent, *operands)),
    }


def block_of(
    f: Callable[..., Any], operands: Sequence[Any], seconds: float
) -> list[float]:
    """Mean durations of launches that follow each other; on a CPU of single ones."""
    launches = 1 if jax.default_backend() == "cpu" else timing.LAUNCHES

    def batch() -> None:
        for _ in range(launches):
            found = f(*operands)
        jax.block_until_ready(found)

    return [total / launches for total in timing.block(batch, seconds)]


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/kernels.json"
    )
    parser.add_argument(
        "--dtypes", nargs="+", default=["float32"], choices=TYPES, metavar="TYPE"
    )
    parser.add_argument("--figure", type=pathlib.Path, help="a .png to draw into")
    parser.add_argument("--peer-python", help="a Python that has torch for CUDA")
    parser.add_argument("--source", help="a folder that holds FlashKAT's rational_kat")
    options = parser.parse_args(argv)
    options.rounds = 2 if options.quick else 6
    options.seconds = 0.01 if options.quick else 0.3
    return options


if __name__ == "__main__":
    main()
