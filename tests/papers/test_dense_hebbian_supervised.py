"""Exact statements on dense memories of examples: Agliari et al., arXiv 2212.00606."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from kanjax import hopfield
from kanjax.hopfield import (
    archetype_theory,
    archetypes,
    diluted,
    mean_field,
    replica_symmetry,
    tensors,
)


@pytest.fixture(scope="module")
def sample():
    """Archetypes, examples and states of 9 spins."""
    keys = jax.random.split(jax.random.key(0), 3)
    xi = hopfield.random_patterns(keys[0], 3, 9)
    examples = diluted.noisy_examples(keys[1], xi, 5, 0.6)
    return xi, examples, hopfield.random_patterns(keys[2], 4, 9)


def brute_force(x, order):
    return sum(math.prod(c) for c in itertools.combinations(x, order))


def test_elementary_symmetric_sums(x64):
    x = np.sin(1.7 * np.arange(1, 7))
    found = tensors.elementary_symmetric(x, 6)
    expected = [brute_force(x, k) for k in range(7)]
    np.testing.assert_allclose(found, expected, atol=1e-10)
    for i in range(6):
        rest = tensors.leave_out(found, x[i])
        expected = [brute_force(np.delete(x, i), k) for k in range(7)]
        np.testing.assert_allclose(rest, expected, atol=1e-10)


def test_of_signs_they_depend_on_the_sum_alone(x64):
    s = np.asarray(hopfield.random_patterns(jax.random.key(0), 5, 20))
    S, N = s.sum(axis=1), 20
    expected = (S**4 - 6 * N * S**2 + 8 * S**2 + 3 * N**2 - 6 * N) / 24
    found = tensors.elementary_symmetric(s, 4)[:, 4]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [2, 3, 4, 6])
@pytest.mark.parametrize("teaching", ["supervised", "unsupervised"])
def test_the_energy_is_the_sum_that_defines_it(order, teaching, sample, x64):
    _, examples, states = (np.asarray(v, np.float64) for v in sample)
    memory = archetypes.archetype_memory(
        examples, order=order, quality=0.6, teaching=teaching
    )
    rho = (1 - 0.36) / (5 * 0.36)
    scale = (0.36 * (1 + rho)) ** (-order / 2) / 9 ** (order - 1)
    rows = examples.mean(1) if teaching == "supervised" else examples.reshape(-1, 9)
    weight = 1 if teaching == "supervised" else 1 / 5
    energy = [
        -scale * weight * sum(brute_force(row * s, order) for row in rows)
        for s in states
    ]
    np.testing.assert_allclose(memory.energy(states), energy, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("order", [2, 4, 6])
def test_fields_are_differences_of_energies(order, sample):
    _, examples, states = sample
    memory = archetypes.archetype_memory(examples, order=order, quality=0.6)
    fields = np.asarray(memory.fields(states))
    tracked, rows = memory.track(states), memory.rows()
    for i in range(9):
        up, down = (memory.energy(states.at[:, i].set(s)) for s in (1.0, -1.0))
        np.testing.assert_allclose(
            fields[:, i], (down - up) / 2, rtol=1e-4, atol=1e-5 * np.abs(fields).max()
        )
        at = memory.field_at(tracked, rows[i], states[:, i])
        np.testing.assert_allclose(at, fields[:, i], rtol=1e-4, atol=1e-6)
        # What is tracked after a turn is that of the turned state.
        turned = states.at[:, i].multiply(-1)
        moved = memory.moved(tracked, rows[i], i, turned[:, i] - states[:, i])
        np.testing.assert_allclose(moved, memory.track(turned), atol=1e-5)
        still = memory.moved(tracked, rows[i], i, jnp.zeros(4))
        np.testing.assert_array_equal(still, tracked)


def test_stored_archetypes_are_the_memory_of_products(sample):
    xi, _, states = sample
    for order in (2, 4):
        memory = archetypes.archetype_memory(xi, order=order)
        other = hopfield.PSpin(xi, order)
        np.testing.assert_allclose(
            memory.energy(states), other.energy(states), rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(
            memory.fields(states), other.fields(states), rtol=1e-4, atol=1e-6
        )


def test_chains_have_boltzmann_s_distribution():
    """All states of 4 spins and two examples, by Monte Carlo."""
    key = jax.random.key(0)
    vectors = jax.random.normal(key, (2, 4))
    memory, beta = tensors.LowRankTensor(vectors, 0.3, 3), 0.7
    states = jnp.array(list(itertools.product([-1.0, 1.0], repeat=4)))
    weight = np.exp(-beta * np.asarray(memory.energy(states)))
    chains = hopfield.glauber(
        key,
        memory,
        jnp.ones((400, 4)),
        beta=beta,
        sweeps=60,
        observe=lambda s: jnp.mean(jnp.all(s[:, None] == states[None], -1), 0),
    )
    found = np.mean(chains.observed[10:], axis=0)
    # 20,000 states, correlated over about two sweeps.
    np.testing.assert_allclose(found, weight / weight.sum(), atol=0.012)


def test_states_of_recall(x64):
    found = archetype_theory.solve(5.0, 0.1, 0.1, 4)
    assert found.converged
    expected = (0.97957080, 0.90193508, 0.98444053)
    np.testing.assert_allclose(found[:3], expected, atol=1e-7)
    stored = archetype_theory.solve(5.0, 0.1, 0.0, 4)
    assert stored.overlap == pytest.approx(0.9999545658, abs=1e-9)
    assert stored.replica_overlap == pytest.approx(0.9999241924, abs=1e-9)
    value = archetype_theory.pressure(5.0, 0.1, 0.0, *stored[1:3], 4)
    assert value == pytest.approx(2.500026327, abs=1e-8)
    alike = replica_symmetry.pressure(5.0, 0.1, *stored[1:3], 4)
    assert value == pytest.approx(float(alike), abs=1e-12)


def test_the_equations_by_a_double_integral(x64):
    """Over the mean of examples and crosstalk apart, without Stein's lemma."""
    b, load, rho = 2.0, 0.15, 0.1
    m, n, q = (float(v) for v in archetype_theory.solve(b, load, rho, 4)[:3])
    signal = b * 2 * n**3 * (1 + rho)
    noise = b * math.sqrt(load * 2 * q**3)

    def mean(function):
        def integrand(z, eta):
            t = np.tanh(signal * (1 + math.sqrt(rho) * eta) + noise * z)
            density = np.exp(-(z * z + eta * eta) / 2) / (2 * np.pi)
            return function(t, 1 + math.sqrt(rho) * eta) * density

        return integrate.dblquad(integrand, -8, 8, -8, 8, epsabs=1e-9)[0]

    assert m == pytest.approx(mean(lambda t, eta: t), abs=1e-7)
    assert q == pytest.approx(mean(lambda t, eta: t * t), abs=1e-7)
    assert n == pytest.approx(mean(lambda t, eta: eta * t) / (1 + rho), abs=1e-7)
    # What is often left out matters.
    less = archetype_theory.solve(b, load, rho, 4, simplified=True)
    assert abs(float(less.example_overlap) - n) > 1e-3


@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_the_pressure_is_stationary(rho, x64):
    found = archetype_theory.solve(3.0, 0.1, rho, 4)
    slope = jax.grad(archetype_theory.pressure, argnums=(3, 4))
    np.testing.assert_allclose(slope(3.0, 0.1, rho, *found[1:3], 4), 0, atol=1e-9)
    off = slope(3.0, 0.1, rho, found.example_overlap - 0.05, found[2], 4)
    assert np.max(np.abs(off)) > 1e-2


def test_the_limit_of_low_temperatures(x64):
    found = archetype_theory.zero_temperature(0.1, 0.1, 4)
    cold = archetype_theory.solve(80.0, 0.1, 0.1, 4, nodes=4001)
    assert found.converged and cold.converged
    np.testing.assert_allclose(found[:2], cold[:2], atol=1e-4)
    stored = archetype_theory.zero_temperature(0.3, 0.0, 4).overlap
    again = special.erf(math.sqrt(4 / 0.3) * float(stored) ** 3 / 2)
    assert stored == pytest.approx(again, abs=1e-10)
    # The capacity of stored patterns is where it ends.
    most = replica_symmetry.capacity(4).load
    assert archetype_theory.zero_temperature(most - 1e-3, 0.0, 4).overlap > 0.91
    assert archetype_theory.zero_temperature(most + 1e-3, 0.0, 4).overlap < 0.1


def test_order_two_is_another_memory(x64):
    with pytest.raises(ValueError, match="order must be even and at least 4; got 2"):
        archetype_theory.solve(3.0, 0.05, 0.0, 2)
    # Its equations without the soft noise would be those of a hard glass.
    soft = mean_field.replica_symmetric(0.05, 3.0, tolerance=1e-10)
    hard = replica_symmetry.solve(3.0, 0.05, 2)
    assert abs(float(soft.order - hard.replica_overlap)) > 1e-4


def test_one_update_and_the_examples_it_needs(x64):
    load, quality, P = 0.1, 0.3, 4
    count = float(archetype_theory.learning_threshold(load, quality, P))
    rho = (1 - quality**2) / (count * quality**2)
    assert rho + 2 * load / P * (1 + rho) ** P == pytest.approx(1, abs=1e-9)
    at = archetype_theory.one_step_overlap(load, rho, P)
    assert at == pytest.approx(special.erf(math.sqrt(0.5)), abs=1e-9)
    free = archetype_theory.learning_threshold(0.0, quality, P)
    assert free == pytest.approx((1 - quality**2) / quality**2, rel=1e-9)
    assert archetype_theory.learning_threshold(3.0, quality, P) == jnp.inf
    assert archetype_theory.one_step_overlap(0.0, 0.0, 4) == 1


def test_one_update_of_a_sample():
    spins, load = 60, 0.3
    xi = hopfield.random_patterns(jax.random.key(1), round(load * spins**3 / 12), spins)
    memory = archetypes.archetype_memory(xi, order=4)
    after = jnp.where(jax.lax.map(memory.fields, xi[:24]) < 0, -1.0, 1.0)
    theory = archetype_theory.one_step_overlap(load, 0.0, 4)
    # Three standard errors of 24 overlaps.
    assert jnp.mean(after * xi[:24]) == pytest.approx(float(theory), abs=0.02)


def test_noise_in_couplings_counts_as_a_load():
    """Of one pattern's products of four spins: the variance of a field."""
    spins, noise = 12, 0.7
    rng = np.random.default_rng(0)
    sets = np.array(list(itertools.combinations(range(1, spins), 3)))
    # Products with spin 0, of which the field of spin 0 is the sum.
    draws = noise * rng.normal(size=(4000, len(sets))) / spins**3
    field = draws.sum(axis=1)
    load = float(archetypes.tensor_noise_load(1, noise, spins, 4))
    # Crosstalk of a load has the variance load / 2 P times (2 / P!)^2 of one spin.
    expected = load * 4 / 2 * (2 / 24) ** 2
    exact = len(sets) * noise**2 / spins**6
    assert field.var() == pytest.approx(exact, rel=0.1)
    # Distinct sets are fewer than spins^3 / 3! at few spins.
    assert expected * len(sets) * 6 / spins**3 == pytest.approx(exact, rel=1e-5)
