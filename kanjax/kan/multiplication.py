"""A layer whose units sum or multiply their edges, some of which are formulas.

Sources: Liu et al. (2024), KAN 2.0, arXiv 2408.10205, sections 2 and 4: multiplication
units, and edges that a symbolic function has taken the place of.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import checks, model
from kanjax.kan import layers
from kanjax.kan.library import LIBRARY

LearnedLayer = layers.KANLayer | layers.RationalLayer


class FormulaEdge(NamedTuple):
    """An edge that is ``c f(a x + b) + d``: from an input to a sum, f by name."""

    source: int
    target: int
    function: str


@model.dataclass
class UnitLayer:
    """Learned edges and formulas are summed; then units take sums or products of sums.

    With ``affine``, every sum and every unit is scaled and shifted. The first
    ``sums - products * arity`` sums are units themselves, and every ``arity`` of the
    others multiply to one.

    Args:
        in_features: number of inputs.
        sums: number of sums.
        learned: the layer of the edges that are learned, into the sums; None for none.
        formulas: the edges that are formulas. An ``a x + b`` outside of f's domain
            is moved to its border, so that training them stays finite.
        products: number of units that multiply.
        arity: how many sums each of them multiplies.
        affine: whether sums and units have a scale and a shift.
    """

    in_features: int
    sums: int
    learned: LearnedLayer | None = model.child(default=None)
    formulas: tuple[FormulaEdge, ...] = ()
    products: int = 0
    arity: int = 2
    affine: bool = False

    @property
    def out_features(self) -> int:
        """The number of units."""
        return self.sums - self.products * (self.arity - 1)

    def init(self, key: Array) -> dict[str, Array]:
        """Return the learned layer's parameters, and what the units add.

        "formulas" (formulas, 4) holds a, b, c, d and starts at 1, 0, 1, 0; "sum_scale",
        "sum_shift" (sums,), "unit_scale" and "unit_shift" (out,) start at one and zero.
        """
        params = {} if self.learned is None else self.learned.init(key)
        if self.formulas:
            start = jnp.array([1.0, 0.0, 1.0, 0.0])
            params["formulas"] = jnp.tile(start, (len(self.formulas), 1))
        if self.affine:
            for name, size in (("sum", self.sums), ("unit", self.out_features)):
                params[f"{name}_scale"] = jnp.ones(size)
                params[f"{name}_shift"] = jnp.zeros(size)
        return params

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the units' values for x (..., in)."""
        layers.check_inputs(x, self.in_features)
        x = checks.as_floating(x)
        return self.units(params, self.sum_values(params, x))

    def units(self, params: dict[str, Array], sums: Any) -> Any:
        """Return the values (..., out) for sums (..., sums); numpy arrays stay
        numpy's.
        """
        xp = sums.__array_namespace__()
        if self.affine:
            sums = _affine(xp, sums, params["sum_scale"], params["sum_shift"])
        plain = self.sums - self.products * self.arity
        factors = sums[..., plain:].reshape(*sums.shape[:-1], self.products, self.arity)
        units = xp.concatenate([sums[..., :plain], xp.prod(factors, axis=-1)], axis=-1)
        if self.affine:
            units = _affine(xp, units, params["unit_scale"], params["unit_shift"])
        return units

    def sum_values(
        self, params: dict[str, Array], x: Array
    ) -> Float[Array, "*batch sums"]:
        """Return the sums of the edges, before any scale and shift, of x (..., in)."""
        if self.learned is None:
            total = jnp.zeros((*x.shape[:-1], self.sums), x.dtype)
        else:
            total = self.learned.apply(params, x)
        if self.formulas:
            values = self.formula_values(params, x)
            where = np.array([target for _, target, _ in self.formulas])
            into = jnp.asarray(where[:, None] == np.arange(self.sums), values.dtype)
            total = total + jnp.matmul(values, into, precision="highest")
        return total

    def formula_values(
        self, params: dict[str, Array], x: Array
    ) -> Float[Array, "*batch formulas"]:
        """Return the values of the edges that are formulas, of x (..., in)."""
        a, b, c, d = params["formulas"].T
        sources, _, names = zip(*self.formulas, strict=True)
        inner = x[..., np.array(sources)]
        a, b, c, d = (jnp.broadcast_to(v, inner.shape) for v in (a, b, c, d))
        inner = a * inner + b
        values = jnp.zeros_like(inner)
        for name in dict.fromkeys(names):
            places = np.array([i for i, other in enumerate(names) if other == name])
            outputs = LIBRARY[name].finite(jnp, inner[..., places])
            values = values.at[..., places].set(outputs)
        return c * values + d

    def parameter_axes(self) -> layers.Axes:
        """Return what the axes of each parameter run over: "in", "out" or neither."""
        axes: layers.Axes = {}
        free = not self.formulas and not self.products
        if self.learned is not None:
            for name, roles in self.learned.parameter_axes().items():
                axes[name] = tuple(
                    role
                    if role is None or free or (role == "in" and not self.formulas)
                    else None
                    for role in roles
                )
        if self.formulas:
            axes["formulas"] = (None, None)
        if self.affine:
            role = "out" if free and axes.get("bias", ("out",)) == ("out",) else None
            if self.learned is not None and self.learned.mask is not None:
                role = None
            for name in ("sum_scale", "sum_shift", "unit_scale", "unit_shift"):
                axes[name] = (role,)
        return axes


Layer = LearnedLayer | UnitLayer


def _affine(xp: Any, values: Any, scale: Any, shift: Any) -> Any:
    return xp.broadcast_to(scale, values.shape) * values + xp.broadcast_to(
        shift, values.shape
    )


def learned(layer: Layer) -> LearnedLayer | None:
    """Return the layer of the learned edges, None if all edges are formulas."""
    return layer.learned if isinstance(layer, UnitLayer) else layer


def with_learned(layer: Layer, other: LearnedLayer | None) -> Layer:
    """Return the layer with other learned edges."""
    if isinstance(layer, UnitLayer):
        return dataclasses.replace(layer, learned=other)
    assert other is not None
    return other


def formulas(layer: Layer) -> tuple[FormulaEdge, ...]:
    """Return the layer's edges that are formulas."""
    if not isinstance(layer, UnitLayer):
        return ()
    return tuple(FormulaEdge(*edge) for edge in layer.formulas)


def sums(layer: Layer) -> int:
    """How many sums of edges the layer makes."""
    return layer.sums if isinstance(layer, UnitLayer) else layer.out_features


def sum_values(layer: Layer, params: Any, x: Array) -> Float[Array, "*batch sums"]:
    """Return the sums of the layer's edges; for a rational layer with its bias."""
    if isinstance(layer, UnitLayer):
        return layer.sum_values(params, x)
    return layer.apply(params, x)


def unit_of_sum(layer: Layer) -> np.ndarray:
    """Return (sums,) the index of the unit that each sum belongs to."""
    if not isinstance(layer, UnitLayer) or not layer.products:
        return np.arange(sums(layer))
    plain = layer.out_features - layer.products
    multiplied = np.repeat(np.arange(plain, layer.out_features), layer.arity)
    return np.concatenate([np.arange(plain), multiplied])


def alive(layer: Layer) -> np.ndarray:
    """(in, sums) whether there is an edge, learned or a formula; not for tracers."""
    inner = learned(layer)
    edges = np.zeros((layer.in_features, sums(layer)), bool)
    if inner is not None:
        edges |= True if inner.mask is None else np.asarray(inner.mask) != 0
    for edge in formulas(layer):
        edges[edge.source, edge.target] = True
    return edges


def scaled_outputs(layer: Layer, params: Any, scale: np.ndarray) -> Any:
    """Parameters that multiply each unit (units,) by a number."""
    scaled = dict(params)
    if isinstance(layer, UnitLayer) and layer.affine:
        for end in ("scale", "shift"):
            name = f"unit_{end}"
            scaled[name] = params[name] * scale
        return scaled
    # Of each product, the first factor.
    owners = unit_of_sum(layer)
    is_first = np.append(True, owners[1:] != owners[:-1])
    factors = np.where(is_first, scale[owners], 1.0)
    for name in ("coef", "residual", "kernel", "bias"):
        if name in params:
            old = params[name]
            scaled[name] = old * jnp.broadcast_to(factors.astype(old.dtype), old.shape)
    if "formulas" in params:
        rows = factors[np.array([edge.target for edge in formulas(layer)])][:, None]
        both = np.concatenate([np.ones((len(rows), 2)), rows, rows], axis=1)
        scaled["formulas"] = params["formulas"] * both.astype(params["formulas"].dtype)
    return scaled


def without(
    edges: Sequence[FormulaEdge], mask: Array | None, shape: tuple[int, int]
) -> Array:
    """Return the mask of the learned edges where formulas take the place of some."""
    free = np.ones(shape, np.float32)
    for source, target, _ in edges:
        free[source, target] = 0
    return jnp.asarray(free) if mask is None else mask * free


def check_formulas(
    edges: Sequence[FormulaEdge], in_features: int, number: int, where: str
) -> None:
    """Raise ``ValueError`` unless every formula lies on an edge of its own."""
    for source, target, name in edges:
        if not 0 <= source < in_features or not 0 <= target < number:
            raise ValueError(
                f"the formula on edge ({source}, {target}) of {where}: it has "
                f"{in_features} inputs and {number} sums."
            )
        if name not in LIBRARY:
            raise ValueError(f"no function {name!r} in the library ({where}).")
    places = [(source, target) for source, target, _ in edges]
    if len(set(places)) < len(places):
        raise ValueError(f"{where} has two formulas on one edge: {places}.")
