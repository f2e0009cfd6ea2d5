import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


def test_embedding_agrees_with_flax(key):
    embedding = nn.Embedding(7, 3)
    params = embedding.init(key)
    tokens = jnp.array([[0, 6], [3, 3]])
    expected = flax.linen.Embed(7, 3).apply({"params": params}, tokens)
    np.testing.assert_array_equal(embedding.apply(params, tokens), expected)


def test_embeddings_are_of_unit_variance(key):
    table = nn.Embedding(1_000, 50).init(key)["embedding"]
    assert np.std(table) == pytest.approx(1, rel=0.02)


def test_only_the_tokens_seen_have_a_gradient(key):
    embedding = nn.Embedding(4, 3)
    tokens = jnp.array([1, 1, 3])
    slope = jax.grad(lambda p: jnp.sum(embedding.apply(p, tokens)))(embedding.init(key))
    counts = np.array([0, 2, 0, 1])
    np.testing.assert_array_equal(slope["embedding"], np.outer(counts, np.ones(3)))


def test_an_unknown_token_shows_in_the_result(key):
    embedding = nn.Embedding(4, 3)
    y = embedding.apply(embedding.init(key), jnp.array([3, 4]))
    assert np.all(np.isfinite(y[0]))
    assert np.all(np.isnan(y[1]))


def test_bad_input_is_named(key):
    with pytest.raises(
        ValueError, match="vocabulary must be a positive integer; got 0"
    ):
        nn.Embedding(0, 3)
    embedding = nn.Embedding(4, 3)
    with pytest.raises(TypeError, match="tokens, of an integer type; got float32"):
        embedding.apply(embedding.init(key), jnp.ones(3))
