"""Called again with the same loss, analysis compiles nothing."""

import jax
import jax.numpy as jnp
import pytest

from kanjax import landscape


def loss(w):
    return jnp.sum(jnp.tanh(w["w"]) ** 2)


def bend(a, b):
    return {"controls": jnp.stack([a["w"], b["w"], b["w"]])}


CALLS = {
    "line": lambda a, b: landscape.line(loss, a, b, points=5),
    "barrier": lambda a, b: landscape.barrier(loss, a, b, points=5),
    "plane": lambda a, b: landscape.plane(loss, a, b, a, points=3),
    "barrier_matrix": lambda a, b: landscape.barrier_matrix(
        loss, jax.tree.map(lambda *v: jnp.stack(v), a, b), points=3
    ),
    "layer_barriers": lambda a, b: landscape.layer_barriers(loss, a, b, points=3),
    "barrier_curvature_integral": lambda a, b: landscape.barrier_curvature_integral(
        loss, a, b, points=3
    ),
    "curve_line": lambda a, b: landscape.curve_line(
        loss, jax.tree.map(lambda *v: jnp.stack(v), a, b, a), points=3
    ),
    "mean_rise": lambda a, b: landscape.mean_rise(
        loss, a, jax.random.key(0), samples=2
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_second_call_compiles_nothing(name, compilations, key):
    a, b, c = ({"w": v} for v in jax.random.normal(key, (3, 4)))
    assert compilations(lambda: CALLS[name](a, b)) > 0
    assert compilations(lambda: CALLS[name](b, c)) == 0


def test_another_loss_is_another_program(key):
    a, b = ({"w": v} for v in jax.random.normal(key, (2, 4)))
    first = landscape.line(loss, a, b, points=3).losses
    second = landscape.line(lambda w: 2 * loss(w), a, b, points=3).losses
    assert jnp.allclose(second, 2 * first, rtol=1e-6)


def test_a_loss_that_cannot_be_hashed_is_taken(key):
    class Loss:
        __hash__ = None

        def __call__(self, w):
            return loss(w)

    a, b = ({"w": v} for v in jax.random.normal(key, (2, 4)))
    expected = landscape.line(loss, a, b, points=3).losses
    assert jnp.array_equal(landscape.line(Loss(), a, b, points=3).losses, expected)
