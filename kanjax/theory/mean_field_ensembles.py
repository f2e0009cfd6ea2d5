"""Descent on few hidden units in a finite dimension, beside its mean-field theory.

Kumar, Bordelon, Gershman, Pehlevan 2023, arXiv 2310.06110: what
:func:`kanjax.theory.mean_field_dynamics.solve` predicts, each a mean over runs with its
standard error.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks
from kanjax.theory import ensembles, grokking, mean_field_dynamics
from kanjax.theory.ensembles import Measurement

# New examples of a run.
_NEW = 2**14


class Sample(NamedTuple):
    """Runs of gradient descent; times 0 to steps - 1, as of the theory.

    Attributes:
        train: (steps,), the mean squared error on the examples, before each step.
        test: (steps,), on new ones.
        overlap: (steps, units), ``w_i . beta / D``.
    """

    train: Measurement
    test: Measurement
    overlap: Measurement


def draw_weights(
    key: Array,
    direction: Float[Array, " inputs"],
    overlap: Float[Array, " units"],
    covariance: Float[Array, "units units"],
) -> Float[Array, "units inputs"]:
    """Draw weights that have the overlaps asked for exactly, and are else uniform.

    Args:
        key: for the draw.
        direction: (inputs,), beta with ``|beta|^2 = inputs``.
        overlap: (units,), ``w_i . beta / D``.
        covariance: (units, units), ``w_i . w_j / D``.
    """
    inputs = len(direction)
    rest = jax.random.normal(key, (len(overlap), inputs))
    rest = rest - jnp.outer(rest @ direction, direction) / inputs
    rest = jnp.linalg.qr(rest.T)[0].T * inputs**0.5
    root = jnp.linalg.cholesky(covariance - jnp.outer(overlap, overlap))
    return root @ rest + jnp.outer(overlap, direction)


def sample(
    key: Array,
    activation: Callable[[Array], Array],
    target: Callable[[Array], Array],
    *,
    load: float,
    step_size: Array | float,
    steps: int,
    overlap: Float[Array, " units"],
    covariance: Float[Array, "units units"],
    dimension: int,
    runs: int,
    alpha: Array | float = 1.0,
) -> Sample:
    """Descend from starts of the same overlaps, on data drawn anew for each run.

    One program, for the caller to compile.

    Args:
        key: for all draws.
        activation: as for :func:`kanjax.theory.mean_field_dynamics.solve`, and so are
            the others up to covariance.
        target: psi, a function of ``beta . x``.
        load: examples over dimension, not traced.
        step_size: kappa.
        steps: how many times.
        overlap: (units,), of every start.
        covariance: (units, units), of every start.
        dimension: D, more than there are units.
        runs: how many, 2 or more.
        alpha: the scale of outputs.

    Raises:
        ValueError: as ``solve`` does, or for sizes that are too small.
    """
    m0, c0 = checks.as_floating(overlap), checks.as_floating(covariance)
    mean_field_dynamics.check_start(load, steps, m0, c0)
    checks.check_count("dimension", dimension, len(m0) + 1)
    checks.check_count("runs", runs, 2)
    number = max(1, round(load * dimension))

    def outputs(h: Array) -> Array:
        return alpha * jnp.mean(activation(h), axis=1)

    def run(key: Array) -> tuple[Array, Array, Array]:
        direction_key, weights_key, data_key, new_key = jax.random.split(key, 4)
        beta = grokking.draw_direction(direction_key, dimension)
        x = jax.random.normal(data_key, (number, dimension)) / dimension**0.5
        y = target(x @ beta)
        # All that weights and beta meet of a new input: as many normal numbers.
        new = jax.random.normal(new_key, (_NEW, len(m0) + 1))

        def halved(weights: Array) -> tuple[Array, Array]:
            """Half of the sum of squares; its slope is what kappa moves by."""
            errors = y - outputs(x @ weights.T)
            return len(m0) / (2 * alpha) * jnp.sum(errors**2), jnp.mean(errors**2)

        def step(weights: Array, _: None) -> tuple[Array, Any]:
            gradient, train = jax.grad(halved, has_aux=True)(weights)
            rows = jnp.concatenate([beta[None], weights])
            factor = jnp.linalg.qr(rows.T, mode="r") / dimension**0.5
            star, h = jnp.split(new @ factor, [1], axis=1)
            test = jnp.mean((target(star[:, 0]) - outputs(h)) ** 2)
            records = train, test, weights @ beta / dimension
            return weights - step_size * gradient, records

        start = draw_weights(weights_key, beta, m0, c0)
        return jax.lax.scan(step, start, length=steps)[1]

    records = jax.lax.map(run, jax.random.split(key, runs), batch_size=8)
    return Sample(*(ensembles.measure(r) for r in records))
