"""Reference solutions converge, and agree with closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from kanjax import systems
from kanjax.systems import pdes

CASES = {
    # The equation, a coarse and a fine grid, how closely they agree.
    "burgers": (systems.burgers(), (1024, 2000), (2048, 4000), 2e-9),
    "kdv": (systems.korteweg_de_vries(), (256, 8000), (512, 16000), 5e-8),
    "ks": (systems.kuramoto_sivashinsky(), (64, 4000), (128, 8000), 1e-8),
    "ch": (systems.cahn_hilliard(), (512, 2000), (1024, 4000), 1e-8),
    "ac": (systems.allen_cahn(), (512, 1000), (1024, 2000), 2e-6),
}


@functools.cache
def solved(name, fine):
    equation, *sizes, _ = CASES[name]
    points, steps = sizes[fine]
    return jax.jit(
        lambda: equation.solve(
            points=points, steps=steps, duration=1.0, save_every=steps // 1000
        )
    )()


@pytest.mark.parametrize("name", CASES)
def test_two_resolutions_agree(name, x64):
    *_, tolerance = CASES[name]
    coarse, fine = solved(name, 0), solved(name, 1)
    stride = fine.values.shape[1] // coarse.values.shape[1]
    difference = fine.values[-1, ::stride] - coarse.values[-1]
    assert np.max(np.abs(difference)) < tolerance


def test_chaos_converges_until_its_digits_are_lost(x64):
    equation = systems.chaotic_kuramoto_sivashinsky()
    a, b = (
        jax.jit(lambda n=n: equation.solve(points=n, steps=16 * n, duration=0.5))()
        for n in (256, 512)
    )
    assert np.max(np.abs(a.values[-1] - b.values[-1, ::2])) < 1e-6


def test_phases_keep_their_mass(x64):
    values = solved("ch", 0).values
    np.testing.assert_allclose(jnp.mean(values, axis=1), 0, atol=1e-12)


def test_allen_cahn_has_known_values(x64):
    # Of a computation with 512 points and 10,000 steps, to five digits.
    end, half = solved("ac", 0).values[-1], solved("ac", 0).values[500]
    wanted = {0.25: 0.98847, 0.75: -0.99988, 0.5: -0.06408, 0.0: 0.02958}
    for x, value in wanted.items():
        assert abs(end[round((x + 1) * 256)] - value) < 1e-5
    assert abs(half[round(1.25 * 256)] - 0.47383) < 1e-5


def test_burgers_is_the_closed_form(x64):
    coarse, equation = solved("burgers", 0), CASES["burgers"][0]
    t, x = np.meshgrid([0.1, 0.333, 0.777, 1.0], np.linspace(-0.99, 0.97, 21))
    z = jnp.stack([t.ravel(), x.ravel()], axis=1)
    found = equation.interpolate(coarse, z)
    np.testing.assert_allclose(found, systems.cole_hopf(z), atol=1e-7)


def test_the_closed_form_starts_right(x64):
    z = jnp.stack([jnp.zeros(5), jnp.linspace(-1, 1, 5)], axis=1)
    wanted = -np.sin(np.pi * z[:, 1])
    np.testing.assert_allclose(systems.cole_hopf(z), wanted, atol=1e-14)


def test_the_closed_form_is_right_in_single_precision():
    t, x = np.meshgrid([0.0, 0.1, 0.5, 1.0], np.linspace(-1, 1, 41))
    z = np.stack([t.ravel(), x.ravel()], axis=1)
    with jax.enable_x64(True):
        known = np.asarray(systems.cole_hopf(jnp.asarray(z)))
    found = systems.cole_hopf(jnp.asarray(z, jnp.float32))
    # Exponents near 50 have 6e-6 of rounding, and the shock 1 / nu of slope.
    np.testing.assert_allclose(found, known, atol=1e-3)


def test_kdv_carries_a_soliton(x64):
    speed, a, b = 1.0, 6.0, 1.0
    wave = lambda x: systems.soliton(  # noqa: E731
        jnp.stack([jnp.zeros_like(x), x], 1), speed, nonlinearity=a, dispersion=b
    )
    equation = systems.Semilinear(
        (0.0, 0.0, 0.0, -b), (0.0, 0.0, -a / 2), 1, -30.0, 60.0, wave
    )
    found = equation.solve(points=256, steps=1000, duration=3.0, save_every=1000)
    x = equation.grid(256).nodes
    z = jnp.stack([jnp.full_like(x, 3.0), x], axis=1)
    exact = systems.soliton(z, speed, nonlinearity=a, dispersion=b)
    np.testing.assert_allclose(found.values[-1], exact, atol=1e-8)


@pytest.mark.parametrize("x", [-0.03, 0.1, 1.9, -4.0])
def test_a_soliton_has_slopes_far_away(x):
    b = 0.022**2

    def wave(x):
        z = jnp.stack([jnp.zeros_like(x), x])[None]
        return systems.soliton(z, 1.0, nonlinearity=1.0, dispersion=b)[0]

    k = 0.5 / b**0.5
    tanh = np.tanh(k * x)
    height = 3 * (1 - tanh**2)
    wanted = height, -2 * k * height * tanh, k**2 * height * (6 * tanh**2 - 2)
    slope = jax.grad(wave)
    found = wave(jnp.array(x)), slope(x), jax.jvp(slope, (x,), (1.0,))[1]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_kuramoto_sivashinsky_against_scipy(x64):
    # An independent right-hand side in numpy, solved by scipy's stiff method.
    n = 64
    x = -1 + 2 * np.arange(n) / n
    k = np.pi * np.arange(n // 2 + 1)
    k_odd = np.where(np.arange(n // 2 + 1) < n // 2, k, 0)

    def rates(t, u):
        modes = np.fft.rfft(u)
        slope = np.fft.irfft(1j * k_odd * modes, n)
        linear = np.fft.irfft((0.5 * k**2 - 0.005 * k**4) * modes, n)
        return -5 * u * slope + linear

    known = scipy.integrate.solve_ivp(
        rates, (0, 0.2), -np.sin(np.pi * x), "LSODA", rtol=1e-10, atol=1e-12
    )
    equation = systems.kuramoto_sivashinsky()
    found = equation.solve(points=n, steps=400, duration=0.2, save_every=400)
    np.testing.assert_allclose(found.values[-1], known.y[:, -1], atol=2e-5)


def test_interpolation_reaches_between_times(x64):
    heat = pdes.Semilinear((0.0, 0.0, 0.5), (), 0, 0.0, 2 * np.pi, jnp.sin)
    found = heat.solve(points=16, steps=20, duration=1.0)
    z = jnp.array([[0.0, 0.3], [0.123, 1.0], [0.501, -2.0], [1.0, 9.0]])
    exact = np.exp(-0.5 * z[:, 0]) * np.sin(z[:, 1])
    np.testing.assert_allclose(heat.interpolate(found, z), exact, atol=2e-9)
