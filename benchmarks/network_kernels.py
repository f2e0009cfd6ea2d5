"""Random features, deep kernel machines and limits of depth beside their floors."""

import argparse
import contextlib
import functools
import pathlib
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from benchmarks.peers import client, gpytorch_process
from kanjax import ntk, training
from kanjax.ntk import infinite_depth
from kanjax.ntk import random_features as rf

PEER = "gpytorch_process"


def main(argv: Sequence[str] | None = None) -> None:
    """Time all cases and write the result."""
    options = _options(argv)
    result: dict[str, Any] = {
        "benchmark": "network_kernels",
        "environment": timing.environment(),
        "random_features": _features(options),
        "deep_limit": _deep_limit(options),
        "kernel_machine": _machine(options),
    }
    timing.write_json(options.out, result)


def _features(options: argparse.Namespace) -> dict[str, Any]:
    """Features of many rows beside the matrix product and the nonlinearity alone."""
    rows, d, m = (64, 8, 32) if options.quick else (100_000, 64, 4096)
    # In blocks, as no one needs all of them at once.
    block = min(rows, 10_000)
    x = jax.random.normal(jax.random.key(0), (rows // block, block, d)) / d**0.5
    projections = rf.gaussian_projections(jax.random.key(1), m, d)
    relu = rf.ReLUFeatures(projections)
    sine = rf.ExponentialFeatures.draw(jax.random.key(2), rf.sine(), m, d)

    def floor(function: Callable[[Any], Any], x: Any) -> Any:
        return jnp.sum(function(x @ projections.T), axis=0)

    def ours(features: Any, x: Any) -> Any:
        return jnp.sum(features.apply((), x), axis=0)

    candidates = {
        "product_and_relu": functools.partial(floor, jax.nn.relu),
        "relu_features": functools.partial(ours, relu),
        "product_and_exp": functools.partial(floor, jnp.exp),
        "exponential_features": functools.partial(ours, sine),
    }
    times = _times(candidates, x, options)
    ratios = {
        name: round(times[name]["min_ms"] / times[unit]["min_ms"], 3)
        for name, unit in (
            ("relu_features", "product_and_relu"),
            ("exponential_features", "product_and_exp"),
        )
    }
    print(f"features: {ratios}", flush=True)
    return {"rows": rows, "d": d, "m": m, "times": times, "over_floor": ratios}


def _times(
    candidates: dict[str, Callable[[Any], Any]], x: Any, options: argparse.Namespace
) -> dict[str, Any]:
    blocks = {}
    for name, function in candidates.items():
        run = jax.jit(functools.partial(jax.lax.map, function))

        def call(run: Any = run) -> Any:
            return jax.block_until_ready(run(x))

        call()
        blocks[name] = functools.partial(timing.block, call, options.seconds)
    return timing.interleave(blocks, options.rounds)


def _deep_limit(options: argparse.Namespace) -> dict[str, Any]:
    """The kernel of a network of infinite depth among all pairs of points."""
    points = 30 if options.quick else 3000
    x = jax.random.normal(jax.random.key(0), (points, 3))
    x = jnp.abs(x / jnp.linalg.norm(x, axis=1, keepdims=True))
    activation = infinite_depth.optimal_activation(2)
    entry: dict[str, Any] = {"points": points}
    log_g = infinite_depth.tabulate_koenigs(activation)
    candidates = {
        "table": log_g,
        "by_steps": functools.partial(infinite_depth.log_koenigs, activation),
    }
    blocks = {}
    for name, function in candidates.items():

        @jax.jit
        def run(x: Any, function: Any = function) -> Any:
            return function(jnp.clip(x @ x.T, 0, 1))

        call = functools.partial(lambda run: jax.block_until_ready(run(x)), run)
        call()
        blocks[name] = functools.partial(timing.block, call, options.seconds)
    slow = timing.interleave({"by_steps": blocks.pop("by_steps")}, 1)
    entry |= timing.interleave(blocks, 4 * options.rounds) | slow
    print(f"deep limit: {entry}", flush=True)
    return entry


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    """A sparse machine beside GPyTorch's deep process of as many layers and inducing
    inputs, and scikit-learn's exact process of fewer examples.
    """
    n, few, m = (60, 30, 10) if options.quick else (10_000, 2_000, 200)
    steps = 5 if options.quick else 600
    x, y = gpytorch_process.data(n)
    y, test, truth = y[:, None], jnp.asarray(x[n:]), y[n:, None]
    nu = (10.0,) if options.quick else (10.0, 10.0)
    machine = ntk.DeepKernelMachine(jnp.asarray(x[:n]), 1, nu, inducing=m)
    params = machine.init(jax.random.key(0))
    rate, size = gpytorch_process.RATE, min(n, gpytorch_process.BATCH)
    blocks = {}
    for name, rows in ((f"batch_of_{size}", size), ("all_rows", n)):
        call = _step(machine, params, (jnp.asarray(x[:rows]), jnp.asarray(y[:rows])))
        call()
        blocks[name] = functools.partial(timing.block, call, options.seconds)
    entry: dict[str, Any] = {"rows": n, "inducing": m, "layers": len(nu)}
    with contextlib.ExitStack() as stack:
        peer = None
        if options.peer_python:
            peer = stack.enter_context(client.start(PEER, options.peer_python))
            entry[PEER] = peer.entry
            peer = None if peer.absent else peer
        if peer is not None:
            shape, cores = [n, m, 1, len(nu)], timing.usable_cores()
            for threads in sorted({1, cores}):
                ask = functools.partial(peer.ask, shape=shape, threads=threads)
                ask()
                blocks[f"{PEER}_{threads}_threads"] = functools.partial(
                    lambda ask: ask(seconds=options.seconds)["durations"], ask
                )
        entry["times"] = timing.interleave(blocks, options.rounds)
        if peer is not None:
            ours = entry["times"][f"batch_of_{size}"]["min_ms"]
            theirs = min(
                entry["times"][name]["min_ms"] for name in blocks if PEER in name
            )
            entry["times_of_kanjax"] = round(theirs / ours, 2)
            # In one thread, the quicker on a machine that others use as well.
            entry[PEER] |= peer.ask(shape=[n, m, 1, len(nu)], threads=1, steps=steps)
    began = time.perf_counter()
    fit = training.fit(
        machine.loss,
        params,
        (x[:n], y[:n]),
        optimizer="adam",
        learning_rate=rate,
        steps=steps,
        batch_size=size,
        key=jax.random.key(1),
    )
    entry["training_s"] = round(time.perf_counter() - began, 2)
    mean = machine.apply(fit.params, test)
    entry["rmse"] = round(float(jnp.sqrt(jnp.mean((mean - truth) ** 2))), 4)
    entry["exact_process"] = _exact_process(x, y, n, few)
    print(entry, flush=True)
    return entry


def _step(machine: Any, params: Any, batch: Any) -> Callable[[], Any]:
    """A step of Adam on a batch, compiled."""
    optimizer = optax.adam(gpytorch_process.RATE)

    @jax.jit
    def step(params: Any, moments: Any, batch: Any) -> Any:
        gradient = jax.grad(machine.loss)(params, batch)
        updates, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(params, updates), moments

    moments = optimizer.init(params)
    return lambda: jax.block_until_ready(step(params, moments, batch))


def _exact_process(x: Any, y: Any, n: int, few: int) -> dict[str, Any]:
    """scikit-learn's exact process of the first few rows."""
    from sklearn import gaussian_process
    from sklearn.gaussian_process import kernels

    scaled = kernels.ConstantKernel() * kernels.RBF() + kernels.WhiteKernel(0.1)
    process = gaussian_process.GaussianProcessRegressor(scaled, optimizer=None)
    began = time.perf_counter()
    process.fit(x[:few], y[:few]).log_marginal_likelihood(
        process.kernel_.theta, eval_gradient=True
    )
    seconds = round(time.perf_counter() - began, 2)
    error = process.predict(x[n:]).reshape(-1, 1) - y[n:]
    return {
        "rows": few,
        "one_gradient_s": seconds,
        "rmse": round(float(np.sqrt(np.mean(error**2))), 4),
    }


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/network_kernels.json"
    )
    parser.add_argument("--peer-python", help="an interpreter that has GPyTorch")
    parser.add_argument("--rounds", type=int, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, help="the least length of a block")
    options = parser.parse_args(argv)
    if options.peer_python and shutil.which(options.peer_python) is None:
        parser.error(f"--peer-python {options.peer_python!r} is not an executable.")
    options.rounds = options.rounds or (2 if options.quick else 4)
    options.seconds = options.seconds or (0.01 if options.quick else 0.5)
    return options


if __name__ == "__main__":
    main()
