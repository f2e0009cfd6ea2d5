"""References of fronts and patterns satisfy the equations they belong to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import pinn
from kanjax.pinn import patterns, waves

CASES = {
    "gray_scott": (patterns.gray_scott(), 3e-4),
    "ginzburg_landau": (patterns.ginzburg_landau(), 1e-5),
}
PHASES = patterns.cahn_hilliard()


@pytest.mark.parametrize("name", CASES)
def test_references_satisfy_the_equations(name, x64):
    # In space by the interpolant's derivatives, in time by central differences.
    problem, tolerance = CASES[name]
    z = pinn.samplers.sobol(problem.domain, 5, key=jax.random.key(0))
    end = problem.domain.end
    z = z.at[:, 0].set(end * (0.1 + 0.8 * z[:, 0] / end))
    step = 1e-4 * end

    @jax.jit
    def residuals(z):
        def at(z):
            def shifted(dt):
                return problem.reference(z[None] + jnp.array([dt, 0.0]))[0]

            rate = (shifted(step) - shifted(-step)) / (2 * step)

            def u(y):
                values = problem.reference(y[None].at[0, 0].set(z[0]))[0]
                return values + (y[0] - z[0]) * rate

            return problem.residual(u, z), rate

        return jax.vmap(at)(z)

    found, rates = residuals(z)
    assert rates.shape == (5, 2)
    scale = np.max(np.abs(rates))
    for r in jax.tree.leaves(found):
        assert np.max(np.abs(r)) < tolerance * scale


def test_phases_part_as_the_split_form_says(x64):
    problem = PHASES
    z = jnp.array([[0.3, 0.1], [0.5, -0.62], [0.8, 0.77]])
    dt, dx = jnp.array([1e-3, 0.0]), jnp.array([0.0, 5e-4])
    around = [z, z + dt, z - dt, z + dx, z - dx]
    w, later, earlier, right, left = jnp.split(
        problem.reference(jnp.concatenate(around)), 5
    )
    rates, curvatures = (later - earlier) / 2e-3, (right - 2 * w + left) / 2.5e-7
    u, q = w.T
    scale = np.max(np.abs(rates[:, 0]))
    np.testing.assert_allclose(rates[:, 0], 0.01 * curvatures[:, 1], atol=2e-3 * scale)
    # Second differences across a front of width 0.01 leave 1e-4 (dx / 0.01)^2.
    np.testing.assert_allclose(q, u**3 - u - 1e-4 * curvatures[:, 0], atol=1e-4)
    # The residual asks for the same of any field: here of u = t, q = x^2.
    r = problem.residual(lambda z: jnp.stack([z[0], z[1] ** 2]), z[0])
    np.testing.assert_allclose(r["conservation"], 1 - 0.02, rtol=1e-12)
    np.testing.assert_allclose(r["potential"], 0.01 - (0.3**3 - 0.3), rtol=1e-12)


def test_the_chaotic_equation_by_hand(x64):
    problem = waves.chaotic_kuramoto_sivashinsky()
    r = problem.residual(lambda z: z[0] + z[1] ** 4, jnp.array([2.0, 0.5]))
    slope, curvature = 4 * 0.5**3, 12 * 0.5**2
    carried = 100 / 16 * (2 + 0.5**4) * slope
    wanted = 1 + carried + 100 / 16**2 * curvature + 100 / 16**4 * 24
    np.testing.assert_allclose(r, wanted, rtol=1e-12)


@pytest.mark.parametrize("name", [*CASES, "cahn_hilliard"])
def test_fields_start_at_the_reference(name, x64):
    problem = CASES[name][0] if name in CASES else PHASES
    z = pinn.samplers.uniform(problem.domain.initial, 9, key=jax.random.key(1))
    u = problem.constrain(lambda z: jnp.ones(2))
    found = jax.vmap(u)(z)
    np.testing.assert_allclose(found, problem.reference(z), atol=1e-9)
