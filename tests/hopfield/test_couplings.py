import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from kanjax import hopfield

RULES = {
    "hebb": hopfield.hebb,
    "pseudo-inverse": hopfield.pseudo_inverse,
    "storkey": hopfield.storkey,
}


def energy(J, s):
    """The definition, as a loop over pairs."""
    n = len(s)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    return -0.5 * sum(J[i, j] * s[i] * s[j] for i, j in pairs)


def test_energy_and_fields_are_those_of_the_definition(key):
    J = np.asarray(jax.random.normal(key, (7, 7)))
    J = J + J.T
    memory = hopfield.Pairwise(jnp.asarray(J))
    states = np.asarray(hopfield.random_patterns(key, 5, 7))
    expected = [energy(J, s) for s in states]
    np.testing.assert_allclose(memory.energy(states), expected, rtol=1e-5, atol=1e-5)
    fields = memory.fields(states)
    for i in range(7):
        up, down = states.copy(), states.copy()
        up[:, i], down[:, i] = 1, -1
        cost = [energy(J, a) - energy(J, b) for a, b in zip(down, up, strict=True)]
        np.testing.assert_allclose(fields[:, i], np.divide(cost, 2), rtol=1e-4)


def test_hebb_is_the_sum_of_outer_products(key):
    patterns = np.asarray(hopfield.random_patterns(key, 4, 12))
    expected = sum(np.outer(x, x) for x in patterns) / 12
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(hopfield.hebb(patterns), expected, atol=1e-6)


def test_pseudo_inverse_is_the_projection_of_numpy(key):
    patterns = np.asarray(hopfield.random_patterns(key, 9, 20), np.float64)
    expected = np.linalg.pinv(patterns) @ patterns
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(hopfield.pseudo_inverse(patterns), expected, atol=1e-5)
    twice = np.concatenate([patterns, patterns[:3]])
    np.testing.assert_allclose(hopfield.pseudo_inverse(twice), expected, atol=1e-5)


def test_storkey_is_the_rule_written_as_loops(key):
    patterns = np.asarray(hopfield.random_patterns(key, 5, 11), np.float64)
    n = patterns.shape[1]
    J = np.zeros((n, n))
    for x in patterns:
        h = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                others = [k for k in range(n) if k not in (i, j)]
                h[i, j] = sum(J[i, k] * x[k] for k in others)
        change = np.outer(x, x) - x[:, None] * h.T - h * x[None]
        J = J + change / n
        np.fill_diagonal(J, 0)
    np.testing.assert_allclose(hopfield.storkey(patterns), J, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_orthogonal_patterns_are_fixed_points(rule):
    patterns = scipy.linalg.hadamard(32)[:6].astype(np.float32)
    memory = hopfield.Pairwise(RULES[rule](patterns))
    assert np.all(hopfield.is_fixed_point(memory, patterns))


def test_what_each_rule_stores_beyond_the_capacity_of_hebb(key):
    patterns = hopfield.random_patterns(key, 50, 200)
    fixed = {
        name: int(
            jnp.sum(hopfield.is_fixed_point(hopfield.Pairwise(J(patterns)), patterns))
        )
        for name, J in RULES.items()
    }
    assert fixed["pseudo-inverse"] == 50
    assert fixed["storkey"] > fixed["hebb"] + 10


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_symmetric_and_map_over_memories(rule, key):
    learn = RULES[rule]
    stack = jax.random.rademacher(key, (3, 4, 10), float)
    together = jax.jit(jax.vmap(learn))(stack)
    for J, patterns in zip(together, stack, strict=True):
        np.testing.assert_allclose(J, J.T, atol=1e-6)
        np.testing.assert_allclose(J, learn(patterns), atol=1e-5)
        assert not np.any(np.diag(J))


def test_double_precision_is_kept(x64):
    patterns = np.sign(np.random.default_rng(0).normal(size=(3, 8)))
    for rule in RULES.values():
        assert rule(patterns).dtype == jnp.float64


@pytest.mark.parametrize("rule", RULES)
def test_bad_patterns_are_named(rule):
    with pytest.raises(ValueError, match=r"patterns must hold -1 and \+1 only; got 0"):
        RULES[rule](np.array([[1, 0, -1]]))
    with pytest.raises(ValueError, match="with at least one of each"):
        RULES[rule](np.ones((0, 5)))
    with pytest.raises(ValueError, match=r"patterns must have shape \(patterns, feat"):
        RULES[rule](np.ones(5))
