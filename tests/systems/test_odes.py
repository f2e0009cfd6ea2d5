"""Reference trajectories against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from kanjax.systems import odes


@pytest.mark.parametrize(
    "rates, initial, end",
    [(odes.pendulum, [2.0, 0.0], 8.0), (odes.lorenz, [1.0, 1.0, 1.0], 3.0)],
    ids=["pendulum", "lorenz"],
)
def test_trajectories_are_those_of_scipy(rates, initial, end, x64):
    times = np.linspace(0, end, 9)
    found = odes.integrate(
        rates, jnp.array(initial), jnp.array(times), rtol=1e-10, atol=1e-12
    )
    jitted = jax.jit(rates)
    known = scipy.integrate.solve_ivp(
        lambda t, s: np.asarray(jitted(s)),
        (0, end),
        initial,
        "DOP853",
        times,
        rtol=1e-11,
        atol=1e-12,
    )
    np.testing.assert_allclose(found, known.y.T, atol=1e-7)


def test_rates_by_hand(x64):
    np.testing.assert_allclose(
        odes.lorenz(jnp.array([1.0, 2.0, 3.0])), [10, 23, 2 - 8], rtol=1e-12
    )
    np.testing.assert_allclose(
        odes.pendulum(jnp.array([np.pi / 2, 4.0])), [4, -1], rtol=1e-12
    )


def test_lorenz_rests_at_its_fixed_points(x64):
    side = np.sqrt(8 / 3 * 27)
    for sign in (-1, 1):
        rest = jnp.array([sign * side, sign * side, 27])
        np.testing.assert_allclose(odes.lorenz(rest), np.zeros(3), atol=1e-12)
