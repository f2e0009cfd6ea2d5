import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    "kernel_size, strides", [((3,), 2), ((2, 3), (2, 1)), ((1, 2, 3), 3)]
)
def test_equals_lax(padding, kernel_size, strides, key):
    layer = nn.ConvTranspose(2, 3, kernel_size, strides, padding, bias_scale=0.3)
    params = layer.init(key)
    size = (4, 3, 2)[: len(kernel_size)]
    x = jax.random.normal(key, (2, *size, 2))
    layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[len(size)]
    filters = {1: "WIO", 2: "HWIO", 3: "DHWIO"}[len(size)]
    expected = jax.lax.conv_transpose(
        x,
        params["kernel"],
        layer.steps,
        padding,
        dimension_numbers=(layout, filters, layout),
    )
    np.testing.assert_allclose(
        layer.apply(params, x), np.add(expected, params["bias"]), rtol=1e-4, atol=1e-5
    )


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="padding must be one of"):
        nn.ConvTranspose(2, 3, (3,), padding="CIRCULAR")
    with pytest.raises(ValueError, match="kernel_size must be a tuple"):
        nn.ConvTranspose(2, 3, 3)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 2\)"):
        layer = nn.ConvTranspose(2, 3, (3,))
        layer.apply(layer.init(jax.random.key(0)), jnp.ones((1, 4, 3)))
