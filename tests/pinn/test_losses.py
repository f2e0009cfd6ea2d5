"""Losses, Jacobians and their balance against loops and closed forms."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.pinn import balancing, losses

POINTS = {
    "residual": np.array([[0.1, 0.2], [0.5, -1.0], [2.0, 1.0]]),
    "edge": np.array([[1.0, 1.0], [0.0, 3.0]]),
}
RESIDUALS = {
    "residual": lambda p, z: jnp.stack([jnp.sin(p["a"] * z[0]), p["b"][0] * z[1]]),
    "second": lambda p, z: (p["a"] * z[0] + p["b"][1])[None],
    "edge": lambda p, z: (p["b"][1] ** 2 - z[1])[None],
}
PARAMS = {"a": 0.7, "b": np.array([1.5, -0.5])}


@pytest.fixture
def case(x64):
    return jax.tree.map(jnp.asarray, (PARAMS, POINTS))


def by_hand(a, b):
    z, edge = POINTS["residual"], POINTS["edge"]
    return {
        "residual": np.stack([np.sin(a * z[:, 0]), b[0] * z[:, 1]], 1),
        "second": (a * z[:, 0] + b[1])[:, None],
        "edge": (b[1] ** 2 - edge[:, 1])[:, None],
    }


def test_mean_squares(case):
    found = losses.mean_squares(RESIDUALS, *case)
    wanted = by_hand(PARAMS["a"], PARAMS["b"])
    for name, r in wanted.items():
        np.testing.assert_allclose(found[name], np.mean(np.sum(r**2, 1)), rtol=1e-12)


def test_the_weighted_loss(case):
    w = np.array([0.5, 0.0, 2.0])
    r = by_hand(PARAMS["a"], PARAMS["b"])
    wanted = np.mean(w * np.sum(r["residual"] ** 2, 1)) + np.mean(r["second"] ** 2)
    wanted += 3 * np.mean(r["edge"] ** 2)
    params, points = case
    weights = {"residual": jnp.array(w), "edge": 3.0}
    found = losses.loss(RESIDUALS, params, points, weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_jacobian_is_that_of_the_stack(case):
    params, points = case
    weights = {"residual": jnp.array([0.5, 1.0, 2.0]), "edge": 3.0}
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    rows = losses.stack(RESIDUALS, points, weights)
    wanted = jax.jacfwd(lambda t: rows(unravel(t)))(flat)
    found = jax.jit(losses.jacobian(RESIDUALS, points, weights))(params)
    assert found.shape == (3 * 2 + 3 + 2, 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_gradient_norm_weights_make_gradients_alike(case):
    params, points = case
    weights = balancing.gradient_norm_weights(RESIDUALS, params, points)

    def length(name):
        slope = jax.grad(
            lambda p: losses.mean_squares(RESIDUALS, p, points)[name] * weights[name]
        )(params)
        return jnp.linalg.norm(jax.flatten_util.ravel_pytree(slope)[0])

    lengths = [float(length(name)) for name in RESIDUALS]
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-12)


def test_kernel_weights_are_ratios_of_traces(case):
    params, points = case
    weights = balancing.kernel_weights(RESIDUALS, params, points)
    traces = {}
    for name, r in RESIDUALS.items():
        jacobians = [jax.jacfwd(r)(params, z) for z in losses.points_of(points, name)]
        kernels = [jax.flatten_util.ravel_pytree(j)[0] for j in jacobians]
        traces[name] = np.mean([np.sum(k**2) for k in kernels])
    for name in RESIDUALS:
        wanted = np.mean(list(traces.values())) / traces[name]
        np.testing.assert_allclose(weights[name], wanted, rtol=1e-12)


@pytest.mark.parametrize("weigh", ["gradient_norm_weights", "kernel_weights"])
def test_terms_that_hold_by_construction_leave_the_loss_finite(weigh):
    residuals = {"a": lambda p, z: 10 * p * z, "b": lambda p, z: 0 * p * z}
    points, p = {k: jnp.ones((3, 1)) for k in residuals}, jnp.array(2.0)
    weights = getattr(balancing, weigh)(residuals, p, points)
    assert float(weights["a"]) == 0.5 and float(weights["b"]) == 1
    assert float(losses.loss(residuals, p, points, weights)) == pytest.approx(200)


def test_averages_move_slowly():
    moved = balancing.average({"a": 1.0}, {"a": 2.0}, decay=0.9)
    assert float(moved["a"]) == pytest.approx(1.1)


def test_euclidean_loss_is_a_sum_of_norms(case):
    params, points = case
    found = jax.jit(
        lambda p: losses.euclidean(RESIDUALS, p, points, {next(iter(RESIDUALS)): 10.0})
    )(params)
    sizes = [
        np.linalg.norm(r) for r in losses.evaluate(RESIDUALS, params, points).values()
    ]
    np.testing.assert_allclose(found, 10 * sizes[0] + sum(sizes[1:]), rtol=1e-12)


def test_euclidean_loss_is_flat_where_nothing_is_left():
    def loss(theta):
        exact = {"residual": lambda p, z: p * z}
        return losses.euclidean(exact, theta, {"residual": jnp.ones((3, 1))})

    assert float(jax.grad(loss)(0.0)) == 0
    np.testing.assert_allclose(jax.grad(loss)(1e-9), np.sqrt(3), rtol=1e-5)
