"""Burgers' equation by jinns: steps of Adam, and solutions by its best optimizers.

The start and the walls hold by construction, so that the loss is the residual's alone.
"""

import time
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.peers import server

PACKAGES = ("jinns", "jax", "jaxlib", "equinox", "optax")
CHECK_EVERY = 50


def _problem(widths: list[int], viscosity: float) -> Any:
    """Return jinns' loss, parameters and network."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jinns

    layers: list[Any] = []
    for i, pair in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        layers += [(eqx.nn.Linear, *pair)] + [(jnp.tanh,)] * (i < len(widths) - 2)

    def constrain(z, y, _):
        return -jnp.sin(jnp.pi * z[1]) + z[0] * (1 - z[1] ** 2) * y

    u, start = jinns.nn.PINN_MLP.create(
        key=jax.random.PRNGKey(0),
        eqx_list=tuple(layers),
        eq_type="PDENonStatio",
        output_transform=constrain,
    )
    params = jinns.parameters.Params(
        nn_params=start, eq_params={"nu": jnp.asarray(viscosity)}
    )
    loss = jinns.loss.LossPDENonStatio(
        u=u,
        loss_weights=jinns.loss.LossWeightsPDENonStatio(dyn_loss=1.0),
        dynamic_loss=jinns.loss.BurgersEquation(Tmax=1),
        params=params,
    )
    return loss, params, u


def _data(points: int) -> Any:
    import jax
    import jinns

    return jinns.data.CubicMeshPDENonStatio(
        key=jax.random.PRNGKey(1),
        n=points,
        nb=None,
        ni=1,
        dim=1,
        min_pts=(-1.0,),
        max_pts=(1.0,),
        tmin=0.0,
        tmax=1.0,
        method="sobol",
    )


def answers(task: str, **request: Any) -> dict[str, Any]:
    """Answer with durations of steps, or with what a solution came to."""
    return _durations(**request) if task == "step" else _solve(**request)


_PREPARED: dict[str, Any] = {}


def _durations(
    widths: list[int], points: int, viscosity: float, seconds: float | None
) -> dict[str, Any]:
    import jax
    import optax

    if "step" not in _PREPARED:
        loss, params, _ = _problem(widths, viscosity)
        _, batch = _data(points).get_batch()
        optimizer = optax.adam(1e-3)

        @jax.jit
        def step(params, state):
            slope = jax.grad(lambda p: loss.evaluate(p, batch)[0])(params)
            moves, state = optimizer.update(slope, state, params)
            return optax.apply_updates(params, moves), state

        start = params, optimizer.init(params)
        _PREPARED["step"] = lambda: jax.block_until_ready(step(*start))
        _PREPARED["step"]()
    if seconds is None:
        return {"durations": []}
    return {"durations": timing.block(_PREPARED["step"], seconds)}


def callback_value(params, loss, batch):
    """The loss; jinns asks for such names, and for no closure."""
    return loss.evaluate(params, batch)[0]


def callback_gradient(params, loss, batch):
    """The loss's gradient, likewise."""
    import jax

    return jax.grad(lambda p: loss.evaluate(p, batch)[0])(params)


def _solve(
    widths: list[int],
    points: int,
    viscosity: float,
    method: str,
    steps: int,
    goal: float,
    reference: str,
    seconds: float,
) -> dict[str, Any]:
    """Train in double precision until the error is below the goal, or time is up."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jinns
    from jinns.solver._utils import GetJinnsVariableName
    from jinns.validation._validation import AbstractValidationModule

    jax.config.update("jax_enable_x64", True)
    known = np.load(reference)
    z, u = jnp.asarray(known["z"]), jnp.asarray(known["u"])
    loss, params, net = _problem(widths, viscosity)
    extra = None
    if method == "natural_gradient":
        optimizer = jinns.optimizers.vanilla_ngd()
    else:
        optimizer = jinns.optimizers.scale_by_SSBroyden_family()
        names = {"value": "train_loss_value", "grad_pt": "grads"}
        names |= {"loss": "loss", "batch": "batch"}
        extra = {k: GetJinnsVariableName(v) for k, v in names.items()}
        extra |= {"value_fn": callback_value, "grad_fn": callback_gradient}

    curve: list[list[float]] = []

    def is_over(error):
        curve.append([time.perf_counter() - start, float(error)])
        return np.asarray(error < goal or curve[-1][0] > seconds)

    class Watch(AbstractValidationModule):
        call_every: int = eqx.field(kw_only=True, default=CHECK_EVERY)

        def __call__(self, params):
            values = jax.vmap(lambda row: net(row, params)[0])(z)
            error = jnp.linalg.norm(values - u) / jnp.linalg.norm(u)
            # Its loop is one program: the clock is outside of it.
            over = jax.pure_callback(is_over, jax.ShapeDtypeStruct((), bool), error)
            return self, over, error, jnp.asarray(True)

    start, processor = time.perf_counter(), time.process_time()
    result = jinns.solve(
        n_iter=steps,
        init_params=params,
        data=_data(points),
        loss=loss,
        optimizer=optimizer,
        validation=Watch(),
        verbose=False,
        extra_optax_args_and_kwargs=extra,
        key=jax.random.PRNGKey(2),
    )
    values = jax.vmap(lambda row: net(row, result[0])[0])(z)
    error = jnp.linalg.norm(values - u) / jnp.linalg.norm(u)
    return {
        "error": float(error),
        "seconds_and_errors": curve,
        "steps": int(jnp.sum(result[1] != 0)),
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
    }


if __name__ == "__main__":
    server.answer(answers, PACKAGES)
