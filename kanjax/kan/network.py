"""Kolmogorov-Arnold networks: layers of learned univariate functions.

Source: Liu et al. (2024), KAN: Kolmogorov-Arnold Networks, arXiv 2404.19756.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from kanjax import bases, model
from kanjax.kan import layer

Params = tuple[dict[str, Array], ...]


@model.dataclass
class KAN:
    """A stack of KAN layers.

    Args:
        widths: the number of inputs, of each layer's hidden units, and of outputs.
        basis: one basis for all layers, or a tuple with one a layer. A
            :class:`kanjax.bases.Rational` makes group-rational layers.
        residual: the function of the residual branch (None for none); rational layers
            have none.
        masks: None, or a tuple with each layer's (in, out) edge mask or None.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import bases
        >>> net = KAN((4, 16, 1), basis=bases.BSpline(8))
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.zeros((3, 4))).shape
        (3, 1)
    """

    widths: tuple[int, ...]
    basis: Any = model.child(default=bases.BSpline())
    residual: layer.Activation | None = jax.nn.silu
    masks: tuple[Array | None, ...] | None = model.child(default=None)

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or any(
            not isinstance(width, int) or width < 1 for width in self.widths
        ):
            raise ValueError(
                "widths must be at least two positive integers, the inputs first and "
                f"the outputs last; got {self.widths}."
            )
        for name in ("basis", "masks"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.widths) - 1:
                raise ValueError(
                    f"{name} has {len(value)} entries; widths {self.widths} make "
                    f"{len(self.widths) - 1} layers."
                )

    @property
    def layers(self) -> tuple[layer.Layer, ...]:
        """The layers' models, first to last."""
        number = len(self.widths) - 1
        each = self.basis if isinstance(self.basis, tuple) else (self.basis,) * number
        masks = self.masks or (None,) * number
        pairs = zip(self.widths[:-1], self.widths[1:], each, masks, strict=True)
        return tuple(
            layer.RationalLayer(inputs, outputs, basis, mask)
            if isinstance(basis, bases.Rational)
            else layer.KANLayer(inputs, outputs, basis, self.residual, mask)
            for inputs, outputs, basis, mask in pairs
        )

    def init(self, key: Array) -> Params:
        """Draw the parameters: a tuple with one dictionary a layer."""
        keys = jax.random.split(key, len(self.widths) - 1)
        return tuple(one.init(k) for one, k in zip(self.layers, keys, strict=True))

    def apply(
        self, params: Sequence[Any], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """The network's outputs for x (..., in)."""
        return self.activations(params, x)[-1]

    def activations(self, params: Sequence[Any], x: Array) -> tuple[Array, ...]:
        """x, then each layer's outputs: the values of all units."""
        values = [x]
        for one, p in zip(self.layers, params, strict=True):
            values.append(one.apply(p, values[-1]))
        return tuple(values)

    def with_layers(self, layers: Sequence[layer.Layer]) -> "KAN":
        """This network with other layers' sizes, bases and masks."""
        masks = tuple(one.mask for one in layers)
        each = tuple(one.basis for one in layers)
        is_shared = not jax.tree.leaves(each) and len(set(each)) == 1
        return dataclasses.replace(
            self,
            widths=(layers[0].in_features, *(one.out_features for one in layers)),
            basis=each[0] if is_shared else each,
            masks=None if all(mask is None for mask in masks) else masks,
        )
