"""Transport equations: their references, and their problems at fixed places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from kanjax import nn, pinn, systems
from kanjax.pinn import transport

POINTS = np.random.default_rng(1).uniform((0, 0), (1, 2 * np.pi), (30, 2))


def test_burgers_reference_is_the_closed_form_in_a_moving_frame(x64):
    equation = transport.burgers(offset=3.0, viscosity=0.1, duration=1.0)
    found = jax.jit(equation.reference)(jnp.asarray(POINTS))
    # From -sin(pi y) on [-1, 1), in units of pi and moving at the offset.
    t, x = POINTS.T
    y = np.mod(x - 3 * t, 2 * np.pi) / np.pi - 1
    scaled = jnp.asarray(np.stack([t / np.pi, y], axis=1))
    wanted = 3 + systems.cole_hopf(scaled, viscosity=0.1 / np.pi)
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    # What was computed inside of a program serves outside of it.
    np.testing.assert_allclose(equation.reference(jnp.asarray(POINTS)), found)


def test_reaction_reference_solves_the_rate_equation(x64):
    equation = transport.reaction_diffusion(rate=4.0)
    for t, x in POINTS[:3]:
        start = float(equation.initial(jnp.array([x])))
        solved = scipy.integrate.solve_ivp(
            lambda _, u: 4 * u * (1 - u), (0, t), [start], rtol=1e-10, atol=1e-12
        )
        found = equation.reference(jnp.array([[t, x]]))
        np.testing.assert_allclose(found, solved.y[:, -1], atol=1e-8)


def test_reaction_and_diffusion_approach_the_closed_form(x64):
    nodes = jnp.arange(256) / 256 * 2 * np.pi
    z = jnp.stack([jnp.full(256, 0.7), nodes], axis=1)
    almost = transport.reaction_diffusion(3.0, 1e-9).reference(z)
    np.testing.assert_allclose(
        almost, transport.reaction_diffusion(3.0).reference(z), atol=1e-6
    )


def test_a_plane_wave_in_two_dimensions_solves_its_problem(x64):
    equation = transport.convection_diffusion((3.0, -5.0), 0.2)
    problem = transport.eulerian(equation)
    z = jnp.array([0.3, 1.0, 4.0])
    u = lambda z: equation.reference(z[None])[0]  # noqa: E731
    residual = jax.jit(lambda z: problem.residual(u, z))
    np.testing.assert_allclose(residual(z), 0, atol=1e-12)
    np.testing.assert_allclose(u(z.at[0].set(0)), np.sin(1) * np.sin(4), rtol=1e-12)
    np.testing.assert_allclose(equation.travel(), [3, 5])


def test_source_and_speed_enter_the_residual():
    equation = transport.Transport(
        lambda u: 2 * u, lambda x: jnp.cos(x[0]), source=lambda u: 3 * u
    )
    problem = transport.eulerian(equation)
    # u = t x^2: u_t + 2 u u_x - 3 u at (2, 3).
    found = problem.residual(lambda z: z[0] * z[1] ** 2, jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(found, 9 + 2 * 18 * 12 - 3 * 18, rtol=1e-6)
    np.testing.assert_allclose(equation.travel(), [2])


@pytest.mark.parametrize("hard", [True, False])
def test_initial_values_hold_or_are_asked_for(hard, key):
    problem = transport.eulerian(transport.convection_diffusion(2.0), hard=hard)
    net = nn.MLP((2, 5, 1), jnp.tanh)
    params = pinn.initialize(problem, net, key=key)
    z = jnp.array([0.0, 1.3])
    off = pinn.field(problem, net, params)(z) - np.sin(1.3)
    if hard:
        np.testing.assert_allclose(off, 0, atol=1e-6)
        assert not problem.conditions
    else:
        asked = pinn.residuals(problem, net)["values"](params, z)
        np.testing.assert_allclose(asked, [off], rtol=1e-6)
        assert abs(float(off)) > 1e-3
