"""The hidden units of a model: which axes carry them, and the values they take.

A walk through a model's layers names the units between them. Two layers on either side
of one set of units share its name, and so do all places along a residual stream.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, pytrees
from kanjax import model as models

if TYPE_CHECKING:
    from kanjax.symmetry import PermutationSpec

Params = pytrees.Params
AxisNames = tuple[str | tuple[str, int] | None, ...]
"""The name of the units along each axis of a leaf, with a number of blocks or not."""
ROLES = ("in", "out", "unit", None)

_PINNED = 0
Entry = tuple[int, Array | None]


class Mixing(NamedTuple):
    """A layer that mixes units, as the walk met it."""

    layer: Any
    path: tuple[Any, ...]
    source: int
    inputs: Array | None
    outputs: Array | None


@dataclasses.dataclass
class Trace:
    """What a walk through the layers found; units are numbers till the walk is over."""

    same: list[int] = dataclasses.field(default_factory=lambda: [_PINNED])
    axes: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)
    mixing: list[Mixing] = dataclasses.field(default_factory=list)
    output_axes: list[int] = dataclasses.field(default_factory=list)

    # A forest of disjoint sets: same[u] <= u, and the root of each, its least number,
    # stands for all of it. 0 is pinned, so whatever joins it is pinned as well.
    def find(self, unit: int) -> int:
        """Return the number that stands for all units known to be the same."""
        while self.same[unit] != unit:
            unit = self.same[unit]
        return unit

    def join(self, first: int, second: int) -> None:
        """Two sets of units are one and the same."""
        low, high = sorted((self.find(first), self.find(second)))
        self.same[high] = low

    def fresh(self) -> int:
        """Return a new set of units."""
        self.same.append(len(self.same))
        return len(self.same) - 1

    def name(self, unit: int) -> str | None:
        """Return the name of a set of units, None if they must stay in their order."""
        unit = self.find(unit)
        return None if unit == _PINNED else f"P{unit}"

    def leaf_names(self) -> list[AxisNames]:
        """Return the names of every leaf's axes.

        Raises:
            ValueError: if there are hidden units and none can be permuted.
        """
        names = [
            tuple(self.name(e) if isinstance(e, int) else e for e in leaf)
            for leaf in self.axes
        ]
        free = any(entry is not None for leaf in names for entry in leaf)
        if len(self.mixing) > 1 and not free:
            raise ValueError(
                "no hidden unit of this model can be permuted: no layer has inputs "
                "that are free to be reordered. A KAN layer has such inputs only while "
                "all of them share one basis with the same knots and no edge is "
                "masked, and a rational layer with one group."
            )
        return names


def trace(model: Any, params: Params, x: Array | None = None) -> Trace:
    """Walk through a model.

    Args:
        model: a model of this package.
        params: its parameters, or their shapes if there is no x.
        x: inputs, for the values of the units as well.

    Raises:
        ValueError: if a layer does not say how its parameters belong to units.
    """
    units = Trace()
    out, _ = _walk(units, model, params, (), _PINNED, x)
    # The model's inputs and outputs keep their order.
    units.join(out, _PINNED)
    return units


def trace_layers(axes: Sequence[Any], params: Sequence[Params]) -> Trace:
    """Walk through a chain of layers of which only the axes are known."""
    units, unit = Trace(), _PINNED
    for i, (layer_axes, p) in enumerate(zip(axes, params, strict=True)):
        path = (jax.tree_util.SequenceKey(i),)
        unit, _ = _meet(units, None, layer_axes, p, path, unit, None)
    units.join(unit, _PINNED)
    return units


def hidden_values(
    model: Any, params: Params, x: Array
) -> dict[str, Float[Array, "samples units"]]:
    """Return the values of a model's hidden units, under their permutation_spec's
    names.

    Each is what the next layer that mixes takes in, after the activation and any
    normalisation on the way; all other axes (examples, positions, tokens) are samples.
    Units that several layers read, as along a residual stream, have the samples of all.

    Args:
        model: a network of kanjax.
        params: its parameters.
        x: (examples, ...) its inputs.

    Raises:
        ValueError: if a layer does not say how its parameters belong to units.
    """
    units = trace(model, params, x)
    values: dict[str, list[Array]] = {}
    for layer in units.mixing:
        name = units.name(layer.source)
        if name is not None and layer.inputs is not None:
            flat = layer.inputs.reshape(-1, layer.inputs.shape[-1])
            values.setdefault(name, []).append(flat)
    return {name: jnp.concatenate(parts) for name, parts in values.items()}


def _walk(
    units: Trace,
    model: Any,
    params: Params,
    path: tuple[Any, ...],
    unit: int,
    x: Array | None,
) -> Entry:
    """Return the units and values that leave a model, for those that enter."""

    def visit(layer: Any, p: Params, value: Entry, path: Any, key: Any) -> Entry:
        if hasattr(layer, "layers"):
            return _walk_chain(units, layer, p, path, *value)
        return _meet(units, layer, _axes(layer), p, path, *value)

    def join(container: Any, values: Sequence[Entry]) -> Entry:
        if not isinstance(container, models.Residual | models.Parallel):
            _axes(container)
        # Entries are added one by one: all branches count the same units.
        first, *others = (unit for unit, _ in values)
        for other in others:
            units.join(first, other)
        outputs = [y for _, y in values if y is not None]
        return first, container.join(outputs) if outputs else None

    return models.walk(model, params, (unit, x), visit, join, path=path)


def _walk_chain(
    units: Trace,
    model: Any,
    params: Params,
    path: tuple[Any, ...],
    unit: int,
    x: Array | None,
) -> Entry:
    """Go through the layers of a network that is no container, as of an MLP."""
    if len(model.layers) != len(params):
        raise ValueError(
            f"{type(model).__name__} has {len(model.layers)} layers and parameters "
            f"with {len(params)} entries; a chain has one entry for each layer."
        )
    # A chain with activations between its layers knows best what each takes in.
    known = None
    if x is not None and hasattr(model, "activations"):
        known = model.activations(params, x)
    y = x
    for i, (layer, p) in enumerate(zip(model.layers, params, strict=True)):
        inner = (*path, jax.tree_util.SequenceKey(i))
        y = y if known is None else known[i]
        unit, y = _walk(units, layer, p, inner, unit, y)
    return unit, y if known is None else known[-1]


def _meet(
    units: Trace,
    layer: Any,
    axes: Any,
    params: Params,
    path: tuple[Any, ...],
    unit: int,
    x: Array | None,
) -> Entry:
    """Note the axes of one layer and what it does to the units."""
    leaves = _leaf_roles(checks.path_name(path), axes, params)
    y = None if x is None else layer.apply(params, x)
    out = unit
    if not all(leaf == () or "unit" in leaf for leaf in leaves):
        out = units.fresh()
        if not any("in" in leaf for leaf in leaves):
            units.join(unit, _PINNED)
        if not any("out" in leaf for leaf in leaves):
            units.join(out, _PINNED)
        units.mixing.append(Mixing(layer, path, unit, x, y))
    units.output_axes += [
        leaf.index("out") - len(leaf) if "out" in leaf else -1 for leaf in leaves
    ]
    number = len(units.mixing)
    # Units are numbers till the walk is over: a later layer may still join two of them.
    # Blocks belong to one layer alone, and so have their names at once.
    role = {"in": unit, "out": out, "unit": out, None: None}
    units.axes += [
        tuple(
            (f"B{number}", entry[1]) if isinstance(entry, tuple) else role[entry]
            for entry in leaf
        )
        for leaf in leaves
    ]
    return out, y


def _leaf_roles(where: str, axes: Any, params: Params) -> list[tuple[Any, ...]]:
    """One layer's axes in the order of its leaves, checked."""
    try:
        leaves = jax.tree.structure(params).flatten_up_to(axes)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"the axes of layer {where} do not fit its parameters: {error}"
        ) from error
    for leaf in leaves:
        if not isinstance(leaf, tuple) or not all(map(_is_role, leaf)):
            raise ValueError(
                f"the axes of layer {where} hold {leaf!r}; every leaf must be a "
                "tuple of 'in', 'out', 'unit', ('block', n) or None."
            )
    return leaves


def _is_role(role: Any) -> bool:
    if isinstance(role, tuple):
        return len(role) == 2 and role[0] == "block" and isinstance(role[1], int)
    return role in ROLES


def _axes(layer: Any) -> Any:
    if not hasattr(layer, "parameter_axes"):
        raise ValueError(
            f"{type(layer).__name__} does not say which axes of its parameters count "
            "units: it has neither layers nor parameter_axes(). Write the spec by hand "
            "with spec_from_axes."
        )
    return layer.parameter_axes()


def name_and_blocks(entry: Any) -> tuple[str | None, int | None]:
    """Return the name in an axis' entry, and the number of its blocks if it has any."""
    return entry if isinstance(entry, tuple) else (entry, None)


def check_fits(spec: "PermutationSpec", params: Params, name: str) -> None:
    """Let only parameters pass that a spec was made for.

    Raises:
        TypeError: if the spec is none.
        ValueError: naming the first leaf that does not fit.
    """
    if not hasattr(spec, "sizes"):
        raise TypeError(
            "spec must be a PermutationSpec, such as kj.symmetry.permutation_spec(net) "
            f"gives; got {spec!r}."
        )
    leaves = jax.tree_util.tree_leaves_with_path(params)
    sizes = dict(spec.sizes)
    paths = [checks.path_name(path) for path, _ in leaves]
    expected = [path for path, _ in spec.axes]
    if paths != expected:
        extra = [p for p in paths if p not in expected]
        lacking = [p for p in expected if p not in paths]
        raise ValueError(
            f"the spec does not fit {name}: it is for the leaves {expected}; {name} "
            f"lacks {lacking} and has {extra} besides."
        )
    for (path, axes), (_, leaf) in zip(spec.axes, leaves, strict=True):
        shape = jnp.shape(leaf)
        # Of blocks only the number is known, not their size.
        wanted = tuple(sizes[e] if isinstance(e, str) else None for e in axes)
        fits = len(shape) == len(axes) and all(
            n == w if w is not None else not n % (name_and_blocks(e)[1] or 1)
            for n, w, e in zip(shape, wanted, axes, strict=True)
        )
        if not fits:
            raise ValueError(
                f"the spec does not fit {name} at {path}: shape {shape}, expected "
                f"{wanted} (None: any size)."
            )
