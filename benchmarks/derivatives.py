"""Gradients of mean squared residuals: stacked derivatives beside nested ones."""

import argparse
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from kanjax import nn, pinn

WIDTH, LAYERS, POINTS = 128, 4, 1024
ROUNDS, SECONDS = 12, 0.5
ASKED = {"burgers": 1.3, "laplacian_2d": 1.5, "laplacian_10d": 1.8, "fourth": 1.8}
"""How many times nested reverse mode, as jaxpi has it, is asked to take."""
NU = 0.01 / jnp.pi


def main(argv: Sequence[str] | None = None) -> None:
    """Time all candidates in turn and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--only", nargs="*", choices=ASKED, help="names of rows")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(argv)
    rows = [_row(name, options.quick) for name in options.only or ASKED]
    timing.write_json(
        options.out,
        {
            "benchmark": "derivatives",
            "environment": timing.environment(),
            "points": 8 if options.quick else POINTS,
            "rows": rows,
        },
    )


def _row(name: str, quick: bool) -> dict[str, Any]:
    inputs = 10 if name == "laplacian_10d" else 2
    hidden = (4,) if quick else (WIDTH,) * LAYERS
    net = nn.MLP((inputs, *hidden, 1), jnp.tanh, kernel_scale=1.0)
    params = net.init(jax.random.key(0))
    z = jax.random.uniform(jax.random.key(1), (8 if quick else POINTS, inputs))
    steps, work = {}, {}
    for candidate, residual in RESIDUALS[name].items():

        def loss(params: Any, residual: Any = residual) -> jax.Array:
            def u(z: jax.Array) -> jax.Array:
                return net.apply(params, z)[0]

            return jnp.mean(jax.vmap(lambda z: residual(u, z))(z) ** 2)

        compiled = jax.jit(jax.grad(loss)).lower(params).compile()
        steps[candidate] = lambda run=compiled: jax.block_until_ready(run(params))
        cost: Any = compiled.cost_analysis()
        work[candidate] = round(cost["flops"] / 1e9, 3)
        steps[candidate]()
    seconds = 0.0 if quick else SECONDS
    times = timing.interleave(
        {
            candidate: lambda step=step: timing.block(step, seconds)
            for candidate, step in steps.items()
        },
        1 if quick else ROUNDS,
    )
    ratios = {
        kind: round(times["nested_reverse"][kind] / times["kanjax"][kind], 2)
        for kind in ("min_ms", "median_ms")
    }
    return {
        "name": name,
        "times": times,
        "gigaflop": work,
        "times_of_kanjax": ratios,
        "asked": ASKED[name],
    }


def _nested(u: Callable[..., Any], axis: int, order: int, mode: Any) -> Callable:
    """Differentiate as often by jax.grad or jax.jvp."""
    for _ in range(order):
        u = lambda z, u=u: mode(u, z, axis)  # noqa: E731
    return u


def _reverse(u: Any, z: jax.Array, axis: int) -> jax.Array:
    return jax.grad(u)(z)[axis]


def _forward(u: Any, z: jax.Array, axis: int) -> jax.Array:
    direction = jnp.zeros_like(z).at[axis].set(1)
    return jax.jvp(u, (z,), (direction,))[1]


def _burgers(u: Any, z: jax.Array) -> jax.Array:
    value, (u_t, u_x), u_xx = pinn.expansion(u, axes=(1,))(z)
    return u_t + value * u_x - NU * u_xx


def _burgers_nested(mode: Any) -> Callable[..., Any]:
    def residual(u: Any, z: jax.Array) -> jax.Array:
        u_t, u_x = mode(u, z, 0), mode(u, z, 1)
        return u_t + u(z) * u_x - NU * _nested(u, 1, 2, mode)(z)

    return residual


def _laplacian_nested(mode: Any) -> Callable[..., Any]:
    def residual(u: Any, z: jax.Array) -> jax.Array:
        each = [_nested(u, axis, 2, mode)(z) for axis in range(len(z))]
        return jnp.sum(jnp.stack(each))

    return residual


def _laplacian_by_hessian(u: Any, z: jax.Array) -> jax.Array:
    return jnp.trace(jax.jacfwd(jax.grad(u))(z))


_LAPLACIANS = {
    "kanjax": lambda u, z: pinn.laplacian(u)(z),
    "nested_reverse": _laplacian_by_hessian,
    "nested_forward": _laplacian_nested(_forward),
}
RESIDUALS = {
    "burgers": {
        "kanjax": _burgers,
        "nested_reverse": _burgers_nested(_reverse),
        "nested_forward": _burgers_nested(_forward),
    },
    "laplacian_2d": _LAPLACIANS,
    "laplacian_10d": _LAPLACIANS,
    "fourth": {
        "kanjax": lambda u, z: pinn.partial(u, 1, 4)(z),
        "nested_reverse": lambda u, z: _nested(u, 1, 4, _reverse)(z),
        "nested_forward": lambda u, z: _nested(u, 1, 4, _forward)(z),
    },
}

if __name__ == "__main__":
    main()
