"""SOAP beside a transcription of the paper's algorithm."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import training

RATE, B1, B2, EPS, EVERY = 0.05, 0.9, 0.8, 1e-8, 3
LEFT = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
RIGHT = np.array([[1.0, 0.8], [0.8, 1.0]])
START = np.arange(6.0).reshape(3, 2) - 2


def slope(w):
    """Of ``tr(W^T LEFT W RIGHT) / 2``."""
    return LEFT @ w @ RIGHT


def by_hand(w, steps):
    """Algorithm 3 line by line, with Adam's corrections of the first steps."""
    (m, n), path = w.shape, []
    mean, squares = np.zeros((m, n)), np.zeros((m, n))
    left, right, q_left, q_right = (
        np.zeros((m, m)),
        np.zeros((n, n)),
        np.eye(m),
        np.eye(n),
    )
    for t in range(1, steps + 1):
        g = slope(w)
        turned = q_left.T @ g @ q_right
        mean = B1 * mean + (1 - B1) * g
        squares = B2 * squares + (1 - B2) * turned**2
        m_turned = q_left.T @ (mean / (1 - B1**t)) @ q_right
        step = m_turned / (np.sqrt(squares / (1 - B2**t)) + EPS)
        w = w - RATE * q_left @ step @ q_right.T
        left = B2 * left + (1 - B2) * g @ g.T
        right = B2 * right + (1 - B2) * g.T @ g
        if (t - 1) % EVERY == 0:
            q_left = np.linalg.qr(left @ q_left)[0]
            q_right = np.linalg.qr(right @ q_right)[0]
        path.append(w)
    return np.stack(path)


@pytest.fixture(scope="module")
def run():
    """Ten steps on a matrix and a vector, from a start."""
    optimizer = training.soap(RATE, B1, B2, EPS, every=EVERY)

    def descend(start):
        def step(carry, _):
            params, state = carry
            slopes = {
                "w": jnp.asarray(LEFT) @ params["w"] @ jnp.asarray(RIGHT),
                "b": params["b"],
            }
            moves, state = optimizer.update(slopes, state, params)
            params = optax.apply_updates(params, moves)
            return (params, state), params

        params = {"w": start, "b": jnp.asarray([1.0, -2.0], start.dtype)}
        return jax.lax.scan(step, (params, optimizer.init(params)), None, length=10)[1]

    return jax.jit(jax.vmap(descend))


def test_matrices_take_the_paper_s_steps_and_vectors_adam_s(run, x64):
    starts = np.stack([START, -0.5 * START + 1])
    path = run(jnp.asarray(starts))
    for w, start in zip(path["w"], starts, strict=True):
        np.testing.assert_allclose(w, by_hand(start, 10), rtol=1e-9, atol=1e-11)
    adam = optax.adam(RATE, B1, B2, EPS)
    b = jnp.asarray([1.0, -2.0])
    state = adam.init(b)
    for wanted in path["b"][0]:
        moves, state = adam.update(b, state, b)
        b = optax.apply_updates(b, moves)
        np.testing.assert_allclose(wanted, b, rtol=1e-9)


def test_tensors_turn_each_axis_and_long_axes_none():
    tensor = scale_state(jnp.ones((2, 3, 4)))
    assert [f.shape for f in tensor.factors[0]] == [(2, 2), (3, 3), (4, 4)]
    assert scale_state(jnp.ones((2, 9)), largest=8).factors[0][1] is None
    np.testing.assert_allclose(tensor.factors[0][1], 0.05 * 8 * np.ones((3, 3)), 1e-5)
    q = tensor.bases[0][2]
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-6)


def scale_state(gradient, **options):
    optimizer = training.scale_by_soap(**options)
    return optimizer.update(gradient, optimizer.init(gradient))[1]


def test_bad_input():
    for options in ({"b1": 1.0}, {"b2": -0.1}, {"eps": 0.0}, {"every": 0}):
        with pytest.raises(ValueError, match="b1 and b2 must be at least 0"):
            training.soap(1e-3, **options)
