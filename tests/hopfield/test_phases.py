import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

from kanjax import hopfield
from kanjax.hopfield import (
    archetype_theory,
    diluted_theory,
    mean_field,
    replica_breaking,
    replica_symmetry,
)


def mean(function):
    """Of a function of a standard normal number, by adaptive quadrature."""

    def integrand(z):
        return function(z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

    return integrate.quad(integrand, -12, 12, limit=400, epsabs=1e-12)[0]


def names(diagram):
    return [[diagram.names[code] for code in row] for row in np.asarray(diagram.codes)]


@pytest.fixture(scope="module")
def classical():
    load = jnp.array([0.03, 0.05, 0.055, 0.135, 0.141])
    temperature = jnp.array([0.02, 1.16, 1.18, 1.3])
    return hopfield.phase_diagram(load=load, temperature=temperature)


def test_the_classical_memory(classical):
    """Amit, Gutfreund and Sompolinsky (1985), without temperature.

    Energies are ``-1/2 - load / 2`` of recall, but for errors that are few, and
    ``-(load + s)^2 / (2 load)`` with ``s = sqrt(2 load / pi)`` of the glass. They are
    the same at a load of ``pi / 8 (1 - 2 / pi)^2``, which is 0.052.
    """
    assert 0.05 < np.pi / 8 * (1 - 2 / np.pi) ** 2 < 0.055
    assert classical.axes == ("load", "temperature") and np.all(classical.converged)
    metastable = ["metastable recall"]
    found = names(classical)
    assert found[0] == ["recall"] * 2 + metastable * 2 + ["glass"]
    assert found[1] == ["glass"] * 5
    assert found[2] == ["paramagnet"] + ["glass"] * 4
    assert found[3] == ["paramagnet"] * 3 + ["glass"] * 2
    # Only a glass is unstable here; residuals are those of single precision.
    glassy = np.asarray(classical.codes) == classical.names.index("glass")
    np.testing.assert_array_equal(classical.stable[1:], ~glassy[1:])
    assert np.all(classical.residual < 1e-5) and np.any(classical.residual > 0)
    assert np.all(classical.overlap[0, :4] > 0.95) and classical.overlap[0, 4] < 0.4
    load, temperature = classical.lines["freezing"]
    np.testing.assert_allclose(temperature, 1 + np.sqrt(load))


def test_its_glass_by_another_quadrature(x64):
    load, beta = 0.1, 4.0
    solve = jax.jit(lambda b: mean_field.glass(load, b, tolerance=1e-11))
    found = solve(beta)

    def excess(s):
        q = mean(lambda z: np.tanh(s * z) ** 2)
        return s * (1 - beta * (1 - q)) - beta * np.sqrt(load * q)

    s = optimize.brentq(excess, 0.1, 50, xtol=1e-12)
    q = mean(lambda z: np.tanh(s * z) ** 2)
    assert found.converged and found.overlap == 0
    assert found.order == pytest.approx(q, abs=1e-7)
    assert found.noise == pytest.approx(q / (1 - beta * (1 - q)) ** 2, rel=1e-6)
    slope = jax.grad(mean_field.pressure, argnums=(2, 3, 4))(load, beta, *found[:3])
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    step = 1e-4
    ends = [float(solve(beta + h).order) for h in (step, -step)]
    implicit = jax.grad(lambda b: solve(b).order)(beta)
    assert implicit == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_its_replicon_is_that_of_the_hard_glass(x64):
    """Of Sherrington and Kirkpatrick's model at its inverse temperature."""
    load, beta = 0.1, 3.0
    for state in (
        mean_field.replica_symmetric(load, beta, tolerance=1e-9),
        mean_field.glass(load, beta),
    ):
        m, q = (float(value) for value in state[:2])
        hard = mean_field.split_pressure(load, beta, m, q).hard_beta
        width = mean(
            lambda z, m=m, q=q, b=float(hard): (
                np.cosh(beta * m + b * np.sqrt(q) * z) ** -4
            )
        )
        found = mean_field.replicon(load, beta, m, q)
        assert found == pytest.approx(1 - float(hard) ** 2 * width, abs=1e-8)
    # The glass is unstable everywhere below its transition.
    assert found < 0


def test_a_plane_is_the_loop_over_its_points():
    entropy, load = jnp.array([0.0, 0.2, 0.5]), jnp.array([0.06, 0.25, 0.5])
    diagram = hopfield.phase_diagram(
        entropy=entropy, load=load, temperature=0.2, order=4
    )
    assert diagram.axes == ("entropy", "load")
    assert diagram.names == archetype_theory.REGIMES
    regime = jax.jit(lambda g, rho: archetype_theory.regime(5.0, g, rho, 4))
    for i, gamma in enumerate(load):
        for j, rho in enumerate(entropy):
            alone = regime(gamma, rho)
            assert diagram.codes[i, j] == alone.code
            assert diagram.stable[i, j] == (alone.code in (0, 2))
            assert diagram.overlap[i, j] == pytest.approx(
                float(alone.overlap), abs=1e-5
            )
            recalls = alone.code >= 2
            expected = float(alone.replicon) if recalls else np.nan
            assert diagram.replicon[i, j] == pytest.approx(
                expected, abs=1e-4, nan_ok=True
            )
    assert len(np.unique(diagram.codes)) == 3
    critical = float(replica_breaking.critical_beta(4))
    freezing = diagram.lines["freezing"][1]
    np.testing.assert_allclose(freezing, (critical / 5) ** 2, rtol=1e-6)


def test_the_line_of_almeida_and_thouless():
    """What is interpolated on the plane beside the curve that is solved for."""
    diagram = hopfield.phase_diagram(
        load=jnp.linspace(0.3, 0.44, 8),
        temperature=jnp.linspace(0.05, 0.45, 9),
        order=4,
    )
    load, temperature = diagram.lines["de Almeida-Thouless"]
    curve = replica_symmetry.recall_line(jnp.linspace(0.5, 20, 400), 4)
    below = np.asarray(curve.temperature) < 0.36
    exact = np.interp(load, curve.load[below][::-1], curve.temperature[below][::-1])
    assert len(load) >= 6
    # To a fifth of the distance of rows.
    np.testing.assert_allclose(temperature, exact, atol=1e-2)


def test_diluted_patterns():
    dilution, temperature = jnp.array([0.05, 0.3, 0.8]), jnp.array([0.1, 0.6, 1.05])
    diagram = hopfield.phase_diagram(dilution=dilution, temperature=temperature)

    @jax.jit
    def regime(d, t):
        sites = diluted_theory.enumerate_sites(3, d)
        return diluted_theory.regime(sites, 1 / t, max_steps=2_000)

    for i, t in enumerate(temperature):
        for j, d in enumerate(dilution):
            alone = regime(d, t)
            assert diagram.codes[i, j] == alone.code
            assert diagram.stable[i, j] == alone.stable
            assert diagram.residual[i, j] == pytest.approx(
                float(alone.residual), abs=1e-5
            )
    assert names(diagram)[0] == ["pure", "hierarchical", "parallel"]
    assert names(diagram)[2] == ["ergodic"] * 3
    at = diagram.lines["critical dilution"][0]
    np.testing.assert_allclose(at, (np.sqrt(5) - 1) / 2)


def test_what_it_refuses():
    axis = jnp.linspace(0.1, 0.5, 3)

    def refuse(message, error=ValueError, **arguments):
        with pytest.raises(error, match=message):
            hopfield.phase_diagram(**arguments)

    refuse("exactly two .* got temperature", temperature=axis, load=0.1)
    refuse("exactly two .* got none", temperature=0.1, load=0.1)
    refuse("either a load or a dilution", temperature=axis, load=axis, dilution=0.1)
    refuse("either a load or a dilution", temperature=axis, entropy=axis)
    refuse("temperature must be positive", temperature=axis - 0.2, load=axis)
    refuse("load must be positive", temperature=axis, load=axis - 0.1)
    refuse(r"dilution must lie in \[0, 1\)", temperature=axis, dilution=axis + 0.6)
    refuse("entropy must be 0 for order 2", temperature=0.1, load=axis, entropy=axis)
    refuse("load must rise", temperature=axis, load=axis[::-1])
    refuse("must be a number or have shape", temperature=axis, load=axis[:1])
    refuse("order must be even", temperature=axis, load=axis, order=3)
    refuse("order must be an integer", temperature=axis, load=axis, order=1)
