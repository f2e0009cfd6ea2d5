"""References of fronts and patterns satisfy the equations they belong to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import pinn
from kanjax.pinn import patterns, waves

CASES = {
    # The problem, a step in space, and what differences of the reference leave of the
    # residual, relative to the rates.
    "cahn_hilliard": (patterns.cahn_hilliard(), 5e-4, 2e-3),
    "gray_scott": (patterns.gray_scott(), 1e-3, 1e-3),
    "ginzburg_landau": (patterns.ginzburg_landau(), 1e-3, 1e-3),
}


@pytest.mark.parametrize("name", CASES)
def test_references_satisfy_the_equations(name, x64):
    problem, dx, tolerance = CASES[name]
    dt = 1e-3 * problem.domain.end
    z = jnp.array([[0.3, 0.1], [0.5, -0.62], [0.8, 0.77]])
    z = z.at[:, 0].multiply(problem.domain.end)
    starts = z.at[:, 0].set(0)
    t, x = jnp.array([[dt, 0.0]]), jnp.array([[0.0, dx]])
    # All at once: each call of the reference compiles.
    places = jnp.concatenate([z, z + t, z - t, z + x, z - x, starts])
    w, later, earlier, right, left, first = jnp.split(problem.reference(places), 6)
    rates, curvatures = (later - earlier) / (2 * dt), (right - 2 * w + left) / dx**2
    scale = np.max(np.abs(rates))

    @jax.jit
    @jax.vmap
    def residual(place, value, rate, curvature):
        def u(y):
            s, r = y - place
            return value + s * rate + r**2 / 2 * curvature

        return problem.residual(u, place)

    for r in jax.tree.leaves(residual(z, w, rates, curvatures)):
        assert np.max(np.abs(r)) < tolerance * scale
    if name == "cahn_hilliard":
        # Without the potential: a polynomial in x, by hand.
        alone = patterns.cahn_hilliard(split=False)
        r = jax.jit(lambda z: alone.residual(lambda y: y[0] + y[1] ** 4, z))(z[0])
        t, x = z[0]
        u, u_x, u_xx = t + x**4, 4 * x**3, 12 * x**2
        local = 6 * u * u_x**2 + (3 * u**2 - 1) * u_xx
        np.testing.assert_allclose(r, 1 - 0.01 * (local - 1e-4 * 24), rtol=1e-12)
    # A field begins at the reference whatever the network gives.
    begun = jax.jit(jax.vmap(problem.constrain(lambda z: jnp.ones(2))))(starts)
    np.testing.assert_allclose(begun, first, atol=1e-9)


def test_the_chaotic_equation_by_hand(x64):
    problem = waves.chaotic_kuramoto_sivashinsky()
    r = problem.residual(lambda z: z[0] + z[1] ** 4, jnp.array([2.0, 0.5]))
    slope, curvature = 4 * 0.5**3, 12 * 0.5**2
    carried = 100 / 16 * (2 + 0.5**4) * slope
    wanted = 1 + carried + 100 / 16**2 * curvature + 100 / 16**4 * 24
    np.testing.assert_allclose(r, wanted, rtol=1e-12)


def test_problems_are_for_periods_of_two():
    for problem, *_ in CASES.values():
        assert problem.domain.space == pinn.interval(-1, 1)
        assert problem.outputs == 2
