"""Burgers' equation by DeepXDE: steps of Adam, and a solution by Adam and L-BFGS.

The start and the walls hold by construction, so that the loss is the residual's alone.
The backend is PyTorch where there is one, else JAX, which has no L-BFGS.
"""

import importlib.util
import os
import time
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.peers import server

IS_JAX = importlib.util.find_spec("torch") is None
os.environ["DDE_BACKEND"] = "jax" if IS_JAX else "pytorch"
PACKAGES = ("deepxde", "jax" if IS_JAX else "torch")
CHECK_EVERY = 100


def _model(widths: list[int], points: int, viscosity: float) -> Any:
    import deepxde

    if IS_JAX:
        import jax.numpy as functions
    else:
        import torch as functions

    def residual(z, u):
        # DeepXDE's order: x, then t.
        def slope(j):
            return deepxde.grad.jacobian(u, z, i=0, j=j)

        u_xx = deepxde.grad.hessian(u, z, i=0, j=0)
        u_x, u_t, value = slope(0), slope(1), u
        if IS_JAX:
            # Pairs of a value and a function.
            u_x, u_t, u_xx, value = u_x[0], u_t[0], u_xx[0], u[0]
        return u_t + value * u_x - viscosity * u_xx

    def constrain(z, y):
        x, t = z[..., 0:1], z[..., 1:2]
        return -functions.sin(np.pi * x) + t * (1 - x**2) * y

    space = deepxde.geometry.Interval(-1, 1)
    domain = deepxde.geometry.GeometryXTime(space, deepxde.geometry.TimeDomain(0, 1))
    data = deepxde.data.TimePDE(
        domain, residual, [], num_domain=points, train_distribution="Sobol"
    )
    net = deepxde.nn.FNN(widths, "tanh", "Glorot normal")
    net.apply_output_transform(constrain)
    return deepxde.Model(data, net)


def answers(task: str, **request: Any) -> dict[str, Any]:
    """Answer with durations of steps, or with what a solution came to."""
    return _durations(**request) if task == "step" else _solve(**request)


_PREPARED: dict[str, Any] = {}


def _durations(
    widths: list[int], points: int, viscosity: float, seconds: float | None
) -> dict[str, Any]:
    if "step" not in _PREPARED:
        model = _model(widths, points, viscosity)
        model.compile("adam", lr=1e-3, verbose=0)
        inputs = model.data.train_next_batch()[0].astype(np.float32)
        if IS_JAX:
            import jax

            start = model.params, model.opt_state

            def step():
                jax.block_until_ready(model.train_step(*start, inputs, None))

        else:

            def step():
                model.train_step(inputs, None, None)

        _PREPARED["step"] = step
        step()
    if seconds is None:
        return {"durations": []}
    return {"durations": timing.block(_PREPARED["step"], seconds)}


def _solve(
    widths: list[int],
    points: int,
    viscosity: float,
    steps: int,
    goal: float,
    reference: str,
    seconds: float,
) -> dict[str, Any]:
    """Train by Adam, a tenth of the steps, and L-BFGS, in double precision."""
    import deepxde

    deepxde.config.set_default_float("float64")
    deepxde.config.set_random_seed(0)
    known = np.load(reference)
    z, u = np.ascontiguousarray(known["z"][:, ::-1]), known["u"]

    curve: list[list[float]] = []

    class Watch(deepxde.callbacks.Callback):
        def on_epoch_end(self):
            late = time.perf_counter() - start > seconds
            if late or self.model.train_state.step % CHECK_EVERY == 0:
                curve.append([time.perf_counter() - start, error()])
                self.model.stop_training = late or curve[-1][1] < goal

    def error() -> float:
        values = model.predict(z)[:, 0]
        return float(np.linalg.norm(values - u) / np.linalg.norm(u))

    start, processor = time.perf_counter(), time.process_time()
    model = _model(widths, points, viscosity)
    model.compile("adam", lr=1e-3, verbose=0)
    model.train(iterations=steps // 10, callbacks=[Watch()], verbose=0)
    if not model.stop_training:
        deepxde.optimizers.set_LBFGS_options(maxiter=steps, ftol=0, gtol=1e-12)
        # Not among the arguments: how many steps pass between two looks.
        deepxde.optimizers.config.LBFGS_options["iter_per_step"] = CHECK_EVERY
        model.compile("L-BFGS", verbose=0)
        model.train(callbacks=[Watch()], verbose=0)
    return {
        "error": error(),
        "seconds_and_errors": curve,
        "steps": int(model.train_state.step),
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
    }


if __name__ == "__main__":
    server.answer(answers, PACKAGES)
