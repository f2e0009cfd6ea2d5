"""Gradient descent as one pure function."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import training


def loss(w, x, key):
    return jnp.mean((x @ w) ** 2), {"metric": jnp.zeros(())}


def test_equals_steps_by_hand(key):
    x, w = jax.random.normal(key, (5, 3)), jnp.ones(3)
    optimizer = optax.adam(0.1)
    params, losses = training.descend(loss, w, x, key=key, optimizer=optimizer, steps=4)
    state, expected = optimizer.init(w), []
    for _ in range(4):
        expected.append(loss(w, x, key)[0])
        gradient = 2 * x.T @ (x @ w) / 5
        updates, state = optimizer.update(gradient, state, w)
        w = optax.apply_updates(w, updates)
    np.testing.assert_allclose(params, w, rtol=1e-5)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_works_under_vmap_over_starts_and_keys(key):
    x, starts = jax.random.normal(key, (6, 2)), jax.random.normal(key, (3, 2))
    keys = jax.random.split(key, 3)

    def run(w, k):
        return training.descend(
            loss, w, x, key=k, optimizer=optax.sgd(0.1), steps=3, batch_size=2
        )

    params, losses = jax.jit(jax.vmap(run))(starts, keys)
    alone = [run(w, k) for w, k in zip(starts, keys, strict=True)]
    for i, (w, own) in enumerate(alone):
        np.testing.assert_allclose(params[i], w, rtol=1e-5)
        np.testing.assert_allclose(losses[i], own, rtol=1e-5)


@pytest.mark.parametrize("name", ["steps", "batch_size"])
def test_refuses_less_than_one(key, name):
    options = {"steps": 1, name: 0}
    with pytest.raises(ValueError, match=name):
        training.descend(
            loss,
            jnp.ones(2),
            jnp.ones((1, 2)),
            key=key,
            optimizer=optax.sgd(1.0),
            **options,
        )
