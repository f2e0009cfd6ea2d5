"""Causal chunks, annealing and marching; the paper's equations are in tests/papers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax.pinn import causal

TIMES = jnp.array([0.9, 0.1, 0.5, 0.3, 0.7, 0.2])
SQUARES = jnp.array([6.0, 1.0, 4.0, 3.0, 5.0, 2.0])


def test_chunks_sort_residuals_with_their_times():
    found = causal.chunk_losses(TIMES, SQUARES, 3)
    np.testing.assert_allclose(found, [1.5, 3.5, 5.5])


def test_points_have_the_weights_of_their_chunks():
    found = causal.point_weights(TIMES, SQUARES, 0.1, 3, initial=1.0)
    w = np.exp(-0.1 * (1 + np.array([0, 1.5, 5.0])))
    np.testing.assert_allclose(found, w[[2, 0, 1, 1, 2, 0]], rtol=1e-6)


def toy(params, epsilon):
    """Three times; each is solved by its parameter reaching 1."""
    return causal.causal_loss((params - 1) ** 2, epsilon)


def test_annealing_leaves_each_stage_once_all_weights_are_large():
    anneal = jax.jit(
        lambda p: causal.anneal(
            toy,
            p,
            optax.sgd(0.3),
            epsilons=(0.1, 1.0, 10.0),
            steps=200,
            block=5,
            record=lambda params, epsilon: epsilon * params[2],
        )
    )
    result = anneal(jnp.array([0.0, -1.0, 3.0]))
    assert bool(result.converged)
    assert np.all(result.steps > 0) and np.all(result.steps < 200)
    for steps, smallest in zip(result.steps, result.smallest, strict=True):
        ran = smallest[: steps // 5]
        assert ran[-1] > 0.99 and np.all(ran[:-1] <= 0.99)
        assert np.all(np.isnan(smallest[steps // 5 :]))
    np.testing.assert_array_equal(np.isnan(result.records), np.isnan(result.losses))
    np.testing.assert_allclose(result.records[2][0], 10 * result.params[2], rtol=0.1)


def test_annealing_at_zero_is_plain_descent():
    start = jnp.array([0.0, -1.0, 3.0])
    result = causal.anneal(
        toy, start, optax.sgd(0.3), epsilons=(0.0,), steps=20, delta=2.0, block=10
    )
    wanted = 1 + (start - 1) * (1 - 0.3 * 2 / 3) ** 20
    np.testing.assert_allclose(result.params, wanted, rtol=1e-5)
    assert result.steps.tolist() == [20] and not bool(result.converged)


def test_members_stop_on_their_own():
    starts = jnp.array([[1.0, 1.0, 1.0], [-5.0, 7.0, 3.0]])
    anneal = lambda p: causal.anneal(  # noqa: E731
        toy, p, optax.sgd(0.3), epsilons=(1.0,), steps=100, block=5
    )
    both = jax.jit(jax.vmap(anneal))(starts)
    assert both.steps[0, 0] == 5 < both.steps[1, 0]
    np.testing.assert_allclose(both.params[1], anneal(starts[1]).params, rtol=1e-6)


def test_windows_start_where_the_last_one_ended(key):
    fit = lambda state, key: (state * 2, state + 1)  # noqa: E731
    end, kept = causal.march(fit, jnp.array(3.0), 4, key=key)
    assert float(end) == 48
    np.testing.assert_array_equal(kept, [4, 7, 13, 25])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: causal.chunk_losses(TIMES, SQUARES, 4), "chunks must divide the 6"),
        (
            lambda: causal.anneal(toy, TIMES, optax.sgd(1.0), epsilons=(), steps=10),
            "epsilons must be at least one",
        ),
        (
            lambda: causal.anneal(toy, TIMES, optax.sgd(1.0), steps=150),
            "multiple of block; got 150 and 100",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
