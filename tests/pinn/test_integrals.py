"""Integral terms against closed forms, and an equation that has one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, nn, pinn


def test_gauss_legendre_is_exact_for_polynomials(x64):
    # Degree 2 * 4 - 1 = 7, and not 8.
    for degree, is_exact in ((7, True), (8, False)):
        whole = pinn.integral(lambda z, k=degree: z[0] ** k, 0, 0.5, 2.0, nodes=4)
        known = (2 ** (degree + 1) - 0.5 ** (degree + 1)) / (degree + 1)
        error = abs(float(whole(jnp.zeros(1))) / known - 1)
        assert (error < 1e-14) == is_exact


def test_limits_follow_the_point_and_vectors_keep_their_shape(x64):
    u = lambda z: jnp.stack([jnp.cos(z[1]), z[0] * z[1]])  # noqa: E731
    z = jnp.array([0.3, 1.2])
    found = pinn.integral(u, 1, lambda z: z[0], lambda z: z[1])(z)
    wanted = [np.sin(1.2) - np.sin(0.3), 0.3 * (1.2**2 - 0.3**2) / 2]
    np.testing.assert_allclose(found, wanted, rtol=1e-13)
    # The fundamental theorem, with u at a limit that moves.
    slope = pinn.partial(pinn.integral(u, 1, 0.0, lambda z: z[1]), 1)(z)
    np.testing.assert_allclose(slope, u(z), rtol=1e-12)


def test_an_equation_of_volterra_is_solved(x64):
    # u' + int_0^t u = 0 from 1: the cosine.
    def residual(u, z):
        return pinn.partial(u, 0)(z) + pinn.integral(u, 0, 0.0, lambda z: z[0])(z)

    problem = pinn.Problem(
        pinn.interval(0, 2),
        residual,
        constrain=pinn.constraints.initial(lambda _: 1.0),
        reference=lambda z: jnp.cos(z[:, 0]),
    )
    net = nn.MLP((1, 8, 1), jnp.tanh, kernel_scale=1.0)
    solution = pinn.solve(
        problem, net, key=jax.random.key(0), steps=20, points=20, resample_every=10
    )
    assert solution.converged and solution.error < 1e-4


def test_grids_of_a_kan_follow_its_inputs_between_two_trainings(x64):
    problem = pinn.Problem(
        pinn.interval(0, 1),
        lambda u, z: pinn.partial(u, 0)(z) + 3 * u(z),
        constrain=pinn.constraints.initial(lambda _: 1.0),
    )
    net = kan.KAN((1, 2, 1), basis=bases.BSpline(3, domain=(-3.0, 3.0)))
    params = pinn.initialize(problem, net, key=jax.random.key(0))
    options = {"steps": 10, "points": 30, "resample_every": 10}
    first = pinn.train(problem, net, params, key=jax.random.key(1), **options)
    x = jnp.linspace(0, 1, 30)[:, None]
    finer, network = kan.update_grid(net, first.params.network, x, intervals=5)
    moved = first.params._replace(network=network)
    before, after = (
        jax.vmap(pinn.field(problem, *pair))(x)
        for pair in ((net, first.params), (finer, moved))
    )
    np.testing.assert_allclose(after, before, atol=1e-2)
    last = pinn.train(problem, finer, moved, key=jax.random.key(1), **options)
    assert last.losses[-1] < 0.1 * first.losses[-1]
    u = jax.vmap(pinn.field(problem, finer, last.params))(x)
    np.testing.assert_allclose(u, np.exp(-3 * x[:, 0]), atol=2e-3)


def test_bad_input():
    with pytest.raises(ValueError, match="nodes must be at least 1; got 0"):
        pinn.integral(lambda z: z[0], 0, 0.0, 1.0, nodes=0)
    with pytest.raises(ValueError, match="axis must be a coordinate .* got 1"):
        pinn.integral(lambda z: z[0], 1, 0.0, 1.0)(jnp.zeros(1))
