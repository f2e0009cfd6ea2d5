import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield, nn


def by_loop(p, mass):
    total, count = 0.0, 0
    for share in sorted(np.asarray(p, np.float64), reverse=True):
        total, count = total + share, count + 1
        if total >= mass - 1e-6:
            return count
    return count


def test_patterns_in_use_is_the_loop_over_sorted_weights(key):
    p = jax.nn.softmax(3 * jax.random.normal(key, (40, 12)))
    for mass in (0.5, 0.9, 0.99):
        found = jax.jit(hopfield.patterns_in_use, static_argnames="mass")(p, mass=mass)
        np.testing.assert_array_equal(found, [by_loop(row, mass) for row in p])


def test_round_numbers_count_exactly():
    p = jnp.array([[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(hopfield.patterns_in_use(p), [1, 2, 1, 0])
    even = jnp.full((100, 100), 0.01)
    np.testing.assert_array_equal(hopfield.patterns_in_use(even), 90)
    np.testing.assert_allclose(hopfield.effective_patterns(even), 100, rtol=1e-4)


def test_the_three_regimes():
    p = jnp.stack([jnp.full(10, 0.1), jnp.eye(10)[3], jnp.repeat(jnp.eye(2)[0], 5) / 5])
    np.testing.assert_array_equal(hopfield.classify(p), [0, 2, 1])
    np.testing.assert_array_equal(hopfield.classify(p, single=5), [0, 2, 2])
    np.testing.assert_array_equal(hopfield.classify(p, available=5), [0, 2, 0])


def test_heads_of_any_attention_are_told_apart(key):
    sharp = jnp.eye(8)
    flat = jnp.full((8, 8), 1 / 8)
    some = jnp.kron(jnp.eye(4), jnp.full((2, 2), 0.5))
    weights = jnp.broadcast_to(jnp.stack([sharp, some, flat]), (5, 3, 8, 8))
    found = hopfield.head_statistics(weights)
    assert [hopfield.REGIMES[i] for i in found.regime] == [
        "single",
        "metastable",
        "global",
    ]
    np.testing.assert_array_equal(found.median, [1, 2, 8])
    np.testing.assert_array_equal(found.shares, np.eye(3)[[2, 1, 0]])
    np.testing.assert_allclose(found.effective, [1, 2, 8], rtol=1e-5)
    assert found.in_use.shape == (3, 40)


def test_causal_attention_is_held_against_what_it_may_look_at(key):
    mask = jnp.tril(jnp.ones((6, 6), bool))
    flat = mask / mask.sum(axis=1, keepdims=True)
    found = hopfield.head_statistics(flat[None], mask=mask)
    assert found.regime[0] == 0
    np.testing.assert_array_equal(found.available, [3.5])
    # Of the first token, one pattern is all there is.
    np.testing.assert_allclose(found.shares[0], [5 / 6, 0, 1 / 6], rtol=1e-6)
    hidden = flat.at[2].set(0)
    lost = hopfield.head_statistics(hidden[None], mask=mask)
    assert np.isnan(lost.in_use[0, 2]) and np.isclose(lost.shares.sum(), 1)


def test_weights_of_our_attention_and_of_a_hopfield_layer_are_taken(key):
    layer = hopfield.Hopfield(8, heads=2, beta=0.01)
    params = layer.init(key)
    x = jax.random.normal(key, (3, 20, 8))
    inside = layer.association(params, x)
    assert np.all(hopfield.head_statistics(inside.weights).regime == 0)
    attention = nn.Attention(8, 2)
    p = attention.init(key)
    q, k = (
        (x @ p[n]["kernel"] + p[n]["bias"][None, None]).reshape(3, 20, 2, 4)
        for n in ("query", "key")
    )
    weights = jax.nn.softmax(50 * jnp.einsum("blhd,bshd->bhls", q, k))
    found = jax.jit(hopfield.head_statistics)(weights)
    assert np.all(found.median < 5)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"mass must lie in \(0, 1\); got 1"):
        hopfield.patterns_in_use(jnp.ones((2, 3)) / 3, mass=1)
    with pytest.raises(ValueError, match="with at least one pattern"):
        hopfield.patterns_in_use(jnp.ones((2, 0)))
    with pytest.raises(ValueError, match="weights must have shape"):
        hopfield.head_statistics(jnp.ones((2, 3)) / 3)
    with pytest.raises(ValueError, match="single must be an integer of at least 1"):
        hopfield.classify(jnp.ones((2, 3)) / 3, single=0)
