"""Leaving out hidden units, by their weights or at random, and what is saved.

What feature merging is held against: Chen, Zhou, Yan (2023), arXiv 2310.06756. Without
data or fine-tuning, on any parameters with a permutation spec, as those of
:mod:`kanjax.symmetry`: the name of a set of units on each axis that counts them.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from kanjax import unit_trace

if TYPE_CHECKING:
    from kanjax.symmetry import PermutationSpec

Params = Any
Masks = Mapping[str, Any]
"""For each set of units, a boolean for each that stays; all stay of one left out."""


class Cost(NamedTuple):
    """What a network of some widths costs.

    Attributes:
        parameters: in all.
        flops: multiplications and additions of weights for one input, as one.
    """

    parameters: int
    flops: int


def unit_vectors(
    params: Params, spec: "PermutationSpec", name: str
) -> Float[Array, "units weights"]:
    """Return the weights that come into and go out of each unit.

    Of all leaves with two axes or more: no biases or scales of norms.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        name: of a set of units.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit.
    """
    leaves = jax.tree.leaves(params)
    rows = [
        jnp.moveaxis(jnp.asarray(leaves[i]), axis, 0).reshape(leaves[i].shape[axis], -1)
        for i, axis in unit_places(params, spec, name)
        if leaves[i].ndim > 1
    ]
    vectors = jnp.concatenate(rows, axis=1)
    return vectors.astype(jnp.promote_types(vectors.dtype, jnp.float32))


def dead_units(
    params: Params, spec: "PermutationSpec", name: str, *, share: float = 1e-3
) -> Bool[Array, " units"]:
    """Return which units have hardly any weights.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        name: of a set of units.
        share: of the largest norm of a unit's weights, up to which it is dead.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit.
    """
    norms = jnp.linalg.norm(unit_vectors(params, spec, name), axis=1)
    return norms <= share * jnp.max(norms)


def keep_largest(
    params: Params, spec: "PermutationSpec", widths: Mapping[str, int | Array]
) -> dict[str, Bool[Array, " units"]]:
    """Choose the units whose weights are largest: pruning by magnitude.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        widths: for sets of units, how many stay, () each.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit.
    """

    def ranks(name: str) -> Array:
        norms = jnp.sum(unit_vectors(params, spec, name) ** 2, axis=1)
        return jnp.argsort(jnp.argsort(-norms))

    return {name: ranks(name) < width for name, width in widths.items()}


def keep_random(
    key: Array, spec: "PermutationSpec", widths: Mapping[str, int | Array]
) -> dict[str, Bool[Array, " units"]]:
    """Choose units at random.

    Args:
        key: of the draw.
        spec: which axes count which units.
        widths: for sets of units, how many stay, () each.
    """
    sizes = dict(spec.sizes)
    keys = jax.random.split(key, len(widths))
    return {
        name: jax.random.permutation(k, sizes[name]) < width
        for k, (name, width) in zip(keys, widths.items(), strict=True)
    }


def mask_units(params: Params, spec: "PermutationSpec", keep: Masks) -> Params:
    """Set all weights of units that do not stay to 0; shapes stay.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        keep: of :func:`keep_largest`, for example.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit.
    """

    def mask(leaf: Array, axis: int, kept: Array) -> Array:
        shape = [1] * leaf.ndim
        shape[axis] = len(kept)
        return jnp.where(kept.reshape(shape), leaf, 0)

    return change_units(params, spec, keep, mask)


def select_units(params: Params, spec: "PermutationSpec", keep: Masks) -> Params:
    """Leave out units: the parameters of a network of smaller widths.

    Not for use under ``jit``.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        keep: as for :func:`mask_units`.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit.
    """
    return change_units(
        params,
        spec,
        keep,
        lambda leaf, axis, kept: jnp.compress(np.asarray(kept), leaf, axis=axis),
    )


def cost(
    params: Params,
    spec: "PermutationSpec",
    widths: Mapping[str, int] | None = None,
    *,
    positions: Mapping[str, int] | None = None,
) -> Cost:
    """Count parameters and operations of a network, of its widths or of others.

    Args:
        params: arrays or shapes that the spec fits.
        spec: which axes count which units.
        widths: for sets of units, how many there are; as many as in params if None.
        positions: for paths of leaves as the spec names them, at how many places of an
            image a kernel is applied; 1 for others.
    """
    widths, positions = widths or {}, positions or {}
    parameters = flops = 0
    unit_trace.check_fits(spec, params, "params")
    for leaf, (path, axes) in zip(jax.tree.leaves(params), spec.axes, strict=True):
        size = 1
        for length, entry in zip(jnp.shape(leaf), axes, strict=True):
            size *= widths.get(entry, length) if isinstance(entry, str) else length
        parameters += size
        flops += size * positions.get(path, 1) if len(axes) > 1 else 0
    return Cost(parameters, flops)


def unit_places(
    params: Params, spec: "PermutationSpec", name: str
) -> list[tuple[int, int]]:
    """Return the leaves, by their places, and axes that count a set of units.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        name: of a set of units.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit.
    """
    unit_trace.check_fits(spec, params, "params")
    if name not in spec.names:
        raise ValueError(f"spec has no units {name!r}; it has {spec.names}.")
    places = []
    for i, (path, axes) in enumerate(spec.axes):
        for axis, entry in enumerate(axes):
            if entry == name:
                places.append((i, axis))
            elif isinstance(entry, tuple) and entry[0] == name:
                raise ValueError(
                    f"an axis of {path} is made of blocks of the units {name!r}, which "
                    "have no weights of one unit; exclude them."
                )
    return places


def change_units(
    params: Params,
    spec: "PermutationSpec",
    values: Mapping[str, Array | np.ndarray],
    change: Callable[[Array, int, Array], Array],
) -> Params:
    """Change each axis that counts units by these units' values.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        values: for sets of units, a value for each unit.
        change: ``change(leaf, axis, values)``, the leaf that takes its place.
    """
    leaves, structure = jax.tree.flatten(params)
    for name, value in values.items():
        for place, axis in unit_places(params, spec, name):
            leaves[place] = change(jnp.asarray(leaves[place]), axis, jnp.asarray(value))
    return jax.tree.unflatten(structure, leaves)
