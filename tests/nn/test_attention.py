import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn, symmetry


def drawn(attention, key):
    """Parameters with biases that are not zero."""
    leaves, structure = jax.tree.flatten(attention.init(key))
    keys = jax.random.split(key, len(leaves))
    noisy = [
        p + 0.3 * jax.random.normal(k, p.shape)
        for p, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


def as_flax(params, heads):
    def split(name):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        return {"kernel": kernel.reshape(8, heads, -1), "bias": bias.reshape(heads, -1)}

    kernel = params["output"]["kernel"].reshape(heads, -1, 8)
    out = {"kernel": kernel, "bias": params["output"]["bias"]}
    return {name: split(name) for name in ("query", "key", "value")} | {"out": out}


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_agrees_with_flax(heads, causal, key):
    attention = nn.Attention(8, heads, causal)
    params = drawn(attention, key)
    x = jax.random.normal(key, (3, 5, 8))
    mask = flax.linen.make_causal_mask(x[..., 0]) if causal else None
    theirs = flax.linen.MultiHeadDotProductAttention(heads)
    expected = theirs.apply({"params": as_flax(params, heads)}, x, mask=mask)
    y = jax.jit(attention.apply)(params, x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_attention_to_a_masked_context_agrees_with_numpy(key):
    attention = nn.Attention(8, 1)
    params = jax.tree.map(np.asarray, drawn(attention, key))
    keys = jax.random.split(key, 3)
    x = jax.random.normal(keys[0], (3, 5, 8))
    context = jax.random.normal(keys[1], (3, 4, 8))
    mask = jax.random.bernoulli(keys[2], 0.6, (3, 5, 4)).at[..., 0].set(True)
    q, k, v = (
        np.asarray(z) @ params[name]["kernel"] + params[name]["bias"]
        for name, z in (("query", x), ("key", context), ("value", context))
    )
    weights = np.where(mask, np.exp(q @ k.swapaxes(1, 2) / np.sqrt(8)), 0)
    weights /= weights.sum(-1, keepdims=True)
    expected = weights @ v @ params["output"]["kernel"] + params["output"]["bias"]
    y = attention.apply(params, x, context=context, mask=mask)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    one = attention.apply(params, x, context=context, mask=mask[0])
    np.testing.assert_allclose(one[0], expected[0], rtol=1e-4, atol=1e-5)


def test_causal_attention_does_not_see_the_future(key):
    attention = nn.Attention(8, 2, causal=True)
    params = attention.init(key)
    x = jax.random.normal(key, (5, 8))
    y = attention.apply(params, x)
    changed = attention.apply(params, x.at[3:].set(7.0))
    np.testing.assert_allclose(changed[:3], y[:3], rtol=1e-6)
    assert np.all(np.abs(changed[3:] - y[3:]).max(-1) > 1e-3)


def test_attention_without_order_commutes_with_permutations_of_tokens(key):
    attention = nn.Attention(8, 2)
    params = attention.init(key)
    x = jax.random.normal(key, (5, 8))
    order = jnp.array([3, 0, 4, 1, 2])
    y = attention.apply(params, x)
    np.testing.assert_allclose(
        attention.apply(params, x[order]), y[order], rtol=1e-5, atol=1e-6
    )


def test_a_query_with_nothing_to_look_at_gives_finite_values_and_gradients(key):
    attention = nn.Attention(8, 2)
    params = attention.init(key)
    x = jax.random.normal(key, (5, 8))
    mask = jnp.ones((5, 5), dtype=bool).at[2].set(False)

    def total(x):
        return jnp.sum(jnp.sin(attention.apply(params, x, mask=mask)))

    value, slope = jax.value_and_grad(total)(x)
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


def test_features_can_be_permuted_around_attention(key):
    net = model.Sequential((nn.Dense(3, 8), nn.Attention(8, 2), nn.Dense(8, 2)))
    spec = symmetry.permutation_spec(net)
    assert spec.sizes == (("P1", 8), ("B2", 2), ("P2", 8))
    x = jax.random.normal(key, (5, 3))
    assert symmetry.verify_spec(spec, net.apply, net.init(key), x, key).holds


def test_mimetic_kernels_have_products_near_the_identity(key):
    """Values times outputs are 0.4 (Z - I); queries times keys the best of rank 16."""
    params = nn.Attention(64, 4, initialization="mimetic").init(key)
    product = np.asarray(params["value"]["kernel"] @ params["output"]["kernel"])
    z = product / 0.4 + np.eye(64)
    # Five standard errors, for a variance of 1 / 64 and a bounded draw.
    assert abs(z.var() * 64 - 1) < 5 * np.sqrt(0.8 / 64**2)
    assert abs(np.trace(z)) < 5
    assert np.max(np.abs(z)) <= np.sqrt(3 / 64) + 1e-5
    for head in range(4):
        columns = slice(16 * head, 16 * head + 16)
        query, of_key = (params[n]["kernel"][:, columns] for n in ("query", "key"))
        # Both halves have the roots of the singular values, each in its own direction.
        for half in (query, of_key):
            square = np.asarray(half.T @ half)
            np.testing.assert_allclose(square, np.diag(np.diag(square)), atol=1e-4)
        np.testing.assert_allclose(
            np.linalg.norm(query, axis=0), np.linalg.norm(of_key, axis=0), rtol=1e-4
        )
        assert np.trace(query @ of_key.T) > 8


def test_bad_input_is_named(key):
    with pytest.raises(ValueError, match="initialization must be 'lecun' or 'mimet"):
        nn.Attention(8, 2, initialization="xavier")
    with pytest.raises(ValueError, match="heads=3 does not divide features=8"):
        nn.Attention(8, 3)
    with pytest.raises(ValueError, match="heads must be a positive integer"):
        nn.Attention(8, 0)
    attention, x = nn.Attention(8, 2), jnp.ones((3, 5, 8))
    params = attention.init(key)
    for shape in ((8,), (5, 7)):
        with pytest.raises(
            ValueError, match=r"x must have shape \(\.\.\., tokens, 8\)"
        ):
            attention.apply(params, jnp.ones(shape))
    with pytest.raises(ValueError, match=r"context must have shape"):
        attention.apply(params, x, context=jnp.ones((3, 5, 7)))
    with pytest.raises(ValueError, match=r"context must have the leading axes of x"):
        attention.apply(params, x, context=jnp.ones((2, 5, 8)))
    with pytest.raises(
        ValueError, match=r"mask must have shape \(5, 5\) or \(3, 5, 5\)"
    ):
        attention.apply(params, x, mask=jnp.ones((5, 4), dtype=bool))
    with pytest.raises(TypeError, match="mask must be boolean; got float32"):
        attention.apply(params, x, mask=jnp.ones((5, 5)))
    with pytest.raises(ValueError, match="causal attention is among the tokens of x"):
        nn.Attention(8, 2, causal=True).apply(params, x, context=x)
