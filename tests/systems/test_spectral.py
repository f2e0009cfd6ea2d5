"""Fourier derivatives, interpolation and exponential stepping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.systems import spectral

GRID = spectral.Grid(32, 3.0, -1.0)


def periodic(x):
    return np.exp(np.sin(2 * np.pi * x / 3))


def test_derivatives_are_spectrally_accurate(x64):
    x = np.asarray(GRID.nodes)
    w = 2 * np.pi / 3
    first = w * np.cos(w * x) * periodic(x)
    second = w**2 * (np.cos(w * x) ** 2 - np.sin(w * x)) * periodic(x)
    u = jnp.array(periodic(x))
    np.testing.assert_allclose(GRID.derivative(u), first, atol=1e-12)
    np.testing.assert_allclose(GRID.derivative(u, 2), second, atol=1e-11)


def test_the_highest_mode_has_no_odd_derivative(x64):
    alternating = jnp.array([1.0, -1.0] * 16)
    np.testing.assert_allclose(GRID.derivative(alternating), np.zeros(32), atol=1e-12)


def test_evaluation_between_nodes(x64):
    x = np.linspace(-4, 5, 17)
    u = jnp.array(periodic(np.asarray(GRID.nodes)))
    np.testing.assert_allclose(spectral.evaluate(GRID, u, x), periodic(x), atol=1e-12)


def test_coefficients_are_the_closed_forms_where_those_are_sound(x64):
    z = np.array([-3.0, -10.0, 2.0])
    c = spectral.coefficients(jnp.array(z / 0.5), 0.5)
    closed = (-4 - z + np.exp(z) * (4 - 3 * z + z**2)) / z**3
    np.testing.assert_allclose(c.first, 0.5 * closed, rtol=1e-12)
    closed = (2 + z + np.exp(z) * (z - 2)) / z**3
    np.testing.assert_allclose(c.middle, 0.5 * closed, rtol=1e-12)
    closed = (-4 - 3 * z - z**2 + np.exp(z) * (4 - z)) / z**3
    np.testing.assert_allclose(c.last, 0.5 * closed, rtol=1e-12)
    np.testing.assert_allclose(c.stage, (np.exp(z / 2) - 1) / (z / 0.5), rtol=1e-12)


def test_coefficients_of_a_vanishing_symbol_are_those_of_runge_kutta(x64):
    c = spectral.coefficients(jnp.zeros(1), 1.0)
    sixth = [float(value[0]) for value in (c.first, c.middle, c.last)]
    np.testing.assert_allclose(sixth, np.full(3, 1 / 6), rtol=1e-13)
    np.testing.assert_allclose(c.stage, [0.5], rtol=1e-13)


def test_steps_are_of_fourth_order(x64):
    # v' = -v - v^2 for the mean: v = 1 / (2 e^t - 1) from 1.
    def error(steps):
        points = 4
        found = spectral.etdrk4(
            jnp.full(3, -1.0),
            lambda m: -jnp.fft.rfft(jnp.fft.irfft(m, n=points) ** 2),
            jnp.ones(points),
            duration=1.0,
            steps=steps,
        )
        exact = 1 / (2 * np.exp(found.times) - 1)
        rates = -exact - exact**2
        np.testing.assert_allclose(found.rates[:, 0], rates, atol=1e-3)
        return abs(found.values[-1, 0] - exact[-1])

    assert 14 < error(40) / error(80) < 18


def test_evolution_works_under_jit_vmap_and_grad(x64):
    def end(rate, start):
        linear = jnp.full(3, rate)
        evolution = spectral.etdrk4(
            linear, jnp.zeros_like, start, duration=2.0, steps=4, save_every=2
        )
        return evolution.values[-1, 0]

    starts = jnp.array([[1.0] * 4, [3.0] * 4])
    ends = jax.jit(jax.vmap(end, (None, 0)))(-0.5, starts)
    np.testing.assert_allclose(ends, np.exp(-1) * np.array([1, 3]), rtol=1e-12)
    slope = jax.grad(end)(-0.5, starts[0])
    np.testing.assert_allclose(slope, 2 * np.exp(-1), rtol=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="points must be even"):
        spectral.Grid(7, 1.0)
    with pytest.raises(ValueError, match="length must be positive"):
        spectral.Grid(8, 0.0)
    with pytest.raises(ValueError, match="multiple of save_every; got 5 and 2"):
        spectral.etdrk4(
            jnp.zeros(3), lambda m: m, jnp.ones(4), duration=1.0, steps=5, save_every=2
        )
