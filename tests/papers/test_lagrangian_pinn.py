"""What is exact in "Lagrangian PINNs" (arXiv 2205.02902)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import pinn, systems
from kanjax.pinn import lagrangian, transport

SPEED, VISCOSITY = 50.0, 0.2
LABELS = np.arange(256) / 256 * 2 * np.pi
POINTS = np.random.default_rng(0).uniform((0, 0), (0.9, 2 * np.pi), (40, 2))


def carried(z):
    """The characteristics and the decaying wave of convection and diffusion."""
    t, label = z
    return jnp.stack(
        [label + SPEED * t, jnp.exp(-VISCOSITY * t) * jnp.sin(label)], axis=0
    )


def worst(problem, w):
    rows = jax.vmap(lambda z: problem.residual(w, z))(jnp.asarray(POINTS))
    return {name: float(jnp.max(jnp.abs(r))) for name, r in rows.items()}


def test_convection_has_no_residual_along_characteristics(x64):
    problem = lagrangian.lagrangian(transport.convection_diffusion(SPEED))
    still = worst(problem, lambda z: carried(z).at[1].set(jnp.sin(z[1])))
    assert still["characteristic"] < 1e-12 and still["state"] < 1e-12


@pytest.mark.parametrize("metric", lagrangian.METRICS)
def test_convection_and_diffusion_have_none_by_either_metric(x64, metric):
    equation = transport.convection_diffusion(SPEED, VISCOSITY)
    problem = lagrangian.lagrangian(equation, metric=metric)
    residuals = worst(problem, carried)
    assert residuals["characteristic"] < 1e-12 and residuals["state"] < 1e-12
    z = jnp.asarray(POINTS)
    np.testing.assert_allclose(lagrangian.error(equation, carried, z), 0, atol=1e-12)
    # A wrong speed is seen, by the residual and by the error.
    slow = lambda z: carried(z).at[0].add(-0.1 * z[0])  # noqa: E731
    np.testing.assert_allclose(worst(problem, slow)["characteristic"], 0.1, rtol=1e-9)
    assert float(lagrangian.error(equation, slow, z)) > 0.01


def test_interpolation_returns_the_moved_wave(x64):
    times = jnp.linspace(0, 1, 9)
    moved = lagrangian.snapshots(carried, times, LABELS[:, None])
    u = lagrangian.to_eulerian(moved[..., 0], moved[..., 1], LABELS)
    decay = np.exp(-VISCOSITY * times)[:, None]
    wanted = decay * np.sin(LABELS[None] - SPEED * times[:, None])
    np.testing.assert_allclose(u, wanted, atol=1e-3)


def test_inviscid_burgers_has_none_before_the_shock(x64):
    problem = lagrangian.lagrangian(transport.burgers(2.0, 0.0))

    def w(z):
        u = jnp.sin(z[1]) + 2
        return jnp.stack([z[1] + z[0] * u, u])

    residuals = worst(problem, w)
    assert residuals["characteristic"] < 1e-12 and residuals["state"] < 1e-12
    found = jax.vmap(lagrangian.stretch(w))(jnp.asarray(POINTS))
    np.testing.assert_allclose(found, 1 + POINTS[:, 0] * np.cos(POINTS[:, 1]))
    assert np.all(found > 0)


@pytest.mark.parametrize("double", [True, False])
def test_the_physical_metric_differentiates_by_x(double):
    def w(z):
        x = z[1] + 0.4 * jnp.sin(z[1])
        return jnp.stack([x, jnp.sin(2 * x)])

    with jax.enable_x64(double):
        z = jnp.asarray(POINTS, float)
        x = jax.vmap(w)(z)[:, 0]
        slope = jax.vmap(lagrangian.moving_gradient(w))(z)[:, 0]
        curvature = jax.vmap(lagrangian.moving_laplacian(w))(z)
        tolerance = 1e-12 if double else 1e-3
        np.testing.assert_allclose(slope, 2 * np.cos(2 * x), atol=tolerance)
        np.testing.assert_allclose(curvature, -4 * np.sin(2 * x), atol=tolerance)


def test_widths_in_both_frames(x64):
    times = np.linspace(0, 1, 100)
    fixed = jnp.sin(LABELS[None] - SPEED * times[:, None])
    widths = lagrangian.kolmogorov_widths(fixed)
    assert widths[2] < 1e-12 * widths[0] and widths[1] > 0.1 * widths[0]
    moved = lagrangian.snapshots(carried, jnp.asarray(times), LABELS[:, None])
    u = lagrangian.kolmogorov_widths(moved[..., 1])
    x = lagrangian.kolmogorov_widths(moved[..., 0])
    assert u[1] < 1e-12 * u[0]
    assert x[2] < 1e-12 * x[0] and x[1] > 1e-3 * x[0]
    # A narrow pulse spans many dimensions at fixed places.
    distance = np.mod(LABELS - SPEED * times[:, None], 2 * np.pi) - np.pi
    pulse = lagrangian.kolmogorov_widths(jnp.exp(-20 * distance**2))
    assert pulse[10] > 1e-2 * pulse[0]


def test_the_closed_form_is_the_spectral_solution(x64):
    equation = transport.convection_diffusion(SPEED, 0.01)
    spectral = systems.Semilinear(
        (0.0, -SPEED, 0.01), (), 0, 0.0, 2 * np.pi, jnp.sin
    ).solve(points=256, steps=10, duration=1.0)
    grid = jnp.stack(jnp.meshgrid(spectral.times, LABELS, indexing="ij"), axis=-1)
    found = equation.reference(grid.reshape(-1, 2)).reshape(spectral.values.shape)
    np.testing.assert_allclose(found, spectral.values, atol=1e-10)


def test_the_plain_form_has_the_same_solution(x64):
    problem = transport.eulerian(transport.convection_diffusion(SPEED, VISCOSITY))

    def u(z):
        return jnp.exp(-VISCOSITY * z[0]) * jnp.sin(z[1] - SPEED * z[0])

    r = jax.vmap(lambda z: problem.residual(u, z))(jnp.asarray(POINTS))
    np.testing.assert_allclose(r, 0, atol=1e-12)
    assert isinstance(problem, pinn.Problem)
