"""References of waves and flows: their equations, their edges, and other solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from kanjax import nn, pinn
from kanjax.pinn import flows, samplers, waves

CLOSED = {
    "wave": (waves.wave(), 1e-9),
    "schroedinger": (waves.schroedinger(), 1e-10),
    "kovasznay": (flows.kovasznay(), 1e-11),
    "taylor_green": (flows.taylor_green(), 1e-12),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_have_no_residual(name, x64):
    problem, tolerance = CLOSED[name]
    z = samplers.uniform(problem.domain, 40, key=jax.random.key(0))
    u = lambda z: problem.reference(z[None])[0]  # noqa: E731
    r = jax.jit(jax.vmap(lambda z: problem.residual(u, z)))(z)
    for values in jax.tree.leaves(r):
        assert np.max(np.abs(values)) < tolerance
    for condition in problem.conditions.values():
        edge = samplers.uniform(condition.place, 10, key=jax.random.key(1))
        values = jax.jit(jax.vmap(lambda z, c=condition: c.residual(u, z)))(edge)
        assert np.max(np.abs(values)) < 1e-12


def test_momentum_is_not_fulfilled_by_another_pressure(x64):
    problem = flows.kovasznay()

    def wrong(z):
        return problem.reference(z) * jnp.array([1.0, 1.0, 1.1])

    r = jax.jit(lambda z: problem.residual(wrong, z))(jnp.zeros(2))
    assert np.max(np.abs(r["momentum"])) > 1e-3
    assert np.abs(r["continuity"]) < 1e-12


@pytest.mark.parametrize("name", ["wave", "schroedinger"])
def test_networks_start_as_the_reference_does(name, x64):
    problem, _ = CLOSED[name]
    net = nn.MLP((2, 5, problem.outputs), jnp.tanh)
    params = pinn.initialize(problem, net, key=jax.random.key(0))
    u = pinn.field(problem, net, params)
    z = samplers.uniform(problem.domain.initial, 20, key=jax.random.key(1))
    start = jax.jit(jax.vmap(u))
    np.testing.assert_allclose(start(z), problem.reference(z), atol=1e-12)
    if name == "wave":
        rest = jax.jit(jax.vmap(pinn.partial(u, 0)))(z)
        np.testing.assert_allclose(rest, 0, atol=1e-12)
        walls = jnp.array([[0.3, 0.0], [0.9, 1.0]])
        np.testing.assert_allclose(jax.vmap(u)(walls), 0, atol=1e-12)


def rates_of(n, linear, nonlinear):
    """``u_t = sum_j linear[j] d^j u - nonlinear u u_x`` on n points, in numpy."""
    modes = np.pi * np.arange(n // 2 + 1)
    odd = np.where(np.arange(n // 2 + 1) < n // 2, modes, 0)
    symbol = sum(
        c * (1j * (odd if order % 2 else modes)) ** order for order, c in linear.items()
    )

    def rates(_, u):
        hat = np.fft.rfft(u)
        return np.fft.irfft(symbol * hat, n) - nonlinear * u * np.fft.irfft(
            1j * odd * hat, n
        )

    return rates


def test_korteweg_de_vries_against_scipy(x64):
    # The wave breaks into solitons after t = 0.3; an explicit method in numpy.
    n, end = 256, 0.4
    x = -1 + 2 * np.arange(n) / n
    known = scipy.integrate.solve_ivp(
        rates_of(n, {3: -(0.022**2)}, 1.0),
        (0, end),
        np.cos(np.pi * x),
        "DOP853",
        rtol=1e-9,
        atol=1e-10,
    )
    z = jnp.stack([jnp.full(n, end), jnp.asarray(x)], axis=1)
    found = waves.korteweg_de_vries().reference(z)
    np.testing.assert_allclose(found, known.y[:, -1], atol=2e-6)


@pytest.mark.parametrize("name", ["korteweg_de_vries", "kuramoto_sivashinsky"])
def test_residuals_vanish_on_the_spectral_solution(name, x64):
    # By differences of the reference, in place of derivatives through its table.
    problem = getattr(waves, name)()
    z = jnp.array([[0.1, 0.3], [0.15, -0.6]])

    def shifted(axis, steps, width):
        moves = jnp.arange(-steps, steps + 1) * width
        points = z[:, None] + jnp.outer(moves, jnp.eye(2)[axis])[None]
        return problem.reference(points.reshape(-1, 2)).reshape(2, -1)

    in_time = shifted(0, 1, 1e-4)
    width = 0.02
    in_space = shifted(1, 4, width)
    # Local polynomials of degree 8 in both coordinates.
    offsets = np.arange(-4, 5) * width
    powers = np.polynomial.polynomial.polyfit(offsets, in_space.T, 8).T
    slopes = (in_time[:, 2] - in_time[:, 0]) / 2e-4

    @jax.jit
    @jax.vmap
    def residual(center, powers, slope):
        def u(point):
            t, x = point - center
            return sum(c * x**k for k, c in enumerate(powers)) + slope * t

        return problem.residual(u, center)

    r = residual(z, jnp.asarray(powers), slopes)
    assert np.all(np.abs(r) < 2e-3 * (np.abs(slopes) + 1))


def test_a_flow_is_solved(x64):
    net = nn.MLP((2, 10, 10, 3), jnp.tanh, kernel_scale=1.0)
    solution = pinn.solve(
        flows.kovasznay(), net, key=jax.random.key(0), steps=50, points=100
    )
    names = {"momentum", "continuity", "boundary", "outflow"}
    assert set(solution.residuals) == names
    assert solution.error < 1e-2
