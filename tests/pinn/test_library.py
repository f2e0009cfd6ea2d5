"""The references of the library satisfy its equations and conditions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from kanjax import nn, pinn
from kanjax.pinn import flows, library, samplers
from kanjax.systems import stencils

CASES = {
    "poisson": (library.poisson(), 1e-11),
    "poisson 3-d": (library.poisson(3), 1e-11),
    "helmholtz": (library.helmholtz(), 1e-10),
    "heat": (library.heat(), 1e-12),
    "advection": (library.advection(), 1e-12),
    "burgers": (library.burgers(0.05), 1e-10),
    "l-shape": (library.l_shape(), 1e-9),
}
GROWING = ("allen_cahn", "pendulum", "lorenz")


@pytest.mark.parametrize("name", CASES)
def test_references_have_no_residual(name, x64):
    problem, tolerance = CASES[name]
    z = samplers.uniform(problem.domain, 50, key=jax.random.key(0))
    u = lambda z: problem.reference(z[None])[0]  # noqa: E731
    r = jax.jit(jax.vmap(lambda z: problem.residual(u, z)))(z)
    assert np.max(np.abs(r)) < tolerance


@pytest.mark.parametrize("name", CASES)
def test_networks_have_the_values_of_the_reference_at_the_edge(name, x64):
    problem, _ = CASES[name]
    net = nn.MLP((problem.domain.coordinates, 5, 1), jnp.tanh)
    params = pinn.initialize(problem, net, key=jax.random.key(0))
    u = jax.vmap(pinn.field(problem, net, params))
    edges = [] if name in ("advection", "l-shape") else [problem.domain.boundary]
    edges += [problem.domain.initial] if hasattr(problem.domain, "initial") else []
    for edge in edges:
        z = samplers.uniform(edge, 30, key=jax.random.key(1))
        np.testing.assert_allclose(u(z), problem.reference(z), atol=1e-12)


def test_soft_conditions_ask_for_the_edge():
    problem = library.poisson(hard=False)
    assert list(problem.conditions) == ["boundary"]
    assert problem.constrain is None


@pytest.mark.parametrize("name", GROWING)
def test_solved_references_grow_at_the_rate_of_the_equation(name, x64):
    # Central differences in time of the reference, in place of its derivative.
    problem = getattr(library, name)(**({} if name != "pendulum" else {"duration": 2}))
    size = problem.domain.coordinates
    draw = samplers.uniform(problem.domain, 6, key=jax.random.key(0))
    z = 0.8 * draw + jnp.eye(size)[:1] * 0.05
    step = 1e-4 * jnp.eye(size)[:1]
    dx = 1e-3 * jnp.eye(size)[-1:]
    # All at once: each call of the reference compiles.
    places = [z, z + step, z - step]
    places += [z + dx, z - dx] if name == "allen_cahn" else []
    values, later, earlier, *beside = jnp.split(
        problem.reference(jnp.concatenate(places)), len(places)
    )
    rates = (later - earlier) / 2e-4
    if name == "allen_cahn":
        both = beside[0] + beside[1]
        wanted = 1e-4 * (both - 2 * values) / 1e-6 + 5 * (values - values**3)
        np.testing.assert_allclose(rates, wanted, atol=2e-4)
    else:
        from kanjax import systems

        wanted = jax.vmap(getattr(systems, name))(values)
        np.testing.assert_allclose(rates, wanted, rtol=2e-5, atol=2e-5)


def test_a_kink_is_rounded_by_the_heat_kernel(x64):
    for time, x in ((1e-5, 0.001), (1e-4, 0.0), (1e-4, 0.02)):

        def spread(y, time=time, x=x):
            kernel = np.exp(-((x - y) ** 2) / (4 * time)) / np.sqrt(4 * np.pi * time)
            return (abs(y) - x) * kernel

        known, _ = scipy.integrate.quad(
            spread, x - 0.2, x + 0.2, points=[0, x], epsabs=1e-13
        )
        found = library._rounding(jnp.asarray(x), jnp.asarray(time))
        np.testing.assert_allclose(found, known, rtol=1e-8, atol=1e-12)
    assert float(library._rounding(jnp.asarray(0.5), jnp.asarray(0.0))) == 0


def test_a_periodic_start_is_exact(x64):
    problem = library.advection(3.0)
    z = jnp.array([[0.0, 0.4], [0.5, 2 * math.pi]])
    np.testing.assert_allclose(
        problem.reference(z), [np.sin(0.4), np.sin(-1.5)], rtol=1e-12
    )


def test_the_singular_solution_vanishes_at_the_corner_and_on_its_edges(x64):
    exact = library.l_shape().reference
    edges = jnp.array([[0.0, 0.0], [0.7, 0.0], [0.0, -0.3]])
    np.testing.assert_allclose(exact(edges), 0, atol=1e-12)
    # Half of the opening, 3 pi / 4 from the positive x axis: sin(pi / 2) = 1.
    middle = 0.5 * jnp.array([[-1.0, 1.0]]) / math.sqrt(2)
    np.testing.assert_allclose(exact(middle), 0.5 ** (2 / 3))


def test_inverse_problems_hold_at_the_truth(x64):
    heat = library.inverse_heat(0.3, rows=20)
    rows = heat.conditions["data"].place
    decay = np.exp(-0.3 * np.pi**2 * rows[:, 0])
    np.testing.assert_allclose(rows[:, 2], decay * np.sin(np.pi * rows[:, 1]))
    u = lambda z: heat.reference(z[None])[0]  # noqa: E731
    z = rows[0, :2]
    heat_residual = jax.jit(lambda z, c: heat.residual(u, z, c))
    for value, wanted in ((0.3, 0.0), (0.4, 0.1 * np.pi**2 * rows[0, 2])):
        r = heat_residual(z, {"diffusivity": jnp.asarray(value)})
        np.testing.assert_allclose(r, wanted, atol=1e-10)

    lorenz = library.inverse_lorenz(0.2, rows=5)
    assert lorenz.conditions["data"].place.shape == (5, 4)
    truth = {"sigma": 10.0, "rho": 28.0, "beta": 8 / 3}
    state = lorenz.conditions["data"].place[2, 1:]
    rates = jnp.stack([10 * (state[1] - state[0]), *jnp.zeros(2)])
    r = lorenz.residual(lambda z: state + (z[0] - 0.1) * rates, jnp.array([0.1]), truth)
    np.testing.assert_allclose(r[0], 0, atol=1e-12)
    wanted = (
        state[0] * (28 - state[2]) - state[1],
        state[0] * state[1] - 8 / 3 * state[2],
    )
    np.testing.assert_allclose(-r[1:], wanted, rtol=1e-12)


def test_the_singular_function_is_a_feature(x64):
    problem = library.l_shape(feature=True)
    u = problem.constrain(lambda z: jnp.stack([z[0] * z[1], jnp.ones(())]))
    z = samplers.uniform(problem.domain, 5, key=jax.random.key(0))
    found = jax.vmap(u)(z)
    np.testing.assert_allclose(found, z[:, 0] * z[:, 1] + problem.reference(z))


def test_unknown_coefficients_of_burgers_are_found(x64):
    problem = library.inverse_burgers(0.1, rows=200)
    z = problem.conditions["data"].place
    assert z.shape == (200, 3)
    u = lambda z: problem.reference(z[None])[0]  # noqa: E731
    truth = {"advection": jnp.ones(()), "viscosity": jnp.asarray(0.1)}
    r = jax.jit(jax.vmap(lambda z: problem.residual(u, z[:2], truth)))(z)
    # The error of the closed form's quadrature.
    assert np.max(np.abs(r)) < 1e-8
    net = nn.MLP((2, 12, 12, 1), jnp.tanh, kernel_scale=1.0)
    solution = pinn.solve(problem, net, key=jax.random.key(0), steps=75, points=200)
    found = solution.params.coefficients
    assert abs(float(found["advection"]) - 1) < 1e-3
    assert abs(float(found["viscosity"]) / 0.1 - 1) < 1e-3


def test_the_reference_of_darcy_converges(x64):
    z = samplers.uniform(flows.darcy().domain, 50, key=jax.random.key(0))
    coarse, fine = (flows.darcy(cells=n).reference(z) for n in (48, 96))
    size = np.linalg.norm(fine)
    assert np.linalg.norm(coarse - fine) < 2e-6 * size
    # Its residual, with u differentiated by differences of the reference.
    problem, h = flows.darcy(cells=96), 0.02
    center, k = jnp.array([0.4, 0.55]), jnp.arange(-2, 3) * h
    cross = jnp.concatenate([center[None] + jnp.outer(k, e) for e in jnp.eye(2)])
    around = problem.reference(cross).reshape(2, 5)
    first, second = (stencils.weights(range(-2, 3), n) / h**n for n in (1, 2))

    def u(y):
        s = y - center
        return s @ (around @ first) + s**2 @ (around @ second) / 2

    source, rest = jax.jit(
        lambda z: [problem.residual(v, z) for v in (lambda z: 0.0 * z[0], u)]
    )(center)
    assert abs(float(rest)) < 1e-3 * float(source)


def test_the_reference_of_the_cavity_satisfies_its_conditions(x64):
    problem = flows.lid_driven_cavity(cells=16)
    z = samplers.uniform(problem.domain.boundary, 40, key=jax.random.key(0))
    known = lambda z: problem.reference(z[None])[0]  # noqa: E731
    walls = jax.vmap(lambda z: problem.conditions["walls"].residual(known, z))(z)
    # The lid falls within 0.02 of its ends, less than a cell.
    assert np.max(np.abs(walls[np.abs(z[:, 0] - 0.5) < 0.4])) < 2e-3
    corner = problem.conditions["pressure"].residual(known, jnp.zeros(2))
    np.testing.assert_allclose(corner, 0, atol=1e-12)
