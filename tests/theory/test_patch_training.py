"""Descent on patches against a loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax.theory import patch_signals, patch_training

NET = patch_signals.PatchNetwork("locally connected", 3, 4)


@pytest.fixture
def examples(key):
    signal = patch_signals.draw_signal(key, 4)
    draw = functools.partial(patch_signals.sample, signal=signal, patches=3, noise=0.5)
    return [
        draw(k, rows=n) for k, n in zip(jax.random.split(key), (12, 40), strict=True)
    ]


@pytest.mark.parametrize("on_sphere", [False, True])
def test_the_best_of_all_looks_is_kept(key, examples, on_sphere):
    train, stop = examples
    start = jax.tree.map(lambda w: 10 * w, NET.init(key))
    optimizer = optax.sgd(0.3)
    fit = functools.partial(
        patch_training.fit_descent, NET, start, train, stop, optimizer=optimizer,
        steps=40, every=2, on_sphere=on_sphere,
    )  # fmt: skip
    got = jax.jit(fit)()

    def error(params, batch):
        return jnp.mean((NET.apply(params, batch[0]) - batch[1]) ** 2)

    params, seen = start, [(float(error(start, stop)), 0, start)]
    for step in range(1, 41):
        slope = jax.grad(error)(params, train)
        params = jax.tree.map(lambda p, s: p - 0.3 * s, params, slope)
        if on_sphere:
            w = params["weights"]
            params["weights"] = w / jnp.linalg.norm(w, axis=1, keepdims=True)
        if step % 2 == 0:
            seen.append((float(error(params, stop)), step, params))
    best = min(seen, key=lambda each: each[0])
    assert 0 < got.step == best[1] < 40
    np.testing.assert_allclose(got.loss, best[0], rtol=1e-4)
    np.testing.assert_allclose(
        got.params["weights"], best[2]["weights"], rtol=1e-3, atol=1e-5
    )


def test_steps_are_a_multiple(key, examples):
    with pytest.raises(ValueError, match="steps is 5 and every 2"):
        patch_training.fit_descent(
            NET, NET.init(key), *examples, optimizer=optax.sgd(0.1), steps=5, every=2
        )
