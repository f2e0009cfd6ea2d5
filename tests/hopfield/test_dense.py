import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield

SPINS, PATTERNS = 9, 5


@pytest.fixture
def patterns(key):
    return hopfield.random_patterns(key, PATTERNS, SPINS)


def memories(patterns):
    return {
        "square": hopfield.Polynomial(patterns, 2),
        "cubic": hopfield.Polynomial(patterns, 3),
        "rectified": hopfield.Polynomial(patterns, 3, rectified=True),
        "p = 2": hopfield.PSpin(patterns, 2),
        "p = 3": hopfield.PSpin(patterns, 3),
        "p = 4": hopfield.PSpin(patterns, 4),
        "exponential": hopfield.Exponential(patterns),
        "steep": hopfield.Exponential(patterns, 0.3),
    }


NAMES = list(memories(jnp.ones((1, 4))))


def definition(name, memory, s):
    """The energies from the papers' formulas, in float64."""
    X = np.asarray(memory.patterns, np.float64)
    K, n = X.shape
    M = X @ s
    if isinstance(memory, hopfield.Polynomial):
        M = np.maximum(M, 0) if memory.rectified else M
        return -np.sum(M**memory.degree) / n ** (memory.degree - 1)
    if isinstance(memory, hopfield.Exponential):
        return -np.log(np.sum(np.exp(memory.steepness * M))) / memory.steepness
    sets = itertools.combinations(range(n), memory.order)
    total = sum(np.prod(X[:, c] * s[list(c)], axis=1).sum() for c in map(list, sets))
    return -total / n ** (memory.order - 1)


@pytest.mark.parametrize("name", NAMES)
def test_energies_are_those_of_the_definition(name, patterns, key):
    memory = memories(patterns)[name]
    states = np.asarray(hopfield.random_patterns(key, 6, SPINS), np.float64)
    states = np.concatenate([states, np.asarray(patterns)[:2]])
    expected = [definition(name, memory, s) for s in states]
    np.testing.assert_allclose(memory.energy(states), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_is_half_the_cost_of_turning_the_spin_down(name, patterns, key):
    memory = memories(patterns)[name]
    state = np.asarray(hopfield.random_patterns(key, 1, SPINS)[0], np.float64)
    state[:4] = np.asarray(patterns)[0, :4]
    fields = memory.fields(state)
    for i in range(SPINS):
        up, down = state.copy(), state.copy()
        up[i], down[i] = 1, -1
        cost = definition(name, memory, down) - definition(name, memory, up)
        np.testing.assert_allclose(fields[i], cost / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_field_at_a_site_is_one_of_all_fields_while_spins_turn(name, patterns, key):
    memory = memories(patterns)[name]
    state = hopfield.random_patterns(key, 3, SPINS)
    order = jnp.array([4, 0, 7])
    rows, tracked = memory.rows()[order], memory.track(state)
    for row, site in zip(rows, order, strict=True):
        np.testing.assert_allclose(
            memory.field_at(tracked, row, state[:, site]),
            memory.fields(state)[:, site],
            rtol=1e-4,
            atol=1e-5,
        )
        tracked = memory.moved(tracked, row, site, -2 * state[:, site])
        state = state.at[:, site].multiply(-1)


def test_two_spins_are_the_classical_memory(patterns, key):
    states = hopfield.random_patterns(key, 8, SPINS)
    pairs = hopfield.Pairwise(hopfield.hebb(patterns))
    distinct = hopfield.PSpin(patterns, 2)
    square = hopfield.Polynomial(patterns, 2)
    np.testing.assert_allclose(
        distinct.energy(states), pairs.energy(states), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        distinct.fields(states), pairs.fields(states), rtol=1e-5, atol=1e-6
    )
    # The square has each pair twice, and every spin with itself.
    np.testing.assert_allclose(
        square.energy(states), 2 * pairs.energy(states) - PATTERNS, rtol=1e-5
    )


@pytest.mark.parametrize("order", [2, 3, 5, 8])
def test_the_energy_at_a_pattern_counts_the_sets_of_spins(order):
    memory = hopfield.PSpin(jnp.ones((1, 40)), order)
    expected = -math.comb(40, order) / 40 ** (order - 1)
    np.testing.assert_allclose(memory.energy(jnp.ones(40)), expected, rtol=1e-5)


def test_many_spins_do_not_overflow(key):
    patterns = hopfield.random_patterns(key, 20, 2000)
    for memory in (hopfield.Exponential(patterns), hopfield.PSpin(patterns, 6)):
        assert np.all(np.isfinite(memory.energy(patterns)))
        fields = memory.fields(patterns)
        assert np.all(np.isfinite(fields))
        # Each pattern holds all of its spins, with equal strength.
        np.testing.assert_array_equal(np.sign(fields), patterns)


@pytest.mark.parametrize("name", NAMES)
def test_jit_and_vmap_over_memories_and_states(name, key):
    stack = jax.random.rademacher(key, (3, PATTERNS, SPINS), float)
    states = hopfield.random_patterns(key, 3, SPINS)
    many = jax.vmap(lambda p: memories(p)[name])(stack)
    together = jax.jit(jax.vmap(lambda m, s: (m.energy(s), m.fields(s))))(many, states)
    for i in range(3):
        alone = memories(stack[i])[name]
        np.testing.assert_allclose(
            together[0][i], alone.energy(states[i]), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(
            together[1][i], alone.fields(states[i]), rtol=1e-4, atol=1e-5
        )


def test_memories_are_hashable_pytrees_with_a_repr(patterns):
    memory = hopfield.PSpin(patterns, 3)
    leaves, structure = jax.tree.flatten(memory)
    again = jax.tree.unflatten(structure, leaves)
    assert again == memory and hash(again) == hash(memory)
    assert isinstance(memory, hopfield.Memory)
    names = {"PSpin": hopfield.PSpin, "jnp": jnp}
    assert eval(repr(memory), names) == memory


def test_bad_input_is_named(patterns):
    with pytest.raises(ValueError, match="order must be an integer of at least 2"):
        hopfield.PSpin(patterns, 1)
    with pytest.raises(ValueError, match="degree must be an integer of at least 2"):
        hopfield.Polynomial(patterns, 1)
    with pytest.raises(ValueError, match="steepness must be positive; got 0"):
        hopfield.Exponential(patterns, 0)
    for make in (hopfield.PSpin, hopfield.Polynomial, hopfield.Exponential):
        with pytest.raises(ValueError, match=r"patterns must hold -1 and \+1 only"):
            make(patterns * 0.5).energy(jnp.ones(SPINS))
        with pytest.raises(ValueError, match=r"state must hold -1 and \+1 only"):
            make(patterns).fields(jnp.zeros(SPINS))
        with pytest.raises(ValueError, match="at least one of each"):
            make(jnp.ones((0, SPINS))).energy(jnp.ones(SPINS))
