"""Networks on patches trained by descent, stopped early, on the sphere or off it.

Lahoti et al. 2024, arXiv 2403.15707: beside the two steps of
:func:`kanjax.theory.patch_signals.fit_two_steps`, which the theorems are about, what
any optimizer learns of the same examples.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from kanjax import checks, training
from kanjax.theory.patch_signals import PatchNetwork


class Stopped(NamedTuple):
    """A network where its loss on other examples was least.

    Attributes:
        params: of the network.
        step: after how many steps.
        loss: the squared error on the other examples there.
    """

    params: dict[str, Array]
    step: Array
    loss: Float[Array, ""]


def fit_descent(
    net: PatchNetwork,
    params: dict[str, Array],
    train: tuple[Float[Array, "rows patches features"], Float[Array, " rows"]],
    stop: tuple[Float[Array, "others patches features"], Float[Array, " others"]],
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    every: int = 10,
    on_sphere: bool = False,
) -> Stopped:
    """Minimize the squared error over all rows, and keep the best on other examples.

    One scan, for the caller to compile; it maps over seeds.

    Args:
        net: the network.
        params: a start, of :meth:`PatchNetwork.init`.
        train: examples and labels to learn.
        stop: others, which say where to stop.
        optimizer: an optax optimizer; Adam's steps do not turn with the inputs, and
            the theorems do not speak of it.
        steps: how many, a multiple of every.
        every: steps between looks at the other examples.
        on_sphere: whether each node is brought back to length 1 after each step.

    Raises:
        ValueError: if steps is no positive multiple of every.
    """
    checks.check_count("every", every)
    if steps < 1 or steps % every:
        raise ValueError(
            f"steps is {steps} and every {every}; steps must be a positive multiple of "
            "every."
        )
    loss = training.regression(net.apply)

    def project(params: dict[str, Array]) -> dict[str, Array]:
        w = params["weights"]
        size = jnp.linalg.norm(w, axis=-1, keepdims=True)
        return params | {"weights": w / jnp.where(size > 0, size, 1.0)}

    def step(state: Any, _: None) -> Any:
        params, moments = state
        gradient = jax.grad(lambda p: loss(p, train)[0])(params)
        updates, moments = optimizer.update(gradient, moments, params)
        params: Any = optax.apply_updates(params, updates)
        return (project(params) if on_sphere else params, moments), None

    def look(carry: Any, number: Array) -> Any:
        state, best = carry
        state, _ = jax.lax.scan(step, state, length=every)
        now = Stopped(state[0], number * every, loss(state[0], stop)[0])
        better = now.loss < best.loss
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), now, best)
        return (state, best), None

    first = Stopped(params, jnp.zeros((), int), loss(params, stop)[0])
    numbers = jnp.arange(1, steps // every + 1)
    start = (params, optimizer.init(params)), first
    return jax.lax.scan(look, start, numbers)[0][1]
