import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_norms_agree_with_flax(name, key):
    norm = getattr(nn, name)(6, eps=1e-3)
    params = jax.tree.map(lambda p: p + jnp.arange(6.0), norm.init(key))
    x = 3 + jax.random.normal(key, (4, 2, 6))
    theirs = getattr(flax.linen, name)(epsilon=1e-3)
    expected = theirs.apply({"params": params}, x)
    np.testing.assert_allclose(norm.apply(params, x), expected, rtol=1e-4, atol=1e-4)


def test_statistics_survive_a_large_mean(x64):
    # The mean of squares less the square of the mean would lose all digits here.
    x = 1e4 + np.random.default_rng(0).standard_normal((5, 64))
    norm = nn.LayerNorm(64)
    params = norm.init(jax.random.key(0))
    y = norm.apply(params, jnp.asarray(x, dtype=jnp.float32))
    np.testing.assert_allclose(y, norm.apply(params, jnp.asarray(x)), atol=1e-2)


@pytest.mark.parametrize("norm", [nn.LayerNorm(256), nn.RMSNorm(256)])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_statistics_of_half_precision_are_taken_in_single(norm, dtype, key):
    # Squares of these overflow float16 and their sum is lost in bfloat16.
    x = (400 * jax.random.normal(key, (3, 256))).astype(dtype)
    params = jax.tree.map(lambda p: p.astype(dtype), norm.init(key))
    y = norm.apply(params, x)
    assert y.dtype == dtype
    exact = norm.apply(norm.init(key), x.astype(jnp.float32))
    tolerance = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(y.astype(float), exact, rtol=tolerance, atol=1e-3)


@pytest.mark.parametrize("norm", [nn.LayerNorm(4), nn.RMSNorm(4)])
def test_constant_inputs_have_finite_values_and_gradients(norm, key):
    params = norm.init(key)
    for value in (0.0, 2.0):
        x = jnp.full((2, 4), value)
        slope = jax.grad(lambda x: jnp.sum(jnp.sin(norm.apply(params, x))))(x)
        assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("layer", [nn.LayerNorm, nn.RMSNorm])
def test_bad_input_is_named(layer, key):
    with pytest.raises(ValueError, match="features must be a positive integer"):
        layer(-1)
    with pytest.raises(ValueError, match=r"eps must be positive; got 0"):
        layer(4, eps=0)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 4\); got"):
        layer(4).apply(layer(4).init(key), jnp.ones((2, 5)))
