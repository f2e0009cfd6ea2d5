"""What is exact in "Respecting causality is all you need" (arXiv 2203.07404)."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, pinn, systems
from kanjax.pinn import causal, library, losses, samplers


def test_weights_without_epsilon_give_the_plain_mean():
    values = jnp.array([0.5, 2.0, 7.0])
    result = causal.causal_loss(values, 0.0)
    np.testing.assert_allclose(result.loss, np.mean([0.5, 2, 7]), rtol=1e-6)
    assert float(result.smallest) == 1


def test_weights_by_hand():
    found = causal.causal_weights(jnp.array([1.0, 2.0, 3.0]), 0.5)
    np.testing.assert_allclose(found, [1, np.exp(-0.5), np.exp(-1.5)], rtol=1e-6)
    with_start = causal.causal_weights(jnp.array([1.0, 2.0, 3.0]), 0.5, 4.0)
    np.testing.assert_allclose(with_start, np.exp(-2) * found, rtol=1e-6)


def test_weights_never_increase_with_time(key):
    values = jax.random.exponential(key, (200,)) * jnp.array([1e-6, 1.0] * 100)
    for epsilon in (1e-2, 1.0, 100.0):
        weights = causal.causal_weights(values, epsilon)
        assert float(weights[0]) == 1
        assert np.all(np.diff(weights) <= 0)


def test_weights_are_the_triangular_product(key):
    values = jax.random.exponential(key, (30,))
    triangle = np.tril(np.ones((30, 30)), -1)
    wanted = np.exp(-0.3 * triangle @ np.asarray(values))
    np.testing.assert_allclose(causal.causal_weights(values, 0.3), wanted, rtol=2e-5)


def test_weights_are_constants_for_the_gradient():
    theta = jnp.array([0.3, -0.7, 1.1])

    def values(theta):
        return jnp.stack([jnp.sum(theta**2), jnp.sin(theta[0]) ** 2, theta[2] ** 4])

    found = jax.grad(lambda t: causal.causal_loss(values(t), 0.8, t[1] ** 2).loss)(
        theta
    )
    w = causal.causal_weights(values(theta), 0.8, theta[1] ** 2)
    wanted = w @ jax.jacobian(values)(theta) / 3 + jnp.array([0, 2 * theta[1], 0])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_residual_kernel_has_the_trace_of_its_jacobian(x64, key):
    problem = library.advection(3.0)
    net = nn.MLP((2, 6, 1), jnp.tanh)
    params = pinn.initialize(problem, net, key=key)
    residual = pinn.residuals(problem, net)
    points = {"residual": samplers.uniform(problem.domain, 9, key=key)}
    j = losses.jacobian(residual, points)(params)
    norms = []
    for z in points["residual"]:
        slope = jax.grad(lambda p, z: residual["residual"](p, z)[0])(params, z)
        norms.append(jnp.sum(jax.flatten_util.ravel_pytree(slope)[0] ** 2))
    np.testing.assert_allclose(jnp.trace(j @ j.T), np.mean(norms), rtol=1e-12)


SOLUTIONS = {
    "heat": (
        lambda z: jnp.exp(-0.3 * 4 * z[0]) * jnp.sin(2 * z[1]),
        lambda u, z: pinn.partial(u, 0)(z) - 0.3 * pinn.partial(u, 1, 2)(z),
    ),
    "kdv": (
        lambda z: systems.soliton(z[None], 2.0, nonlinearity=6.0, dispersion=1.0)[0],
        lambda u, z: (
            pinn.partial(u, 0)(z)
            + 6 * u(z) * pinn.partial(u, 1)(z)
            + pinn.partial(u, 1, 3)(z)
        ),
    ),
    "taylor-green": (
        lambda z: (
            jnp.exp(-2 * z[0] / 100)
            * jnp.stack([jnp.cos(z[1]) * jnp.sin(z[2]), -jnp.sin(z[1]) * jnp.cos(z[2])])
        ),
        lambda u, z: _vorticity_residual(u, z),
    ),
}


def _vorticity_residual(u, z):
    w = pinn.curl(u, (1, 2))
    w_t, *slopes = pinn.gradient(w)(z)
    transport = jnp.dot(u(z), jnp.stack(slopes))
    balance = w_t + transport - pinn.laplacian(w, (1, 2))(z) / 100
    return jnp.stack([balance, pinn.divergence(u, (1, 2))(z)])


@pytest.mark.parametrize("name", SOLUTIONS)
@pytest.mark.parametrize("double", [True, False])
def test_exact_solutions_have_no_residual(name, double):
    u, residual = SOLUTIONS[name]
    size = 3 if name == "taylor-green" else 2
    with jax.enable_x64(double):
        z = jax.random.uniform(jax.random.key(1), (20, size))
        r = jax.jit(jax.vmap(lambda z: residual(u, z)))(z)
        if not double and name == "kdv":
            # Third derivatives of heights near 1 and slopes near 20.
            assert np.max(np.abs(r)) < 2e-4
        else:
            assert np.max(np.abs(r)) < (1e-10 if double else 1e-5)
