import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield

SPINS, BETAS = 6, np.array([1.0, 3.0, 6.0])


@pytest.fixture(scope="module")
def enumeration():
    """All states of six spins, their energies, and Boltzmann's weights by beta."""
    patterns = hopfield.random_patterns(jax.random.key(4), 3, SPINS)
    memory = hopfield.PSpin(patterns, 3)
    states = np.array(list(itertools.product([-1.0, 1.0], repeat=SPINS)))
    energies = np.asarray(memory.energy(jnp.asarray(states)), np.float64)
    weights = np.exp(-BETAS[:, None] * energies)
    return memory, energies, weights / weights.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def ladder(enumeration):
    start = jnp.ones((20_000, len(BETAS), SPINS))
    for seed in range(2):
        # The second time chains have forgotten their start.
        ladder = hopfield.parallel_tempering(
            jax.random.key(seed), enumeration[0], start, betas=BETAS, sweeps=24
        )
        start = ladder.state
    return ladder


def test_every_temperature_has_its_boltzmann_distribution(enumeration, ladder):
    """Against the sum over all 64 states."""
    _, _, expected = enumeration
    code = np.asarray((ladder.state > 0) @ 2.0 ** np.arange(SPINS - 1, -1, -1))
    chains = len(code)
    for i, p in enumerate(expected):
        share = np.bincount(code[:, i].astype(int), minlength=2**SPINS) / chains
        # Five standard errors, of 64 states and three temperatures.
        error = 5 * np.sqrt(p * (1 - p) / chains) + 1e-4
        assert np.all(np.abs(share - p) < error)
    assert np.max(np.abs(expected[0] - expected[2])) > 0.1


def test_neighbours_are_independent_and_swap_as_often_as_they_should(
    enumeration, ladder
):
    """The rate is the mean of min(1, exp(...)) over all 64 x 64 pairs of states."""
    _, energies, p = enumeration
    gap = energies[None, :] - energies[:, None]
    for i in range(len(BETAS) - 1):
        accepted = np.minimum(1, np.exp((BETAS[i + 1] - BETAS[i]) * gap))
        rate = p[i] @ accepted @ p[i + 1]
        assert np.mean(ladder.swap_rates[:, i]) == pytest.approx(rate, abs=5e-3)
        assert 0.3 < rate < 0.95
    # Joint moments factorize: what an exchange that broke balance would spoil.
    joint = np.asarray(enumeration[0].energy(ladder.state), np.float64)
    correlation = np.corrcoef(joint.T) - np.eye(len(BETAS))
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(len(joint))


def test_cold_chains_cross_hills_that_they_would_not_cross_alone():
    """A pattern and its negative are equally likely; a hill lies between."""
    memory = hopfield.PSpin(hopfield.random_patterns(jax.random.key(1), 1, 40))
    betas = jnp.linspace(0.7, 2.0, 8)
    start = jnp.broadcast_to(memory.patterns[0], (64, 8, 40))
    alone = hopfield.glauber(
        jax.random.key(2), memory, start[:, -1], beta=2.0, sweeps=300
    )
    assert np.all(memory.overlaps(alone.state) > 0)

    @jax.jit
    def run(key):
        return hopfield.parallel_tempering(
            key, memory, start, betas=betas, sweeps=300, observe=memory.overlaps
        )

    ladder = run(jax.random.key(2))
    assert ladder.observed.shape == (300, 64, 8, 1)
    overlaps = memory.overlaps(ladder.state)
    np.testing.assert_allclose(ladder.observed[-1], overlaps, rtol=1e-6)
    positive = np.mean(ladder.observed[-1, :, -1] > 0)
    assert abs(positive - 0.5) < 5 * 0.5 / np.sqrt(64)
    assert np.all((ladder.swap_rates > 0.1) & (ladder.swap_rates < 1))


def test_what_it_refuses(enumeration):
    def run(state, betas, sweeps=2):
        key = jax.random.key(0)
        return hopfield.parallel_tempering(
            key, enumeration[0], state, betas=betas, sweeps=sweeps
        )

    with pytest.raises(ValueError, match=r"got \(3,\) and \(2, 6\)"):
        run(np.ones((2, 6)), BETAS)
    with pytest.raises(ValueError, match=r"at least two.*got \(1,\)"):
        run(np.ones((1, 6)), BETAS[:1])
    with pytest.raises(ValueError, match="betas must be finite and rise strictly"):
        run(np.ones((3, 6)), BETAS[::-1])
    with pytest.raises(ValueError, match="betas must be finite and rise strictly"):
        run(np.ones((2, 6)), np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="beta must be positive"):
        run(np.ones((2, 6)), np.array([-1.0, 1.0]))
    with pytest.raises(ValueError, match=r"-1 and \+1 only; got 0.0"):
        run(np.zeros((3, 6)), BETAS)
    with pytest.raises(ValueError, match="sweeps must be"):
        run(np.ones((3, 6)), BETAS, sweeps=1)
