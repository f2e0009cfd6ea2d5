import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield
from kanjax.hopfield import diluted, diluted_theory


def test_patterns_and_examples_have_their_law(key):
    patterns = diluted.diluted_patterns(key, 2, 100_000, 0.3)
    values, counts = np.unique(patterns, return_counts=True)
    np.testing.assert_array_equal(values, [-1, 0, 1])
    np.testing.assert_allclose(counts / 200_000, [0.35, 0.3, 0.35], atol=6e-3)
    examples = diluted.noisy_examples(key, patterns, 4, 0.6)
    assert np.all((examples == 0) == (patterns[:, None] == 0))
    kept = np.mean(examples == patterns[:, None], where=patterns[:, None] != 0)
    assert kept == pytest.approx(0.8, abs=4e-3)
    means = np.mean(np.asarray(examples), axis=1) / 0.6
    rho = float(diluted.dataset_entropy(4, 0.6))
    assert np.mean(means**2) == pytest.approx(0.7 * (1 + rho), rel=0.02)


def test_no_and_only_blanks(key):
    assert np.all(diluted.diluted_patterns(key, 2, 1000, 0.0) != 0)
    assert np.all(diluted.diluted_patterns(key, 2, 1000, 1.0) == 0)
    patterns = diluted.diluted_patterns(key, 2, 1000, 0.5)
    spins = diluted.fill_blanks(key, patterns)
    assert np.all(np.abs(spins) == 1)
    np.testing.assert_array_equal(spins * patterns**2, patterns)
    assert abs(np.mean(spins, where=patterns == 0)) < 0.15


def test_full_patterns_are_those_of_hebb(key):
    patterns = hopfield.random_patterns(key, 3, 20)
    memory = diluted.multitask_memory(patterns, dilution=0.0)
    np.testing.assert_allclose(memory.couplings, hopfield.hebb(patterns), atol=1e-7)
    dense = hopfield.Pairwise(memory.couplings)
    states = hopfield.random_patterns(key, 4, 20)
    np.testing.assert_allclose(memory.fields(states), dense.fields(states), atol=1e-6)
    np.testing.assert_allclose(memory.energy(states), dense.energy(states), rtol=1e-5)


def test_transformations(key):
    """Many dilutions and qualities under one jit, and derivatives through all."""

    @jax.jit
    @jax.vmap
    def energy(d, quality):
        patterns = diluted.diluted_patterns(key, 3, 40, d)
        examples = diluted.noisy_examples(key, patterns, 5, quality)
        memory = diluted.multitask_memory(examples, dilution=d, quality=quality)
        state = diluted.fill_blanks(key, patterns[0])
        minus, _ = diluted.losses(state, patterns)
        return memory.energy(state), minus

    d, quality = jnp.array([0.1, 0.5, 0.8]), jnp.array([1.0, 0.6, 0.3])
    values, losses = energy(d, quality)
    assert values.shape == (3,) and losses.shape == (3, 3)
    patterns = diluted.diluted_patterns(key, 3, 40, 0.5)
    examples = diluted.noisy_examples(key, patterns, 5, 0.6)
    state = diluted.fill_blanks(key, patterns[0])

    def at(d):
        return diluted.multitask_memory(examples, dilution=d, quality=0.6).energy(state)

    assert values[1] == pytest.approx(float(at(0.5)), rel=1e-5)
    # The energy goes as 1 / (1 - d).
    assert jax.grad(at)(0.5) == pytest.approx(2 * float(at(0.5)), rel=1e-4)


def test_derivatives_of_overlaps_go_by_the_implicit_function(x64):
    def first(d, beta):
        return diluted_theory.solve(diluted_theory.enumerate_sites(3, d), beta).overlaps

    slopes = jax.jit(jax.jacrev(first, argnums=(0, 1)))(0.4, 4.0)
    step = 1e-5
    for slope, change in zip(slopes, ((step, 0), (0, step)), strict=True):
        up = first(0.4 + change[0], 4.0 + change[1])
        down = first(0.4 - change[0], 4.0 - change[1])
        np.testing.assert_allclose(slope, (up - down) / (2 * step), atol=1e-6)


def test_regimes():
    """One of each, over a plane in one program, and the pressures that decide."""

    @jax.jit
    @jax.vmap
    def regime(d, t):
        return diluted_theory.regime(diluted_theory.enumerate_sites(3, d), 1 / t)

    d = jnp.array([0.3, 0.1, 0.4, 0.85])
    t = jnp.array([1.3, 0.5, 0.05, 0.1])
    found = regime(d, t)
    names = [diluted_theory.REGIMES[code] for code in found.code]
    assert names == ["ergodic", "pure", "hierarchical", "parallel"]
    assert np.all(found.converged) and np.all(found.stable)
    assert np.all(np.diff(found.overlaps, axis=1) <= 1e-6)
    np.testing.assert_allclose(
        found.overlaps[2], diluted_theory.hierarchical_amplitudes(3, 0.4), atol=2e-3
    )


def test_sampled_sites_stand_for_all_cases(key):
    sampled = diluted_theory.sample_sites(key, 3, 0.4, 100_000, entropy=0.1)
    every = diluted_theory.enumerate_sites(3, 0.4, entropy=0.1, nodes=9)
    n = jnp.array([0.5, 0.2, 0.1])
    assert jnp.sum(every.weights) == pytest.approx(1, abs=1e-5)
    found = diluted_theory.pressure(sampled, 3.0, n)
    assert found == pytest.approx(
        float(diluted_theory.pressure(every, 3.0, n)), abs=0.01
    )
    # Under jit a number that is known stays known: no noise, no grid.
    sites = jax.jit(lambda d: diluted_theory.enumerate_sites(3, d))(0.4)
    assert len(sites.weights) == 27


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda k, x: diluted.diluted_patterns(k, 2, 9, 1.2),
            r"dilution must lie in \[0",
        ),
        (lambda k, x: diluted.diluted_patterns(k, 0, 9, 0.2), "patterns must be an"),
        (lambda k, x: diluted.noisy_examples(k, x, 3, 0.0), r"quality must lie in \(0"),
        (lambda k, x: diluted.noisy_examples(k, x / 2, 3, 0.5), "hold -1, 0 and"),
        (lambda k, x: diluted.dataset_entropy(0, 1.5), "quality must lie"),
        (lambda k, x: diluted.multitask_memory(x, dilution=1.0), r"in \[0, 1\); got 1"),
        (
            lambda k, x: diluted.multitask_memory(x, dilution=0.1, teaching="self"),
            "teaching must be 'supervised' or 'unsupervised'; got 'self'",
        ),
        (lambda k, x: diluted.multitask_memory(x[0], dilution=0.1), "must have shape"),
        (lambda k, x: diluted.losses(x[0] * 0, x), "must hold -1 and"),
        (
            lambda k, x: diluted_theory.enumerate_sites(9, 0.1, entropy=0.1),
            "63.9 cases",
        ),
        (lambda k, x: diluted_theory.enumerate_sites(2, 0.1, entropy=-1), "at least 0"),
        (
            lambda k, x: diluted_theory.binomial_sites(2, 0.1, 0, 0.5),
            "examples must be",
        ),
        (
            lambda k, x: diluted_theory.solve(
                diluted_theory.enumerate_sites(2, 0.1), -1.0
            ),
            "beta must be positive; got -1.0",
        ),
        (
            lambda k, x: diluted_theory.solve(
                diluted_theory.enumerate_sites(2, 0.1), 1.0, start=jnp.ones(3)
            ),
            r"start must have shape \(2,\); got \(3,\)",
        ),
        (
            lambda k, x: diluted_theory.solve(
                diluted_theory.enumerate_sites(2, 0.1), 1.0, start="cold"
            ),
            "start must be 'hierarchical'",
        ),
        (lambda k, x: diluted_theory.critical_dilution(2.5), "patterns must be an int"),
        (lambda k, x: diluted_theory.learning_threshold(0.5, -1), "must be positive"),
    ],
)
def test_bad_input(call, words, key):
    patterns = jnp.array([[1.0, 0, -1], [0, 1, 1]])
    with pytest.raises(ValueError, match=words):
        call(key, patterns)
