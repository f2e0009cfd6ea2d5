"""Exact statements on glasses of dense memories: Albanese et al., arXiv 2111.12997."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

from kanjax.hopfield import (
    ground_states,
    mean_field,
    parisi,
    replica_breaking,
    replica_symmetry,
)


def mean(function):
    """Of a function of a standard normal number, by adaptive quadrature."""
    return integrate.quad(
        lambda z: function(z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
        -12,
        12,
        limit=500,
        points=[0],
        epsabs=1e-12,
    )[0]


def log_cosh(x):
    return np.logaddexp(x, -x) - np.log(2)


@pytest.fixture(scope="module")
def glass():
    """The glass of order 4 and load 1 at two temperatures, and a state of recall."""
    with jax.enable_x64(True):
        solve = jax.jit(jax.vmap(lambda b: replica_breaking.solve(b, 1.0, 4)))
        return jax.tree.map(np.asarray, solve(jnp.array([2.0, 3.5, 1.5])))


@pytest.fixture(scope="module")
def recall():
    with jax.enable_x64(True):
        solve = jax.jit(
            lambda b, load: replica_breaking.solve(
                b, load, 4, start=(1.0, 0.9, 0.99), outer_nodes=161, inner_nodes=101
            )
        )
        return jax.tree.map(np.asarray, (solve(8.0, 0.4), solve(3.0, 0.1)))


def test_a_state_of_recall_with_replicas_alike(x64):
    found = replica_symmetry.solve(6.0, 0.2, 4)
    assert found.converged
    m, q = found[:2]
    assert m == pytest.approx(0.9977913, abs=1e-7)
    assert q == pytest.approx(0.9981118, abs=1e-7)
    value = replica_symmetry.pressure(6.0, 0.2, m, q, 4)
    assert value == pytest.approx(3.0023595, abs=1e-7)
    # The same by another quadrature.
    m, q = float(m), float(q)
    signal, noise = 12 * m**3, 6 * math.sqrt(0.2 * 2 * q**3)
    assert m == pytest.approx(mean(lambda z: np.tanh(signal + noise * z)), abs=1e-9)
    assert q == pytest.approx(mean(lambda z: np.tanh(signal + noise * z) ** 2), 1e-9)
    by_hand = np.log(2) + mean(lambda z: log_cosh(signal + noise * z))
    by_hand += -9 * m**4 + 36 * 0.2 / 4 * (1 - 4 * q**3 + 3 * q**4)
    assert value == pytest.approx(by_hand, abs=1e-9)


def test_the_broken_glass(glass):
    """Against the values of a separate calculation at scaled beta 2."""
    assert np.all(glass.converged) and np.max(glass.residual) < 2e-12
    assert glass.breaking[0] == pytest.approx(0.791117, abs=1e-6)
    assert glass.self_overlap[0] == pytest.approx(0.9663437, abs=1e-7)
    np.testing.assert_allclose(glass.overlap, 0, atol=1e-12)
    np.testing.assert_allclose(glass.mutual_overlap, 0, atol=1e-12)
    # Above the transition the states are not frozen.
    assert glass.breaking[2] == 1


def test_its_pressure_is_below_the_annealed(glass, x64):
    values = [
        replica_breaking.pressure(b, 1.0, 0.0, 0.0, q, theta, 4)
        for b, q, theta in zip(
            (2.0, 3.5), glass.self_overlap, glass.breaking, strict=False
        )
    ]
    assert values[0] == pytest.approx(1.6588515, abs=1e-7)
    annealed = replica_breaking.annealed_pressure(2.0, 1.0)
    assert annealed == pytest.approx(1.6931472, abs=1e-7)
    assert values[1] < replica_breaking.annealed_pressure(3.5, 1.0) - 0.5
    # By another quadrature.
    q, theta = glass.self_overlap[0], glass.breaking[0]
    s = math.sqrt(8 * q**3)
    free = np.log(mean(lambda z: np.cosh(s * z) ** theta)) / theta
    by_hand = np.log(2) + free + 1 - 4 * q**3 + 3 * q**4 - theta * 3 * q**4
    assert values[0] == pytest.approx(by_hand, abs=1e-8)


def test_pressures_are_stationary_at_solutions(glass, recall, x64):
    alike = replica_symmetry.solve(3.0, 0.3, 4)
    slope = jax.grad(replica_symmetry.pressure, argnums=(2, 3))
    at = slope(3.0, 0.3, *alike[:2], 4)
    np.testing.assert_allclose(at, 0, atol=1e-8)
    off = slope(3.0, 0.3, alike.overlap - 0.05, alike.replica_overlap, 4)
    assert np.max(np.abs(off)) > 1e-2

    slope = jax.jit(
        jax.grad(replica_breaking.pressure, argnums=(2, 3, 4, 5)), static_argnums=6
    )
    x = recall[0][:4]
    assert recall[0].converged and 0.9 < x[0] < x[1] < x[2] - 0.01 and x[3] < 0.5
    np.testing.assert_allclose(slope(8.0, 0.4, *x, 4), 0, atol=1e-8)
    assert np.max(np.abs(slope(8.0, 0.4, x[0], x[1], x[2], 0.6, 4))) > 1e-3
    first = [values[0] for values in glass[:4]]
    np.testing.assert_allclose(slope(2.0, 1.0, *first, 4), 0, atol=1e-8)


def test_replicas_in_a_single_state_are_alike(recall, x64):
    evaluate = jax.jit(replica_breaking.pressure, static_argnums=6)
    alike = replica_symmetry.pressure(2.0, 0.5, 0.7, 0.6, 4)
    for theta in (0.1, 0.5, 1.0):
        found = evaluate(2.0, 0.5, 0.7, 0.6, 0.6, theta, 4)
        assert found == pytest.approx(float(alike), abs=1e-11)
    # Where the symmetric state is stable, the search finds no other.
    unbroken, alike = recall[1], replica_symmetry.solve(3.0, 0.1, 4)
    assert unbroken.converged and unbroken.breaking == 1
    np.testing.assert_allclose(unbroken.overlap, alike.overlap, atol=1e-9)
    np.testing.assert_allclose(unbroken.self_overlap, alike.replica_overlap, atol=1e-9)
    assert replica_symmetry.replicon(3.0, 0.1, *alike[:2], 4) > 0.9


def test_without_freezing_it_is_annealed(x64):
    evaluate = jax.jit(replica_breaking.pressure, static_argnums=6)
    for q in (0.0, 0.3, 0.9):
        found = evaluate(2.0, 1.0, 0.0, 0.0, q, 1.0, 4)
        assert found == pytest.approx(np.log(2) + 1, abs=1e-12)


@pytest.mark.parametrize("order", [4, 6])
def test_the_transition(order, x64):
    """Theta is 1 where q2 is above 0: by adaptive quadrature in the untilted measure.

    Its values, 1.62105 and 1.65756, are below 1.66511 of the random energy model.
    """

    def excess(b):
        q = 0.98
        for _ in range(60):
            s = math.sqrt(b * b * order / 2 * q ** (order - 1))
            mass = math.exp(s * s / 2)
            q = mean(lambda z, s=s: np.cosh(s * z) * np.tanh(s * z) ** 2) / mass
        gain = mean(lambda z: np.cosh(s * z) * log_cosh(s * z)) / mass - s * s / 2
        return gain - b * b / 4 * (order - 1) * q**order

    found = float(replica_breaking.critical_beta(order))
    assert excess(found - 1e-4) < 0 < excess(found + 1e-4)
    assert found == pytest.approx({4: 1.621052, 6: 1.657562}[order], abs=1e-6)
    assert float(replica_breaking.critical_beta(order, 4.0)) == found / 2


def test_the_limit_of_large_orders(x64):
    limit = 2 * math.sqrt(math.log(2))
    assert float(replica_breaking.critical_beta(30)) == pytest.approx(limit, abs=1e-6)
    b = 3.0
    found = replica_breaking.solve(b, 1.0, 30)
    assert found.breaking == pytest.approx(limit / b, abs=1e-5)
    assert found.self_overlap == pytest.approx(1, abs=1e-4)
    value = replica_breaking.pressure(b, 1.0, *found[:4], 30)
    expected = replica_breaking.random_energy_pressure(b, 1.0)
    assert value == pytest.approx(float(expected), abs=1e-4)
    assert expected == pytest.approx(b * math.sqrt(math.log(2)))
    assert replica_breaking.random_energy_pressure(1.0, 1.0) == np.log(2) + 0.25


def test_entropies(glass, x64):
    """By finite differences along solutions, which the pressure does not feel."""
    b, step = 3.5, 1e-4

    def value(b):
        x = replica_breaking.solve(b, 1.0, 4)
        return replica_breaking.pressure(
            b, 1.0, *x[:4], 4, outer_nodes=1, inner_nodes=2001
        )

    ends = jax.vmap(value)(jnp.array([b - step, b + step]))
    middle = [values[1] for values in glass[:4]]
    slope = (ends[1] - ends[0]) / (2 * step)
    at = replica_breaking.pressure(b, 1.0, *middle, 4)
    found = replica_breaking.entropy(b, 1.0, *middle, 4)
    assert found == pytest.approx(float(at - b * slope), abs=1e-6)
    assert 0 < found < 0.01
    alike = replica_symmetry.solve(b, 1.0, 4, start=(0.0, 1.0))
    assert replica_symmetry.entropy(b, 1.0, *alike[:2], 4) < -0.1
    cold = replica_symmetry.entropy(2.0, 1.0, 0.0, 0.0, 4)
    assert cold == pytest.approx(np.log(2) - 1, abs=1e-12)


@pytest.mark.parametrize(
    "order, energy, breaking",
    [(4, 0.8254705, 1.546075), (6, 0.8312755, None), (20, 0.8325546, None)],
)
def test_ground_states(order, energy, breaking, x64):
    found = ground_states.glass(order)
    assert found.converged
    assert found.energy == pytest.approx(-energy, abs=1e-7)
    if breaking is not None:
        assert found.breaking == pytest.approx(breaking, abs=1e-6)
    if order == 20:
        assert found.energy == pytest.approx(-math.sqrt(math.log(2)), abs=1e-7)
    # The least of the bound, which has a closed form.
    from scipy import special

    s2 = order / 2

    def bound(x):
        mass = np.log(2) + x * x * s2 / 2 + special.log_ndtr(x * math.sqrt(s2))
        return mass / x - x * (order - 1) / 4

    least = optimize.minimize_scalar(bound, bounds=(0.5, 3), method="bounded")
    assert found.energy == pytest.approx(-least.fun, abs=1e-9)
    assert -found.energy < math.sqrt(order / math.pi)


@pytest.mark.parametrize(
    "order, load, overlap",
    [
        (3, 0.378286, 0.83848),
        (4, 0.395720, 0.917922),
        (5, 0.431931, None),
        (6, 0.473039, 0.961987),
        (8, 0.558801, 0.976369),
        (10, 0.644680, None),
    ],
)
def test_the_capacity_with_replicas_alike(order, load, overlap):
    found = replica_symmetry.capacity(order)
    assert found.load == pytest.approx(load, abs=1e-6)
    if overlap is not None:
        assert found.overlap == pytest.approx(overlap, abs=1e-5)


def test_the_number_of_patterns():
    most = replica_symmetry.capacity(4).load
    found = replica_symmetry.stored_patterns(most, 100, 4)
    assert found == pytest.approx(0.0329767e6, rel=1e-6)
    most = replica_symmetry.capacity(6).load
    assert replica_symmetry.stored_patterns(most, 1, 6) == pytest.approx(1.313996e-3)
    assert replica_symmetry.scale_beta(24.0, 4) == pytest.approx(2.0)


def test_recall_without_temperature(x64):
    """The branch of broken symmetry goes on where that of replicas alike has ended."""
    solve = jax.jit(jax.vmap(lambda s: ground_states.recall(s, 4, nodes=801)))
    found = solve(jnp.array([1.3923, 1.5725, 1.9053, 2.5]))
    assert np.all(found.converged)
    loads, overlaps = (0.452, 0.44, 0.40), (0.874, 0.903, 0.948)
    np.testing.assert_allclose(found.load[:3], loads, atol=1e-3)
    np.testing.assert_allclose(found.overlap[:3], overlaps, atol=3e-3)
    alike = replica_symmetry.capacity(4)
    assert np.all(found.load[:3] > alike.load)
    # Far from there breaking it changes little.
    load, overlap = replica_symmetry.zero_temperature(2.5, 4)
    assert found.load[3] == pytest.approx(float(load), rel=2e-3)
    assert found.overlap[3] == pytest.approx(float(overlap), rel=1e-3)
    m = float(overlap)
    again = math.erf(math.sqrt(4 / float(load)) * m**3 / 2)
    assert m == pytest.approx(again, abs=1e-12)


def test_it_is_the_limit_of_low_temperatures(x64):
    solve = jax.jit(lambda b: replica_breaking.solve(b, 1.0, 4))
    # What is left is of the order of the temperature.
    warm, cold = solve(40.0), solve(80.0)
    found = ground_states.glass(4)
    assert warm.converged and cold.converged
    limit = 2 * 80 * cold.breaking - 40 * warm.breaking
    assert found.breaking == pytest.approx(float(limit), abs=1e-3)
    energies = [
        -replica_breaking.pressure(b, 1.0, *x[:4], 4, outer_nodes=1, inner_nodes=2001)
        / b
        for b, x in ((40.0, warm), (80.0, cold))
    ]
    assert found.energy == pytest.approx(float(energies[1]), abs=1e-3)
    limit = 2 * energies[1] - energies[0]
    assert found.energy == pytest.approx(float(limit), abs=1e-5)


def test_the_capacity_with_broken_symmetry(x64):
    found = ground_states.capacity(4)
    assert 0.455 < found.load < 0.460
    ratio = found.load / replica_symmetry.capacity(4).load
    assert 1.13 < ratio < 1.18


def test_sampled_glasses_are_below_the_bound(x64):
    """Guerra's bound holds for any number of spins: here 10, all states summed."""
    spins, b, samples = 10, 2.0, 400
    states = np.array(
        [
            [1 if k >> i & 1 else -1 for i in range(spins)]
            for k in range(2 ** (spins - 1))
        ]
    )
    overlap = states @ states.T / spins
    covariance = spins * b**2 / 2 * overlap**4
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(states)))
    draws = np.random.default_rng(0).normal(size=(samples, len(states))) @ root.T
    # A state and its negative have the same energy at an even order.
    pressures = (np.log(2) + np.logaddexp.reduce(draws, axis=1)) / spins
    error = pressures.std() / math.sqrt(samples)
    broken = parisi.pressure(
        lambda q: b**2 / 2 * q**4, jnp.array([0.0, 0.9663437]), jnp.array([0.791117])
    )
    annealed = replica_breaking.annealed_pressure(b, 1.0)
    assert pressures.mean() + 3 * error < broken < annealed - 0.03
    # The mean of the sum itself is that of the annealed model.
    assert np.diag(covariance) / 2 / spins + np.log(2) == pytest.approx(float(annealed))


def test_the_classical_memory_is_a_hard_and_a_soft_glass(x64):
    load, beta = 0.05, 3.0
    found = mean_field.replica_symmetric(load, beta, tolerance=1e-12)
    m, q, r = (float(v) for v in found[:3])
    whole = mean_field.pressure(load, beta, m, q, r)
    split = mean_field.split_pressure(load, beta, m, q)
    assert split.total == pytest.approx(float(whole), abs=1e-12)
    # The hard one is Sherrington and Kirkpatrick's, by Parisi's equation.
    hard_beta = float(split.hard_beta)
    sk = parisi.pressure(
        lambda p: hard_beta**2 * p**2 / 2, jnp.array([q]), [], field=beta * m
    )
    assert split.hard == pytest.approx(float(sk), abs=1e-10)
    slope = jax.grad(
        lambda p: parisi.pressure(
            lambda t: hard_beta**2 * t**2 / 2, p[None], [], field=beta * m
        )
    )
    assert slope(jnp.asarray(q)) == pytest.approx(0, abs=1e-8)
    # The soft one is stationary in its overlap, and the whole in all of them.
    gap = 1 - beta * (1 - q)
    soft = jax.value_and_grad(mean_field.gaussian_glass_pressure, argnums=2)
    value, at = soft(beta, gap, beta * r)
    assert value == pytest.approx(float(split.soft), abs=1e-12)
    assert at == pytest.approx(0, abs=1e-10)
    slopes = jax.grad(mean_field.pressure, argnums=(2, 3, 4))(load, beta, m, q, r)
    np.testing.assert_allclose(slopes, 0, atol=1e-8)
    # A dense memory of order 2 would have the hard one alone.
    alike = replica_symmetry.solve(beta, load, 2)
    assert abs(float(alike.replica_overlap) - q) > 1e-5
