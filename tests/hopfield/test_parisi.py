import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from kanjax.hopfield import ground_states, parisi, replica_breaking, replica_symmetry


def sk(q):
    """The covariance of Sherrington and Kirkpatrick's energies."""
    return q**2 / 2


@pytest.fixture(scope="module")
def minima():
    with jax.enable_x64(True):
        return [
            parisi.minimize(sk, steps, zero_temperature=True, points=201)
            for steps in (1, 2, 3)
        ]


def test_the_ground_state_of_sherrington_and_kirkpatrick(minima):
    """Bounds fall to -0.76317, that of infinitely many steps."""
    values = [float(found.value) for found in minima]
    assert all(found.converged and float(found.slope) < 1e-6 for found in minima)
    assert values[0] > values[1] > values[2] > 0.76317
    # The known sequence of bounds: one step 0.7653, two 0.7636, three 0.7633.
    np.testing.assert_allclose(values, [0.76526, 0.76361, 0.76331], atol=2e-5)
    assert values[2] == pytest.approx(0.7632, abs=5e-4)
    for found in minima:
        assert np.all(np.diff(found.overlaps) > 0) and np.all(
            np.diff(found.breaking) > 0
        )


def test_steps_of_a_nested_mean(x64):
    """Two steps at a temperature against nested integrals."""
    q, x = [0.2, 0.7], [0.6]

    def normal(function):
        return integrate.quad(
            lambda z: function(z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
            -10,
            10,
            epsabs=1e-10,
        )[0]

    b, h = 1.4, 0.3

    def inner(u):
        s = b * np.sqrt(q[1] - q[0])
        mass = normal(lambda z: np.cosh(u + s * z) ** x[0])
        return np.log(mass) / x[0] + b**2 * (1 - q[1]) / 2

    free = normal(lambda z: inner(h + b * np.sqrt(q[0]) * z))
    cost = b**2 / 4 * (x[0] * (q[1] ** 2 - q[0] ** 2) + 1 - q[1] ** 2)
    found = parisi.pressure(
        lambda q: b**2 * q**2 / 2, jnp.array(q), jnp.array(x), field=h
    )
    assert found == pytest.approx(np.log(2) + free - cost, abs=1e-8)


def test_a_step_more_that_changes_nothing(x64):
    xi = lambda q: q**2 + q**4  # noqa: E731
    few = parisi.pressure(xi, jnp.array([0.1, 0.6]), jnp.array([0.5]))
    more = parisi.pressure(xi, jnp.array([0.1, 0.4, 0.6]), jnp.array([0.5, 0.5]))
    assert more == pytest.approx(float(few), abs=1e-9)


def test_it_is_the_equations_of_few_steps(x64):
    b = 1.6
    xi = lambda q: b**2 * q**4 / 2  # noqa: E731
    alike = parisi.pressure(xi, jnp.array([0.4]), [])
    expected = replica_symmetry.pressure(b, 1.0, 0.0, 0.4, 4)
    assert alike == pytest.approx(float(expected), abs=1e-10)
    once = parisi.pressure(xi, jnp.array([0.3, 0.8]), jnp.array([0.5]))
    expected = replica_breaking.pressure(b, 1.0, 0.0, 0.3, 0.8, 0.5, 4)
    assert once == pytest.approx(float(expected), abs=1e-10)


def test_the_minimum_is_that_of_one_step(x64):
    """Of a glass of products of four spins, which one step describes."""
    start = jnp.array([0.1, 0.95]), jnp.array([0.5])
    found = parisi.minimize(lambda q: 2 * q**4, 1, start=start)
    assert found.value == pytest.approx(1.6588515, abs=1e-7)
    assert found.overlaps[1] == pytest.approx(0.9663437, abs=1e-5)
    assert found.breaking[0] == pytest.approx(0.791117, abs=1e-5)


def test_under_jit_vmap_and_grad(x64):
    def energy(load):
        return -parisi.minimize(
            lambda q: load * q**4 / 2, 1, zero_temperature=True, points=101
        ).value

    loads = jnp.array([0.25, 1.0])
    found = jax.jit(jax.vmap(jax.value_and_grad(energy)))(loads)
    expected = float(ground_states.glass(4).energy)
    np.testing.assert_allclose(found[0], np.sqrt(loads) * expected, atol=1e-7)
    np.testing.assert_allclose(found[1], expected / 2 / np.sqrt(loads), atol=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: parisi.pressure(sk, [0.1], [0.5]), "at least 0 steps; got"),
        (lambda: parisi.zero_temperature_pressure(sk, [], []), "at least 1 steps"),
        (lambda: parisi.minimize(sk, 2), "needs double precision"),
        (lambda: parisi.minimize(sk, -1), "steps must be an integer of at least 0"),
        (
            lambda: parisi.minimize(sk, 0, zero_temperature=True),
            "steps must be an integer of at least 1",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
