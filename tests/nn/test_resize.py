import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


@pytest.mark.parametrize("method", ["nearest", "linear", "lanczos3"])
def test_an_image_is_multiplied_with_a_matrix_for_each_axis(key, method):
    layer, x = nn.Resize((2, 7), method), jax.random.normal(key, (3, 4, 5, 2))
    rows, columns = layer.matrix(0, 4), layer.matrix(1, 5)
    assert rows.shape == (2, 4) and columns.shape == (7, 5)
    expected = np.einsum("ah,bw,nhwc->nabc", rows, columns, x)
    np.testing.assert_allclose(layer.apply((), x), expected, rtol=1e-4, atol=1e-5)


def test_some_positions(key):
    x = jax.random.normal(key, (3, 4, 5, 2))
    found = nn.Index((2, (None, None, -2))).apply((), x)
    np.testing.assert_array_equal(found, x[:, 2, ::-2])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="method must be one of 'nearest'"):
        nn.Resize((2, 2), "bilinear")
    with pytest.raises(
        ValueError, match=r"positions\[1\] must be an integer or a tuple"
    ):
        nn.Index((1, slice(2)))
    with pytest.raises(ValueError, match=r"x must have shape \(..., n1, n2, channels"):
        nn.Resize((2, 2)).apply((), jnp.ones((3, 4)))
