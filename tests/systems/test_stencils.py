"""Finite differences against closed forms and scipy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import interpolate

from kanjax.systems import stencils


def test_weights_are_the_known_ones():
    np.testing.assert_allclose(
        stencils.weights((-2, -1, 0, 1, 2), 1), np.array([1, -8, 0, 8, -1]) / 12
    )
    np.testing.assert_allclose(stencils.weights((0, 1, 2), 1), [-1.5, 2, -0.5])
    np.testing.assert_allclose(stencils.weights((-0.5, 0.5)), [0.5, 0.5])


def test_weights_are_exact_for_polynomials():
    offsets = (-1.3, -0.2, 0.4, 1.0, 2.1)
    polynomial = np.poly1d([1.0, -2.0, 0.5, 3.0, -1.0])
    for order in range(5):
        found = stencils.weights(offsets, order) @ polynomial(np.array(offsets))
        np.testing.assert_allclose(found, polynomial.deriv(order)(0), atol=1e-10)


def test_interpolation_is_that_of_lagrange(x64):
    x, y = np.linspace(-1, 1, 9), np.linspace(0, 3, 12)
    values = np.exp(x)[:, None] * np.cos(y)
    z = np.array([[0.1, 1.3], [-1, 0], [1, 3], [0.97, 0.05]])
    found = stencils.interpolate(
        jnp.asarray(values), jnp.asarray(z), lower=(-1, 0), upper=(1, 3)
    )
    np.testing.assert_allclose(found, np.exp(z[:, 0]) * np.cos(z[:, 1]), atol=2e-4)
    rows = interpolate.BarycentricInterpolator(x[2:8], np.exp(x[2:8]))(0.1)
    columns = interpolate.BarycentricInterpolator(y[2:8], np.cos(y[2:8]))(1.3)
    np.testing.assert_allclose(found[0], rows * columns, rtol=1e-8)


def coefficient(z):
    return 1 + z[:, 0] + z[:, 1] ** 2


def exact(z):
    return jnp.sin(jnp.pi * z[:, 0]) * z[:, 1] * (1 - z[:, 1])


def source(z):
    x, y = z.T
    sine, cosine = jnp.sin(jnp.pi * x), jnp.pi * jnp.cos(jnp.pi * x)
    bump, slope = y * (1 - y), 1 - 2 * y
    lap = -(jnp.pi**2) * sine * bump - 2 * sine
    return -(coefficient(z) * lap + cosine * bump + 2 * y * sine * slope)


def test_elliptic_solutions_are_of_second_order(x64):
    errors = []
    for cells in (16, 32):
        axis = jnp.linspace(0, 1, cells + 1)
        z = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), axis=-1)
        u = stencils.solve_elliptic(coefficient, source, cells)
        errors.append(float(jnp.max(jnp.abs(u.ravel() - exact(z.reshape(-1, 2))))))
    assert errors[1] < 5e-4
    assert 3.8 < errors[0] / errors[1] < 4.2


def test_fluxes_are_kept_where_the_coefficient_jumps(x64):
    # All that the source gives to the inner nodes leaves through the edges.
    def jump(z):
        return jnp.where(z[:, 0] < 0.5, 1.0, 10.0)

    u = stencils.solve_elliptic(jump, lambda z: jnp.ones(len(z)), 16)
    np.testing.assert_allclose(u, u[:, ::-1], atol=1e-12)
    ends = jnp.sum(u[1]) + 10 * jnp.sum(u[-2])
    at_nodes = jnp.where(jnp.arange(17) < 8, 1.0, 10.0)
    sides = jnp.sum(at_nodes * (u[:, 1] + u[:, -2]))
    np.testing.assert_allclose(ends + sides, (15 / 16) ** 2, rtol=1e-10)


def test_bad_input():
    with pytest.raises(ValueError, match="order must be 0 to 1 for 2 offsets"):
        stencils.weights((0, 1), 2)
    with pytest.raises(ValueError, match="different from each other"):
        stencils.weights((0, 0))
    with pytest.raises(ValueError, match="nodes must be even"):
        stencils.interpolate(jnp.zeros((4, 4)), jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="cells must be at least 2"):
        stencils.solve_elliptic(coefficient, source, 1)
    with pytest.raises(ValueError, match="coefficient must be positive"):
        stencils.solve_elliptic(lambda z: -coefficient(z), source, 4)
