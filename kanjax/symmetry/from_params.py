"""Permutation specs of stacks of layers from other libraries' parameters."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
from jax import Array

from kanjax import checks, pytrees, unit_trace
from kanjax import model as models
from kanjax.symmetry import specs

Params = pytrees.Params
Layout = Literal["in_out", "out_in"]

_LAYOUTS = {"kernel": "in_out", "weight": "out_in"}


class Skip(NamedTuple):
    """A residual block: ``branch(x) + x``, or ``branch(x) + shortcut(x)``.

    Attributes:
        branch: the layers of the branch in order, as in cnn_spec.
        shortcut: those of the other way; none for the identity.
    """

    branch: "Sequence[str | Skip]"
    shortcut: "Sequence[str | Skip]" = ()


def cnn_spec(
    params: Params,
    order: Sequence[str | Skip],
    *,
    layout: Layout | None = None,
) -> specs.PermutationSpec:
    """Return the spec of a chain of convolutions, dense layers and normalisations.

    Args:
        params: arrays or shapes, such as flax's ``{"Conv_0": {"kernel": (3, 3, in,
            out), "bias": (out,)}, "LayerNorm_0": ...}`` or
            ``equinox.filter(net, equinox.is_array)``. Running means and variances
            of units count as layers of their own.
        order: the layers in the order in which they are applied, each by the path that
            its leaves share, as ``layer_leaves(params)`` names them, and a Skip for a
            residual block. All leaves belong to one of them. A layer without a matrix
            scales units, as a normalisation.
        layout: of the matrices; by default "in_out" (axes (..., in, out)) for leaves
            named ``kernel`` and "out_in" (axes (out, in, ...)) for ``weight``.

    A dense layer after channels-first maps (as equinox's) that were flattened is
    understood: each channel is a block of its inputs. After channels-last ones, take
    the mean over positions, or write the spec by hand.

    Raises:
        ValueError: if order does not cover the leaves, if a layer is of another kind,
            or if consecutive sizes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> square = {"kernel": jnp.ones((8, 8)), "bias": jnp.ones(8)}
        >>> params = {"in": {"kernel": jnp.ones((2, 8))}, "a": square, "b": square}
        >>> params["out"] = {"kernel": jnp.ones((8, 3))}
        >>> cnn_spec(params, ["['in']", Skip(["['a']", "['b']"]), "['out']"]).sizes
        (('P2', 8), ('P1', 8))
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    groups: dict[str, list[int]] = {}
    for i, (path, _) in enumerate(leaves):
        groups.setdefault(checks.path_name(path[:-1]), []).append(i)
    names = list(_names(order))
    if sorted(names) != sorted(groups):
        raise ValueError(
            f"order has {names} and params the layers {list(groups)}; name each of "
            "these once, in the order of application."
        )
    axes = {name: _roles(name, groups[name], leaves, layout) for name in names}
    shapes = {name: {i: leaves[i][1] for i in groups[name]} for name in names}
    traced = unit_trace.trace(*_chain(order, axes, shapes)).leaf_names()
    places = [i for name in names for i in groups[name]]
    by_leaf = dict(zip(places, traced, strict=True))
    sizes: dict[str, int] = {}
    for name in names:
        for i in groups[name]:
            by_leaf[i] = _fitted(leaves[i], axes[name][i], by_leaf[i], sizes)
    return specs.named_spec([by_leaf[i] for i in range(len(leaves))], params)


class _Layer(NamedTuple):
    """A layer of which no more is known than its axes: to walk through, not to run."""

    axes: Any

    def parameter_axes(self) -> Any:
        return self.axes

    def init(self, key: Array) -> Any:
        raise NotImplementedError

    def apply(self, params: Any, x: Array, *, key: Array | None = None) -> Array:
        raise NotImplementedError


def _names(order: Sequence[str | Skip]) -> Iterator[str]:
    for entry in order:
        if isinstance(entry, Skip):
            yield from _names([*entry.branch, *entry.shortcut])
        else:
            yield entry


def _chain(
    order: Sequence[str | Skip], axes: dict[str, Any], shapes: dict[str, Any]
) -> tuple[Any, Any]:
    """Return the layers as a model to walk through, and its parameters' shapes."""
    layers, params = [], []
    for entry in order:
        if not isinstance(entry, Skip):
            layer, shape = _Layer(axes[entry]), shapes[entry]
        elif entry.shortcut:
            ways = [_chain(way, axes, shapes) for way in entry]
            layer = models.Parallel(tuple(way for way, _ in ways))
            shape = [shape for _, shape in ways]
        else:
            branch, shape = _chain(entry.branch, axes, shapes)
            layer = models.Residual(branch)
        layers.append(layer)
        params.append(shape)
    return models.Sequential(tuple(layers)), params


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
    """Return the number of axes, trailing ones of size 1 after the first not
    counted.
    """
    count = len(shape)
    is_vector = count > 2 and all(n == 1 for n in shape[1:])
    return 1 if is_vector else count


def _layout(path: Any, layout: Layout | None) -> str:
    name = re.sub(r"\W", "", checks.path_name(path[-1:]))
    if layout is None and name not in _LAYOUTS:
        raise ValueError(
            f"{checks.path_name(path)} is named neither 'kernel' nor 'weight', so its "
            "layout is not known; give layout='in_out' or layout='out_in'."
        )
    return layout or _LAYOUTS[name]


def _fitted(
    leaf: Any,
    roles: tuple[str | None, ...],
    names: specs.AxisNames,
    sizes: dict[str, int],
) -> specs.AxisNames:
    """Return the names with blocks where inputs are flattened maps of several
    positions.
    """
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
                f"{checks.path_name(path)} takes {size} inputs and the layer before "
                f"it gives {known}; check order. Flattened maps with channels last are "
                "not supported: take the mean over positions, or write the spec by "
                "hand."
            )
        fitted[axis] = (name, known)
    return tuple(fitted)
