"""What a Hopfield layer is described by: sizes, norms and projections."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import model, nn

INIT_SCALE = 0.02
"""The standard deviation of all projections and trained patterns at the start."""


class Norm(NamedTuple):
    """A layer normalisation: whether it has a scale and a bias to train, and eps."""

    affine: bool = True
    eps: float = 1e-5


class Sizes(NamedTuple):
    """The number of features of each thing in a layer."""

    state: int
    stored: int
    value: int
    head: int
    value_head: int
    out: int


@model.dataclass
class Projection:
    """A dense layer that starts at N(0, 0.02^2), with a bias of 0."""

    in_features: int
    out_features: int
    use_bias: bool = True

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "kernel" (in, out) and "bias" (out,)."""
        shape = (self.in_features, self.out_features)
        params = {"kernel": INIT_SCALE * jax.random.normal(key, shape)}
        if self.use_bias:
            params["bias"] = jnp.zeros(self.out_features)
        return params

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Array:
        """Return the outputs for x (..., in)."""
        dense = nn.Dense(self.in_features, self.out_features, self.use_bias)
        return dense.apply(params, x)


def check_inputs(
    size: Sizes, x: Array, stored: Array, values: Array, *, stores_states: bool
) -> None:
    """Raise ``ValueError`` unless the inputs fit the layer and each other."""
    shapes = (("x", x, size.state), ("stored", stored, size.stored))
    if stores_states and size.stored != size.state:
        raise ValueError(
            f"the layer stores patterns of {size.stored} features beside states of "
            f"{size.state}; give stored=."
        )
    for name, array, features in (*shapes, ("values", values, size.value)):
        if jnp.ndim(array) < 2 or array.shape[-1] != features or 0 in array.shape[-2:]:
            rows = "states" if name == "x" else "patterns"
            raise ValueError(
                f"{name} must have shape (..., {rows}, {features}) with at least "
                f"one of them; got {jnp.shape(array)}."
            )
    for name, array in (("stored", stored), ("values", values)):
        if array.shape[:-2] != x.shape[:-2]:
            raise ValueError(
                f"{name} must have the leading axes of x, {x.shape[:-2]}; got "
                f"{array.shape[:-2]}."
            )
    if values.shape[-2] != stored.shape[-2]:
        raise ValueError(
            f"there are {stored.shape[-2]} stored patterns and {values.shape[-2]} "
            "values; each pattern needs one value."
        )
