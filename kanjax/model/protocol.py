"""What a model offers, and functions that serve any model, with a state or without."""

from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Params = Any
"""A pytree whose leaves are all trained."""

State = Any
"""A pytree that a model reads and replaces; ``()`` for a model without."""


@runtime_checkable
class Model(Protocol):
    """What every model offers."""

    def init(self, key: Array) -> Params:
        """Draw the trained parameters: a pytree of arrays, nothing else."""
        ...

    def apply(self, params: Params, x: Array, *, key: Array | None = None) -> Array:
        """Evaluate the model at x (..., features); pure.

        ``key`` drives what is random, e.g. dropout.
        """
        ...


@runtime_checkable
class StatefulModel(Protocol):
    """What a model with a state offers: one with running statistics, or a memory.

    With ``state=`` a model gives back what to hand to the next call; without, it gives
    outputs alone: a recurrent model begins anew, and one that cannot do without its
    state raises ``ValueError``. The state keeps its structure, shapes and types.
    Recurrent and streaming models have ``step(params, state, x_t) -> (state, y)``, too,
    for ``jax.lax.scan``.

    :func:`initial_state`, :func:`apply` and :func:`step` serve every model, with state
    or without.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model, nn
        >>> layers = (nn.Dense(2, 8), nn.BatchNorm(8), nn.Activation(jax.nn.relu))
        >>> net = model.Sequential((*layers, nn.Dense(8, 1)))
        >>> params, state = net.init(jax.random.key(0)), net.initial_state()
        >>> x = jax.random.normal(jax.random.key(1), (32, 2))
        >>> y, state = net.apply(params, x, state=state, train=True)
        >>> y, _ = net.apply(params, x, state=state)
        >>> y.shape
        (32, 1)
    """

    def init(self, key: Array) -> Params:
        """Draw the trained parameters: a pytree of arrays, nothing else."""
        ...

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> State:
        """Give the state before the first call, for inputs with these leading axes."""
        ...

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """Evaluate the model: ``(y, new state)`` with a state, ``y`` without.

        ``train`` is a Python bool: whether statistics are those of the batch.
        """
        ...


def initial_state(model: Model, batch_shape: tuple[int, ...] = ()) -> State:
    """Give any model's state before the first call.

    Args:
        model: with a state or without.
        batch_shape: the leading axes of the inputs; statistics have none of them,
            memories all.

    Returns:
        A pytree of arrays; ``()`` for a model without a state.
    """
    if isinstance(model, StatefulModel):
        return model.initial_state(batch_shape)
    return ()


def apply(
    model: Model,
    params: Params,
    x: Array,
    *,
    state: State = (),
    key: Array | None = None,
    train: bool = False,
) -> tuple[Array, State]:
    """Evaluate any model, with a state or without, to ``(y, new state)``.

    Args:
        model: with a state or without.
        params: the model's parameters.
        x: what the model takes.
        state: the model's state; ``()`` for a model without.
        key: drives what is random.
        train: whether statistics are those of the batch, and move the running ones.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model, nn
        >>> dense = nn.Dense(2, 3)
        >>> params, state = dense.init(jax.random.key(0)), model.initial_state(dense)
        >>> y, state = model.apply(dense, params, jnp.ones((5, 2)), state=state)
        >>> y.shape, state
        ((5, 3), ())
    """
    if isinstance(model, StatefulModel):
        return model.apply(params, x, state=state, key=key, train=train)
    return model.apply(params, x, key=key), state


def step(model: Model, params: Params, state: State, x_t: Array) -> tuple[State, Array]:
    """Take any model one step of time on, to ``(new state, y)``, as for scans.

    A model without ``step`` is evaluated at x_t alone: it must not mix times.

    Args:
        model: recurrent, streaming or neither.
        params: the model's parameters.
        state: the model's state; ``()`` for a model without.
        x_t: the input of this time, (*batch_shape, features) for most models.

    Examples:
        >>> import functools, jax, jax.numpy as jnp
        >>> from kanjax import model, nn
        >>> net = model.Sequential((nn.GRU(2, 8), nn.Dense(8, 1)))
        >>> params, state = net.init(jax.random.key(0)), net.initial_state((5,))
        >>> forward = functools.partial(model.step, net, params)
        >>> state, y = jax.lax.scan(forward, state, jnp.ones((20, 5, 2)))
        >>> y.shape
        (20, 5, 1)
    """
    if hasattr(model, "step"):
        return cast(Any, model).step(params, state, x_t)
    y, state = apply(model, params, x_t, state=state)
    return state, y


def count_parameters(params: Params) -> int:
    """Return the number of trained scalars in a pytree of parameters.

    Args:
        params: as ``init`` gives them.
    """
    return sum(int(np.prod(jnp.shape(leaf))) for leaf in jax.tree.leaves(params))


def split(key: Array | None, number: int) -> Sequence[Array | None]:
    """Return a key for each of that many models, or none for any.

    Args:
        key: a key, or None.
        number: how many to return.
    """
    return [None] * number if key is None else list(jax.random.split(key, number))
