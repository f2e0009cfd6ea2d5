"""Convolutions in groups, held against jax's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn
from kanjax.nn import conv_grouped


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Conv(6, 6, (3, 3), groups=6), (2, 5, 7, 6)),
        (nn.Conv(6, 6, (3, 3), 2, "VALID", groups=6), (2, 8, 7, 6)),
        (nn.Conv(8, 12, (5, 5), groups=4), (6, 7, 8)),
        (nn.Conv(4, 8, (3, 3), groups=4), (6, 7, 4)),
    ],
)
def test_fast_convolutions_in_groups_are_the_plain_ones(layer, shape, key, x64):
    params = layer.init(key)
    params["bias"] = jax.random.normal(key, params["bias"].shape)
    x = jax.random.normal(key, shape)
    fast = functools.partial(conv_grouped.grouped_conv, layer)
    np.testing.assert_allclose(fast(params, x), layer.apply(params, x), atol=1e-12)
    slopes = [
        jax.grad(lambda p, f=f: jnp.sum(jnp.sin(f(p, x))))(params)
        for f in (fast, layer.apply)
    ]
    for a, b in zip(*map(jax.tree.leaves, slopes), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)
