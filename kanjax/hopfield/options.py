"""The sizes and options of a Hopfield layer, and what is checked of them."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import model, nn
from kanjax.hopfield import checks, sparse
from kanjax.nn import checks as nn_checks

if TYPE_CHECKING:
    from kanjax.hopfield.layers import Hopfield

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


def sizes(layer: "Hopfield") -> Sizes:
    """All sizes of a layer, with the defaults filled in."""
    state = layer.state_features
    stored = layer.stored_features or state
    value = layer.value_features or state
    head = layer.head_features
    if head is None:
        if layer.state_static:
            head = state
        elif layer.stored_static:
            head = stored
        else:
            head = state // layer.heads
    value_head = layer.head_value_features or head
    if layer.value_static:
        value_head = head if layer.connected and not layer.stored_static else value
    out = layer.out_features or state
    if not layer.project_output:
        out = layer.heads * value_head
    return Sizes(state, stored, value, head, value_head, out)


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


def check_layer(layer: "Hopfield") -> None:
    """Raise ``ValueError`` for options out of range or at odds."""
    for name in (
        "state_features",
        "stored_features",
        "value_features",
        "out_features",
        "head_features",
        "head_value_features",
        "heads",
    ):
        if getattr(layer, name) is not None:
            nn_checks.check_positive(**{name: getattr(layer, name)})
    sparse.check_alpha(layer.alpha)
    nn.Dropout(layer.dropout)
    _check_heads(layer)
    size = layer.sizes
    statics = (
        ("state_static", size.state, size.head, "head_features"),
        ("stored_static", size.stored, size.head, "head_features"),
    )
    for name, features, needed, what in statics:
        if getattr(layer, name) and features != needed:
            raise ValueError(
                f"{name} needs inputs of {what}={needed} features, as heads take them; "
                f"got {features}."
            )
    alike = size.stored == size.value and size.head == size.value_head
    if layer.connected and not layer.stored_static and not alike:
        raise ValueError(
            "connected values are projected as stored patterns are, so they need as "
            f"many features; got {size.value} beside {size.stored}, and in a head "
            f"{size.value_head} beside {size.head}."
        )
    _check_implementation(layer)
    if layer.examples_at_once is not None:
        checks.check_count("examples_at_once", layer.examples_at_once, 1)
    if layer.batch_size is not None:
        checks.check_count("batch_size", layer.batch_size, 1)
        if layer.implementation or layer.alpha != 1 or layer.dropout:
            raise ValueError(
                "batch_size is for softmax without dropout and without an "
                "implementation; leave it None for others."
            )


def _check_heads(layer: "Hopfield") -> None:
    projected = not layer.state_static and not layer.stored_static
    if layer.head_features is None and projected and layer.state_features % layer.heads:
        raise ValueError(
            f"heads={layer.heads} does not divide state_features="
            f"{layer.state_features}; choose a divisor, or give head_features."
        )
    for name in ("beta", "updates"):
        value = getattr(layer, name)
        if isinstance(value, tuple) and len(value) != layer.heads:
            raise ValueError(
                f"{name} has {len(value)} entries for {layer.heads} heads; give one a "
                "head, or a single one."
            )
    if layer.beta is not None:
        checks.check_beta(layer.beta)
    if layer.updates is not None:
        each = layer.updates if isinstance(layer.updates, tuple) else (layer.updates,)
        for value in each:
            checks.check_count("updates", value, 0)
    if not layer.tolerance > 0:
        raise ValueError(f"tolerance must be positive; got {layer.tolerance!r}.")


def _check_implementation(layer: "Hopfield") -> None:
    if layer.implementation is None:
        return
    if layer.implementation not in ("xla", "cudnn"):
        raise ValueError(
            f"implementation must be None, 'xla' or 'cudnn'; got "
            f"{layer.implementation!r}."
        )
    size = layer.sizes
    plain = layer.updates == 0 and layer.alpha == 1 and layer.dropout == 0
    if not plain or size.head != size.value_head:
        raise ValueError(
            "implementation is for one softmax retrieval: updates=0, alpha=1, "
            "dropout=0 and values as wide as keys; leave it None for others."
        )
