import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from kanjax import hopfield
from kanjax.hopfield import dynamics


def memories(patterns):
    return {
        "pairwise": hopfield.Pairwise(hopfield.hebb(patterns)),
        "low rank": hopfield.LowRank(patterns * jnp.array(0.8), 1 / 6),
        "p = 3": hopfield.PSpin(patterns, 3),
        "cubic": hopfield.Polynomial(patterns, 3),
        "exponential": hopfield.Exponential(patterns),
    }


NAMES = list(memories(jnp.ones((1, 4))))


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_is_the_loop_over_sites_and_chains(name, key):
    patterns = hopfield.random_patterns(key, 4, 11)
    memory = memories(patterns)[name]
    keys = jax.random.split(key, 3)
    start = hopfield.random_patterns(keys[0], 5, 11)
    order = jax.random.permutation(keys[1], 11)
    noise = jax.random.logistic(keys[2], (11, 5))
    expected = np.array(start)
    for site, bars in zip(np.asarray(order), np.asarray(noise), strict=True):
        for chain in range(5):
            field = float(memory.fields(expected[chain])[site])
            expected[chain, site] = 1 if field > bars[chain] else -1
    sweep = jax.jit(dynamics._sweep)
    found = sweep(memory, memory.rows(), start, order, noise)
    np.testing.assert_array_equal(found, expected)
    assert np.any(expected != start)
    # Where the noise holds every spin no visit is made, and where it holds all but the
    # last one visited all are.
    held = -100.0 * jnp.moveaxis(start, -1, 0)[order]
    still = sweep(memory, memory.rows(), start, order, held)
    np.testing.assert_array_equal(still, start)
    last = sweep(memory, memory.rows(), start, order, held.at[-1].multiply(-1))
    turned = start.at[:, order[-1]].multiply(-1)
    np.testing.assert_array_equal(last, turned)


@pytest.mark.parametrize("size", [5, dynamics._FEW, dynamics._FEW + 1])
def test_orders_are_permutations(size, key):
    draw = jax.jit(jax.vmap(lambda key: dynamics._order(size, key)))
    orders = draw(jax.random.split(key, 2000 if size == 5 else 2))
    np.testing.assert_array_equal(jnp.sort(orders, axis=1)[-1], np.arange(size))
    if size == 5:
        # Every site is at every place alike: five standard errors.
        counts = np.stack([np.bincount(orders[:, i], minlength=5) for i in range(5)])
        assert np.max(np.abs(counts - 400)) < 5 * np.sqrt(400 * 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["random", "sequential"])
@pytest.mark.parametrize("name", NAMES)
def test_glauber_samples_the_boltzmann_distribution(name, order, key):
    """Against the sum over all 64 states of six spins."""
    memory = memories(hopfield.random_patterns(key, 2, 6))[name]
    everything = np.array(list(itertools.product([-1.0, 1.0], repeat=6)))
    betas = jnp.array([0.3, 1.2])
    energies = np.asarray(memory.energy(everything), np.float64)
    chains = 20_000
    start = jnp.ones((chains, 2, 6))
    run = jax.jit(hopfield.glauber, static_argnames=("sweeps", "order"))
    state = run(key, memory, start, beta=betas, sweeps=25, order=order).state
    code = np.asarray((state > 0) @ 2.0 ** jnp.arange(5, -1, -1)).astype(int)
    for i, beta in enumerate(betas):
        p = np.exp(-float(beta) * (energies - energies.min()))
        p /= p.sum()
        counts = np.bincount(code[:, i], minlength=64)
        # Five standard errors, of 64 states and 16 cases.
        error = 5 * np.sqrt(p * (1 - p) / chains) + 1e-4
        assert np.all(np.abs(counts / chains - p) < error)


def test_parallel_updates_sample_the_distribution_of_little(key):
    """Against the sum over all 32 states of five spins: prod_i cosh(beta h_i)."""
    memory = hopfield.Pairwise(hopfield.hebb(hopfield.random_patterns(key, 2, 5)))
    everything = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
    chains, beta = 20_000, 0.5
    start = jnp.ones((chains, 5))
    run = jax.jit(hopfield.glauber, static_argnames=("sweeps", "order"))
    state = run(key, memory, start, beta=beta, sweeps=40, order="parallel").state
    code = np.asarray((state > 0) @ 2.0 ** jnp.arange(4, -1, -1)).astype(int)
    p = np.prod(np.cosh(beta * np.asarray(memory.fields(everything), float)), axis=1)
    p /= p.sum()
    counts = np.bincount(code, minlength=32) / chains
    assert np.all(np.abs(counts - p) < 5 * np.sqrt(p * (1 - p) / chains))
    boltzmann = np.exp(-beta * np.asarray(memory.energy(everything), float))
    assert np.max(np.abs(boltzmann / boltzmann.sum() - p)) > 0.02


@pytest.mark.parametrize("name", NAMES)
def test_asynchronous_retrieval_never_raises_the_energy_and_ends(name, key):
    patterns = hopfield.random_patterns(key, 12, 40)
    memory = memories(patterns)[name]
    state = hopfield.random_patterns(jax.random.key(1), 6, 40)
    energies = [memory.energy(state)]
    for _ in range(4):
        state = dynamics._sweep(
            memory, memory.rows(), state, jnp.arange(40), jnp.zeros((40, 6))
        )
        energies.append(memory.energy(state))
    rises = np.diff(np.stack(energies), axis=0)
    assert np.all(rises <= 1e-5 * np.abs(energies[-1])) and np.any(rises < 0)
    found = hopfield.retrieve(memory, state, key=key)
    assert np.all(found.converged) and np.all(found.period == 1)
    assert np.all(hopfield.is_fixed_point(memory, found.state))


def test_stored_patterns_come_back_from_damaged_ones(key):
    patterns = hopfield.random_patterns(key, 8, 300)
    cue = hopfield.corrupt(jax.random.key(1), patterns, 0.15)
    for name, memory in memories(patterns).items():
        for mode in ("asynchronous", "synchronous"):
            found = hopfield.retrieve(memory, cue, mode=mode)
            recalled = jnp.diagonal(hopfield.overlaps(found.state, patterns))
            assert np.all(recalled > 0.98), name
            assert np.all(found.converged)


def test_fixed_points_take_no_sweep_and_zero_fields_keep_the_spin():
    patterns = scipy.linalg.hadamard(16)[1:4].astype(np.float32)
    memory = hopfield.PSpin(patterns, 2)
    found = hopfield.retrieve(memory, patterns)
    np.testing.assert_array_equal(found.state, patterns)
    np.testing.assert_array_equal(found.sweeps, 0)
    nothing = hopfield.Pairwise(jnp.zeros((4, 4)))
    state = jnp.array([1.0, -1, -1, 1])
    np.testing.assert_array_equal(hopfield.retrieve(nothing, state).state, state)
    frozen = hopfield.glauber(jax.random.key(0), nothing, state, beta=jnp.inf, sweeps=3)
    np.testing.assert_array_equal(frozen.state, state)


def test_a_cycle_of_two_is_told_from_a_fixed_point():
    antiferromagnet = hopfield.Pairwise(jnp.array([[0.0, -1], [-1, 0]]))
    states = jnp.array([[1.0, 1], [1, -1]])
    found = hopfield.retrieve(antiferromagnet, states, mode="synchronous")
    np.testing.assert_array_equal(found.period, [2, 1])
    np.testing.assert_array_equal(found.converged, [False, True])
    one_by_one = hopfield.retrieve(antiferromagnet, states)
    assert np.all(one_by_one.converged)


def test_too_few_sweeps_are_reported(key):
    patterns = hopfield.random_patterns(key, 30, 100)
    memory = hopfield.PSpin(patterns, 2)
    state = hopfield.random_patterns(jax.random.key(1), 20, 100)
    short = hopfield.retrieve(memory, state, max_sweeps=1)
    long = hopfield.retrieve(memory, state)
    assert np.any(~short.converged) and np.all(short.period[~short.converged] == 0)
    assert np.all(long.converged)
    done = np.asarray(short.converged)
    np.testing.assert_array_equal(short.state[done], long.state[done])
    exact = hopfield.retrieve(memory, state, max_sweeps=int(long.sweeps.max()))
    assert np.all(exact.converged)


def test_infinite_beta_is_retrieval_and_high_temperature_forgets(key):
    patterns = hopfield.random_patterns(key, 5, 200)
    memory = hopfield.PSpin(patterns, 3)
    cue = hopfield.corrupt(jax.random.key(1), patterns, 0.1)
    cold = hopfield.glauber(
        key, memory, cue, beta=jnp.inf, sweeps=5, order="sequential"
    )
    np.testing.assert_array_equal(cold.state, hopfield.retrieve(memory, cue).state)
    hot = hopfield.glauber(
        key, memory, cue, beta=1e-3, sweeps=5, observe=memory.overlaps
    )
    assert hot.observed.shape == (5, 5, 5)
    assert np.all(np.abs(hot.observed[-1]) < 0.35)
    np.testing.assert_allclose(hot.observed[-1], memory.overlaps(hot.state), atol=1e-6)


def test_jit_and_vmap_over_keys_memories_and_temperatures(key):
    stack = jax.random.rademacher(key, (2, 3, 20), float)
    keys, betas = jax.random.split(key, 2), jnp.array([0.5, 4.0])

    def run(key, patterns, beta):
        memory = hopfield.PSpin(patterns, 2)
        chains = hopfield.glauber(key, memory, patterns, beta=beta, sweeps=4)
        return chains.state, hopfield.retrieve(memory, chains.state, key=key).state

    together = jax.jit(jax.vmap(run))(keys, stack, betas)
    for i in range(2):
        for many, alone in zip(together, run(keys[i], stack[i], betas[i]), strict=True):
            np.testing.assert_array_equal(many[i], alone)


def test_bad_input_is_named(key):
    memory = hopfield.PSpin(jnp.ones((1, 4)), 2)
    good = jnp.ones((3, 4))
    with pytest.raises(ValueError, match=r"state must hold -1 and \+1 only; got 0.5"):
        hopfield.retrieve(memory, good * 0.5)
    with pytest.raises(ValueError, match=r"state must have shape \(\.\.\., 4\)"):
        hopfield.retrieve(memory, jnp.ones(5))
    with pytest.raises(ValueError, match=r"patterns must hold -1 and \+1 only"):
        hopfield.retrieve(hopfield.PSpin(jnp.zeros((1, 4)), 2), good)
    with pytest.raises(ValueError, match="mode must be 'asynchronous' or"):
        hopfield.retrieve(memory, good, mode="parallel")
    with pytest.raises(ValueError, match="leave key out"):
        hopfield.retrieve(memory, good, mode="synchronous", key=key)
    with pytest.raises(ValueError, match="max_sweeps must be an integer of at least 1"):
        hopfield.retrieve(memory, good, max_sweeps=0)
    for beta in (0.0, -1.0, jnp.array([1.0, 0.0, 1.0])):
        with pytest.raises(ValueError, match="beta must be positive"):
            hopfield.glauber(key, memory, good, beta=beta, sweeps=1)
    with pytest.raises(ValueError, match=r"beta has shape \(2,\), which does not"):
        hopfield.glauber(key, memory, good[0], beta=jnp.ones(2), sweeps=1)
    with pytest.raises(ValueError, match="order must be 'random', 'sequential' or"):
        hopfield.glauber(key, memory, good, beta=1.0, sweeps=1, order="odd")
