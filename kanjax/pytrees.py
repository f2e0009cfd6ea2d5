"""Checks and linear algebra on pytrees of parameters."""

import dataclasses
import functools
import html
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, PartitionSpec
from jax.typing import ArrayLike

from kanjax import checks

Params = Any
"""A pytree whose leaves are all trained."""


def check_same(a: Params, b: Params, name_a: str, name_b: str) -> None:
    """Let only two pytrees of parameters with one structure and shapes pass.

    Raises:
        TypeError: if either holds something else than real floating-point arrays.
        ValueError: naming the first path where the two differ.
    """
    checks.check_real(a, name_a)
    checks.check_real(b, name_b)
    shapes_a, shapes_b = _shapes(a), _shapes(b)
    for here, there, x, y in (
        (shapes_a, shapes_b, name_a, name_b),
        (shapes_b, shapes_a, name_b, name_a),
    ):
        for path in here:
            if path not in there:
                raise ValueError(
                    f"{name_a} and {name_b} must be pytrees of one structure; {path} "
                    f"is in {x} and not in {y}."
                )
    for path, shape in shapes_a.items():
        if shape != shapes_b[path]:
            raise ValueError(
                f"{name_a} and {name_b} differ at {path}: shape {shape} in {name_a}, "
                f"{shapes_b[path]} in {name_b}. Both must belong to one model."
            )
    if jax.tree.structure(a) != jax.tree.structure(b):
        raise ValueError(
            f"{name_a} and {name_b} hold the same leaves in different containers: "
            f"{jax.tree.structure(a)} and {jax.tree.structure(b)}."
        )


def short_repr(self: Any) -> str:
    """Return one line on a NamedTuple: its fields, and of arrays only their shapes.

    Args:
        self: the NamedTuple, whose ``__repr__`` this may be.
    """
    fields = self._asdict().items()
    said = ", ".join(f"{name}={_short(value)}" for name, value in fields)
    return f"{type(self).__name__}({said})"


def html_repr(self: Any) -> str:
    """Return the same as a table, a row a field, which notebooks show.

    Args:
        self: the NamedTuple, whose ``_repr_html_`` this may be.
    """
    rows = "".join(
        f"<tr><th>{name}</th><td>{html.escape(_short(value))}</td></tr>"
        for name, value in self._asdict().items()
    )
    return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


_LONGEST = 60


def _short(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        text = repr(value.tolist()) if value.size <= 8 else ""
        shape = ", ".join(map(str, value.shape))
        return text if 0 < len(text) <= _LONGEST else f"{value.dtype}[{shape}]"
    # Models are dataclasses, and written as the call that made them.
    described = dataclasses.is_dataclass(value)
    text = repr(value) if described or _is_small(value) else ""
    if 0 < len(text) <= _LONGEST:
        return text
    if described:
        return f"<{type(value).__name__}>"
    leaves = jax.tree.leaves(value)
    if leaves and all(hasattr(leaf, "shape") for leaf in leaves):
        numbers = sum(leaf.size for leaf in leaves)
        return f"<{len(leaves)} arrays of {numbers:,} numbers>"
    kind = type(value).__name__
    return f"<{kind} of {len(value)}>" if hasattr(value, "__len__") else f"<{kind}>"


def _is_small(value: Any) -> bool:
    """Whether it is cheap to write, and holds no array."""
    if isinstance(value, tuple | list | dict) and not hasattr(value, "_fields"):
        values = value.values() if isinstance(value, dict) else value
        return len(value) <= 16 and all(map(_is_small, values))
    return not any(hasattr(leaf, "shape") for leaf in jax.tree.leaves(value))


def concrete(*trees: Any) -> bool:
    """Whether all leaves have values now, so that these may be checked."""
    return not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(trees))


def combine(weights: Sequence[ArrayLike], trees: Sequence[Params]) -> Params:
    """Return the weighted sum of pytrees, each leaf in the dtype it has in the first.

    The sum is taken in float32 at least, so that bfloat16 leaves lose nothing to it.
    """

    def leaf_sum(*leaves: Any) -> Array:
        dtype = jnp.result_type(leaves[0])
        wide = jnp.promote_types(dtype, jnp.float32)
        terms = [
            jnp.asarray(weight).astype(wide) * jnp.asarray(leaf).astype(wide)
            for weight, leaf in zip(weights, leaves, strict=True)
        ]
        return sum(terms[1:], terms[0]).astype(dtype)

    return jax.tree.map(leaf_sum, *trees)


def inner(a: Params, b: Params) -> Array:
    """Return the inner product of two real pytrees, summed in float32 at least."""
    products = jax.tree.leaves(jax.tree.map(_leaf_inner, a, b))
    return functools.reduce(jnp.add, products)


def norm(a: Params) -> Array:
    """Return the Euclidean norm of a pytree taken as one vector."""
    return jnp.sqrt(inner(a, a))


def evaluate(
    function: Callable[..., Any],
    points: Any,
    *shared: Any,
    static: tuple[Hashable, ...] = (),
    batch_size: int | None,
    mesh: Mesh | None = None,
) -> Any:
    """``function(point, *static, *shared)`` for every point, in one compiled call.

    Called again with the same function object, the same static values and arrays of the
    same shapes, it compiles nothing. So give a function of a module, and what it needs
    besides arrays, a loss for instance, as a static value.

    Args:
        function: of a point, the static values, and what is shared.
        points: a pytree with a leading axis over points.
        *shared: pytrees of arrays.
        static: what is no array; functions count as the same if they are one object.
        batch_size: how many points are evaluated at once, by ``vmap``; one after the
            other if None. No more than this many copies of anything exist at a time.
        mesh: spread the points over all its devices, each of which has all that is
            shared and takes ``batch_size`` of its points at once.

    Raises:
        ValueError: if batch_size is not positive.
    """
    return evaluate_prepared(
        _unprepared,
        points,
        *shared,
        static=(function, *static),
        batch_size=batch_size,
        mesh=mesh,
    )


def evaluate_prepared(
    prepare: Callable[..., tuple[Callable[[Any], Any], int]],
    points: Any,
    *shared: Any,
    static: tuple[Hashable, ...] = (),
    batch_size: int | None,
    mesh: Mesh | None = None,
) -> Any:
    """Prepare once with the static values and what is shared, then visit every point.

    Args:
        prepare: ``prepare(*static, *shared)`` gives the function of a point, and how
            many points it is best given at once where batch_size is None.
        points: as for :func:`evaluate`, like all that follows.
        *shared: pytrees of arrays.
        static: what is no array.
        batch_size: how many points are evaluated at once.
        mesh: spread the points over all its devices.

    Raises:
        ValueError: if batch_size is not positive.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"batch_size is {batch_size}; it must be at least 1, or None to leave the "
            "choice to the function."
        )
    return _evaluate(
        points,
        shared,
        prepare=prepare,
        static=tuple(map(hashable, static)),
        batch_size=batch_size,
        mesh=mesh,
    )


def hashable(value: Any) -> Any:
    """Return a static value that ``jit`` can look up: the value itself, or a
    function that is.

    A callable whose fields cannot be hashed (an equinox module) gets a wrapper, which
    is new, and compiled anew, at every call.
    """
    try:
        hash(value)
    except TypeError:
        return functools.partial(value)
    return value


def _unprepared(
    function: Callable[..., Any], *arguments: Any
) -> tuple[Callable[[Any], Any], int]:
    return lambda point: function(point, *arguments), 1


@functools.partial(jax.jit, static_argnames=("prepare", "static", "batch_size", "mesh"))
def _evaluate(
    points: Any,
    shared: tuple[Any, ...],
    *,
    prepare: Callable[..., tuple[Callable[[Any], Any], int]],
    static: tuple[Any, ...],
    batch_size: int | None,
    mesh: Mesh | None,
) -> Any:
    def run(points: Any, shared: tuple[Any, ...]) -> Any:
        function, best = prepare(*static, *shared)
        return _in_blocks(function, points, batch_size or best)

    if mesh is None:
        return run(points, shared)
    count = jax.tree.leaves(points)[0].shape[0]
    rows, everywhere = PartitionSpec(mesh.axis_names), PartitionSpec()
    spread = jax.shard_map(
        run, mesh=mesh, in_specs=(rows, everywhere), out_specs=rows, check_vma=False
    )
    padded = _padded(points, count + -count % mesh.size)
    return jax.tree.map(lambda leaf: leaf[:count], spread(padded, shared))


def _in_blocks(function: Callable[[Any], Any], points: Any, block: int) -> Any:
    """Blocks of equal size, so that a single program serves all."""
    count = jax.tree.leaves(points)[0].shape[0]
    if block == 1:
        return jax.lax.map(function, points)
    blocks = -(-count // block)
    block = -(-count // blocks)
    padded = _padded(points, blocks * block)
    values = jax.lax.map(function, padded, batch_size=block)
    return jax.tree.map(lambda leaf: leaf[:count], values)


def _padded(points: Any, count: int) -> Any:
    """Return the last point once more until there are so many."""

    def longer(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        return leaf[jnp.minimum(jnp.arange(count), leaf.shape[0] - 1)]

    return jax.tree.map(longer, points)


def _leaf_inner(x: ArrayLike, y: ArrayLike) -> Array:
    wide = jnp.promote_types(jnp.result_type(x, y), jnp.float32)
    return jnp.sum(jnp.asarray(x).astype(wide) * jnp.asarray(y).astype(wide))


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {checks.path_name(path): jnp.shape(leaf) for path, leaf in leaves}
