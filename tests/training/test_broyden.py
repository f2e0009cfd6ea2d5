"""Self-scaled Broyden steps against their formulas in numpy, and on known minima."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from kanjax import training

SCALES = np.array([1.0, 3.0, 40.0, 700.0])


def quadratic(x):
    return 0.5 * jnp.sum(SCALES * (x["a"] - 1) ** 2)


def rosenbrock(x):
    a, b = x[:-1], x[1:]
    return jnp.sum(100 * (b - a**2) ** 2 + (1 - a) ** 2)


def minimize(loss, x, steps):
    optimizer = training.self_scaled_broyden()

    def step(carry, _):
        x, state = carry
        value, grad = optax.value_and_grad_from_state(loss)(x, state=state)
        moves, state = optimizer.update(
            grad, state, x, value=value, grad=grad, value_fn=loss
        )
        return (optax.apply_updates(x, moves), state), (value, x, grad)

    return jax.lax.scan(step, (x, optimizer.init(x)), None, length=steps)


def inverse_by_hand(path, gradients):
    """H after each pair, by the formulas of the paper, with H^-1 by inversion."""
    n = path.shape[1]
    h_matrix, scaled = np.eye(n), False
    for k in range(len(path) - 1):
        s, y = path[k + 1] - path[k], gradients[k + 1] - gradients[k]
        if not scaled:
            h_matrix, scaled = (s @ y) / (y @ y) * np.eye(n), True
        b = s @ np.linalg.inv(h_matrix) @ s / (s @ y)
        image = h_matrix @ y
        h = y @ image / (s @ y)
        a = max(h * b - 1, np.finfo(float).eps)
        rho_minus = min(1, h * (1 - np.sqrt(a / (a + 1))))
        theta = max((rho_minus - 1) / a, min(1 / rho_minus, (1 - b) / b))
        sigma = (1 + theta * a) ** (-1 / (n - 1))
        rho = min(1, 1 / b)
        if theta > 0:
            tau = rho * min(sigma, 1 / theta)
        else:
            tau = min(rho * sigma, 1 + theta * a)
        phi = (1 - theta) / (1 + a * theta)
        v = np.sqrt(y @ image) * (s / (s @ y) - image / (y @ image))
        h_matrix = h_matrix - np.outer(image, image) / (y @ image)
        h_matrix = (h_matrix + phi * np.outer(v, v)) / tau + np.outer(s, s) / (s @ y)
    return h_matrix


def test_the_inverse_is_the_papers(x64):
    start = jnp.array([-1.2, 1.0, 0.7, -0.4])
    (_, state), (_, path, gradients) = jax.jit(lambda x: minimize(rosenbrock, x, 9))(
        start
    )
    wanted = inverse_by_hand(np.asarray(path), np.asarray(gradients))
    np.testing.assert_allclose(state[0].inverse, wanted, rtol=1e-6, atol=1e-9)
    # The secant equation of the last pair.
    s, y = path[-1] - path[-2], gradients[-1] - gradients[-2]
    np.testing.assert_allclose(state[0].inverse @ y, s, rtol=1e-8, atol=1e-12)


def test_it_finds_the_minimum_of_rosenbrock_in_ten_dimensions(x64):
    start = jnp.full(10, -0.5)
    (x, _), (values, *_) = jax.jit(lambda x: minimize(rosenbrock, x, 150))(start)
    np.testing.assert_allclose(x, 1.0, atol=1e-6)
    reference = scipy.optimize.minimize(
        lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
        np.asarray(start),
        method="BFGS",
    )
    assert reference.fun < 1e-9 and values[-1] < 1e-9


def test_it_maps_over_starts_and_pytrees(x64):
    starts = {"a": jnp.array([[0.0, 0, 0, 0], [5.0, -3, 2, 1]])}
    (x, _), (values, *_) = jax.jit(jax.vmap(lambda x: minimize(quadratic, x, 40)))(
        starts
    )
    np.testing.assert_allclose(x["a"], 1.0, atol=1e-6)
    assert np.all(np.diff(values, axis=1) <= 1e-12)


def test_another_loss_makes_no_pair_with_the_old_one(x64):
    start = jnp.array([-1.2, 1.0])
    optimizer = training.self_scaled_broyden()
    (x, state), _ = jax.jit(lambda x: minimize(rosenbrock, x, 5))(start)
    before = state[0].inverse
    state = training.change_loss(state)
    other = lambda x: jnp.sum((x - 3) ** 4)  # noqa: E731
    value, grad = optax.value_and_grad_from_state(other)(x, state=state)
    assert value == other(x)
    _, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=other)
    np.testing.assert_array_equal(state[0].inverse, before)
    assert state[0].ready


def test_a_failed_search_starts_over(x64):
    scale = training.scale_by_self_scaled_broyden()
    x = jnp.array([1.0, 2.0])
    direction, state = scale.update(jnp.array([3.0, 4.0]), scale.init(x), x)
    # No longer than 1 while nothing is known.
    np.testing.assert_allclose(direction, [0.6, 0.8])
    _, state = scale.update(jnp.array([1.0, 1.0]), state, x - 0.1 * direction)
    assert state.scaled
    # The same place again: no pair.
    direction, state = scale.update(jnp.array([1.0, 1.0]), state, state.params)
    assert not state.scaled
    np.testing.assert_array_equal(state.inverse, np.eye(2))


def test_parameters_are_asked_for():
    scale = training.scale_by_self_scaled_broyden()
    with pytest.raises(ValueError, match=r"need update\(..., params=...\)"):
        scale.update(jnp.ones(2), scale.init(jnp.ones(2)))
