"""Windows of time hand their ends over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, model, nn, pinn, systems
from kanjax.pinn import library, windows


def turn(s):
    return jnp.stack([s[1], -s[0]])


def test_polynomials_turn_for_many_windows(x64):
    cut = windows.ordinary_windows(turn, (1.0, 0.0), 1.0)
    basis = bases.Chebyshev(12, domain=(0, 1), squash=None)
    net = kan.KANLayer(1, 2, basis=basis, residual=None)

    @jax.jit
    def solution(key, times):
        relay = windows.solve_windows(
            cut,
            net,
            count=8,
            key=key,
            steps=10,
            points=16,
            resample_every=10,
            damping=1e-12,
        )
        return relay.starts, relay.losses, jax.vmap(relay.field)(times)

    times = jnp.linspace(0, 8, 33)[:, None]
    starts, losses, values = solution(jax.random.key(0), times)
    exact = np.stack([np.cos(times[:, 0]), -np.sin(times[:, 0])], axis=1)
    np.testing.assert_allclose(values, exact, atol=1e-9)
    np.testing.assert_allclose(starts, exact[:-1:4], atol=1e-9)
    assert losses.shape == (8, 10)
    assert losses[-1, -1] < 1e-15


def test_waves_move_through_windows(x64):
    problem = library.advection(3.0)
    grid = systems.Grid(8, 2 * np.pi)
    cut = windows.periodic_windows(problem, grid, 0.25)
    embedding = nn.PeriodicEmbedding((None, 2 * np.pi))
    net = model.Sequential((embedding, nn.MLP((4, 8, 1), jnp.tanh, kernel_scale=1.0)))

    @jax.jit
    def values(key, z):
        relay = windows.solve_windows(cut, net, count=4, key=key, steps=25, points=64)
        return jax.vmap(relay.field)(z)

    z = pinn.samplers.sobol(problem.domain, 200, key=jax.random.key(1))
    found = values(jax.random.key(0), z)
    error = jnp.linalg.norm(found - problem.reference(z)) / jnp.linalg.norm(found)
    assert error < 1e-2
    # Each window begins at the values that it is told.
    start = cut.problem(cut.start).constrain(lambda z: z[1])
    np.testing.assert_allclose(start(jnp.array([0.0, 0.7])), np.sin(0.7), atol=1e-12)


def test_windows_of_a_system_keep_its_outputs_apart(x64):
    def residual(w, z):
        return pinn.partial(w, 0)(z)

    problem = pinn.Problem(
        pinn.TimeSpace(0.0, 1.0, pinn.interval(0, 1)),
        residual,
        constrain=pinn.constraints.initial(
            lambda x: jnp.stack([jnp.sin(2 * jnp.pi * x[0]), jnp.ones(())])
        ),
        outputs=2,
    )
    cut = windows.periodic_windows(problem, systems.Grid(8, 1.0), 0.5)
    assert cut.start.shape == (2, 8)
    u = cut.problem(cut.start).constrain(lambda z: jnp.zeros(2))
    values = u(jnp.array([0.3, 0.1]))
    np.testing.assert_allclose(values, [np.sin(0.2 * np.pi), 1], atol=1e-12)


def test_bad_input():
    soft = pinn.transport.eulerian(pinn.transport.convection_diffusion(), hard=False)
    with pytest.raises(ValueError, match="initial values built in"):
        windows.periodic_windows(soft, systems.Grid(8, 2 * np.pi), 0.1)
