"""What the layers of modules of flax and equinox put out, by the layers' paths.

As :func:`kanjax.taps.record` does for our models: what compares or measures features
takes either.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
from jax import Array

from kanjax.interop import functions, libraries

Values = dict[str, Any]
Paths = dict[int, str]
"""The path of each module within, by its identity."""


def record_flax(
    module: Any, variables: Any = None, **options: Any
) -> functions.Functional:
    """Return a function that gives the values of a flax module's layers, and params.

    Args:
        module: a ``flax.linen.Module`` or a ``flax.nnx.Module``.
        variables: for linen, what ``module.init`` returned; for nnx None.
        options: as for :func:`from_flax`, which has the same params.

    Returns:
        ``apply(params, x)`` gives a dictionary: what each module within put out when it
        was called, by the path of its parameters in params such as ``['Dense_0']``, in
        the order of the calls, and the module's own output as "". Of a layer's second
        call the path has "(2)" behind.

    Raises:
        TypeError: if module is no flax module.
        ValueError: if variables are missing, or given for nnx.
        ImportError: if flax is not installed.

    Examples:
        >>> import flax.linen, jax, jax.numpy as jnp, kanjax as kj
        >>> net = flax.linen.Sequential([flax.linen.Dense(8), flax.linen.Dense(3)])
        >>> x = jnp.ones((5, 2))
        >>> record, params = kj.interop.record_flax(net, net.init(jax.random.key(0), x))
        >>> {path: v.shape for path, v in record(params, x).items()}
        {"['layers_0']": (5, 8), "['layers_1']": (5, 3), '': (5, 3)}
    """
    apply, params = functions.from_flax(module, variables, **options)
    linen, nnx = libraries.flax()
    if isinstance(module, linen.Module):
        return functions.Functional(functools.partial(_record_linen, apply), params)

    def paths(network: Any) -> Paths:
        return {
            id(layer): jax.tree_util.keystr(tuple(map(jax.tree_util.DictKey, path)))
            for path, layer in nnx.iter_modules(network)
        }

    classes = {type(layer) for _, layer in nnx.iter_modules(module)}
    record = functools.partial(_record_calls, apply, classes, paths)
    return functions.Functional(record, params)


def record_equinox(module: Any, *, batched: bool = True) -> functions.Functional:
    """Return a function that gives the values of an equinox module's layers, and
    params.

    Args:
        module: as for :func:`from_equinox`, which has the same params.
        batched: as for :func:`from_equinox`.

    Returns:
        As for :func:`record_flax`, with paths such as ``.layers[0]``.

    Raises:
        TypeError: if module is no equinox module, or cannot be called.
        ImportError: if equinox is not installed.

    Examples:
        >>> import equinox, jax, jax.numpy as jnp, kanjax as kj
        >>> net = equinox.nn.MLP(2, 1, 8, 1, key=jax.random.key(0))
        >>> record, params = kj.interop.record_equinox(net)
        >>> {path: v.shape for path, v in record(params, jnp.ones((5, 2))).items()}
        {'.layers[0]': (5, 8), '.layers[1]': (5, 1), '': (5, 1)}
    """
    apply, params = functions.from_equinox(module, batched=False)
    eqx = libraries.equinox()

    def layers(network: Any, prefix: Any = ()) -> Iterator[tuple[Any, Any]]:
        yield prefix, network
        inner, _ = jax.tree_util.tree_flatten_with_path(
            network,
            is_leaf=lambda m: m is not network and isinstance(m, eqx.Module),
        )
        for path, layer in inner:
            if isinstance(layer, eqx.Module):
                yield from layers(layer, (*prefix, *path))

    def paths(network: Any) -> Paths:
        return {id(m): jax.tree_util.keystr(path) for path, m in layers(network)}

    classes = {type(m) for _, m in layers(module) if callable(m)}
    record = functools.partial(_record_calls, apply, classes, paths)
    if not batched:
        return functions.Functional(record, params)

    def record_all(params: Any, x: Any, *, key: Array | None = None) -> Values:
        calls: list[str] = []  # vmap sorts dictionaries

        def record_each(example: Any, k: Array | None) -> Values:
            values = record(params, example, key=k)
            calls[:] = values
            return values

        if key is not None:
            key = jax.random.split(key, jax.tree.leaves(x)[0].shape[0])
        values = jax.vmap(record_each)(x, key)
        return {path: values[path] for path in calls}

    return functions.Functional(record_all, params)


def _record_linen(
    apply: functions.Apply, params: Any, x: Any, *, key: Array | None = None
) -> Values:
    linen, _ = libraries.flax()
    values: Values = {}

    def watch(call: Callable[..., Any], args: Any, options: Any, context: Any) -> Any:
        y = call(*args, **options)
        if context.method_name == "__call__":
            path = tuple(map(jax.tree_util.DictKey, context.module.path))
            _note(values, jax.tree_util.keystr(path), y)
        return y

    with linen.intercept_methods(watch):
        apply(params, x, key=key)
    return values


def _record_calls(
    apply: functions.Apply,
    classes: Iterable[type],
    paths: Callable[[Any], Paths],
    params: Any,
    x: Any,
    *,
    key: Array | None = None,
) -> Values:
    """Call the network while the classes of its layers tell of their calls."""
    values: Values = {}
    known: Paths = {}
    running: set[int] = set()

    def watch(call: Callable[..., Any], layer: Any, args: Any, options: Any) -> Any:
        if not known:  # The network itself is called before its layers.
            known.update(paths(layer))
        place = id(layer)
        # A class may call the method of another that it inherits from.
        if place not in known or place in running:
            return call(layer, *args, **options)
        running.add(place)
        try:
            y = call(layer, *args, **options)
        finally:
            running.remove(place)
        _note(values, known[place], y)
        return y

    with _watched(classes, watch):
        apply(params, x, key=key)
    return values


@contextlib.contextmanager
def _watched(classes: Iterable[type], watch: Callable[..., Any]) -> Iterator[None]:
    """Let calls of instances of these classes go through ``watch`` for a while."""

    def through(call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda layer, *args, **options: watch(call, layer, args, options)

    methods = {kind: (vars(kind).get("__call__"), kind.__call__) for kind in classes}
    try:
        for kind, (_, method) in methods.items():
            setattr(kind, "__call__", through(method))  # noqa: B010
        yield
    finally:
        for kind, (owned, _) in methods.items():
            if owned is None:
                delattr(kind, "__call__")
            else:
                setattr(kind, "__call__", owned)  # noqa: B010


def _note(values: Values, path: str, y: Any) -> None:
    """Keep a value by the path, with the number of the call behind from the second."""
    calls = 1
    place = path
    while place in values:
        calls += 1
        place = f"{path}({calls})"
    values[place] = y
