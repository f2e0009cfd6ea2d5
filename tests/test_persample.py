"""Losses and gradients of single examples, held against a loop over batches of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, persample, training

NET = nn.MLP((3, 5, 4), jnp.tanh)
LOSS = training.classification(NET.apply)
N = 11


@pytest.fixture(scope="module")
def params():
    return NET.init(jax.random.key(0))


@pytest.fixture(scope="module")
def data():
    keys = jax.random.split(jax.random.key(1))
    return jax.random.normal(keys[0], (N, 3)), jax.random.randint(keys[1], (N,), 0, 4)


@pytest.fixture(scope="module")
def by_loop(params, data):
    """Loss and gradient of every example, one after the other."""
    grad = jax.jit(jax.value_and_grad(lambda p, b: LOSS(p, b, None)[0]))
    pairs = [grad(params, (data[0][i : i + 1], data[1][i : i + 1])) for i in range(N)]
    values = jnp.stack([value for value, _ in pairs])
    return values, jax.tree.map(lambda *g: jnp.stack(g), *[g for _, g in pairs])


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-5, 1e-6), a, b)


@pytest.mark.parametrize("batch_size", [None, 1, 4, N, 50])
def test_losses_and_gradients_are_those_of_batches_of_one(
    params, data, by_loop, batch_size
):
    close(persample.losses(LOSS, params, data, batch_size=batch_size), by_loop[0])
    close(persample.gradients(LOSS, params, data, batch_size=batch_size), by_loop[1])


@pytest.mark.parametrize("batch_size", [None, 1, 4, N])
def test_the_mean_of_squares_is_the_diagonal_of_the_fisher_matrix(
    params, data, by_loop, batch_size
):
    squares = persample.mean(
        lambda _, g: jax.tree.map(jnp.square, g),
        LOSS,
        params,
        data,
        batch_size=batch_size,
    )
    close(squares, jax.tree.map(lambda g: jnp.mean(g**2, axis=0), by_loop[1]))


def test_under_jit_vmap_and_grad(params, data, by_loop):
    members = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    each = jax.jit(jax.vmap(lambda p: persample.losses(LOSS, p, data, batch_size=4)))
    close(each(members)[0], by_loop[0])
    slope = jax.jit(
        jax.grad(lambda p: jnp.mean(persample.losses(LOSS, p, data, batch_size=4)))
    )
    close(slope(params), jax.tree.map(lambda g: jnp.mean(g, axis=0), by_loop[1]))


def test_sums_of_half_precision_are_made_in_single():
    rows = 4096
    data = (jnp.ones(rows, jnp.bfloat16), jnp.zeros(rows, jnp.bfloat16))
    loss = lambda w, batch, key: jnp.mean(w * batch[0])  # noqa: E731
    found = persample.mean(lambda _, g: g, loss, jnp.bfloat16(1), data, batch_size=7)
    # In bfloat16 the sum would stay at 256.
    assert found.dtype == jnp.float32 and float(found) == 1


def test_memory_is_that_of_a_block():
    wide = nn.MLP((64, 256, 10), jax.nn.relu)
    loss = training.classification(wide.apply)
    shapes = jax.eval_shape(wide.init, jax.random.key(0))
    data = (
        jax.ShapeDtypeStruct((512, 64), jnp.float32),
        jax.ShapeDtypeStruct((512,), jnp.int32),
    )

    def fisher(params, data):
        return persample.mean(
            lambda _, g: jax.tree.map(jnp.square, g), loss, params, data, batch_size=8
        )

    compiled = jax.jit(fisher).lower(shapes, data).compile()
    gradient = 4 * sum(np.prod(s.shape) for s in jax.tree.leaves(shapes))
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * 8 * gradient


@pytest.mark.parametrize(
    "data, batch_size, words",
    [
        ((jnp.ones((3, 3)), jnp.ones(2, int)), None, "one leading example axis"),
        ((jnp.ones((3, 3)), jnp.ones((), int)), None, "one leading example axis"),
        ((jnp.ones((0, 3)), jnp.ones(0, int)), None, "no examples"),
        ((jnp.ones((3, 3)), jnp.ones(3, int)), 0, "at least 1; got 0"),
    ],
)
def test_bad_input(params, data, batch_size, words):
    with pytest.raises(ValueError, match=words):
        persample.losses(LOSS, params, data, batch_size=batch_size)
