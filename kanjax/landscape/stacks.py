"""Permutation specs of stacks of layers from other libraries' parameters."""

import re
from collections.abc import Sequence
from typing import Any, Literal

import jax

from kanjax.landscape import permutations, pytrees, units

Params = pytrees.Params
Layout = Literal["in_out", "out_in"]

_LAYOUTS = {"kernel": "in_out", "weight": "out_in"}


def cnn_spec(
    params: Params,
    order: Sequence[str],
    *,
    layout: Layout | None = None,
) -> permutations.PermutationSpec:
    """The spec of a chain of convolutions, dense layers and normalisations.

    Args:
        params: arrays or shapes, such as flax's ``{"Conv_0": {"kernel": (3, 3, in,
            out), "bias": (out,)}, "LayerNorm_0": ...}`` or
            ``equinox.filter(net, equinox.is_array)``.
        order: the layers in the order in which they are applied, each by the path that
            its leaves share, as ``layer_leaves(params)`` names them. All leaves belong
            to one of them. A layer without a matrix scales units, as a normalisation.
        layout: of the matrices; by default "in_out" (axes (..., in, out)) for leaves
            named ``kernel`` and "out_in" (axes (out, in, ...)) for ``weight``.

    A dense layer after channels-first maps (as equinox's) that were flattened is
    understood: each channel is a block of its inputs. After channels-last ones, take
    the mean over positions, or write the spec by hand.

    For networks with residual streams give ``spec_from_axes`` one name for all places
    along a stream.

    Raises:
        ValueError: if order does not cover the leaves, if a layer is of another kind,
            or if consecutive sizes do not fit.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    groups: dict[str, list[int]] = {}
    for i, (path, _) in enumerate(leaves):
        groups.setdefault(pytrees.path_name(path[:-1]), []).append(i)
    if sorted(order) != sorted(groups):
        raise ValueError(
            f"order has {list(order)} and params the layers {list(groups)}; name each "
            "of these once, in the order of application."
        )
    axes = [_roles(name, groups[name], leaves, layout) for name in order]
    shapes = [{i: leaves[i][1] for i in groups[name]} for name in order]
    names = units.trace_layers(axes, shapes).leaf_names()
    places = [i for name in order for i in groups[name]]
    by_leaf = dict(zip(places, names, strict=True))
    sizes: dict[str, int] = {}
    for name, roles in zip(order, axes, strict=True):
        for i in groups[name]:
            by_leaf[i] = _fitted(leaves[i], roles[i], by_leaf[i], sizes)
    return permutations.named_spec([by_leaf[i] for i in range(len(leaves))], params)


def _roles(
    name: str, group: list[int], leaves: Any, layout: Layout | None
) -> dict[int, tuple[str | None, ...]]:
    matrices = [i for i in group if _extent(leaves[i][1].shape) >= 2]
    if len(matrices) > 1:
        raise ValueError(
            f"{name} has {len(matrices)} matrices; a dense or convolution layer has "
            "one. Write the spec by hand with spec_from_axes."
        )
    roles: dict[int, tuple[str | None, ...]] = {}
    for i in group:
        path, leaf = leaves[i]
        rest = len(leaf.shape)
        if i not in matrices:
            # Biases of equinox's convolutions have trailing axes of size 1.
            kind = "out" if matrices else "unit"
            roles[i] = (kind, *(None,) * (rest - 1)) if rest else ()
        elif _layout(path, layout) == "in_out":
            roles[i] = (*(None,) * (rest - 2), "in", "out")
        else:
            roles[i] = ("out", "in", *(None,) * (rest - 2))
    return roles


def _extent(shape: tuple[int, ...]) -> int:
    """The number of axes, trailing ones of size 1 after the first not counted."""
    count = len(shape)
    is_vector = count > 2 and all(n == 1 for n in shape[1:])
    return 1 if is_vector else count


def _layout(path: Any, layout: Layout | None) -> str:
    name = re.sub(r"\W", "", pytrees.path_name(path[-1:]))
    if layout is None and name not in _LAYOUTS:
        raise ValueError(
            f"{pytrees.path_name(path)} is named neither 'kernel' nor 'weight', so its "
            "layout is not known; give layout='in_out' or layout='out_in'."
        )
    return layout or _LAYOUTS[name]


def _fitted(
    leaf: Any,
    roles: tuple[str | None, ...],
    names: permutations.AxisNames,
    sizes: dict[str, int],
) -> permutations.AxisNames:
    """The names with blocks where inputs are flattened maps of several positions."""
    path, array = leaf
    fitted: list[Any] = list(names)
    for axis, (role, name) in enumerate(zip(roles, names, strict=True)):
        if not isinstance(name, str):
            continue
        size = array.shape[axis]
        known = sizes.setdefault(name, size)
        if role != "in" or size == known:
            continue
        if size % known or roles[0] == "in" or axis == len(roles) - 2:
            raise ValueError(
                f"{pytrees.path_name(path)} takes {size} inputs and the layer before "
                f"it gives {known}; check order. Flattened maps with channels last are "
                "not supported: take the mean over positions, or write the spec by "
                "hand."
            )
        fitted[axis] = (name, known)
    return tuple(fitted)
