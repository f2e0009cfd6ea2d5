"""Deep Gaussian processes of finite width, of which deep kernel machines are the limit.

Yang, Robeyns, Milsom, Anson, Schoots, Aitchison 2023, arXiv 2108.13097: as layers and
copies of the outputs grow together, the Gram matrices of the posterior concentrate at
the maximum of the objective of :mod:`kanjax.ntk.deep_kernel_machine`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from kanjax.ntk import deep_kernel_machine as machines


def wide_posterior(
    key: Array,
    params: machines.Parameters,
    y: Float[Array, "m outputs"],
    *,
    width: int,
    nu: Sequence[int],
    step_size: float,
    steps: int,
    activation: Any = machines.SQUARED_EXPONENTIAL,
    jitter: float = 1e-6,
) -> tuple[Float[Array, "steps layers m m"], Bool[Array, " steps"]]:
    """Sample the posterior of the Gram matrices of a deep Gaussian process.

    Layer l has ``width nu_l`` features and there are width copies of the outputs.
    Metropolis-adjusted Langevin steps for whitened features ``W``, ``F = L W``.

    Args:
        key: for the start, from the prior, and the steps.
        params: of a machine with a layer or more; its inputs are the examples, and of
            its factors only the number counts.
        y: (m, outputs).
        width: N, of which the machine is the limit.
        nu: one integer for each layer.
        step_size: of the Langevin step, as ``W + step_size gradient + noise``.
        steps: how many.
        activation: as for :func:`kanjax.ntk.deep_kernel_machine.propagate`.
        jitter: as for :func:`kanjax.ntk.deep_kernel_machine.propagate`.

    Returns:
        The Gram matrices ``F F^T / (width nu_l)`` after each step, and whether the step
        was accepted.

    Raises:
        ValueError: if nu is not one for each layer, or a layer has fewer features than
            there are examples.
    """
    m, kind = len(params.inputs), params.inputs.dtype
    if len(nu) != len(params.factors):
        raise ValueError(
            f"nu has {len(nu)} entries; it must have one for each of the "
            f"{len(params.factors)} layers of params."
        )
    if width * min(nu) < m:
        raise ValueError(
            f"width is {width} and the least nu {min(nu)}; width nu must be at least "
            f"the number of examples, {m}."
        )
    keys = jax.random.split(key, len(nu) + 1)
    start = tuple(
        jax.random.normal(k, (m, width * n), kind)
        for k, n in zip(keys[1:], nu, strict=True)
    )

    def machine(features: tuple[Array, ...]) -> machines.Parameters:
        # V V^T = W W^T / N: the same propagation.
        roots = [jnp.linalg.cholesky(w @ w.T / w.shape[1]) for w in features]
        raw = [jnp.tril(v, -1) + jnp.diag(jnp.log(jnp.diag(v))) for v in roots]
        return params._replace(factors=jnp.stack(raw))

    def log_density(features: tuple[Array, ...]) -> Array:
        value = machines.dense_objective(
            machine(features), y, nu=0.0, activation=activation, jitter=jitter
        )
        squares = jnp.stack([jnp.sum(w**2) for w in features])
        return width * value - jnp.sum(squares) / 2

    def towards(state: tuple, other: tuple) -> Array:
        """Return the logarithm of the density of a proposal."""
        gaps = jax.tree.map(
            lambda v, w, g: jnp.sum((v - w - step_size * g) ** 2),
            other[0],
            state[0],
            state[2],
        )
        return -jnp.sum(jnp.stack(gaps)) / (4 * step_size)

    def step(state: tuple, key: Array) -> tuple:
        move, chance = jax.random.split(key)
        noise = tuple(
            jax.random.normal(jax.random.fold_in(move, i), w.shape, kind)
            for i, w in enumerate(state[0])
        )
        proposal = jax.tree.map(
            lambda w, g, e: w + step_size * g + (2 * step_size) ** 0.5 * e,
            state[0],
            state[2],
            noise,
        )
        new = (proposal, *jax.value_and_grad(log_density)(proposal))
        rise = new[1] - state[1] + towards(new, state) - towards(state, new)
        accepted = jnp.log(jax.random.uniform(chance, (), kind)) < rise
        state = jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, state)
        layers = machines.propagate(
            machine(state[0]), params.inputs[:0], activation=activation, jitter=jitter
        )
        grams = jnp.stack([gram.inducing for gram in layers.grams[1:]])
        return state, (grams, accepted)

    begin = (start, *jax.value_and_grad(log_density)(start))
    return jax.lax.scan(step, begin, jax.random.split(keys[0], steps))[1]
