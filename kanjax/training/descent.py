"""Gradient descent as one pure function, for use inside of other programs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from kanjax import conv_layouts
from kanjax.training import losses


def descend(
    loss: Callable[[Any, Any, Array], Any],
    params: Any,
    data: Any,
    *,
    key: Array,
    optimizer: optax.GradientTransformation,
    steps: int,
    batch_size: int | None = None,
) -> tuple[Any, Float[Array, " steps"]]:
    """Take a number of optimizer steps in one scan.

    Nothing is compiled, watched or stored: it runs under the caller's ``jit`` and
    ``vmap``. Use :func:`kanjax.training.fit` for a run of its own.

    Args:
        loss: ``loss(params, batch, key)``, a scalar or (scalar, metrics).
        params: a pytree of floating-point arrays, the start.
        data: a pytree with a leading axis over examples.
        key: for the batches, and for the loss.
        optimizer: an optax optimizer.
        steps: how many, at least 1.
        batch_size: examples of a step, drawn at random with replacement; all if None.

    Returns:
        The parameters after the last step, and the loss before each step.

    Raises:
        ValueError: if steps or batch_size is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> loss = lambda w, x, key: jnp.mean((w - x) ** 2)
        >>> w, losses = descend(loss, jnp.zeros(()), jnp.ones(3),
        ...     key=jax.random.key(0), optimizer=optax.sgd(0.5), steps=2)
        >>> w, losses
        (Array(1., dtype=float32), Array([1., 0.], dtype=float32))
    """
    for name, number in (("steps", steps), ("batch_size", batch_size)):
        if number is not None and number < 1:
            raise ValueError(f"{name} is {number}; it must be at least 1.")
    count = jax.tree.leaves(data)[0].shape[0]

    def value(params: Any, batch: Any, key: Array) -> Array:
        return losses.value_metrics_and_state(loss, params, batch, key, None)[0]

    value_and_grad = conv_layouts.channels_last(jax.value_and_grad(value))

    def step(state: Any, i: Array) -> Any:
        params, moments = state
        step_key = jax.random.fold_in(key, i)
        batch = data
        if batch_size is not None:
            step_key, draw = jax.random.split(step_key)
            rows = jax.random.randint(draw, (batch_size,), 0, count)
            batch = jax.tree.map(lambda v: v[rows], data)
        now, gradient = value_and_grad(params, batch, step_key)
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), now

    start = (params, optimizer.init(params))
    (params, _), values = jax.lax.scan(step, start, jnp.arange(steps))
    return params, values
