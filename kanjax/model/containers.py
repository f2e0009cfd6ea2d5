"""Models made of models: in sequence, as a residual branch, or side by side."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import SequenceKey

from kanjax.model.description import child, dataclass
from kanjax.model.protocol import (
    Model,
    Params,
    State,
    apply,
    initial_state,
    split,
    step,
)

Path = tuple[Any, ...]
Value = TypeVar("Value")


@dataclass
class Sequential:
    """Models one after the other; parameters are a tuple with one entry a model.

    So is the state, with ``()`` for a model without.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model, nn
        >>> net = model.Sequential((nn.Dense(2, 8), nn.Dense(8, 1)))
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.ones((5, 2))).shape
        (5, 1)
    """

    layers: tuple[Model, ...] = child()

    def init(self, key: Array) -> tuple[Params, ...]:
        """Draw each model's parameters with a key of its own."""
        return _init_all(self.layers, key)

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> tuple[State, ...]:
        """Give each model's state."""
        return tuple(initial_state(layer, batch_shape) for layer in self.layers)

    def apply(
        self,
        params: Sequence[Params],
        x: Array,
        *,
        state: Sequence[State] | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """Feed each model's output to the next. x: what the first model takes.

        With a state the result is ``(y, new state)``.
        """
        after = []
        for call in _calls(self, self.layers, params, state, key, train):
            x, new = call(x)
            after.append(new)
        return x if state is None else (x, tuple(after))

    def step(
        self, params: Sequence[Params], state: Sequence[State], x_t: Array
    ) -> tuple[tuple[State, ...], Array]:
        """Take each model one step of time on."""
        after = []
        for call in _steps(self, self.layers, params, state):
            new, x_t = call(x_t)
            after.append(new)
        return tuple(after), x_t


@dataclass
class Residual:
    """The identity plus a model whose output has the shape of its input."""

    branch: Model = child()

    def init(self, key: Array) -> Params:
        """Draw the branch's parameters."""
        return self.branch.init(key)

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> State:
        """Give the branch's state."""
        return initial_state(self.branch, batch_shape)

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """``x + branch(x)``; with a state, ``(x + branch(x), new state)``.

        Raises:
            ValueError: if the branch changes the shape.
        """
        if state is None:
            return self.join((x, self.branch.apply(params, x, key=key)))
        y, state = apply(self.branch, params, x, state=state, key=key, train=train)
        return self.join((x, y)), state

    def step(self, params: Params, state: State, x_t: Array) -> tuple[State, Array]:
        """Take the branch one step of time on."""
        state, y = step(self.branch, params, state, x_t)
        return state, self.join((x_t, y))

    def join(self, outputs: Sequence[Array]) -> Array:
        """Return the sum of what came in and the branch's output, of one shape."""
        x, y = outputs
        if y.shape != x.shape:
            raise ValueError(
                f"Residual needs a branch that keeps the shape: x has shape {x.shape}, "
                f"the branch gave {y.shape}. Add a projection to the branch."
            )
        return x + y


@dataclass
class _Branches:
    """Models side by side on one input; parameters and state have an entry for each."""

    branches: tuple[Model, ...] = child()

    def init(self, key: Array) -> tuple[Params, ...]:
        """Draw each branch's parameters with a key of its own."""
        return _init_all(self.branches, key)

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> tuple[State, ...]:
        """Give each branch's state."""
        return tuple(initial_state(branch, batch_shape) for branch in self.branches)

    def apply(
        self,
        params: Sequence[Params],
        x: Array,
        *,
        state: Sequence[State] | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """Join the branches' outputs; with a state, to ``(y, new state)``."""
        calls = _calls(self, self.branches, params, state, key, train)
        outputs, after = zip(*(call(x) for call in calls), strict=True)
        y = self.join(outputs)
        return y if state is None else (y, after)

    def step(
        self, params: Sequence[Params], state: Sequence[State], x_t: Array
    ) -> tuple[tuple[State, ...], Array]:
        """Take each branch one step of time on."""
        calls = _steps(self, self.branches, params, state)
        after, outputs = zip(*(call(x_t) for call in calls), strict=True)
        return after, self.join(outputs)

    def join(self, outputs: Sequence[Array]) -> Array:
        """Return what becomes of the branches' outputs."""
        raise NotImplementedError


@dataclass
class Parallel(_Branches):
    """Models side by side on one input, their outputs, of one shape, summed."""

    def join(self, outputs: Sequence[Array]) -> Array:
        """Return the sum of the outputs (...)."""
        _check_one_shape(self, "sums", {y.shape for y in outputs})
        return functools.reduce(operator.add, outputs)


@dataclass
class Product(_Branches):
    """Models side by side on one input, their outputs, of one shape, multiplied."""

    def join(self, outputs: Sequence[Array]) -> Array:
        """Return the product of the outputs (...)."""
        _check_one_shape(self, "multiplies", {y.shape for y in outputs})
        return functools.reduce(operator.mul, outputs)


@dataclass
class Concatenate(_Branches):
    """Models side by side on one input, their outputs' last axes joined.

    The outputs must agree in all axes but the last.
    """

    def join(self, outputs: Sequence[Array]) -> Array:
        """Return the outputs (..., features) along one last axis."""
        _check_one_shape(self, "joins", {y.shape[:-1] for y in outputs})
        return jnp.concatenate(outputs, axis=-1)


def walk(
    model: Any,
    params: Any,
    value: Value,
    visit: Callable[[Any, Any, Value, Path, Array | None], Value],
    join: Callable[[Any, Sequence[Value]], Value],
    *,
    leave: Callable[[Path, Value], None] = lambda path, value: None,
    path: Path = (),
    key: Array | None = None,
) -> Value:
    """Carry a value through a model that is made of models.

    The one place that knows how they are made: what wants to follow inputs, masks or
    names of units from layer to layer says what becomes of them at a layer, and where
    branches meet.

    Args:
        model: of ``Sequential``, ``Residual`` and models side by side, nested at will.
        params: its parameters.
        value: what comes in, whatever it is. ``Sequential`` hands it on; the branches
            of other containers take the same.
        visit: ``visit(layer, params, value, path, key)``: what a layer that is none of
            these containers makes of it.
        join: ``join(container, values)``: what becomes of those of its branches; of a
            ``Residual``, the first is what came in.
        leave: ``leave(path, value)`` is called after each model of a ``Sequential`` or
            of models side by side, be it a layer or a container.
        path: of the parameters, as in :mod:`jax.tree_util`.
        key: split as ``apply`` splits it.

    Raises:
        ValueError: if a container's parameters are not one entry for each model.

    Examples:
        >>> from kanjax import model, nn
        >>> net = model.Sequential((nn.Dense(2, 8), model.Residual(nn.Dense(8, 8))))
        >>> visit = lambda layer, params, names, path, key: [*names, repr(layer)]
        >>> join = lambda container, values: sum(values, [])
        >>> walk(net, ({}, {}), [], visit, join)
        ['Dense(2, 8)', 'Dense(2, 8)', 'Dense(8, 8)']
    """
    if isinstance(model, Residual):
        # Its parameters are those of the branch, so that both have one path.
        options = {"leave": leave, "path": path, "key": key}
        return join(
            model, [value, walk(model.branch, params, value, visit, join, **options)]
        )
    if not isinstance(model, Sequential | _Branches):
        return visit(model, params, value, path, key)
    # A chain and branches differ in one thing: whether the next model takes what the
    # last one gave, or what came in. Keys and paths go as in ``apply`` and ``init``.
    chain = isinstance(model, Sequential)
    layers = model.layers if chain else model.branches
    if len(layers) != len(params):
        raise ValueError(
            f"{type(model).__name__} has {len(layers)} layers and parameters with "
            f"{len(params)} entries; it has one entry for each layer."
        )
    values, keys = [], split(key, len(layers))
    for i, (layer, p, k) in enumerate(zip(layers, params, keys, strict=True)):
        inner = (*path, SequenceKey(i))
        y = walk(layer, p, value, visit, join, leave=leave, path=inner, key=k)
        leave(inner, y)
        values.append(y)
        value = y if chain else value
    return value if chain else join(model, values)


def _init_all(models: Sequence[Model], key: Array) -> tuple[Params, ...]:
    # A key for each, so that a model's draw does not hang on what stands beside it.
    keys = jax.random.split(key, len(models))
    return tuple(m.init(k) for m, k in zip(models, keys, strict=True))


def _calls(
    model: Any,
    layers: Sequence[Model],
    params: Sequence[Params],
    state: Sequence[State] | None,
    key: Array | None,
    train: bool,
) -> list[Callable[[Array], tuple[Array, State]]]:
    """Each layer as a function of its input alone, to its output and new state."""

    def call(layer: Model, p: Params, k: Array | None, s: State) -> Any:
        if state is None:
            return lambda x: (layer.apply(p, x, key=k), None)
        return lambda x: apply(layer, p, x, state=s, key=k, train=train)

    keys = split(key, len(layers))
    states = [None] * len(layers)
    if state is not None:
        states = _check_states(model, layers, state)
    return [call(*each) for each in zip(layers, params, keys, states, strict=True)]


def _steps(
    model: Any, layers: Sequence[Model], params: Any, state: Any
) -> list[Callable[[Array], tuple[State, Array]]]:
    """Each layer's step as a function of its input alone."""
    states = _check_states(model, layers, state)
    return [
        functools.partial(step, layer, p, s)
        for layer, p, s in zip(layers, params, states, strict=True)
    ]


def _check_states(
    model: Any, layers: Sequence[Model], state: Sequence[State]
) -> Sequence[State]:
    if not isinstance(state, tuple | list) or len(state) != len(layers):
        raise ValueError(
            f"the state of a {type(model).__name__} has one entry for each of its "
            f"{len(layers)} models; got {jax.tree.structure(state)}. Begin with "
            "model.initial_state()."
        )
    return state


def _check_one_shape(layer: Any, verb: str, shapes: set[tuple[int, ...]]) -> None:
    if len(shapes) != 1:
        raise ValueError(
            f"{type(layer).__name__} {verb} its branches, so they must give one shape; "
            f"got {sorted(shapes)}."
        )
