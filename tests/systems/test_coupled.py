"""Systems and complex fields converge, and agree with closed forms and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from kanjax.systems import coupled

CONVERGENCE = {
    # The equation, until when, a coarse and a fine grid, how closely they agree.
    "gray_scott": (coupled.gray_scott(), 0.2, (128, 1000), (256, 2000), 3e-6),
    "ginzburg_landau": (coupled.ginzburg_landau(), 1.0, (256, 2000), (512, 4000), 1e-7),
}


def solve(equation, points, steps, duration):
    solution = jax.jit(
        lambda: equation.solve(
            points=points, steps=steps, duration=duration, save_every=steps
        )
    )()
    return np.asarray(solution.values[-1])


@pytest.mark.parametrize("name", CONVERGENCE)
def test_two_resolutions_agree(name, x64):
    equation, duration, coarse, fine, tolerance = CONVERGENCE[name]
    a, b = (solve(equation, *sizes, duration) for sizes in (coarse, fine))
    assert np.max(np.abs(a - b[:, ::2])) < tolerance


def test_plane_waves_of_ginzburg_landau(x64):
    # A = R exp(i (q x - w t)): R^2 = 1 - d q^2 / k and w = d a q^2 + k b R^2.
    q, a, b, d = 2 * np.pi, 0.5, 1.5, 0.004
    size = 1 - d * q**2 / 10
    frequency = d * a * q**2 + 10 * b * size
    plain = coupled.ginzburg_landau(a, b, d)
    equation = coupled.Coupled(
        plain.linear,
        plain.nonlinear,
        -1.0,
        2.0,
        lambda x: jnp.sqrt(size) * jnp.exp(1j * q * x)[None],
    )
    found = solve(equation, 16, 1000, 1.0)[0]
    x = np.asarray(equation.grid(16).nodes)
    exact = np.sqrt(size) * np.exp(1j * (q * x - frequency))
    np.testing.assert_allclose(found, exact, atol=1e-7)


def test_two_bound_solitons(x64):
    # The closed form that waves.schroedinger has, on a line that is long enough.
    from kanjax.pinn import waves

    start = lambda x: 2 / jnp.cosh(x)[None] + 0j  # noqa: E731
    equation = coupled.schroedinger(40.0, start)
    solution = jax.jit(
        lambda: equation.solve(points=512, steps=4000, duration=1.0, save_every=40)
    )()
    t, x = np.meshgrid([0.2, 0.785, 1.0], np.linspace(-5, 5, 11), indexing="ij")
    z = jnp.stack([t.ravel(), x.ravel()], axis=1)
    found = equation.interpolate(solution, z)[:, 0]
    exact = waves.schroedinger().reference(z)
    np.testing.assert_allclose(found, exact[:, 0] + 1j * exact[:, 1], atol=1e-5)


def test_gray_scott_against_scipy(x64):
    n = 32
    k = np.pi * np.arange(n // 2 + 1)
    equation = coupled.gray_scott()
    start = np.asarray(equation.initial(equation.grid(n).nodes))

    def rates(t, w):
        u, v = w.reshape(2, n)
        spread = [np.fft.irfft(-(k**2) * np.fft.rfft(f), n) for f in (u, v)]
        reaction = 1000 * u * v**2
        u_t = 0.2 * spread[0] + 40 * (1 - u) - reaction
        return np.concatenate([u_t, 0.1 * spread[1] - 100 * v + reaction])

    known = scipy.integrate.solve_ivp(
        rates, (0, 0.02), start.ravel(), "LSODA", rtol=1e-9, atol=1e-11
    )
    found = solve(equation, n, 200, 0.02)
    np.testing.assert_allclose(found.ravel(), known.y[:, -1], atol=2e-6)


def test_components_must_be_as_many_as_linear_terms():
    equation = coupled.Coupled(((1.0,),), jnp.zeros_like, 0.0, 1.0, lambda x: x)
    with pytest.raises(ValueError, match="1 components at 8 points; got shape"):
        equation.solve(points=8, steps=1, duration=1.0)
