"""The references of the library satisfy its equations and conditions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, pinn
from kanjax.pinn import library, samplers

CASES = {
    "poisson": (library.poisson(), 1e-11),
    "poisson 3-d": (library.poisson(3), 1e-11),
    "helmholtz": (library.helmholtz(), 1e-10),
    "heat": (library.heat(), 1e-12),
    "advection": (library.advection(), 1e-12),
    "burgers": (library.burgers(0.05), 1e-10),
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
    edges = [] if name == "advection" else [problem.domain.boundary]
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
    z = 0.8 * draw + jnp.eye(size)[0] * 0.05
    step = 1e-4 * jnp.eye(size)[0]
    later, earlier = problem.reference(z + step), problem.reference(z - step)
    rates, values = (later - earlier) / 2e-4, problem.reference(z)
    if name == "allen_cahn":
        dx = 1e-3 * jnp.eye(2)[1]
        both = problem.reference(z + dx) + problem.reference(z - dx)
        wanted = 1e-4 * (both - 2 * values) / 1e-6 + 5 * (values - values**3)
        np.testing.assert_allclose(rates, wanted, atol=2e-4)
    else:
        from kanjax import systems

        wanted = jax.vmap(getattr(systems, name))(values)
        np.testing.assert_allclose(rates, wanted, rtol=2e-5, atol=2e-5)


def test_a_periodic_start_is_exact(x64):
    problem = library.advection(3.0)
    z = jnp.array([[0.0, 0.4], [0.5, 2 * math.pi]])
    np.testing.assert_allclose(
        problem.reference(z), [np.sin(0.4), np.sin(-1.5)], rtol=1e-12
    )
