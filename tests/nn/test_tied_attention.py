import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from kanjax import nn


def test_equals_a_loop_over_heads(key):
    layer = nn.TiedAttention(
        4, 3, heads=2, head_features=5, scale=2.0, kernel_scale=0.7, bias_scale=0.3
    )
    params = layer.init(key)
    x = np.asarray(jax.random.normal(key, (2, 6, 4)))
    expected = 0.3 * np.asarray(params["bias"]) + np.zeros((2, 6, 3))
    for h in range(2):
        keys, values = (x @ np.asarray(params[n][h]) for n in ("key", "value"))
        logits = 2.0 * keys @ np.swapaxes(keys, 1, 2) / (4 * 5)
        seen = scipy.special.softmax(logits, axis=-1) @ values
        expected += 0.7 / np.sqrt(4 * 5 * 2) * seen @ np.asarray(params["output"][h])
    np.testing.assert_allclose(
        layer.apply(params, jnp.asarray(x)), expected, rtol=1e-4, atol=1e-5
    )


def test_linear_attention_equals_a_loop_over_heads(key):
    places = nn.Positions((6,), 2)
    layer = nn.LinearAttention(4, 3, 2, 5, 2.0, 0.7, 0.3, places, 2)
    params = layer.init(key)
    x = jax.random.normal(key, (2, 6, 4))
    of_keys = np.broadcast_to(params["key_model"]["embedding"], (2, 6, 2))
    expected = 0.3 * np.asarray(params["bias"]) + np.zeros((2, 6, 3))
    for h in range(2):
        queries, keys = (of_keys @ np.asarray(params[n][h]) for n in ("query", "key"))
        logits = 2.0 * queries @ np.swapaxes(keys, 1, 2) / (2 * np.sqrt(5))
        seen = logits @ (np.asarray(x) @ np.asarray(params["value"][h]))
        expected += 0.7 / np.sqrt(4 * 5 * 2) * seen @ np.asarray(params["output"][h])
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-4, atol=1e-5)


def test_weights_and_what_keys_are_of(key):
    """Uniform keys and the identity: each token gets the sum of the values."""
    alike = nn.Aggregate(jnp.ones((6, 6)))
    layer = nn.TiedAttention(4, 3, weights=jax.nn.identity, key_model=alike)
    params, x = layer.init(key), jax.random.normal(key, (2, 6, 4))
    y = layer.apply(params, x)
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1], y.shape), rtol=1e-4)
    keys = jnp.sum(x, 1, keepdims=True) @ params["key"][0]
    logit = jnp.sum(keys**2, -1, keepdims=True) / (4 * 64)
    values = logit * (jnp.sum(x, 1, keepdims=True) @ params["value"][0])
    expected = values @ params["output"][0] / 16
    np.testing.assert_allclose(y[:, :1], expected, rtol=1e-4, atol=1e-5)


def test_bad_input_is_named(key):
    layer = nn.TiedAttention(4, 3)
    with pytest.raises(ValueError, match=r"x must have shape \(..., tokens, 4\)"):
        layer.apply(layer.init(key), jnp.ones((6, 5)))
    with pytest.raises(ValueError, match="heads must be a positive integer"):
        nn.TiedAttention(4, 3, heads=0)


@pytest.mark.parametrize("kind", [nn.TiedAttention, nn.LinearAttention])
def test_the_positions_of_an_image_are_tokens(kind, key):
    places = nn.Positions((3, 2), 4)
    layer = kind(4, 3, key_model=places, spatial=2)
    params, x = layer.init(key), jax.random.normal(key, (5, 3, 2, 4))
    flat = kind(4, 3, key_model=nn.Positions((6,), 4))
    in_a_row = params | {
        "key_model": {"embedding": params["key_model"]["embedding"].reshape(6, 4)}
    }
    expected = flat.apply(in_a_row, x.reshape(5, 6, 4)).reshape(5, 3, 2, 3)
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"must have shape \(..., n1, n2, 4\)"):
        layer.apply(params, x[0, 0])
