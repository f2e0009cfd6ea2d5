import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
def test_equals_a_loop_over_places(padding, parameterization, key):
    layer = nn.ConvLocal(
        2,
        3,
        (5, 4),
        (3, 2),
        (2, 1),
        padding,
        parameterization=parameterization,
        kernel_scale=1.3,
        bias_scale=0.4,
    )
    params = layer.init(key)
    x = np.asarray(jax.random.normal(key, (2, 5, 4, 2)))
    pads = [(0, 0)] * 4
    if padding == "SAME":
        pads[1], pads[2] = jax.lax.padtype_to_pads((5, 4), (3, 2), (2, 1), padding)
    padded = np.pad(x, pads)
    kernel, bias = (np.asarray(params[n]) for n in ("kernel", "bias"))
    if parameterization == "ntk":
        kernel, bias = kernel * 1.3 / np.sqrt(12), bias * 0.4
    expected = np.zeros((2, *layer.out_size, 3))
    for i, j in itertools.product(*map(range, layer.out_size)):
        patch = padded[:, 2 * i : 2 * i + 3, j : j + 2].reshape(2, -1)
        expected[:, i, j] = patch @ kernel[i, j] + bias[i, j]
    found = layer.apply(params, jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="padding must be one of"):
        nn.ConvLocal(2, 3, (5,), (2,), padding="CIRCULAR")
    with pytest.raises(ValueError, match="size must have one entry for each axis"):
        nn.ConvLocal(2, 3, (5,), (2, 2))
    with pytest.raises(ValueError, match=r"x must have shape \(..., 5, 2\)"):
        layer = nn.ConvLocal(2, 3, (5,), (2,))
        layer.apply(layer.init(jax.random.key(0)), jnp.ones((1, 4, 2)))
    with pytest.raises(ValueError, match="Write the spec by hand"):
        layer.parameter_axes()
