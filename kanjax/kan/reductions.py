"""Reductions of the values of many functions at each input to a number for each.

Source: Ta, Tran (2025), AF-KAN, arXiv 2503.06112, and its published code. Values are
(..., inputs, size), and ``sharpness`` is the reciprocal of a temperature.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kanjax.nn import linear

Params = dict[str, Any]


class Reduction(NamedTuple):
    """A reduction: ``init(key, size)``, ``apply(params, values, sharpness)``."""

    init: Callable[[Array, int], Params]
    apply: Callable[[Params, Array, Array], Array]


def uniform(key: Array, shape: tuple[int, ...], inputs: int) -> Array:
    """Draw within 1 / sqrt(inputs), as PyTorch's layers do."""
    bound = 1 / math.sqrt(inputs)
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def _linear(key: Array, inputs: int, outputs: int) -> Params:
    keys = jax.random.split(key)
    return {
        "kernel": uniform(keys[0], (inputs, outputs), inputs),
        "bias": uniform(keys[1], (outputs,), inputs),
    }


def _dense(params: Params, values: Array) -> Array:
    return linear.add_bias(values @ params["kernel"], params["bias"])


def _to_number(params: Params, values: Array) -> Array:
    return _dense(params, values)[..., 0]


def global_weights(params: Params, values: Array, sharpness: Array) -> Array:
    """Return the softmax over inputs (..., inputs)."""
    return jax.nn.softmax(_to_number(params, values) * sharpness, axis=-1)


def _global(params: Params, values: Array, sharpness: Array) -> Array:
    return global_weights(params, values, sharpness) * jnp.sum(values, axis=-1)


def spatial_weights(params: Params, values: Array, sharpness: Array) -> Array:
    """Return the softmax over functions (..., inputs, size)."""
    inputs = values.shape[-2]
    padding = [(0, 0)] * (values.ndim - 2) + [(1, 1), (0, 0)]
    padded = jnp.pad(values, padding)
    scores = jnp.broadcast_to(params["bias"], values.shape)
    for tap, kernel in enumerate(params["kernel"]):
        moved = padded[..., tap : tap + inputs, :]
        scores += jnp.broadcast_to(kernel, values.shape) * moved
    return jax.nn.softmax(scores * sharpness, axis=-1)


def _spatial(params: Params, values: Array, sharpness: Array) -> Array:
    return jnp.sum(spatial_weights(params, values, sharpness) * values, axis=-1)


def _spatial_init(key: Array, size: int) -> Params:
    keys = jax.random.split(key)
    return {
        "kernel": uniform(keys[0], (3, size), 3),
        "bias": uniform(keys[1], (size,), 3),
    }


def _query_key_value(params: Params, tokens: Array) -> tuple[Array, Array, Array]:
    query, key, value = (
        _dense(params[name], tokens) for name in ("query", "key", "value")
    )
    return query, key, value


def _attend(params: Params, tokens: Array, sharpness: Array) -> Array:
    """Let the tokens (..., tokens, features) attend to one another."""
    query, key, value = _query_key_value(params, tokens)
    scores = jnp.einsum("...qd,...kd->...qk", query, key)
    return jax.nn.softmax(scores * sharpness, axis=-1) @ value


def _attend_init(key: Array, features: int) -> Params:
    names = ("query", "key", "value")
    keys = jax.random.split(key, 3)
    return {n: _linear(k, features, features) for n, k in zip(names, keys, strict=True)}


def _multihead_init(key: Array, size: int) -> Params:
    keys = jax.random.split(key)
    return _attend_init(keys[0], size) | {"output": _linear(keys[1], size, size)}


def _multihead(params: Params, values: Array, sharpness: Array) -> Array:
    # One head a function, so that a score is the product of two numbers.
    query, key, value = _query_key_value(params, values)
    scores = query[..., :, None, :] * key[..., None, :, :]
    heads = jnp.einsum("...qkh,...kh->...qh", jax.nn.softmax(scores, axis=-2), value)
    return jnp.sum(_dense(params["output"], heads), axis=-1)


def _local_init(key: Array, size: int) -> Params:
    keys = jax.random.split(key)
    return _attend_init(keys[0], 2) | {"linear": _linear(keys[1], size // 2 * 2, 1)}


def _local(params: Params, values: Array, sharpness: Array) -> Array:
    windows = values.shape[-1] // 2
    pairs = values[..., : 2 * windows].reshape(*values.shape[:-1], windows, 2)
    mixed = _attend(params, pairs, sharpness)
    flat = mixed.reshape(*mixed.shape[:-2], 2 * windows)
    return _to_number(params["linear"], flat)


REDUCTIONS: dict[str, Reduction] = {
    "global_attn": Reduction(lambda key, size: _linear(key, size, 1), _global),
    "spatial_attn": Reduction(_spatial_init, _spatial),
    "multistep": Reduction(
        lambda key, size: _linear(key, size, 1),
        lambda params, values, sharpness: _to_number(params, values),
    ),
    "self_attn": Reduction(
        _attend_init,
        lambda params, values, sharpness: jnp.sum(
            _attend(params, values, sharpness), axis=-1
        ),
    ),
    "multihead_attn": Reduction(_multihead_init, _multihead),
    "local_attn": Reduction(_local_init, _local),
}
"""The reductions by the names that the published code has for them."""
