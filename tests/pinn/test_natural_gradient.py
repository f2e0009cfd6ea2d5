"""Gauss-Newton steps: their three forms, their momentum, and problems they solve."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.pinn import natural_gradient as ng

PARAMS = {"w": jnp.array([0.3, -1.2]), "c": 0.5}
X = np.linspace(-1, 1, 7)


def residuals(p):
    return p["w"][0] * jnp.exp(p["c"] * X) + p["w"][1] * X - jnp.cos(X)


@pytest.fixture
def start(x64):
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), PARAMS)
    return params, ng.initial_state(params, damping=0.1)


@pytest.mark.parametrize("form", ng.FORMS)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_a_step_is_the_damped_solution(start, form, momentum):
    params, state = start
    phi = jnp.array([0.02, -0.01, 0.03])
    state = state._replace(direction=phi)
    after, _, report = ng.step(residuals, params, state, form=form, momentum=momentum)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    r = np.asarray(residuals(params))
    j = np.asarray(jax.jacfwd(lambda t: residuals(unravel(t)))(flat))
    scale = np.sum(j**2) / 3
    if form == "matrix_free":
        # Its scale is an estimate by random signs.
        signs = jax.random.rademacher(jax.random.key(0), (3,), jnp.float64)
        scale = np.sum((j @ np.asarray(signs)) ** 2) / 3
    # SPRING's minimum of |J d - r|^2 + lambda |d - mu phi|^2, by least squares.
    root = np.sqrt(0.1 * scale)
    tall = np.concatenate([j, root * np.eye(3)])
    right = np.concatenate([r, root * momentum * phi])
    direction = np.linalg.lstsq(tall, right)[0]
    moved = jax.flatten_util.ravel_pytree(after)[0]
    wanted = flat - report.length * direction
    np.testing.assert_allclose(moved, wanted, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(report.loss, np.sum(r**2), rtol=1e-12)


def test_steps_never_go_up_and_reach_the_least_squares(start):
    params, state = start
    step = jax.jit(lambda p, s: ng.step(residuals, p, s))
    values = []
    for _ in range(40):
        params, state, report = step(params, state)
        values.append(float(report.loss))
    assert np.all(np.diff(values) <= 0)
    slope = jax.grad(lambda p: jnp.sum(residuals(p) ** 2))(params)
    assert max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(slope)) < 1e-7


def test_damping_falls_after_whole_steps_and_rises_after_none(start):
    params, state = start
    linear = lambda p: p["w"] - 1.0  # noqa: E731
    after, fallen, report = ng.step(linear, params, state)
    assert float(report.length) == 1 and float(fallen.damping) < 0.1
    # At the minimum nothing is better.
    best = {"w": jnp.ones(2, jnp.float64), "c": params["c"]}
    same, risen, report = ng.step(linear, best, state)
    assert float(report.length) == 0 and float(risen.damping) > 0.1
    np.testing.assert_array_equal(same["w"], best["w"])


def test_a_residual_that_is_not_finite_leaves_parameters_alone(start):
    params, state = start
    wild = lambda p: jnp.log(p["c"] - 0.5 + 0 * p["w"])  # noqa: E731
    same, _, report = ng.step(wild, params, state)
    assert float(report.length) == 0
    np.testing.assert_array_equal(same["w"], params["w"])


def test_steps_map_over_members(start):
    params, _ = start
    many = jax.tree.map(lambda a: jnp.stack([a, a + 0.1]), params)
    states = jax.vmap(lambda p: ng.initial_state(p))(many)
    step = lambda p, s: ng.step(residuals, p, s)[0]  # noqa: E731
    both = jax.jit(jax.vmap(step))(many, states)
    second = jax.tree.map(lambda a: a[1], many)
    alone = step(second, ng.initial_state(second))
    np.testing.assert_allclose(both["w"][1], alone["w"], rtol=1e-9)


def test_bad_input(start):
    params, state = start
    with pytest.raises(ValueError, match="form must be one of"):
        ng.step(residuals, params, state, form="kernel")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="momentum must be"):
        ng.step(residuals, params, state, momentum=1.0)
    with pytest.raises(ValueError, match="damping must be positive"):
        ng.initial_state(params, damping=0.0)
