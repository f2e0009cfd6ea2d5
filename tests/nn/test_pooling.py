import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


@pytest.mark.parametrize(
    "pool, strides, options",
    [
        (nn.Pool((2, 2)), (2, 2), {}),
        (nn.Pool((2, 3), strides=1), (1, 1), {}),
        (nn.Pool((3, 2), (2, 1), "SAME"), (2, 1), {"padding": "SAME"}),
        (
            nn.Pool((3, 3), 2, "SAME", count_padding=False),
            (2, 2),
            {"padding": "SAME", "count_include_pad": False},
        ),
    ],
)
def test_pool_agrees_with_flax(pool, strides, options, key):
    x = jax.random.normal(key, (2, 6, 5, 3))
    expected = flax.linen.avg_pool(x, pool.window, strides, **options)
    np.testing.assert_allclose(pool.apply((), x), expected, rtol=1e-5, atol=1e-6)


def test_sums_are_means_times_the_number_of_points(key):
    x = jax.random.normal(key, (2, 3, 6, 4, 5))
    total = nn.Pool((2, 2), total=True).apply((), x)
    mean = nn.Pool((2, 2)).apply((), x)
    np.testing.assert_allclose(total, 4 * mean, rtol=1e-5, atol=1e-6)
    total = nn.GlobalPool(2, total=True).apply((), x)
    np.testing.assert_allclose(total, x.sum((2, 3)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        nn.GlobalPool(2).apply((), x), total / 24, rtol=1e-5, atol=1e-6
    )


def test_flatten_keeps_channels_fastest(key):
    x = jax.random.normal(key, (2, 3, 4, 5))
    np.testing.assert_array_equal(nn.Flatten(2).apply((), x), x.reshape(2, 60))
    np.testing.assert_array_equal(nn.Flatten(1).apply((), x), x.reshape(2, 3, 20))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"window must be a tuple.*got 2"):
        nn.Pool(2)
    with pytest.raises(ValueError, match=r"strides=\(1,\) must have one entry"):
        nn.Pool((2, 2), (1,))
    with pytest.raises(ValueError, match="padding must be one of"):
        nn.Pool((2, 2), padding="CIRCULAR")
    with pytest.raises(ValueError, match="spatial must be a positive integer"):
        nn.GlobalPool(0)
    with pytest.raises(ValueError, match=r"x must have shape \(..., n1, n2, channels"):
        nn.Flatten(2).apply((), jnp.ones((3, 4)))


def test_sums_of_small_integers_do_not_overflow():
    x = jnp.full((4, 4, 1), 200, jnp.uint8)
    np.testing.assert_array_equal(nn.Pool((2, 2)).apply((), x), 200)
    np.testing.assert_array_equal(nn.Pool((2, 2), total=True).apply((), x), 800)
    np.testing.assert_array_equal(nn.GlobalPool(2, total=True).apply((), x), 3200)
