"""The model protocol: a frozen description, with its trained parameters apart.

A model is a frozen dataclass that is itself a pytree. Its children are the arrays
that are *not* trained (spline knots, masks) and its sub-models; every other field is
static and compares by value. What is trained is a separate pytree, made by
``init(key)`` and read by ``apply(params, x)``.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar, cast, dataclass_transform, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

Params = Any
"""A pytree whose leaves are all trained."""

_REPR_LIMIT = 1000

T = TypeVar("T")


@runtime_checkable
class Model(Protocol):
    """What every model offers."""

    def init(self, key: Array) -> Params:
        """Draw the trained parameters: a pytree of arrays, nothing else."""
        ...

    def apply(self, params: Params, x: Array, *, key: Array | None = None) -> Array:
        """Evaluate the model; pure. ``key`` drives what is random, e.g. dropout."""
        ...


def child(*, default: Any = dataclasses.MISSING) -> Any:
    """Mark a field of a model as data: an array, a sub-model, or a pytree of them."""
    return dataclasses.field(default=default, metadata={"child": True})


@dataclass_transform(frozen_default=True, field_specifiers=(child, dataclasses.field))
def dataclass(cls: type[T]) -> type[T]:
    """Turn a class into a frozen dataclass that is a pytree.

    Fields made by :func:`child` are the pytree's children; all others are static. Two
    models are equal when their static fields and the values of their arrays are.
    ``repr`` reads like the call that made the model, without the fields left at their
    defaults, and evaluates to an equal one while its arrays have at most 1,000
    elements each (larger ones are shown by shape and type).

    ``__post_init__`` may check static fields only: jax rebuilds models with whatever
    it traces in the place of their children.
    """
    cls.__repr__ = _repr
    cls.__eq__ = _equal
    cls.__hash__ = _hash
    made = dataclasses.dataclass(frozen=True, repr=False, eq=False)(cls)
    fields = dataclasses.fields(cast(Any, made))
    names = {
        is_child: [f.name for f in fields if f.metadata.get("child", False) == is_child]
        for is_child in (True, False)
    }
    jax.tree_util.register_dataclass(made, names[True], names[False])
    return made


def _repr(self: Any) -> str:
    shown, keyword = [], False
    for field in dataclasses.fields(self):
        value = getattr(self, field.name)
        has_default = field.default is not dataclasses.MISSING
        if has_default and _same(value, field.default):
            keyword = True
            continue
        text = _show(value)
        shown.append(f"{field.name}={text}" if keyword else text)
        keyword = keyword or has_default
    return f"{type(self).__name__}({', '.join(shown)})"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, jax.Array) or isinstance(b, jax.Array):
        return False
    return bool(a is b or a == b)


def _show(value: Any) -> str:
    if isinstance(value, jax.Array | np.ndarray):
        if isinstance(value, jax.core.Tracer) or value.size > _REPR_LIMIT:
            shape = ", ".join(str(n) for n in value.shape)
            return f"<{value.dtype}[{shape}]>"
        return f"jnp.array({np.asarray(value).tolist()}, dtype='{value.dtype}')"
    if isinstance(value, tuple):
        inside = ", ".join(_show(v) for v in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if callable(value) and hasattr(value, "__name__"):
        return _qualified_name(value)
    return repr(value)


def _qualified_name(function: Callable[..., Any]) -> str:
    """The public name of a function of jax, its own name otherwise."""
    name = getattr(function, "__name__", "")
    for module, prefix in ((jax.nn, "jax.nn"), (jnp, "jnp"), (jax.lax, "jax.lax")):
        if getattr(module, name, None) is function:
            return f"{prefix}.{name}"
    return name


def _equal(self: Any, other: object) -> bool:
    if type(self) is not type(other):
        return NotImplemented
    ours, our_tree = jax.tree.flatten(self)
    theirs, their_tree = jax.tree.flatten(other)
    return our_tree == their_tree and all(
        a is b or bool(np.array_equal(a, b)) for a, b in zip(ours, theirs, strict=True)
    )


def _hash(self: Any) -> int:
    leaves, tree = jax.tree.flatten(self)
    shapes: list[Hashable] = [jnp.shape(leaf) for leaf in leaves]
    return hash((type(self).__name__, tree, tuple(shapes)))


@dataclass
class Sequential:
    """Models one after the other; parameters are a tuple with one entry a model.

    Example:
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

    def apply(
        self, params: Sequence[Params], x: Array, *, key: Array | None = None
    ) -> Array:
        """Feed each model's output to the next. x: what the first model takes."""
        keys = split(key, len(self.layers))
        for layer, p, k in zip(self.layers, params, keys, strict=True):
            x = layer.apply(p, x, key=k)
        return x


@dataclass
class Residual:
    """The identity plus a model whose output has the shape of its input."""

    branch: Model = child()

    def init(self, key: Array) -> Params:
        """Draw the branch's parameters."""
        return self.branch.init(key)

    def apply(self, params: Params, x: Array, *, key: Array | None = None) -> Array:
        """``x + branch(x)``.

        Raises:
            ValueError: if the branch changes the shape.
        """
        y = self.branch.apply(params, x, key=key)
        if y.shape != x.shape:
            raise ValueError(
                f"Residual needs a branch that keeps the shape: x has shape {x.shape}, "
                f"the branch gave {y.shape}. Add a projection to the branch."
            )
        return x + y


@dataclass
class Parallel:
    """Models side by side on one input, their outputs summed."""

    branches: tuple[Model, ...] = child()

    def init(self, key: Array) -> tuple[Params, ...]:
        """Draw each branch's parameters with a key of its own."""
        return _init_all(self.branches, key)

    def apply(
        self, params: Sequence[Params], x: Array, *, key: Array | None = None
    ) -> Array:
        """The sum of the branches' outputs, which must have one shape."""
        return self.join(_outputs(self, params, x, key))

    def join(self, outputs: Sequence[Array]) -> Array:
        """What becomes of the branches' outputs."""
        _check_one_shape(self, "sums", {y.shape for y in outputs})
        return functools.reduce(operator.add, outputs)


@dataclass
class Product:
    """Models side by side on one input, their outputs multiplied."""

    branches: tuple[Model, ...] = child()

    def init(self, key: Array) -> tuple[Params, ...]:
        """Draw each branch's parameters with a key of its own."""
        return _init_all(self.branches, key)

    def apply(
        self, params: Sequence[Params], x: Array, *, key: Array | None = None
    ) -> Array:
        """The product of the branches' outputs, which must have one shape."""
        return self.join(_outputs(self, params, x, key))

    def join(self, outputs: Sequence[Array]) -> Array:
        """What becomes of the branches' outputs."""
        _check_one_shape(self, "multiplies", {y.shape for y in outputs})
        return functools.reduce(operator.mul, outputs)


@dataclass
class Concatenate:
    """Models side by side on one input, their outputs' last axes joined."""

    branches: tuple[Model, ...] = child()

    def init(self, key: Array) -> tuple[Params, ...]:
        """Draw each branch's parameters with a key of its own."""
        return _init_all(self.branches, key)

    def apply(
        self, params: Sequence[Params], x: Array, *, key: Array | None = None
    ) -> Array:
        """The branches' outputs, joined; they must agree in all axes but the last."""
        return self.join(_outputs(self, params, x, key))

    def join(self, outputs: Sequence[Array]) -> Array:
        """What becomes of the branches' outputs."""
        _check_one_shape(self, "joins", {y.shape[:-1] for y in outputs})
        return jnp.concatenate(outputs, axis=-1)


def stack(models: Sequence[T]) -> T:
    """Stack models that differ only in their arrays, for use under ``jax.vmap``.

    The result is a model whose arrays have a new leading axis:
    ``jax.vmap(lambda m, p, x: m.apply(p, x), (0, 0, None))(stack(models), params, x)``.

    Raises:
        ValueError: if there is no model, or if they differ in anything static.
    """
    if not models:
        raise ValueError("models is empty; give at least one model to stack.")
    structure = jax.tree.structure(models[0])
    for i, other in enumerate(models[1:], start=1):
        if jax.tree.structure(other) != structure:
            raise ValueError(
                "only models that differ in their arrays alone can be stacked: "
                f"models[0] is {models[0]!r}, models[{i}] is {other!r}."
            )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)


def count_parameters(params: Params) -> int:
    """The number of trained scalars in a pytree of parameters."""
    return sum(int(np.prod(jnp.shape(leaf))) for leaf in jax.tree.leaves(params))


def _init_all(models: Sequence[Model], key: Array) -> tuple[Params, ...]:
    keys = jax.random.split(key, len(models))
    return tuple(m.init(k) for m, k in zip(models, keys, strict=True))


def _outputs(
    layer: Parallel | Product | Concatenate, params: Any, x: Array, key: Array | None
) -> list[Array]:
    keys = split(key, len(layer.branches))
    return [
        branch.apply(p, x, key=k)
        for branch, p, k in zip(layer.branches, params, keys, strict=True)
    ]


def _check_one_shape(layer: Any, verb: str, shapes: set[tuple[int, ...]]) -> None:
    if len(shapes) != 1:
        raise ValueError(
            f"{type(layer).__name__} {verb} its branches, so they must give one shape; "
            f"got {sorted(shapes)}."
        )


def split(key: Array | None, number: int) -> Sequence[Array | None]:
    """A key for each of that many models, or none for any."""
    return [None] * number if key is None else list(jax.random.split(key, number))
