"""neural-tangents' kernels of the networks in ``benchmarks/ntk.py``.

A request's shape is (n, size), its mode the kind of case, with the number of an
implementation behind it for an empirical kernel: ``mlp_trace:1``.
"""

import argparse
import json

from benchmarks import timing
from benchmarks.peers import server

PACKAGES = ("neural-tangents", "jax", "jaxlib")
OUTPUTS = 10
BATCH = {32: 4}


class Runs(dict):
    """The runs of a shape, made when they are first asked for."""

    def __init__(self, n: int, size: int) -> None:
        super().__init__()
        self.n, self.size = n, size

    def __missing__(self, mode: str):
        self[mode] = _run(mode, self.n, self.size)
        return self[mode]


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of (n, size)."""
    import neural_tangents  # noqa: F401

    return Runs(shape[0], shape[1])


def _run(mode: str, n: int, size: int):
    import jax
    import numpy as np
    from neural_tangents import stax

    def data(*shape: int):
        x = np.random.RandomState(0).normal(size=shape)
        return jax.numpy.asarray(x, jax.numpy.float32)

    kind, _, implementation = mode.partition(":")
    if kind == "dense":
        layers = [stax.Dense(512, 2**0.5), stax.Relu()] * size
        return _infinite(stax.serial(*layers, stax.Dense(1, 2**0.5)), data(n, 64), None)
    if kind == "myrtle":
        return _infinite(_myrtle(stax, size), data(n, size, size, 3), BATCH.get(size))
    relu, outputs = stax.Relu(), kind.split("_")[1]
    if kind.startswith("mlp"):
        dense = stax.Dense(512, 2**0.5, 0.0, parameterization="standard")
        last = stax.Dense(OUTPUTS, 2**0.5, 0.0, parameterization="standard")
        return _empirical(
            stax.serial(dense, relu, dense, relu, last),
            data(n, size),
            outputs,
            int(implementation),
        )

    def conv():
        return stax.Conv(
            16, (3, 3), padding="SAME", b_std=0.0, parameterization="standard"
        )

    def block():
        inside = stax.serial(relu, conv(), relu, conv())
        return stax.serial(
            stax.FanOut(2), stax.parallel(stax.Identity(), inside), stax.FanInSum()
        )

    head = stax.Dense(OUTPUTS, 1.0, 0.0, parameterization="standard")
    net = stax.serial(conv(), block(), block(), relu, stax.GlobalAvgPool(), head)
    return _empirical(net, data(n, size, size, 3), outputs, int(implementation))


def _myrtle(stax, size: int):
    def conv():
        return stax.Conv(64, (3, 3), padding="SAME", W_std=2**0.5)

    layers = [conv(), stax.Relu()]
    while size > 2:
        layers += [conv(), stax.Relu(), stax.AvgPool((2, 2), (2, 2))]
        size //= 2
    return stax.serial(*layers, stax.GlobalAvgPool(), stax.Dense(1))


def _infinite(net, x, batch):
    import jax
    import neural_tangents as nt

    kernel = net[2]
    if batch is None:
        compute = jax.jit(lambda x: kernel(x, None, ("nngp", "ntk")))
    else:
        batched = nt.batch(kernel, batch, device_count=0)
        compute = lambda x: batched(x, None, ("nngp", "ntk"))  # noqa: E731
    return lambda: jax.block_until_ready(compute(x))


def _empirical(net, x, outputs: str, implementation: int):
    import jax
    import neural_tangents as nt
    from jax._src import source_info_util

    # Its third implementation finds these two where older versions of jax had them.
    jax.interpreters.ad.source_info_util = source_info_util
    jax.interpreters.ad.config = jax.config

    init, apply, _ = net
    _, params = init(jax.random.PRNGKey(0), x.shape)
    kernel = nt.empirical_ntk_fn(
        apply,
        trace_axes=(-1,) if outputs == "trace" else (),
        vmap_axes=0,
        implementation=implementation,
    )
    compute = jax.jit(lambda x, params: kernel(x, None, params))
    return lambda: jax.block_until_ready(compute(x, params))


def main() -> None:
    """Serve, or with ``--peak`` print what a case adds to the peak memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peak", nargs=3, metavar=("MODE", "N", "SIZE"))
    options, _ = parser.parse_known_args()
    if options.peak is None:
        server.main(make, PACKAGES)
        return
    mode, n, size = options.peak[0], *map(int, options.peak[1:])
    _run("dense", 8, 2)()
    print(json.dumps({"peak_mb": timing.peak_growth_mb(_run(mode, n, size))}))


if __name__ == "__main__":
    main()
