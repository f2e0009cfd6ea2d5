"""Models as values: frozen dataclasses that are pytrees, and stacks of them."""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar, cast, dataclass_transform

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

_REPR_LIMIT = 1000

T = TypeVar("T")


def child(*, default: Any = dataclasses.MISSING) -> Any:
    """Mark a field of a model as data: an array, a sub-model, or a pytree of them.

    Args:
        default: as for ``dataclasses.field``.
    """
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

    Args:
        cls: annotated fields, and methods.

    Making a model raises ``TypeError`` if a static field gets an array.
    """
    static: list[str] = []
    post_init = getattr(cls, "__post_init__", None)

    def __post_init__(self: Any) -> None:
        _check_static(self, static)
        if post_init is not None:
            post_init(self)

    cast(Any, cls).__post_init__ = __post_init__
    cls.__repr__ = _repr
    cls.__eq__ = _equal
    cls.__hash__ = _hash
    made = dataclasses.dataclass(frozen=True, repr=False, eq=False)(cls)
    fields = dataclasses.fields(cast(Any, made))
    names = {
        is_child: [f.name for f in fields if f.metadata.get("child", False) == is_child]
        for is_child in (True, False)
    }
    static.extend(names[False])
    jax.tree_util.register_dataclass(made, names[True], names[False])
    return made


def _check_static(self: Any, names: Sequence[str]) -> None:
    # An array here would fail much later, under jit, where it can be neither hashed
    # nor compared.
    for name in names:
        value = getattr(self, name)
        for entry in value if isinstance(value, tuple | list) else (value,):
            if isinstance(entry, jax.Array | np.ndarray):
                raise TypeError(
                    f"{name} of {type(self).__name__} is static and takes no array; "
                    f"got {entry.dtype}{list(entry.shape)}. Give Python numbers, such "
                    "as float(value) or array.tolist(); to trace it, a model declares "
                    "the field with kanjax.model.child()."
                )


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
    """Return the public name of a function of jax, its own name otherwise."""
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
