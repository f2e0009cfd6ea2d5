import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from kanjax.hopfield import associate


@pytest.fixture
def random(key):
    keys = jax.random.split(key, 3)
    return (
        jax.random.normal(keys[0], (2, 3, 8)),
        jax.random.normal(keys[1], (24, 8)),
        jax.random.normal(keys[2], (24, 5)),
    )


@pytest.fixture
def mesh():
    return jax.make_mesh((4,), ("patterns",), devices=jax.devices()[:4])


def definition(state, patterns, values, beta, mask=None):
    state, patterns, values = (
        np.asarray(a, np.float64) for a in (state, patterns, values)
    )
    logits = beta * state @ patterns.T
    logits = logits if mask is None else np.where(mask, logits, -np.inf)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True) @ values


@pytest.mark.parametrize("size", [None, 1, 5, 8, 24, 100])
@pytest.mark.parametrize("masked", [False, True])
def test_batches_of_patterns_are_all_of_them(size, masked, random, key):
    state, patterns, values = random
    mask = None
    if masked:
        mask = jax.random.bernoulli(key, 0.4, (2, 3, 24)).at[..., 7].set(True)
    run = jax.jit(associate, static_argnames=("beta", "batch_size"))
    y = run(state, patterns, values, beta=2.0, mask=mask, batch_size=size)
    expected = definition(state, patterns, values, 2.0, mask)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [None, 8, 7])
def test_gradients_do_not_depend_on_the_batches(size, random, x64):
    arrays = tuple(a.astype(float) for a in random)

    @jax.jit
    def both(*arrays):
        def batched(state, patterns, values):
            y = associate(state, patterns, values, beta=2.0, batch_size=size)
            return jnp.sum(jnp.sin(y))

        def plain(state, patterns, values):
            return jnp.sum(jnp.sin(jax.nn.softmax(2.0 * state @ patterns.T) @ values))

        return [jax.grad(f, (0, 1, 2))(*arrays) for f in (batched, plain)]

    for ours, expected in zip(*both(*arrays), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_patterns_spread_over_a_mesh(random, mesh, key):
    state, patterns, values = random
    mask = jax.random.bernoulli(key, 0.5, (24,))
    rows = NamedSharding(mesh, PartitionSpec("patterns"))
    patterns, values = (jax.device_put(a, rows) for a in (patterns, values))
    for size in (None, 4):
        for given in (None, mask):
            y = associate(
                state,
                patterns,
                values,
                beta=1.5,
                mask=given,
                batch_size=size,
                mesh=mesh,
            )
            expected = definition(state, patterns, values, 1.5, given)
            np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)

    def total(patterns, mesh):
        return jnp.sum(jnp.sin(associate(state, patterns, beta=1.5, mesh=mesh)))

    slope = jax.jit(jax.grad(total), static_argnums=1)
    np.testing.assert_allclose(
        slope(patterns, mesh), slope(random[1], None), rtol=1e-3, atol=1e-5
    )


@pytest.mark.optimized
def test_memory_is_that_of_one_batch(key):
    """No array of all states by all patterns, forward or backward."""
    state, patterns = jnp.ones((64, 16)), jnp.ones((4096, 16))

    def total(state, patterns, size):
        return jnp.sum(associate(state, patterns, beta=1.0, batch_size=size))

    def temporary(size):
        step = jax.jit(jax.grad(total, (0, 1)), static_argnums=2)
        compiled = step.lower(state, patterns, size).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    everything = 64 * 4096 * 4
    assert temporary(None) > everything
    assert temporary(128) < everything


def test_what_is_hidden_and_what_is_not_finite(random):
    state, patterns, values = random
    for size in (None, 8):
        y = associate(
            state, patterns, values, beta=1.0, mask=jnp.zeros(24, bool), batch_size=size
        )
        np.testing.assert_array_equal(y, 0)
        lost = associate(
            state.at[0, 0].set(jnp.nan), patterns, values, beta=1.0, batch_size=size
        )
        assert np.all(np.isnan(lost[0, 0])) and np.all(np.isfinite(lost[1]))
        large = associate(1e4 * state, patterns, values, beta=1.0, batch_size=size)
        chosen = np.argmax(np.asarray(state) @ np.asarray(patterns).T, axis=-1)
        np.testing.assert_allclose(large, np.asarray(values)[chosen], rtol=1e-5)


def test_sparse_weights_and_half_precision(random):
    state, patterns, values = random
    y = associate(state, patterns, values, beta=30.0, alpha=2.0)
    soft = associate(state, patterns, values, beta=1e4)
    np.testing.assert_allclose(y, soft, atol=1e-3)
    half = [a.astype(jnp.bfloat16) for a in random]
    y = associate(*half, beta=1.0, batch_size=8)
    error = np.abs(y.astype(jnp.float32) - definition(*random, 1.0))
    assert np.max(error) < 0.05


def test_jit_and_vmap_over_memories(key):
    stack = jax.random.normal(key, (3, 12, 4))
    state = jax.random.normal(key, (3, 4))
    run = lambda s, p: associate(s, p, beta=2.0, batch_size=4)  # noqa: E731
    together = jax.jit(jax.vmap(run))(state, stack)
    for i in range(3):
        expected = definition(state[i], stack[i], stack[i], 2.0)
        np.testing.assert_allclose(together[i], expected, rtol=1e-4, atol=1e-5)


def test_bad_input_is_named(random, mesh):
    state, patterns, values = random
    with pytest.raises(ValueError, match=r"values must have shape \(24, value_feat"):
        associate(state, patterns, values[:5], beta=1.0)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
        associate(state, patterns, beta=1.0, batch_size=0)
    with pytest.raises(ValueError, match="sparse weights .* need all patterns"):
        associate(state, patterns, beta=1.0, alpha=2.0, batch_size=4)
    with pytest.raises(ValueError, match="the mesh has no axis 'rows'"):
        associate(state, patterns, beta=1.0, mesh=mesh, axis="rows")
    with pytest.raises(ValueError, match="23 patterns do not divide over the 4"):
        associate(state, patterns[:23], beta=1.0, mesh=mesh)
    with pytest.raises(ValueError, match="beta must be positive"):
        associate(state, patterns, beta=0.0)
