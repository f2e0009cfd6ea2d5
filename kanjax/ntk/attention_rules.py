"""Infinite-width rules of attention and of vectors of positions.

Hron, Bahri, Sohl-Dickstein, Novak 2020, arXiv 2006.10540.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from kanjax import nn
from kanjax.ntk.covariances import Covariances
from kanjax.ntk.rules import Propagate, Rule, Rules
from kanjax.ntk.spatial_rules import check_spatial, needs_always


def tied_attention(
    layer: nn.TiedAttention, k: Covariances, propagate: Propagate
) -> Covariances:
    """``K <- w^2 G K G'^T + b^2``, with ``G = weights(scale K)`` of each example.

    ``Theta <- w^2 G Theta G'^T + b^2 + 2 w^2 G K G'^T``: of the values' weights and of
    the output's; the keys' share vanishes in this scaling.
    """
    check_spatial(layer, k, layer.spatial)
    weight, bias = layer.kernel_scale**2, layer.bias_scale**2
    keys = _keys(layer, k, propagate)

    def looks(side: Covariances) -> Array:
        mask = k.first_mask
        there = None if mask is None else mask.reshape(*mask.shape[: k.examples], -1)
        return layer.looks(layer.scale * _square(side, side.nngp), there)

    left, right = keys.each(looks)

    def seen(covariance: Array) -> Array:
        values = left @ _square(k, covariance) @ jnp.swapaxes(right, -1, -2)
        return weight * values.reshape(covariance.shape)

    nngp = seen(k.nngp)
    return k.replace(
        nngp=nngp + bias,
        ntk=seen(k.ntk) + bias + 2 * nngp,
        channels=layer.out_features,
        centered=True,
        fresh=True,
    )


def _square(k: Covariances, covariance: Array) -> Array:
    """All positions of an example on one axis, as tokens."""
    examples = covariance.shape[: k.examples]
    tokens = math.prod(covariance.shape[k.examples : k.examples + k.spatial])
    return covariance.reshape(*examples, tokens, tokens)


def _keys(layer: Any, k: Covariances, propagate: Propagate) -> Covariances:
    """Return what keys are taken of, and queries with them."""
    if layer.key_model is None:
        return k
    return propagate(layer.key_model, k, pairs=True).averaged()


def linear_attention(
    layer: nn.LinearAttention, k: Covariances, propagate: Propagate
) -> Covariances:
    """``K <- w^2 A sum(A * K) + b^2``, over all pairs of tokens, A the keys' K.

    Logits are random at any width, of covariance ``A A``, and independent of values.
    Of ``Theta``, queries, keys, values and outputs have a share of K each, and what is
    below them that of the product rule.
    """
    check_spatial(layer, k, layer.spatial)
    weight, bias = (layer.scale * layer.kernel_scale) ** 2, layer.bias_scale**2
    keys = _keys(layer, k, propagate)
    positions = tuple(range(-2 * k.spatial, 0))

    def overlap(a: Array, b: Array) -> Array:
        return jnp.sum(a * b, axis=positions, keepdims=True)

    def seen(a: Array, b: Array) -> Array:
        return weight * overlap(a, b) * a

    nngp = seen(keys.nngp, k.nngp)
    below = overlap(keys.ntk, k.nngp) + overlap(keys.nngp, k.ntk)
    below = below * keys.nngp + overlap(keys.nngp, k.nngp) * keys.ntk
    return k.replace(
        nngp=nngp + bias,
        ntk=4 * nngp + weight * below + bias,
        channels=layer.out_features,
        centered=True,
        fresh=True,
    )


def attention(layer: nn.Attention, k: Covariances, propagate: Propagate) -> Covariances:
    """Refuse: scaled by the root of the head size, logits stay random at any width."""
    raise ValueError(
        f"{layer!r} has no closed-form kernel: its logits are random at infinite "
        "width. nn.TiedAttention has one, and so has nn.LinearAttention; or sample "
        "finite networks with kj.ntk.empirical."
    )


def positions(layer: nn.Positions, k: Covariances, propagate: Propagate) -> Covariances:
    """``K = Theta = scale^2 R`` between positions, R the identity or what is given."""
    check_spatial(layer, k, len(layer.shape))
    size = math.prod(layer.shape)
    between = jnp.eye(size) if layer.covariance is None else layer.covariance
    between = layer.scale**2 * between.reshape(*layer.shape, *layer.shape)
    if not k.pairs:
        between = jnp.diagonal(between.reshape(size, size)).reshape(layer.shape)

    def alike(covariance: Array) -> Array:
        examples = covariance.shape[: k.examples]
        wide = (1,) * k.examples + between.shape
        values = between.astype(covariance.dtype).reshape(wide)
        return jnp.broadcast_to(values, (*examples, *between.shape))

    return k.map(alike, centered=True, fresh=True, channels=layer.features)


ATTENTION_RULES: Rules = {
    nn.Attention: Rule(attention),
    nn.LinearAttention: Rule(linear_attention, needs_always),
    nn.Positions: Rule(positions),
    nn.TiedAttention: Rule(tied_attention, needs_always),
}
