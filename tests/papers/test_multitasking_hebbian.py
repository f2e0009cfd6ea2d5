"""Exact statements on multitasking networks: Agliari et al., arXiv 2308.04106."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

from kanjax import hopfield
from kanjax.hopfield import diluted, diluted_theory

solve = jax.jit(
    diluted_theory.solve, static_argnames=("start", "damping", "tolerance", "max_steps")
)


@pytest.fixture(scope="module")
def sample():
    """Patterns, examples and states of 60 spins."""
    keys = jax.random.split(jax.random.key(0), 3)
    patterns = diluted.diluted_patterns(keys[0], 3, 60, 0.4)
    examples = diluted.noisy_examples(keys[1], patterns, 7, 0.6)
    return patterns, examples, hopfield.random_patterns(keys[2], 5, 60)


@pytest.mark.parametrize(
    "patterns, expected",
    [
        (1, 1.0),
        (2, 1.0),
        (3, 0.6180339887),
        (4, 0.5436890127),
        (5, 0.5187900637),
        (6, 0.5086603916),
        (10, 0.5004931183),
        (math.inf, 0.5),
    ],
)
def test_critical_dilutions(patterns, expected):
    found = diluted_theory.critical_dilution(patterns)
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_first_amplitude_is_the_sum_of_the_others_at_the_critical_dilution(x64):
    for patterns in (3, 4, 7):
        d = diluted_theory.critical_dilution(patterns)
        first, *others = np.asarray(diluted_theory.hierarchical_amplitudes(patterns, d))
        assert first == pytest.approx(sum(others), abs=1e-12)
        np.testing.assert_allclose(others[0] / first, d, rtol=1e-12)


@pytest.mark.parametrize("patterns, dilution", [(2, 0.8), (3, 0.6), (4, 0.5)])
def test_hierarchical_amplitudes_are_a_fixed_point_below(patterns, dilution, x64):
    sites = diluted_theory.enumerate_sites(patterns, dilution)
    expected = (1 - dilution) * dilution ** np.arange(patterns)
    for beta in (1e4, jnp.inf):
        # A single step of the equations, from the amplitudes themselves.
        found = solve(sites, beta, max_steps=1, damping=0.0)
        np.testing.assert_allclose(found.overlaps, expected, atol=1e-6)
        assert found.residual < 1e-6


def test_they_are_none_above(x64):
    found = solve(diluted_theory.enumerate_sites(3, 0.7), jnp.inf)
    np.testing.assert_allclose(found.overlaps, [0.2865, 0.2235, 0.1605], atol=1e-9)
    assert found.converged


def test_overlaps_at_a_temperature():
    found = solve(diluted_theory.enumerate_sites(3, 0.5), 20.0)
    np.testing.assert_allclose(found.overlaps, [0.5, 0.25, 0.125], atol=1e-4)


def test_a_single_full_pattern_is_the_magnet(x64):
    for beta in (1.2, 2.0):
        m = float(solve(diluted_theory.enumerate_sites(1, 0.0), beta).overlaps[0])
        root = optimize.brentq(lambda m, b=beta: np.tanh(b * m) - m, 0.1, 1)
        assert m == pytest.approx(root, abs=1e-9)


def test_two_full_patterns_mixed(x64):
    # Half of the sites have a field of 2 m, half of none.
    sites = diluted_theory.enumerate_sites(2, 0.0)
    found = solve(sites, 2.0, start="symmetric").overlaps
    root = optimize.brentq(lambda m: np.tanh(4 * m) / 2 - m, 0.1, 1)
    np.testing.assert_allclose(found, [root, root], atol=1e-9)


def test_nothing_is_recalled_above_the_critical_temperature(x64):
    for dilution in (0.0, 0.5, 0.8):
        sites = diluted_theory.enumerate_sites(3, dilution)
        assert np.max(np.abs(solve(sites, 0.9).overlaps)) < 1e-10

        # Small overlaps are multiplied by beta.
        def update(n, sites=sites):
            state = diluted_theory.solve(sites, 0.9, start=n, damping=0.0, max_steps=1)
            return state.example_overlaps

        slope = (update(jnp.full(3, 1e-5)) - update(jnp.full(3, -1e-5))) / 2e-5
        np.testing.assert_allclose(slope, 0.9, rtol=1e-6)


def test_the_second_amplitude_begins_at_its_own_temperature(x64):
    # Sites blank in the first pattern feel the second alone: beta d = 1.
    sites = diluted_theory.enumerate_sites(2, 0.1)
    assert solve(sites, 9.0).overlaps[1] < 1e-3
    assert solve(sites, 11.0).overlaps[1] > 0.02


@pytest.mark.parametrize("beta", [3.0, 20.0])
@pytest.mark.parametrize(
    "sites",
    [
        lambda: diluted_theory.enumerate_sites(3, 0.4),
        lambda: diluted_theory.enumerate_sites(2, 0.3, entropy=0.2),
        lambda: diluted_theory.binomial_sites(2, 0.3, 5, 0.6),
        lambda: diluted_theory.sample_sites(jax.random.key(0), 9, 0.4, 500),
    ],
    ids=["stored", "gaussian", "binomial", "sampled"],
)
def test_the_pressure_is_stationary_at_a_solution(sites, beta, x64):
    sites = sites()
    found = solve(sites, beta, tolerance=1e-11)
    slope = jax.grad(diluted_theory.pressure, argnums=2)
    assert found.converged and np.max(found.example_overlaps) > 0.1
    gradient = slope(sites, beta, found.example_overlaps)
    np.testing.assert_allclose(gradient, 0, atol=1e-8)
    assert np.max(np.abs(slope(sites, beta, found.example_overlaps + 0.05))) > 0.01


def test_few_examples_are_enumerated_as_by_hand(x64):
    """The equations by a loop over all examples of two patterns, and their entries."""
    d, r, count, beta = 0.3, 0.6, 3, 2.5
    found = solve(diluted_theory.binomial_sites(2, d, count, r), beta)
    rho = (1 - r * r) / (count * r * r)
    n = np.asarray(found.example_overlaps)
    kept = list(itertools.product([1, -1], repeat=count))
    site = [
        (xi, xi * np.mean(chi) / r, p * np.prod([(1 + c * r) / 2 for c in chi]))
        for xi, p in ((0, d), (1, (1 - d) / 2), (-1, (1 - d) / 2))
        for chi in kept
    ]
    m_new, n_new = np.zeros(2), np.zeros(2)
    for first, second in itertools.product(site, site):
        average = np.array([first[1], second[1]])
        response = np.tanh(beta * n @ average / (1 - d))
        weight = first[2] * second[2] * response
        n_new += weight * average / (1 + rho)
        m_new += weight * np.array([first[0], second[0]])
    np.testing.assert_allclose(n, n_new, atol=1e-9)
    np.testing.assert_allclose(found.overlaps, m_new, atol=1e-9)


def test_many_examples_are_gaussian(x64):
    count, quality = 400, 0.2
    entropy = diluted.dataset_entropy(count, quality)
    assert entropy == pytest.approx(0.96 / 16)
    exact = solve(diluted_theory.binomial_sites(1, 0.3, count, quality), 3.0)
    limit = solve(diluted_theory.enumerate_sites(1, 0.3, entropy=entropy), 3.0)
    np.testing.assert_allclose(exact.overlaps, limit.overlaps, atol=1e-4)


def test_the_pressure_of_two_patterns_by_a_sum_in_numpy(x64):
    d, beta, n = 0.3, 1.7, np.array([0.4, 0.2])
    value = np.log(2) - beta / (2 * (1 - d)) * n @ n
    for pair in itertools.product((0, 1, -1), repeat=2):
        weight = np.prod([d if x == 0 else (1 - d) / 2 for x in pair])
        value += weight * np.log(np.cosh(beta / (1 - d) * np.dot(n, pair)))
    found = diluted_theory.pressure(diluted_theory.enumerate_sites(2, d), beta, n)
    assert found == pytest.approx(value, abs=1e-12)


def test_a_single_example_needs_no_teacher(sample):
    patterns, examples, _ = sample
    taught, untaught = (
        diluted.multitask_memory(
            examples[:, :1], dilution=0.4, quality=0.6, teaching=teaching
        ).couplings
        for teaching in ("supervised", "unsupervised")
    )
    np.testing.assert_array_equal(taught, untaught)


@pytest.mark.parametrize("teaching", ["supervised", "unsupervised"])
def test_couplings_are_the_sums_that_define_them(teaching, sample):
    _, examples, states = sample
    memory = diluted.multitask_memory(
        examples, dilution=0.4, quality=0.6, teaching=teaching
    )
    eta = np.asarray(examples, np.float64)
    rho = (1 - 0.36) / (7 * 0.36)
    scale = 1 / (60 * 0.6 * (1 + rho) * 0.36)
    if teaching == "supervised":
        J = scale * np.einsum("mai,mbj->ij", eta, eta) / 49
    else:
        J = scale * np.einsum("mai,maj->ij", eta, eta) / 7
    constant = np.trace(J) / 2
    np.fill_diagonal(J, 0)
    np.testing.assert_allclose(memory.couplings, J, atol=1e-7)
    s = np.asarray(states, np.float64)
    energy = -0.5 * np.einsum("ci,ij,cj->c", s, J, s)
    np.testing.assert_allclose(memory.energy(states), energy, rtol=1e-5, atol=1e-5)
    # The same by the overlaps with examples, which has the diagonal in it.
    n = np.asarray(diluted.example_overlaps(states, examples, 0.6), np.float64)
    if teaching == "supervised":
        squares = np.sum(n.mean(2) ** 2, axis=1)
    else:
        squares = np.sum(n**2, axis=(1, 2)) / 7
    by_overlaps = -60 * (1 + rho) / (2 * 0.6) * squares
    np.testing.assert_allclose(by_overlaps, energy - constant, rtol=1e-5)


def test_the_energy_is_a_product_of_losses(sample, x64):
    patterns, _, states = (jnp.asarray(value, jnp.float64) for value in sample)
    memory = diluted.multitask_memory(patterns, dilution=0.4)
    minus, plus = diluted.losses(states, patterns)
    blank = np.mean(np.asarray(patterns) == 0, axis=1)
    m = np.asarray(hopfield.overlaps(states, patterns))
    np.testing.assert_allclose(minus, 1 - blank / 2 - m, rtol=1e-12)
    np.testing.assert_allclose(plus, 1 - blank / 2 + m, rtol=1e-12)
    X = np.asarray(patterns)
    diagonal = np.sum(X**2) / (60 * 0.6) / 2
    gain = np.sum((1 - blank / 2) ** 2 - np.asarray(minus * plus), axis=1)
    np.testing.assert_allclose(
        -60 / (2 * 0.6) * gain, np.asarray(memory.energy(states)) - diagonal, rtol=1e-6
    )


def test_the_learning_threshold():
    for quality in (0.1, 0.5):
        found = diluted_theory.learning_threshold(quality)
        assert found == pytest.approx((1 - quality**2) / quality**2, rel=1e-5)
        entropy = diluted.dataset_entropy(found, quality)
        at = diluted_theory.learning_curve(entropy)
        assert at == pytest.approx(special.erf(math.sqrt(0.5)), abs=1e-5)
    twice = diluted_theory.learning_threshold(0.5, 1.0)
    assert twice == pytest.approx(2 * 0.75 / 0.25)
    assert diluted_theory.learning_curve(0.0) == 1


def test_the_learning_curve_is_that_of_a_single_pattern_without_noise(x64):
    # Of few examples the mean is binomial, and so is the share of sites turned.
    count, quality, d = 11, 0.3, 0.25
    sites = diluted_theory.binomial_sites(1, d, count, quality)
    share = float(solve(sites, jnp.inf).overlaps[0]) / (1 - d)
    turned = stats.binom.cdf(count // 2, count, (1 + quality) / 2)
    assert share == pytest.approx(1 - 2 * turned, abs=1e-12)
    curve = diluted_theory.learning_curve(diluted.dataset_entropy(count, quality))
    assert share == pytest.approx(float(curve), abs=0.02)


def test_a_simulation_has_the_amplitudes_of_the_theory(key):
    spins, d, quality = 6_000, 0.3, 0.5
    keys = jax.random.split(key, 3)
    patterns = diluted.diluted_patterns(keys[0], 3, spins, d)
    examples = diluted.noisy_examples(keys[1], patterns, 100, quality)
    memory = diluted.multitask_memory(examples, dilution=d, quality=quality)
    cue = diluted.fill_blanks(keys[2], patterns[0])
    found = hopfield.retrieve(memory, cue)
    assert found.converged
    m = np.asarray(hopfield.overlaps(found.state, patterns))
    # Each spin is that of the first pattern that is not blank there, by amplitude.
    expected = np.zeros(spins)
    for k in np.argsort(-np.abs(m)):
        expected = np.where(expected == 0, np.sign(m[k]) * patterns[k], expected)
    occupied = expected != 0
    assert np.mean(occupied) == pytest.approx(1 - d**3, abs=0.01)
    assert np.mean(np.asarray(found.state) == expected, where=occupied) > 0.995
    amplitudes = np.asarray(diluted_theory.hierarchical_amplitudes(3, d))
    # Five standard errors of the sum over spins.
    error = 5 * np.sqrt((1 - d) / spins)
    np.testing.assert_allclose(np.sort(np.abs(m))[::-1], amplitudes, atol=error)
