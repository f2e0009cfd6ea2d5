"""Kolmogorov-Arnold networks: layers of learned univariate functions.

Sources: Liu et al. (2024), KAN: Kolmogorov-Arnold Networks, arXiv 2404.19756; units
that multiply: Liu et al. (2024), KAN 2.0, arXiv 2408.10205.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from kanjax import bases, checks, model
from kanjax.kan import layers, multiplication

Params = tuple[dict[str, Array], ...]

_WORDS_OF_PYKAN = {
    "grid": "basis=kj.bases.BSpline({})",
    "k": "basis=kj.bases.BSpline(5, degree={})",
    "width": "widths, as in KAN((2, 5, 1))",
    "grid_range": "basis=kj.bases.BSpline(5, domain=(-1, 1))",
    "base_fun": "residual=jax.nn.silu",
    "mult_arity": "arity={}",
    "seed": "in the key of init: params = net.init(jax.random.key({}))",
    "device": "a matter of jax",
}


@model.dataclass
class KAN:
    """A stack of KAN layers.

    Args:
        widths: the number of inputs, of each layer's hidden units, and of outputs.
        basis: one basis for all layers, a name of :data:`kanjax.bases.FAMILIES` such
            as "chebyshev", or a tuple with one a layer. A
            :class:`kanjax.bases.Rational` makes group-rational layers; None is for a
            layer all of whose edges are formulas.
        residual: the function of the residual branch (None for none); rational layers
            have none.
        masks: None, or a tuple with each layer's (in, sums) edge mask or None; there
            are as many sums as units, unless some units multiply.
        products: None, or for each layer how many of its units, the last ones, are
            products of ``arity`` sums and not one sum.
        arity: how many sums a product takes.
        affine: whether every sum and every unit has a scale and a shift.
        formulas: None, or for each layer its edges that are formulas: tuples (input,
            sum, function) with a name in ``kanjax.kan.symbolic.LIBRARY``.
            :func:`kanjax.kan.symbolic.freeze` writes it.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import bases
        >>> net = KAN((4, 16, 1), basis=bases.BSpline(8))
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.zeros((3, 4))).shape
        (3, 1)
    """

    widths: tuple[int, ...]
    basis: Any = model.child(default=bases.BSpline())
    residual: layers.Activation | None = jax.nn.silu
    masks: tuple[Array | None, ...] | None = model.child(default=None)
    products: tuple[int, ...] | None = None
    arity: int = 2
    affine: bool = False
    formulas: tuple[tuple[multiplication.FormulaEdge, ...], ...] | None = None

    def __new__(cls, *args: Any, **options: Any) -> "KAN":
        # Without a docstring, so that the reference does not list it.
        for word, meant in _WORDS_OF_PYKAN.items():
            if word in options:
                value = options[word]
                raise TypeError(
                    f"KAN has no argument {word!r}; what pykan writes {word}={value!r} "
                    f"is {meant.format(value)} here."
                )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or any(
            not isinstance(width, int) or width < 1 for width in self.widths
        ):
            raise ValueError(
                "widths must be at least two positive integers, the inputs first and "
                f"the outputs last; got {self.widths}."
            )
        if isinstance(self.basis, str):
            # The one field that may be written otherwise than it is kept.
            object.__setattr__(self, "basis", bases.family(self.basis))
        for name in ("basis", "masks", "products", "formulas"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.widths) - 1:
                raise ValueError(
                    f"{name} has {len(value)} entries; widths {self.widths} make "
                    f"{len(self.widths) - 1} layers."
                )
        self._check_units()

    def _check_units(self) -> None:
        if self.arity < 2:
            raise ValueError(f"arity must be at least 2; got {self.arity}.")
        for i, (products, width) in enumerate(
            zip(self.products or (), self.widths[1:], strict=False)
        ):
            if not 0 <= products <= width:
                raise ValueError(
                    f"products[{i}] is {products}; layer {i} has {width} units."
                )
        for i, edges in enumerate(self.formulas or ()):
            where = f"layer {i}"
            multiplication.check_formulas(edges, self.widths[i], self._sums(i), where)
        each = self.basis if isinstance(self.basis, tuple) else (self.basis,)
        if self.formulas is None and any(basis is None for basis in each):
            raise ValueError(
                "basis is None, which is for layers of formulas; give a basis, or "
                "formulas."
            )

    def _sums(self, index: int) -> int:
        products = self.products[index] if self.products else 0
        return self.widths[index + 1] + products * (self.arity - 1)

    @functools.cached_property
    def layers(self) -> tuple[multiplication.Layer, ...]:
        """The layers' models, first to last."""
        return tuple(map(self._layer, range(len(self.widths) - 1)))

    def _layer(self, index: int) -> multiplication.Layer:
        basis = self.basis[index] if isinstance(self.basis, tuple) else self.basis
        inputs, sums = self.widths[index], self._sums(index)
        formulas = self.formulas[index] if self.formulas else ()
        mask = self.masks[index] if self.masks else None
        if formulas:
            mask = multiplication.without(formulas, mask, (inputs, sums))
        learned: multiplication.LearnedLayer | None = None
        if isinstance(basis, bases.Rational):
            learned = layers.RationalLayer(inputs, sums, basis, mask)
        elif basis is not None:
            learned = layers.KANLayer(inputs, sums, basis, self.residual, mask)
        products = self.products[index] if self.products else 0
        if learned is not None and not (formulas or products or self.affine):
            return learned
        return multiplication.UnitLayer(
            inputs, sums, learned, formulas, products, self.arity, self.affine
        )

    def init(self, key: Array) -> Params:
        """Draw the parameters: a tuple with one dictionary a layer."""
        keys = jax.random.split(key, len(self.widths) - 1)
        return tuple(layer.init(k) for layer, k in zip(self.layers, keys, strict=True))

    def apply(
        self, params: Sequence[Any], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the network's outputs for x (..., in)."""
        return self.activations(params, x)[-1]

    def activations(self, params: Sequence[Any], x: Array) -> tuple[Array, ...]:
        """x, then each layer's outputs: the values of all units."""
        values = [checks.as_floating(x)]
        for layer, p in zip(self.layers, params, strict=True):
            values.append(layer.apply(p, values[-1]))
        return tuple(values)

    def with_layers(self, layers: Sequence[multiplication.Layer]) -> "KAN":
        """Return this network with other sizes, bases, masks, products and formulas."""
        learned = [multiplication.learned(layer) for layer in layers]
        masks = tuple(None if layer is None else layer.mask for layer in learned)
        each = tuple(None if layer is None else layer.basis for layer in learned)
        is_shared = not jax.tree.leaves(each) and len(set(each)) == 1
        formulas = tuple(map(multiplication.formulas, layers))
        products = tuple(
            layer.products if isinstance(layer, multiplication.UnitLayer) else 0
            for layer in layers
        )
        return dataclasses.replace(
            self,
            widths=(layers[0].in_features, *(layer.out_features for layer in layers)),
            basis=each[0] if is_shared else each,
            masks=None if all(mask is None for mask in masks) else masks,
            products=products if any(products) else None,
            # A layer may have lost all edges: formulas then say that it had none left.
            formulas=formulas if any(formulas) or None in learned else None,
        )
