"""The permutation symmetry of a network, as a value, and its action on parameters.

Ainsworth, Hayase, Srinivasa 2022, "Git Re-Basin: Merging Models modulo Permutation
Symmetries", arXiv 2209.04836, section 2.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax import checks, pytrees, unit_trace

Params = pytrees.Params
AxisNames = unit_trace.AxisNames
"""One entry for each axis of a leaf: the name of the permutation of its units; a name
and a number n if it is made of n equal blocks that are permuted as wholes, as the heads
of attention; None if it stays as it is."""
Permutation = Mapping[str, Int[Array, " units"]]
"""For every permutation name, where each new unit comes from."""
check_fits = unit_trace.check_fits
name_and_blocks = unit_trace.name_and_blocks


@dataclasses.dataclass(frozen=True)
class PermutationSpec:
    """Which axes of which leaves are permuted together.

    Attributes:
        axes: in the order of the parameters' leaves, the path of each (as Python
            writes it, ``[0]['kernel']``) and an entry for every axis of it, see
            AxisNames. Axes of one name are permuted together.
        sizes: the names in order, with the number of units that each permutes.

    It compares by value and hashes, so a jitted function may take it as a static
    argument.
    """

    axes: tuple[tuple[str, AxisNames], ...]
    sizes: tuple[tuple[str, int], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the permutations."""
        return tuple(name for name, _ in self.sizes)


class Verification(NamedTuple):
    """Whether a spec leaves a network's outputs unchanged.

    Attributes:
        holds: whether all deviations are within the tolerance.
        deviations: for every permutation name, the largest change of an output when
            this one alone is drawn at random, relative to the largest output.
    """

    holds: Bool[Array, ""]
    deviations: dict[str, Float[Array, ""]]


def spec_from_axes(axes: Any, params: Params) -> PermutationSpec:
    """Return a spec written by hand.

    Args:
        axes: a pytree like params in which every leaf is a tuple with one entry for
            each axis: a name, a name and a number of blocks, or None.
        params: arrays or ``jax.ShapeDtypeStruct``.

    Raises:
        ValueError: if axes does not fit params, or if one name stands for axes of
            different sizes.

    Examples:
        >>> import jax.numpy as jnp
        >>> params = {"in": jnp.ones((2, 8)), "out": jnp.ones((8, 3))}
        >>> spec_from_axes({"in": (None, "P"), "out": ("P", None)}, params).sizes
        (('P', 8),)
    """
    try:
        names = jax.tree.structure(params).flatten_up_to(axes)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "axes must be a pytree like params with a tuple of names in the place of "
            f"every leaf: {error}"
        ) from error
    return named_spec(names, params)


def named_spec(names: list[AxisNames], params: Params) -> PermutationSpec:
    """Return a spec from one tuple of names for each leaf of params, in their order.

    Raises:
        ValueError: as in spec_from_axes.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if len(names) != len(leaves):
        raise ValueError(
            f"there are names for {len(names)} leaves, and params has {len(leaves)}."
        )
    entries: list[tuple[str, AxisNames]] = []
    sizes: dict[str, tuple[int, str]] = {}
    for (path, leaf), axes in zip(leaves, names, strict=True):
        where = checks.path_name(path)
        shape = tuple(getattr(leaf, "shape", ()))
        if not isinstance(axes, tuple) or len(axes) != len(shape):
            raise ValueError(
                f"the axes of {where} are {axes!r}, which do not fit its shape {shape};"
                " give a tuple with one name or None for each axis."
            )
        for entry, size in zip(axes, shape, strict=True):
            name, blocks = name_and_blocks(entry)
            if name is None:
                continue
            if blocks is not None:
                if blocks < 1 or size % blocks:
                    raise ValueError(
                        f"{where} has shape {shape}, of which {blocks} blocks of "
                        f"permutation {name!r} make no axis."
                    )
                size = blocks
            known, first = sizes.setdefault(name, (size, where))
            if known != size:
                raise ValueError(
                    f"permutation {name!r} has {known} units at {first} and {size} at "
                    f"{where}; axes that share a name must have one size."
                )
        entries.append((where, axes))
    return PermutationSpec(
        tuple(entries), tuple((name, size) for name, (size, _) in sizes.items())
    )


def apply_permutation(
    spec: PermutationSpec, permutation: Permutation, params: Params
) -> Params:
    """Permute the hidden units of a network; what it computes stays the same.

    Every axis named p in the spec becomes ``take(leaf, permutation[p], axis)``.

    Raises:
        ValueError: if the spec does not fit params, or if the permutation lacks a name
            or has the wrong length.
    """
    check_fits(spec, params, "params")
    for name, size in spec.sizes:
        shape = jnp.shape(permutation[name]) if name in permutation else None
        if shape != (size,):
            came = "is missing" if shape is None else f"has shape {shape}"
            raise ValueError(
                f"permutation[{name!r}] {came}; the spec asks for shape ({size},)."
            )
    leaves, structure = jax.tree.flatten(params)
    moved = [
        permute_leaf(leaf, axes, permutation)
        for leaf, (_, axes) in zip(leaves, spec.axes, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


def identity_permutation(spec: PermutationSpec) -> dict[str, Int[Array, " units"]]:
    """Return the permutation that leaves everything in place.

    Args:
        spec: of the network.
    """
    return {name: jnp.arange(size) for name, size in spec.sizes}


def random_permutation(
    spec: PermutationSpec, key: Array
) -> dict[str, Int[Array, " units"]]:
    """Return a uniformly random permutation for every name of the spec.

    Args:
        spec: of the network.
        key: a random key.
    """
    keys = jax.random.split(key, max(1, len(spec.sizes)))
    return {
        name: jax.random.permutation(k, size)
        for (name, size), k in zip(spec.sizes, keys, strict=False)
    }


def invert_permutation(permutation: Permutation) -> dict[str, Int[Array, " units"]]:
    """Return the permutation that undoes another."""
    return {name: jnp.argsort(p) for name, p in permutation.items()}


def verify_spec(
    spec: PermutationSpec,
    apply: Callable[[Params, Array], Array],
    params: Params,
    x: Array,
    key: Array,
    *,
    tolerance: float | None = None,
) -> Verification:
    """Try a spec: outputs must not change when hidden units are permuted at random.

    Args:
        spec: which axes are permuted together.
        apply: ``apply(params, x)``.
        params: where the spec is tried.
        x: inputs of apply.
        key: of the permutations.
        tolerance: the deviation allowed, relative to the largest output; 1,000 times
            the resolution of the outputs' dtype by default.
    """
    y = apply(params, x)
    limit = 1e3 * jnp.finfo(y.dtype).eps if tolerance is None else tolerance
    identity, drawn = identity_permutation(spec), random_permutation(spec, key)
    deviations = {}
    for name in spec.names:
        moved = apply_permutation(spec, {**identity, name: drawn[name]}, params)
        change = jnp.max(jnp.abs(apply(moved, x) - y))
        deviations[name] = change / jnp.max(jnp.abs(y))
    small = [d <= limit for d in deviations.values()]
    return Verification(jnp.all(jnp.asarray(small, dtype=bool)), deviations)


def permute_leaf(
    leaf: Array, axes: AxisNames, permutation: Permutation, *, skip: int | None = None
) -> Array:
    """Permute the named axes of one leaf, but for the axis numbered skip."""
    for axis, entry in enumerate(axes):
        name, blocks = name_and_blocks(entry)
        if name is None or axis == skip:
            continue
        if blocks is None:
            leaf = jnp.take(leaf, permutation[name], axis=axis)
        else:
            shape = leaf.shape
            in_blocks = leaf.reshape(*shape[:axis], blocks, -1, *shape[axis + 1 :])
            leaf = jnp.take(in_blocks, permutation[name], axis=axis).reshape(shape)
    return leaf


def index_of(axes: AxisNames, name: str) -> int | None:
    """Return the axis that a permutation acts on, or None."""
    for axis, entry in enumerate(axes):
        if name_and_blocks(entry)[0] == name:
            return axis
    return None
