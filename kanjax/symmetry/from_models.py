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
- ``("block", n)``: the axis is made of n equal blocks, one after the other, and
  reordering these blocks on all such axes of the layer together leaves the layer's
  outputs unchanged, as the heads of attention;
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
What a ``Residual`` adds its branch to, and what ``Parallel`` sums, are the same units.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

import jax

from kanjax import checks, pytrees, unit_trace
from kanjax.symmetry import specs

Params = pytrees.Params
AxisNames = specs.AxisNames
_LAYOUTS = {"kernel": ("in", "out"), "weight": ("out", "in")}


def permutation_spec(model: Any) -> specs.PermutationSpec:
    """Return the permutation symmetry of a model's hidden units.

    Args:
        model: a chain of layers with ``parameter_axes`` (see above) and ``init(key)``:
            MLP, KAN, and Sequential, Residual and Parallel of dense, convolution, KAN,
            rational, attention, normalisation and elementwise layers.

    Raises:
        TypeError: for a network of flax or equinox, with what serves in its place.
        ValueError: if a layer does not say how its parameters belong to units, or if
            there are hidden units and none can be permuted, as with KAN layers whose
            inputs have knots of their own.

    Examples:
        >>> from kanjax import nn
        >>> permutation_spec(nn.MLP((2, 8, 8, 1))).sizes
        (('P1', 8), ('P2', 8))
    """
    if library := checks.foreign_library(model):
        raise TypeError(
            f"model is the {library} network {type(model).__name__}, whose layers do "
            "not say how their parameters belong to units. Give the parameters of a "
            "stack of dense layers to kj.symmetry.mlp_spec, or name the axes of all "
            "parameters in kj.symmetry.spec_from_axes."
        )
    params = jax.eval_shape(model.init, jax.random.key(0))
    return specs.named_spec(unit_trace.trace(model, params).leaf_names(), params)


def chain_spec(axes: Sequence[Any], params: Sequence[Params]) -> specs.PermutationSpec:
    """Return the spec of a chain of layers.

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
    traced = unit_trace.trace_layers(axes, params)
    return specs.named_spec(traced.leaf_names(), params)


def mlp_spec(
    params: Params, *, layout: Literal["in_out", "out_in"] | None = None
) -> specs.PermutationSpec:
    """Return the spec of a plain stack of dense layers, from any library's parameters.

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
        groups.setdefault(checks.path_name(path[:-1]), []).append(i)
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
    return specs.named_spec(names, params)


def _dense_roles(
    path: Sequence[Any], shape: tuple[int, ...], layout: str | None
) -> tuple[str, ...]:
    if len(shape) == 1:
        return ("out",)
    where = checks.path_name(path)
    if len(shape) != 2:
        raise ValueError(
            f"{where} has shape {shape}; a stack of dense layers has matrices and "
            "vectors only. Write the spec by hand with spec_from_axes."
        )
    if layout is not None:
        return ("in", "out") if layout == "in_out" else ("out", "in")
    name = re.sub(r"\W", "", checks.path_name(path[-1:]))
    if name not in _LAYOUTS:
        raise ValueError(
            f"{where} is named neither 'kernel' nor 'weight', so its layout is not "
            "known; give layout='in_out' or layout='out_in'."
        )
    return _LAYOUTS[name]


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers within names by value."""
    parts = re.split(r"(\d+)", text)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]
