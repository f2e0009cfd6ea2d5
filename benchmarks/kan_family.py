"""Convolutions of learned functions and attention to neighborhoods, beside floors."""

import argparse
import contextlib
import functools
import json
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from benchmarks.peers import client
from kanjax import bases, kan, model, nn
from kanjax.kan import color_matching
from kanjax.nn import neighborhoods

# Images, their side, channels in and out; intervals of the basis.
CONVOLUTION, QUICK_CONVOLUTION = (8, 28, 32, 32), (2, 6, 2, 3)
INTERVALS = 5
# Images, side, heads, features of a head, kernel, dilation: a first stage of MedViTV2.
ATTENTION, QUICK_ATTENTION = (1, 56, 2, 32, 7, 8), (1, 8, 1, 4, 3, 2)

# A batch and the widths of layers; images and their side.
LAYERS, QUICK_LAYERS = (512, 784, 64, 10), (4, 6, 3, 2)
PHOTOGRAPHS, QUICK_PHOTOGRAPHS = (4, 64), (1, 8)
PARTS = ("convolution", "attention", "steps")
PEERS = ("af_kan", "faster_kan", "cm_kan")
"""The PyTorch layers of the papers' authors."""


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    options = _options(argv)
    result = {"benchmark": "kan_family", "environment": timing.environment()}
    parts = {"convolution": _convolution, "attention": _attention, "steps": _steps}
    if set(options.parts) < set(PARTS) and options.out.exists():
        result = json.loads(options.out.read_text(encoding="utf-8")) | result
    result |= {part: parts[part](options) for part in options.parts}
    timing.write_json(options.out, result)


def _convolution(options: Any) -> dict[str, Any]:
    """Layers of 3 x 3 points, each beside a convolution of as many multiplications.

    That floor has the expanded channels for free: its input has as many times more as
    there are functions, and one more for the residual.
    """
    images, side, inputs, outputs = QUICK_CONVOLUTION if options.quick else CONVOLUTION
    basis = bases.BSpline(INTERVALS)
    pool = kan.selection.POOL_DEFAULT
    layers = {
        "kan": (kan.kan_conv(inputs, outputs, (3, 3), basis), basis.size),
        "selectable": (
            kan.selectable_conv(inputs, outputs, (3, 3), pool),
            sum(each.size for each in pool),
        ),
    }
    x = jax.random.normal(jax.random.key(0), (images, side, side, inputs))
    case: dict[str, Any] = {
        "images": images,
        "side": side,
        "channels": [inputs, outputs],
    }
    modes = {
        "forward": lambda net: net.apply,
        "step": lambda net: jax.grad(
            lambda p, x: jnp.sum(net.apply(p, x) ** 2), argnums=(0, 1)
        ),
    }
    for name, (layer, functions) in layers.items():
        inner = (functions + 1) * inputs
        expanded = jax.random.normal(jax.random.key(1), (images, side, side, inner))
        plain = nn.Conv(inner, outputs, (3, 3))
        key = jax.random.key(2)
        case[name] = {"inner_channels": inner}
        for mode, make in modes.items():
            programs = {
                "plain_convolution": (make(plain), (plain.init(key), expanded)),
                name: (make(layer), (layer.init(key), x)),
            }
            case[name][mode] = _compare(programs, "plain_convolution", options)
    return case


def _attention(options: Any) -> dict[str, Any]:
    """Attention to dilated windows beside the same by a mask on all scores."""
    images, side, heads, features, kernel, dilation = (
        QUICK_ATTENTION if options.quick else ATTENTION
    )
    q, k, v = (
        jax.random.normal(key, (images, side, side, heads, features))
        for key in jax.random.split(jax.random.key(0), 3)
    )
    # (side, kernel) rows that each row sees; a place sees rows and columns.
    seen = np.zeros((side, side), bool)
    rows = neighborhoods.neighborhood_indices(side, kernel, dilation)
    seen[np.arange(side)[:, None], rows] = True
    mask = jnp.asarray(np.kron(seen, seen))

    def blocked(q: Any, k: Any, v: Any) -> Any:
        return neighborhoods.neighborhood_attention(
            q, k, v, kernel=kernel, dilation=dilation
        )

    def masked(q: Any, k: Any, v: Any) -> Any:
        flat = (x.reshape(images, side * side, heads, features) for x in (q, k, v))
        out = jax.nn.dot_product_attention(*flat, mask=mask)
        return out.reshape(q.shape)

    def chosen(q: Any, k: Any, v: Any) -> Any:
        """As many scores as windows have, on places that happen to be first."""
        few = kernel**2
        flat = q.reshape(images, side * side, heads, features)
        keys, values = (
            x.reshape(images, side * side, heads, features)[:, :few] for x in (k, v)
        )
        out = jax.nn.dot_product_attention(
            flat, keys, values, mask=jnp.ones((side * side, few), bool)
        )
        return out.reshape(q.shape)

    np.testing.assert_allclose(
        jax.jit(blocked)(q, k, v), jax.jit(masked)(q, k, v), atol=1e-4
    )

    def backward(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.grad(lambda *qkv: jnp.sum(function(*qkv) ** 2), argnums=(0, 1, 2))

    functions = {
        "masked_full": masked,
        "same_number_of_scores": chosen,
        "neighborhoods": blocked,
    }
    case: dict[str, Any] = {
        "images": images,
        "side": side,
        "heads": heads,
        "features": features,
        "kernel": kernel,
        "dilation": dilation,
        "scores": {"neighborhoods": kernel**2, "masked_full": side**2},
    }
    for mode, wrap in (("forward", lambda f: f), ("step", backward)):
        programs = {name: (wrap(f), (q, k, v)) for name, f in functions.items()}
        case[mode] = _compare(programs, "masked_full", options)
    return case


def _steps(options: Any) -> dict[str, Any]:
    """A step of Adam of each architecture, beside its authors' where they are here."""
    layers = QUICK_LAYERS if options.quick else LAYERS
    batch, *widths = layers
    images, side = QUICK_PHOTOGRAPHS if options.quick else PHOTOGRAPHS
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.uniform(keys[0], (batch, widths[0]), minval=-1.0)
    flat = x, jnp.zeros((batch, widths[-1]))
    photographs = tuple(jax.random.uniform(keys[1], (2, images, side, side, 3)))
    switches = bases.Sech(8, (-2.0, 2.0), 0.33, 2)
    faster: list[Any] = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        faster += [
            nn.LayerNorm(inputs),
            kan.KANLayer(inputs, outputs, switches, residual=None),
        ]
    square = lambda y, target: jnp.mean((y - target) ** 2)  # noqa: E731
    distance = lambda y, target: jnp.mean(jnp.abs(y - target))  # noqa: E731
    networks = {
        "af_kan": (kan.AFKAN(tuple(widths), norm="batch"), square, flat, layers),
        "faster_kan": (model.Sequential(tuple(faster)), square, flat, layers),
        "cm_kan": (
            color_matching.ColorMatcher(light=True),
            distance,
            photographs,
            (images, side),
        ),
    }
    result: dict[str, Any] = {}
    for name, (net, error, data, shape) in networks.items():
        params = net.init(keys[2])
        step, state = _adam_step(net, error), optax.adam(1e-3).init(params)
        run = functools.partial(_run, step, (params, state, *data))
        run()
        blocks = {"kanjax": functools.partial(timing.block, run, options.seconds)}
        entry: dict[str, Any] = {"shape": list(shape)}
        with contextlib.ExitStack() as stack:
            if options.peer_python and name in options.sources:
                peer = stack.enter_context(
                    client.start(name, options.peer_python, options.sources[name])
                )
                entry["authors"] = peer.entry
                if peer.absent is None:
                    peer.warm_up(shape, "step")
                    blocks["authors"] = functools.partial(
                        peer.block, shape, "step", options.seconds
                    )
            times = timing.interleave(blocks, options.rounds)
        entry["times"] = times
        if "authors" in times:
            ratio = times["authors"]["min_ms"] / times["kanjax"]["min_ms"]
            entry["times_of_kanjax"] = {"authors": round(ratio, 3)}
        result[name] = entry
    return result


def _adam_step(net: Any, error: Callable[..., Any]) -> Callable[..., Any]:
    optimizer = optax.adam(1e-3)

    @jax.jit
    def step(params: Any, state: Any, x: Any, y: Any) -> Any:
        slope = jax.grad(lambda p: error(net.apply(p, x), y))(params)
        change, state = optimizer.update(slope, state)
        return optax.apply_updates(params, change), state

    return step


def _compare(
    programs: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]],
    floor: str,
    options: Any,
) -> dict[str, Any]:
    """Times, temporary memory, and multiples of a candidate's."""
    blocks, held = {}, {}
    for name, (function, inputs) in programs.items():
        compiled: Any = jax.jit(function).lower(*inputs).compile()
        held[name] = compiled.memory_analysis().temp_size_in_bytes / 1e6
        run = functools.partial(_run, compiled, inputs)
        run()
        blocks[name] = functools.partial(timing.block, run, options.seconds)
    times = timing.interleave(blocks, options.rounds)
    unit = times[floor]["min_ms"]
    return {
        "times": times,
        "temporary_mb": {name: round(mb, 3) for name, mb in held.items()},
        f"times_of_{floor}": {
            name: round(entry["min_ms"] / unit, 3)
            for name, entry in times.items()
            if name != floor
        },
    }


def _run(compiled: Any, inputs: tuple[Any, ...]) -> None:
    jax.block_until_ready(compiled(*inputs))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/kan_family.json"
    )
    parser.add_argument(
        "--parts",
        nargs="*",
        default=PARTS,
        choices=PARTS,
        help="measure these, and leave the rest of the file as it is",
    )
    parser.add_argument("--peer-python", help="an interpreter that has PyTorch")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="PEER=FOLDER",
        help=f"the folder of an authors' code, of {', '.join(PEERS)}",
    )
    parser.add_argument("--rounds", type=int, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.01 if options.quick else 0.5)
    options.sources = dict(text.partition("=")[::2] for text in options.source)
    for name, folder in options.sources.items():
        if name not in PEERS or not pathlib.Path(folder).is_dir():
            parser.error(
                f"--source {name}={folder}: expected PEER=FOLDER, with PEER one of "
                f"{', '.join(PEERS)} and an existing folder."
            )
    if options.peer_python and shutil.which(options.peer_python) is None:
        parser.error(f"--peer-python {options.peer_python!r} is not an executable.")
    return options


if __name__ == "__main__":
    main()
