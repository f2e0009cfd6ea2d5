"""The association space of a Hopfield layer: queries, keys and values of its heads."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import nn
from kanjax.hopfield import keys_values, options

if TYPE_CHECKING:
    from kanjax.hopfield.layers import Hopfield

Params = dict[str, Any]


def project(
    layer: "Hopfield",
    params: Params,
    x: Array,
    stored: Array | None,
    values: Array | None,
    bias: Array | None,
) -> tuple[Array, keys_values.Side, keys_values.Side, Array | None]:
    """Return queries (batch, heads, states, size), keys, values, and what is added."""
    stored = x if stored is None else stored
    values = stored if values is None else values
    q = _normalize(layer, params, "state_norm", x)
    if layer.state_static:
        q = jnp.broadcast_to(q[:, None], (len(q), layer.heads, *q.shape[1:]))
    else:
        q = _by_head(layer.projections()["query"].apply(params["query"], q), layer)
    keys, held = _sides(layer, params, x.shape[1], stored, values)
    if layer.space_norm is not None:
        q = _normalize(layer, params, "space_norm", q)
        keys = keys_values.Side(
            _normalize(layer, params, "space_norm", keys.projected()),
        )
    return q, *_with_extra(layer, params, keys, held), _padded(layer, bias)


def _sides(
    layer: "Hopfield", params: Params, states: int, stored: Array, values: Array
) -> tuple[keys_values.Side, keys_values.Side]:
    """Keys and values, projected where that is less work than the other way."""
    keys = _side(layer, params, "stored_norm", "key", stored)
    if layer.is_connected:
        through = _side(layer, params, "value_norm", "key", values).projected()
        joined = jnp.moveaxis(through, 1, 2).reshape(*values.shape[:2], -1)
        held = keys_values.Side(through)
        if not layer.value_static:
            dense = layer.projections()["value"]
            held = keys_values.Side(
                _by_head(dense.apply(params["value"], joined), layer)
            )
    else:
        held = _side(layer, params, "value_norm", "value", values)
    extra = layer.zero_pattern or layer.bias_pattern
    lazy = not extra and layer.implementation is None
    out = []
    for side in (keys, held):
        keep = lazy and not keys_values.is_cheaper_projected(side, states)
        out.append(side if keep else keys_values.Side(side.projected()))
    return out[0], out[1]


def _side(
    layer: "Hopfield", params: Params, norm: str, name: str, y: Array
) -> keys_values.Side:
    """Patterns with the projection they need, the scale of the norm within it."""
    if name not in params:
        return keys_values.Side(_normalize(layer, params, norm, y)[:, None])
    kernel, bias = params[name]["kernel"], params[name].get("bias")
    if norm in params:
        shift = params[norm]["bias"] @ kernel
        bias = shift if bias is None else bias + shift
        kernel = params[norm]["scale"][:, None] * kernel
    kernel = kernel.reshape(kernel.shape[0], layer.heads, -1)
    bias = None if bias is None else bias.reshape(layer.heads, -1)
    plain = _normalize(layer, {}, norm, y)
    return keys_values.Side(plain[:, None], kernel, bias)


def _normalize(layer: "Hopfield", params: Params, name: str, x: Array) -> Array:
    norm: options.Norm | None = getattr(layer, name)
    if norm is None:
        return x
    features = x.shape[-1]
    plain = {"scale": jnp.ones(features), "bias": jnp.zeros(features)}
    plain = jax.tree.map(lambda leaf: leaf.astype(x.dtype), plain)
    return nn.LayerNorm(features, norm.eps).apply(params.get(name, plain), x)


def _with_extra(
    layer: "Hopfield", params: Params, keys: keys_values.Side, held: keys_values.Side
) -> tuple[keys_values.Side, keys_values.Side]:
    """Return the bias pattern and the zero pattern, behind the stored ones."""
    for name in ("bias", "zero"):
        if getattr(layer, f"{name}_pattern"):
            made = []
            for side, parameter in ((keys, "bias_key"), (held, "bias_value")):
                old = side.patterns
                old = jnp.broadcast_to(old, (old.shape[0], layer.heads, *old.shape[2:]))
                row = jnp.zeros_like(old[:, :, :1])
                if name == "bias":
                    row = row + params[parameter][None, :, None].astype(old.dtype)
                made.append(keys_values.Side(jnp.concatenate([old, row], axis=2)))
            keys, held = made
    return keys, held


def _padded(layer: "Hopfield", bias: Array | None) -> Array | None:
    extra = int(layer.zero_pattern) + int(layer.bias_pattern)
    if bias is None or extra == 0:
        return bias
    return jnp.pad(bias, [(0, 0)] * (bias.ndim - 1) + [(0, extra)])


def _by_head(x: Array, layer: "Hopfield") -> Float[Array, "batch heads rows size"]:
    split = x.reshape(*x.shape[:2], layer.heads, x.shape[2] // layer.heads)
    return jnp.moveaxis(split, 2, 1)
