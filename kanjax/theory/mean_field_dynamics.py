"""Dynamical mean-field theory of full-batch descent on few hidden units, in high D.

Beside Kumar, Bordelon, Gershman, Pehlevan 2023, arXiv 2310.06110: the equations here
are for a fixed number N of hidden units and as many examples as a share of the
dimension, ``P / D = load`` with D to infinity. They are derived by the cavity method.

A network ``f(x) = (alpha / N) sum_i phi(w_i . x)`` learns ``y = psi(beta . x)`` of ``x
~ N(0, I / D)`` with ``|beta|^2 = D`` by ``w_i <- w_i + kappa sum_mu e_i,mu x_mu``, with
``e_i = (y - f) phi'(h_i)``. The sums over examples make a Gaussian process of the
weights, the sums over coordinates one of the preactivations, and each is given by
averages over the other:

- of an example, ``h_i(t) = u_i(t) + kappa sum_(s<t),j R_ij(t, s) e_j(s)``, where u has
  the statistics of ``w(t) . x`` for a new x: jointly normal with ``h* = beta . x``;
- of a coordinate, ``w_i(t+1) = w_i(t) + kappa (r_i(t) + load sum_(s<=t),j E_ij(t, s)
  w_j(s) + load g_i(t) beta)``, r being normal with covariance ``load <e e>``, ``E_ij(t,
  s) = <d e_i(t) / d u_j(s)>`` and ``g_i(t) = <d e_i(t) / d h*>``.

The second is linear, so its moments are propagated exactly; the first is sampled. Both
are causal, and one sweep over time solves them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import checks

# Added to the variance of a preactivation that its past does not determine, as a share
# of the variance: between small steps single precision leaves nothing else.
_JITTER = 1e-5


class MeanField(NamedTuple):
    """A run of gradient descent at infinite dimension; times 0 to steps - 1.

    Attributes:
        train: (steps,), the mean squared error on the examples, before each step.
        test: (steps,), on new examples.
        overlap: (steps, units), ``w_i . beta / D``.
        covariance: (steps, units, steps, units), ``w_i(t) . w_j(s) / D``.
        response: (steps, units, steps, units), of w_i(t) to a push of w_j at time s,
            over the step size.
    """

    train: Float[Array, " steps"]
    test: Float[Array, " steps"]
    overlap: Float[Array, "steps units"]
    covariance: Float[Array, "steps units steps units"]
    response: Float[Array, "steps units steps units"]


class _Weights(NamedTuple):
    """Statistics of weights, filled up to the present, 0 in the future.

    Attributes:
        m: (steps, units), overlaps.
        c: (steps, units, steps, units), covariances.
        response: (steps, units, steps, units).
    """

    m: Array
    c: Array
    response: Array


class _Examples(NamedTuple):
    """Samples of an example's history, 0 in the future.

    Attributes:
        factor: (steps units, steps units), Cholesky's of u less its mean; rows of the
            future are those of the identity.
        forces: (steps, units, samples), e.
        slopes: (steps, units, steps, units, samples), of forces in u.
        star_slopes: (steps, units, samples), of forces in ``h*``.
    """

    factor: Array
    forces: Array
    slopes: Array
    star_slopes: Array


class _Averages(NamedTuple):
    """What weights feel at time t.

    Attributes:
        products: (units, steps, units), ``<e_i(t) e_j(s)>``.
        slopes: (units, steps, units), ``<d e_i(t) / d u_j(s)>``.
        pull: (units,), ``<d e_i(t) / d h*>``.
    """

    products: Array
    slopes: Array
    pull: Array


def solve(
    key: Array,
    activation: Callable[[Array], Array],
    target: Callable[[Array], Array],
    *,
    load: Array | float,
    step_size: Array | float,
    steps: int,
    overlap: Float[Array, " units"],
    covariance: Float[Array, "units units"],
    alpha: Array | float = 1.0,
    samples: int = 10_000,
) -> MeanField:
    """Solve the mean-field equations in one sweep over time.

    One scan, for the caller to compile; it maps over load, step size, alpha and the
    start. Memory is ``samples (steps units)^2`` numbers. An even target gives no
    overlap to weights that have none: a start at overlap 0 stays there, where finite
    dimension leaves it after a time that grows with log D.

    Args:
        key: for the samples.
        activation: phi, elementwise and differentiable.
        target: psi, a differentiable function of ``beta . x``.
        load: examples over dimension, positive.
        step_size: kappa; of a learning rate eta for the mean squared error it is ``2
            alpha eta / (N P)``.
        steps: how many times, at least 1.
        overlap: (units,), ``w_i . beta / D`` at the start.
        covariance: (units, units), ``w_i . w_j / D`` at the start.
        alpha: the scale of outputs.
        samples: of preactivations; errors fall with their square root.

    Raises:
        ValueError: for steps or samples below 1, a load that is not positive, or starts
            whose shapes do not fit or that no weights have.
    """
    m0, c0 = checks.as_floating(overlap), checks.as_floating(covariance)
    check_start(load, steps, m0, c0)
    checks.check_count("samples", samples)
    units, dtype = len(m0), jnp.result_type(m0, c0)
    shape = (steps, units)
    star_key, noise_key = jax.random.split(key)
    # One sample in each slice of equal probability: the targets' averages are then
    # nearly free of noise.
    slices = jnp.arange(samples) + jax.random.uniform(star_key, (samples,), dtype)
    star = jax.scipy.special.ndtri(slices / samples)
    # Samples come last: sums over the past are then products of plain matrices.
    noise = jax.random.normal(noise_key, (*shape, samples), dtype)
    slope = jax.vmap(jax.grad(activation))

    def error(h: Array, star: Array) -> Array:
        return target(star) - alpha * jnp.mean(activation(h), axis=0)

    def force(h: Array, star: Array) -> Array:
        return error(h, star) * slope(h)

    def advance(state: tuple[_Weights, _Examples], t: Array) -> Any:
        weights, examples = state
        factor = _extend_factor(weights, examples.factor, t)
        row = jax.lax.dynamic_slice_in_dim(factor, t * units, units)
        u = jnp.outer(weights.m[t], star) + jnp.einsum(
            "isj,sjn->in", row.reshape(units, *shape), noise
        )
        # The weights' answer to this very example's past forces.
        answer = step_size * weights.response[t]
        h = u + jnp.einsum("isj,sjn->in", answer, examples.forces)
        in_u = jnp.einsum("isj,sjrkn->irkn", answer, examples.slopes)
        in_u = in_u.at[:, t].add(jnp.eye(units, dtype=dtype)[:, :, None])
        in_star = jnp.einsum("isj,sjn->in", answer, examples.star_slopes)
        now = jax.vmap(force, -1, -1)(h, star)
        by_h, by_star = jax.vmap(jax.jacfwd(force, argnums=(0, 1)), -1, -1)(h, star)
        slopes = jnp.einsum("ijn,jrkn->irkn", by_h, in_u)
        star_slopes = by_star + jnp.einsum("ijn,jn->in", by_h, in_star)
        examples = _Examples(
            factor,
            examples.forces.at[t].set(now),
            examples.slopes.at[t].set(slopes),
            examples.star_slopes.at[t].set(star_slopes),
        )
        averages = _Averages(
            jnp.einsum("in,sjn->isj", now, examples.forces) / samples,
            jnp.mean(slopes, axis=-1),
            jnp.mean(star_slopes, axis=-1),
        )
        losses = [jnp.mean(error(p, star) ** 2) for p in (h, u)]
        weights = _move_weights(weights, averages, t, step_size, load)
        return (weights, examples), losses

    start = (
        _Weights(
            jnp.zeros(shape, dtype).at[0].set(m0),
            jnp.zeros(shape * 2, dtype).at[0, :, 0].set(c0),
            jnp.zeros(shape * 2, dtype),
        ),
        _Examples(
            jnp.eye(steps * units, dtype=dtype),
            jnp.zeros((*shape, samples), dtype),
            jnp.zeros((*shape * 2, samples), dtype),
            jnp.zeros((*shape, samples), dtype),
        ),
    )
    (weights, _), losses = jax.lax.scan(advance, start, jnp.arange(steps))
    return MeanField(losses[0], losses[1], *weights)


def _extend_factor(weights: _Weights, factor: Array, t: Array) -> Array:
    """Add the rows of time t to Cholesky's factor of the covariance of u."""
    steps, units = weights.m.shape
    spread = weights.c[t] - jnp.multiply.outer(weights.m[t], weights.m)
    past = (jnp.arange(steps) < t)[:, None]
    known = jnp.where(past, spread, 0).reshape(units, -1)
    # Rows of the future are the identity's, so that they take no part.
    row = jax.scipy.linalg.solve_triangular(factor, known.T, lower=True).T
    variance = spread[:, t]
    least = _JITTER * jnp.trace(variance) / units * jnp.eye(units)
    corner = jnp.linalg.cholesky(variance - row @ row.T + least)
    row = row.reshape(units, steps, units).at[:, t].set(corner)
    start = (t * units, jnp.zeros_like(t))
    return jax.lax.dynamic_update_slice(factor, row.reshape(units, -1), start)


def _move_weights(
    weights: _Weights,
    averages: _Averages,
    t: Array,
    step_size: Array | float,
    load: Array | float,
) -> _Weights:
    """Fill in time t + 1; beyond the last time there is none, and updates drop."""
    m, c, response = weights
    steps, units = m.shape
    # <e_i(t) e_j(s)> and <d e_i(t) / d u_j(s)> are 0 for s > t.
    products, slopes, pull = averages

    pushed = jnp.einsum("isj,sjrk->irk", slopes, response)
    pushed = response[t] + step_size * load * pushed
    pushed = pushed.at[:, t].add(jnp.eye(units, dtype=m.dtype))
    response = response.at[t + 1].set(pushed)
    turned = jnp.einsum("isj,sj->i", slopes, m) + pull
    m = m.at[t + 1].set(m[t] + step_size * load * turned)

    def change(c: Array) -> Array:
        """(units, steps, units), of the step with w(s) for the s that c holds."""
        noise = step_size * jnp.einsum("irk,sjrk->isj", products, response)
        force = jnp.einsum("irk,rksj->isj", slopes, c)
        return step_size * load * (noise + force + jnp.einsum("i,sj->isj", pull, m))

    # First with the past, then, from that, with itself.
    seen = (jnp.arange(steps) <= t)[:, None]
    across = jnp.where(seen, c[t] + change(c), 0)
    c = c.at[t + 1].set(across).at[:, :, t + 1].set(jnp.moveaxis(across, 0, -1))
    itself = c[t, :, t + 1] + change(c)[:, t + 1]
    return _Weights(m, c.at[t + 1, :, t + 1].set((itself + itself.T) / 2), response)


def check_start(load: Any, steps: int, m: Array, c: Array) -> None:
    """Raise ``ValueError`` for overlaps that no weights have; traced they pass.

    Args:
        load: examples over dimension.
        steps: how many times.
        m: (units,), the overlaps with the direction.
        c: (units, units), those among each other.
    """
    checks.check_count("steps", steps)
    checks.check_positive("load", load)
    if m.ndim != 1 or c.shape != m.shape * 2:
        raise ValueError(
            f"overlap has shape {m.shape} and covariance {c.shape}; they must be "
            "(units,) and (units, units)."
        )
    if isinstance(m, jax.core.Tracer) or isinstance(c, jax.core.Tracer):
        return
    # Once the direction is taken out, a Gram matrix remains.
    least = np.linalg.eigvalsh(np.asarray(c) - np.outer(m, m)).min()
    if least < -1e-6 * np.trace(c):
        raise ValueError(
            f"covariance less the product of overlaps has the eigenvalue {least:.3g}; "
            "no weights have these overlaps. By Cauchy and Schwarz overlap_i^2 is at "
            "most covariance_ii."
        )
