"""Losses and gradients of single examples, in blocks of bounded memory.

A loss is the mean over a batch, so an example's own loss is that of a batch of one.
The functions here take the losses that :func:`kanjax.training.fit` takes. A gradient of
each of n examples has n times the size of the parameters; where a sum or a number of
each serves, :func:`mean` and :func:`map_examples` never hold more than a block of them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from kanjax import conv_layouts
from kanjax.training import losses as training_losses

Params = Any
Function = Callable[[Float[Array, ""], Params], Any]
"""``function(loss, gradient)`` of one example."""

BLOCK_BYTES = 64 * 2**20
"""What the gradients of one block take where ``batch_size`` is None."""


def losses(
    loss: training_losses.Loss,
    params: Params,
    data: Any,
    *,
    key: Array | None = None,
    batch_size: int | None = None,
) -> Float[Array, " examples"]:
    """Compute the loss of each example by itself.

    Args:
        loss: ``loss(params, batch, key) -> scalar`` or ``(scalar, metrics)``, the mean
            over a batch.
        params: a pytree of floating-point arrays.
        data: a pytree of arrays with a leading example axis.
        key: of the loss, the same for every example; None for a loss without.
        batch_size: how many examples at once; None takes as many as have gradients of
            64 MiB together.

    Raises:
        ValueError: if the leading axes of the data differ, or a batch size below one.
    """

    value = _value(loss, key)
    block = _block(params, data, batch_size)
    return lax.map(lambda example: value(params, example), data, batch_size=block)


def gradients(
    loss: training_losses.Loss,
    params: Params,
    data: Any,
    *,
    key: Array | None = None,
    batch_size: int | None = None,
) -> Params:
    """Compute the gradient of each example's loss.

    Args:
        loss: as for :func:`losses`.
        params: as for :func:`losses`.
        data: as for :func:`losses`, n examples.
        key: as for :func:`losses`.
        batch_size: as for :func:`losses`.

    Returns:
        Like ``params`` with a leading axis of n on every leaf.

    Raises:
        ValueError: as :func:`losses` does.
    """
    return map_examples(
        lambda _, gradient: gradient,
        loss,
        params,
        data,
        key=key,
        batch_size=batch_size,
    )


def map_examples(
    function: Function,
    loss: training_losses.Loss,
    params: Params,
    data: Any,
    *,
    key: Array | None = None,
    batch_size: int | None = None,
) -> Any:
    """Compute something of each example's loss and gradient.

    Args:
        function: ``function(loss, gradient)`` of one example, giving a pytree.
        loss: as for :func:`losses`.
        params: as for :func:`losses`.
        data: as for :func:`losses`, n examples.
        key: as for :func:`losses`.
        batch_size: as for :func:`losses`.

    Returns:
        What ``function`` gives, with a leading axis of n on every leaf.

    Raises:
        ValueError: as :func:`losses` does.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from kanjax import persample, training
        >>> loss = training.regression(lambda w, x: x * w)
        >>> data = (jnp.array([1.0, 2.0]), jnp.array([0.0, 0.0]))
        >>> norms = persample.map_examples(
        ...     lambda _, g: optax.tree.norm(g), loss, jnp.array(1.0), data)
        >>> norms.tolist()
        [2.0, 8.0]
    """
    each = _of_example(function, loss, params, key)
    return lax.map(each, data, batch_size=_block(params, data, batch_size))


def mean(
    function: Function,
    loss: training_losses.Loss,
    params: Params,
    data: Any,
    *,
    key: Array | None = None,
    batch_size: int | None = None,
) -> Any:
    """Average something of each example's loss and gradient over all examples.

    The diagonal of the empirical Fisher information, for instance, is the mean of
    ``lambda _, gradient: jax.tree.map(jnp.square, gradient)``.

    Args:
        function: as for :func:`map_examples`.
        loss: as for :func:`losses`.
        params: as for :func:`losses`.
        data: as for :func:`losses`.
        key: as for :func:`losses`.
        batch_size: as for :func:`losses`.

    Returns:
        What ``function`` gives, averaged in float32 at least.

    Raises:
        ValueError: as :func:`losses` does.
    """
    block = _block(params, data, batch_size)
    number = _examples(data)
    each = jax.vmap(_of_example(function, loss, params, key))

    def total(batch: Any) -> Any:
        return jax.tree.map(_sum, each(batch))

    blocks, rest = divmod(number, block)
    in_blocks = jax.tree.map(
        lambda leaf: leaf[: blocks * block].reshape(blocks, block, *leaf.shape[1:]),
        data,
    )
    shapes = jax.eval_shape(total, jax.tree.map(lambda leaf: leaf[:1], data))
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(sums: Any, batch: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, total(batch)), None

    sums, _ = lax.scan(add, start, in_blocks)
    if rest:
        last = jax.tree.map(lambda leaf: leaf[blocks * block :], data)
        sums = jax.tree.map(jnp.add, sums, total(last))
    return jax.tree.map(lambda leaf: leaf / number, sums)


def _value(
    loss: training_losses.Loss, key: Array | None
) -> Callable[[Params, Any], Float[Array, ""]]:
    """Return the loss of one example: that of a batch of one."""

    def value(params: Params, example: Any) -> Float[Array, ""]:
        batch = jax.tree.map(lambda leaf: leaf[None], example)
        return training_losses.value_and_metrics(loss, params, batch, key)[0]

    return value


def _of_example(
    function: Function, loss: training_losses.Loss, params: Params, key: Array | None
) -> Callable[[Any], Any]:
    # Examples go through a loop in blocks.
    value_and_grad = conv_layouts.channels_last(jax.value_and_grad(_value(loss, key)))
    return lambda example: function(*value_and_grad(params, example))


def _sum(leaf: Array) -> Array:
    """Sum over the leading axis, half precision in single."""
    dtype = jnp.promote_types(leaf.dtype, jnp.float32)
    return jnp.sum(leaf, axis=0, dtype=dtype)


def _examples(data: Any) -> int:
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            "data must be a pytree of arrays with one leading example axis; got shapes "
            f"{[jnp.shape(leaf) for leaf in jax.tree.leaves(data)]}."
        )
    (number,) = lengths.pop()
    if number == 0:
        raise ValueError("data has no examples.")
    return number


def _block(params: Params, data: Any, batch_size: int | None) -> int:
    number = _examples(data)
    if batch_size is None:
        size = sum(
            int(np.prod(jnp.shape(leaf))) * jnp.result_type(leaf).itemsize
            for leaf in jax.tree.leaves(params)
        )
        batch_size = max(1, BLOCK_BYTES // max(1, size))
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}.")
    return min(batch_size, number)
