"""Permutation specs of models, from what their layers say about their parameters.

**The protocol.** A layer that can stand in a chain offers ``parameter_axes()``. It
returns a pytree like its parameters in which every leaf is a tuple with one entry for
each axis of the array:

- ``"in"``: the axis counts the layer's inputs, and reordering the inputs together with
  these axes leaves the layer's outputs unchanged;
- ``"out"``: the axis counts its outputs, and reordering these axes reorders the outputs
  alike;
- ``"unit"``: the axis counts units that are inputs and outputs at once, as the scale
  and bias of a normalisation;
- ``None``: the axis has nothing to do with units.

``{"kernel": ("in", "out"), "bias": ("out",)}`` is a dense layer's answer and
``{"coef": (None, "in", "out"), "residual": ("in", "out")}`` a KAN layer's.

A layer that treats its inputs differently in more than its parameters (grouped
rationals, knots of each input's own, a mask) writes None in the place of ``"in"``: the
units before it then stay where they are. Units pass in their order through a layer
without parameters (an elementwise activation, whose answer is an empty pytree) and
through one whose parameters are all scalars (``()``) or have a ``"unit"`` axis.
A layer may also raise ``ValueError`` to say why it has no such symmetry.

A chain is a model with ``layers``, each a layer or a chain, and parameters that are a
sequence with one entry for each. Units between two layers that mix are one permutation,
``"P1"``, ``"P2"`` and so on; the first layer's inputs and the last one's outputs stay.
"""

import itertools
import re
from collections.abc import Sequence
from typing import Any, Literal

import jax

from kanjax.landscape import permutations, pytrees

Params = pytrees.Params
AxisNames = permutations.AxisNames
ROLES = ("in", "out", "unit", None)

_LAYOUTS = {"kernel": ("in", "out"), "weight": ("out", "in")}


def permutation_spec(model: Any) -> permutations.PermutationSpec:
    """The permutation symmetry of a model's hidden units.

    Args:
        model: a chain of layers with ``parameter_axes`` (see above) and ``init(key)``:
            MLP, KAN, and Sequential of dense, KAN, rational and elementwise layers.

    Raises:
        ValueError: if a layer does not say how its parameters belong to units, or if
            there are hidden units and none can be permuted, as with KAN layers whose
            inputs have knots of their own.

    Example:
        >>> from kanjax import nn
        >>> permutation_spec(nn.MLP((2, 8, 8, 1))).sizes
        (('P1', 8), ('P2', 8))
    """
    params = jax.eval_shape(model.init, jax.random.key(0))
    layers = _layers(model, params)
    axes = [_axes(layer) for layer, _ in layers]
    return permutations.named_spec(_chain_names(axes, [p for _, p in layers]), params)


def chain_spec(
    axes: Sequence[Any], params: Sequence[Params]
) -> permutations.PermutationSpec:
    """The spec of a chain of layers.

    Args:
        axes: for every layer its ``parameter_axes()``.
        params: for every layer its parameters, or their shapes as
            ``jax.ShapeDtypeStruct``.

    Raises:
        ValueError: if axes does not fit params, or if there are hidden units and none
            can be permuted.
    """
    if len(axes) != len(params):
        raise ValueError(
            f"axes is for {len(axes)} layers and params for {len(params)}; give one "
            "entry for each layer in both."
        )
    return permutations.named_spec(_chain_names(axes, params), params)


def mlp_spec(
    params: Params, *, layout: Literal["in_out", "out_in"] | None = None
) -> permutations.PermutationSpec:
    """The spec of a plain stack of dense layers, from any library's parameters.

    Args:
        params: one matrix for each layer, and at most one vector beside it (in the
            same dict or module), such as flax's ``{"Dense_0": {"kernel": (in, out),
            "bias": (out,)}, ...}`` or ``equinox.filter(mlp, equinox.is_array)``.
            Layers are taken in the order of their names, numbers by value (``Dense_2``
            before ``Dense_10``).
        layout: of the matrices; by default "in_out" for leaves named ``kernel`` and
            "out_in" for leaves named ``weight``.

    Raises:
        ValueError: if the parameters are not such a stack, if sizes of consecutive
            layers do not fit, or if the layout is not told by the leaves' names.
    """
    if layout not in ("in_out", "out_in", None):
        raise ValueError(f"layout is {layout!r}; it must be 'in_out' or 'out_in'.")
    leaves = jax.tree_util.tree_leaves_with_path(params)
    groups: dict[str, list[int]] = {}
    for i, (path, _) in enumerate(leaves):
        groups.setdefault(pytrees.path_name(path[:-1]), []).append(i)
    names: list[AxisNames] = [()] * len(leaves)
    order = sorted(groups, key=_natural)
    width, previous = None, ""
    for number, group in enumerate(order):
        unit_in = f"P{number}" if number else None
        unit_out = f"P{number + 1}" if number + 1 < len(order) else None
        sizes: dict[str, int] = {}
        for i in groups[group]:
            path, leaf = leaves[i]
            roles = _dense_roles(path, leaf.shape, layout)
            if roles[0] in sizes and len(roles) == 2:
                raise ValueError(f"{group} has more than one matrix.")
            if len(roles) == 2:
                sizes |= dict(zip(roles, leaf.shape, strict=True))
            names[i] = tuple(unit_in if r == "in" else unit_out for r in roles)
        if not sizes:
            raise ValueError(f"{group} has no matrix; it is not a dense layer.")
        if width is not None and sizes["in"] != width:
            raise ValueError(
                f"{previous} gives {width} outputs and {group}, next by name, takes "
                f"{sizes['in']} inputs. Check layout ({layout!r}), or write the spec "
                "by hand with spec_from_axes."
            )
        width, previous = sizes["out"], group
    return permutations.named_spec(names, params)


def _chain_names(axes: Sequence[Any], params: Sequence[Params]) -> list[AxisNames]:
    """The names of each leaf's axes, for all layers of a chain one after the other."""
    pairs = zip(axes, params, strict=True)
    layers = [_leaf_roles(i, *both) for i, both in enumerate(pairs)]
    mixing = [i for i, layer in enumerate(layers) if not _passes(layer)]
    before: dict[int, str] = {}
    after: dict[int, str] = {}
    for number, (left, right) in enumerate(itertools.pairwise(mixing), start=1):
        if _has(layers[left], "out") and _has(layers[right], "in"):
            for i in range(left, right):
                after[i] = before[i + 1] = f"P{number}"
    if len(mixing) > 1 and not after:
        raise ValueError(
            "no hidden unit of this model can be permuted: no layer has inputs that "
            "are free to be reordered. A KAN layer has such inputs only while all of "
            "them share one basis with the same knots and no edge is masked, and a "
            "rational layer with one group."
        )
    names: list[AxisNames] = []
    for i, layer in enumerate(layers):
        role = {
            "in": before.get(i),
            "out": after.get(i),
            "unit": after.get(i, before.get(i)),
            None: None,
        }
        names += [tuple(role[axis] for axis in leaf) for leaf in layer]
    return names


def _leaf_roles(number: int, axes: Any, params: Params) -> list[AxisNames]:
    """One layer's axes in the order of its leaves, checked."""
    try:
        leaves = jax.tree.structure(params).flatten_up_to(axes)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"the axes of layer {number} do not fit its parameters: {error}"
        ) from error
    for leaf in leaves:
        if not isinstance(leaf, tuple) or any(role not in ROLES for role in leaf):
            raise ValueError(
                f"the axes of layer {number} hold {leaf!r}; every leaf must be a tuple "
                "of 'in', 'out', 'unit' or None."
            )
    return leaves


def _layers(model: Any, params: Params) -> list[tuple[Any, Params]]:
    """The layers of a chain and their parameters, chains within it taken apart."""
    if not hasattr(model, "layers"):
        return [(model, params)]
    if len(model.layers) != len(params):
        raise ValueError(
            f"{type(model).__name__} has {len(model.layers)} layers and parameters "
            f"with {len(params)} entries; a chain has one entry for each layer."
        )
    return [
        inner
        for layer, p in zip(model.layers, params, strict=True)
        for inner in _layers(layer, p)
    ]


def _axes(layer: Any) -> Any:
    if not hasattr(layer, "parameter_axes"):
        raise ValueError(
            f"{type(layer).__name__} does not say which axes of its parameters count "
            "units: it has neither layers nor parameter_axes(). Write the spec by hand "
            "with spec_from_axes."
        )
    return layer.parameter_axes()


def _passes(layer: Sequence[AxisNames]) -> bool:
    """Whether units pass the layer in their order."""
    return all(leaf == () or "unit" in leaf for leaf in layer)


def _has(layer: Sequence[AxisNames], role: str) -> bool:
    return any(role in leaf for leaf in layer)


def _dense_roles(
    path: Sequence[Any], shape: tuple[int, ...], layout: str | None
) -> tuple[str, ...]:
    if len(shape) == 1:
        return ("out",)
    where = pytrees.path_name(path)
    if len(shape) != 2:
        raise ValueError(
            f"{where} has shape {shape}; a stack of dense layers has matrices and "
            "vectors only. Write the spec by hand with spec_from_axes."
        )
    if layout is not None:
        return ("in", "out") if layout == "in_out" else ("out", "in")
    name = re.sub(r"\W", "", pytrees.path_name(path[-1:]))
    if name not in _LAYOUTS:
        raise ValueError(
            f"{where} is named neither 'kernel' nor 'weight', so its layout is not "
            "known; give layout='in_out' or layout='out_in'."
        )
    return _LAYOUTS[name]


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts numbers within names by value."""
    parts = re.split(r"(\d+)", text)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]
