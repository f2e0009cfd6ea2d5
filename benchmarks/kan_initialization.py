"""Our first coefficients of a KAN beside Glorot-like ones, on an equation.

Ours keep the variance of values (LeCun): each coefficient of a layer of n inputs has
the variance ``1 / (n sum_g E[B_g^2])``. Glorot-like ones weigh that of slopes in, each
basis function by itself: ``2 / (size (n_in E[B_g^2] + n_out E[B_g'^2]))``, with the
moments over the basis' domain; the idea of Rigas et al. (2025), arXiv 2510.23501, whose
blocks with gates are not part of this. Both draw the same normal numbers.
"""

import argparse
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from kanjax import bases, kan, pinn
from kanjax.pinn import library, samplers

WIDTHS, SEEDS, POINTS, CHECK_POINTS = (2, 8, 8, 1), 5, 400, 1000
BASIS = bases.Chebyshev(5)
# Steps, and after how many of them points are drawn anew.
METHODS: dict[str, tuple[Any, int, int]] = {
    "natural_gradient": ("natural_gradient", 100, 25),
    "adam": (optax.adam(optax.cosine_decay_schedule(1e-2, 3000)), 3000, 100),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Train with both, by two methods, and write the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(argv)
    result = {"benchmark": "kan_initialization", "environment": timing.environment()}
    rows = []
    with jax.enable_x64(True):
        for name, method in METHODS.items():
            rows.append({"method": name, **_compare(*method, options.quick)})
            timing.write_json(options.out, result | {"rows": rows})


def _compare(method: Any, steps: int, every: int, quick: bool) -> dict[str, Any]:
    problem = library.poisson()
    assert problem.reference is not None
    widths, seeds = ((2, 3, 1), 2) if quick else (WIDTHS, SEEDS)
    steps, every = (2, 1) if quick else (steps, every)
    net = kan.KAN(widths, basis=BASIS, residual=None)
    z = samplers.sobol(problem.domain, CHECK_POINTS, key=jax.random.key(99))
    known = problem.reference(z)
    scales = [_glorot(layer) / layer.feature_scales() for layer in net.layers]

    def solve(key: jax.Array, is_glorot: jax.Array) -> jax.Array:
        first, key = jax.random.split(key)
        params = pinn.initialize(problem, net, key=first)
        network = tuple(
            {"coef": jnp.where(is_glorot, s[:, None, None], 1) * p["coef"]}
            for p, s in zip(params.network, scales, strict=True)
        )
        trained = pinn.train(
            problem,
            net,
            params._replace(network=network),
            key=key,
            steps=steps,
            points=20 if quick else POINTS,
            resample_every=every,
            method=method,
        )
        u = jax.vmap(pinn.field(problem, net, trained.params))(z)
        return jnp.linalg.norm(u - known) / jnp.linalg.norm(known)

    run = jax.jit(jax.vmap(solve, in_axes=(0, None)))
    keys = jax.random.split(jax.random.key(0), seeds)
    start = time.process_time()
    ours, glorot = (np.asarray(run(keys, jnp.asarray(g))) for g in (False, True))
    return {
        "basis": "Chebyshev, degree 5",
        "widths": widths,
        "steps": steps,
        "seeds": seeds,
        "ours": ours.tolist(),
        "glorot_like": glorot.tolist(),
        "median_ours": float(np.median(ours)),
        "median_glorot_like": float(np.median(glorot)),
        "processor_seconds": time.process_time() - start,
    }


def _glorot(layer: Any) -> jax.Array:
    """Return deviations times sqrt(in_features), as ``feature_scales`` has them."""
    n_in, n_out = layer.in_features, layer.out_features
    x = jnp.linspace(*layer.basis.domain, 256)[1:-1, None]
    values, slopes = jax.jvp(layer.basis, (x,), (jnp.ones_like(x),))
    # Axes of the basis: points, inputs, its functions.
    moments = [jnp.mean(v**2, axis=(0, 1)) for v in (values, slopes)]
    total = n_in * moments[0] + n_out * moments[1]
    return jnp.sqrt(2 * n_in / (layer.basis.size * total))


if __name__ == "__main__":
    main()
