import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kanjax.hopfield import modern

X = np.array([[1.0, 0], [0, 1], [-1, -1]])
STATE, BETA = np.array([0.5, 0.2]), 2.0
# Rounded to ten digits by hand from the formulas.
WEIGHTS = [0.6099310476, 0.3347372561, 0.0553316963]
NEXT = [0.5545993513, 0.2794055598]
ENERGY = 0.9471014619


@pytest.fixture
def random(key):
    keys = jax.random.split(key)
    return jax.random.normal(keys[0], (7, 5)), jax.random.normal(keys[1], (6, 5))


def reference(state, patterns, beta):
    """One update in float64, a state at a time."""
    logits = beta * np.asarray(patterns, np.float64) @ np.asarray(state, np.float64)
    p = np.exp(logits - logits.max())
    return p / p.sum() @ np.asarray(patterns, np.float64)


def test_the_worked_example(x64):
    np.testing.assert_allclose(modern.weights(STATE, X, BETA), WEIGHTS, atol=1e-9)
    np.testing.assert_allclose(modern.update(STATE, X, BETA), NEXT, atol=1e-9)
    np.testing.assert_allclose(modern.energy(STATE, X, BETA), ENERGY, atol=1e-9)
    small = [jnp.asarray(a, jnp.float32) for a in (STATE, X)]
    assert modern.update(*small, BETA).dtype == jnp.float32
    np.testing.assert_allclose(modern.update(*small, BETA), NEXT, atol=1e-6)
    np.testing.assert_allclose(modern.energy(*small, BETA), ENERGY, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_an_update_is_the_step_down_the_energy(alpha, random, x64):
    patterns, states = (a.astype(float) for a in random)
    slope = jax.vmap(jax.grad(lambda s: modern.energy(s, patterns, 1.7, alpha=alpha)))
    step = modern.update(states, patterns, 1.7, alpha=alpha) - states
    np.testing.assert_allclose(-slope(states), step, atol=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("beta", [0.1, 1.0, 8.0])
def test_the_energy_falls_and_stays_within_its_bounds(beta, alpha, random, x64):
    patterns, states = (a.astype(float) for a in random)
    largest = np.linalg.norm(patterns, axis=1).max()
    norms = jnp.linalg.norm(states, axis=1, keepdims=True)
    states = states * jnp.minimum(1, largest / norms)
    path = modern.iterate(states, patterns, beta, steps=12, alpha=alpha)
    energies = np.asarray(modern.energy(path, patterns, beta, alpha=alpha))
    assert np.all(np.diff(energies, axis=0) <= 1e-12)
    assert np.all(energies >= 0) and np.all(energies <= 2 * largest**2)


def test_limits_of_the_temperature(random):
    patterns, states = random
    np.testing.assert_allclose(
        modern.update(states, patterns, 1e-6),
        np.broadcast_to(patterns.mean(axis=0), states.shape),
        atol=1e-5,
    )
    nearest = np.argmax(np.asarray(states) @ np.asarray(patterns).T, axis=1)
    np.testing.assert_allclose(
        modern.update(states, patterns, 1e4), patterns[nearest], rtol=1e-5
    )


def test_a_single_pattern_is_reached_in_one_step(random):
    patterns, states = random
    found = modern.retrieve(states, patterns[:1], 1.0)
    np.testing.assert_allclose(
        found.state, np.broadcast_to(patterns[:1], states.shape), rtol=1e-6
    )
    assert np.all(found.steps <= 2) and np.all(found.converged)


def test_one_update_is_attention(random):
    patterns, states = random
    attended = jax.nn.dot_product_attention(
        states[None, :, None], patterns[None, :, None], patterns[None, :, None], scale=3
    )
    np.testing.assert_allclose(
        modern.update(states, patterns, 3.0), attended[0, :, 0], rtol=1e-6, atol=1e-6
    )


def test_the_order_of_patterns_does_not_matter_and_masked_ones_are_not_there(random):
    patterns, states = random
    order = jnp.array([3, 1, 6, 0, 2, 5, 4])
    y = modern.update(states, patterns, 2.0)
    np.testing.assert_allclose(
        modern.update(states, patterns[order], 2.0), y, rtol=1e-5, atol=1e-6
    )
    mask = jnp.arange(7) < 4
    for function in (modern.update, modern.energy):
        np.testing.assert_allclose(
            function(states, patterns, 2.0, mask=mask),
            function(states, patterns[:4], 2.0),
            rtol=1e-5,
            atol=1e-6,
        )
    masks = jnp.stack([mask, ~mask, *[jnp.ones(7, bool)] * 4])
    each = modern.update(states, patterns, 2.0, mask=masks)
    for row, stored in ((0, patterns[:4]), (1, patterns[4:])):
        alone = modern.update(states[row], stored, 2.0)
        np.testing.assert_allclose(each[row], alone, rtol=1e-5, atol=1e-6)


def test_a_mask_that_hides_everything_gives_zeros_and_finite_gradients(random):
    patterns, states = random
    mask = jnp.zeros(7, bool)

    def total(states, patterns):
        return jnp.sum(jnp.sin(modern.update(states, patterns, 2.0, mask=mask)))

    np.testing.assert_array_equal(modern.weights(states, patterns, 1, mask=mask), 0)
    for slope in jax.grad(total, (0, 1))(states, patterns):
        np.testing.assert_array_equal(slope, 0)
    assert np.all(modern.retrieve(states, patterns, 1.0, mask=mask).converged)
    np.testing.assert_array_equal(
        modern.energy(states, patterns, 1.0, mask=mask), np.inf
    )


@pytest.mark.parametrize("beta", [0.3, 2.0, 30.0])
def test_retrieval_ends_at_fixed_points_and_says_so(beta, random, x64):
    patterns, states = (a.astype(float) for a in random)
    found = modern.retrieve(states, patterns, beta, tolerance=1e-10)
    assert np.all(found.converged)
    np.testing.assert_allclose(
        found.state, modern.update(found.state, patterns, beta), atol=1e-9
    )
    for i, state in enumerate(np.asarray(states)):
        for _ in range(int(found.steps[i])):
            state = reference(state, patterns, beta)
        np.testing.assert_allclose(found.state[i], state, atol=1e-12)
    np.testing.assert_allclose(
        found.weights, modern.weights(found.state, patterns, beta)
    )
    short = modern.retrieve(states, patterns, beta, tolerance=1e-10, max_steps=2)
    np.testing.assert_array_equal(short.converged, found.steps <= 2)


def test_what_is_not_finite_never_converges(random):
    patterns, states = random
    found = modern.retrieve(states.at[1].set(jnp.nan), patterns, 1.0, max_steps=50)
    np.testing.assert_array_equal(found.converged, np.arange(6) != 1)
    assert found.steps[1] == 50


def test_the_fixed_point_is_differentiated_by_the_implicit_function(random, x64):
    patterns, states = (a.astype(float) for a in random)

    def implicit(patterns, beta):
        found = modern.retrieve(states, patterns, beta, tolerance=1e-13)
        return jnp.sum(jnp.sin(found.state))

    def unrolled(patterns, beta):
        path = modern.iterate(states, patterns, beta, steps=400)
        return jnp.sum(jnp.sin(path[-1]))

    beta = jnp.array(0.8)
    expected = jax.grad(unrolled, (0, 1))(patterns, beta)
    for transform in (jax.grad, jax.jacfwd):
        for ours, theirs in zip(
            transform(implicit, (0, 1))(patterns, beta), expected, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-10)


def test_gradients_of_a_number_of_updates(random, x64):
    patterns, states = (a.astype(float) for a in random)
    check_grads(
        lambda s, p, b: modern.iterate(s, p, b, steps=3)[-1],
        (states, patterns, jnp.array(1.3)),
        order=1,
        modes=("fwd", "rev"),
    )


def test_jacobian_products_are_those_of_autodiff(random):
    patterns, states = random
    direction = jnp.ones(5)
    _, expected = jax.jvp(
        lambda s: modern.update(s, patterns, 1.5), (states[0],), (direction,)
    )
    np.testing.assert_allclose(
        modern.jacobian_product(states[0], patterns, 1.5, direction),
        expected,
        rtol=1e-5,
        atol=1e-6,
    )


def test_jit_and_vmap_over_memories_and_temperatures(random, key):
    _, states = random
    stack, betas = jax.random.normal(key, (3, 7, 5)), jnp.array([0.5, 2.0, 9.0])

    def run(patterns, beta):
        return modern.retrieve(states, patterns, beta), modern.energy(
            states, patterns, beta
        )

    together = jax.jit(jax.vmap(run))(stack, betas)
    for i in range(3):
        alone = run(stack[i], betas[i])
        np.testing.assert_allclose(together[1][i], alone[1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            together[0].state[i], alone[0].state, rtol=1e-4, atol=1e-5
        )
    each = modern.update(states[:3], stack[0], betas)
    for i in range(3):
        np.testing.assert_allclose(
            each[i], modern.update(states[i], stack[0], betas[i]), rtol=1e-5, atol=1e-6
        )


def test_bad_input_is_named(random):
    patterns, states = random
    for beta in (0.0, -1.0, jnp.array(0.0)):
        with pytest.raises(ValueError, match="beta must be positive; got"):
            modern.update(states, patterns, beta)
    with pytest.raises(ValueError, match="with at least one of each"):
        modern.energy(states, patterns[:0], 1.0)
    for function in (modern.weights, modern.update):
        with pytest.raises(ValueError, match="over sets of them by jax.vmap"):
            function(jnp.ones((4, 4)), jnp.ones((4, 4, 4)), 1.0)
    with pytest.raises(ValueError, match="patterns have 5 features, the state has 4"):
        modern.retrieve(states[:, :4], patterns, 1.0)
    with pytest.raises(ValueError, match=r"mask must have shape \(\.\.\., 7\)"):
        modern.update(states, patterns, 1.0, mask=jnp.ones(6, bool))
    with pytest.raises(TypeError, match="mask must be boolean; got float32"):
        modern.update(states, patterns, 1.0, mask=jnp.ones(7))
    with pytest.raises(ValueError, match="max_steps must be an integer of at least 1"):
        modern.retrieve(states, patterns, 1.0, max_steps=0)
    with pytest.raises(ValueError, match="tolerance must be at least 0; got -1"):
        modern.retrieve(states, patterns, 1.0, tolerance=-1)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1"):
        modern.iterate(states, patterns, 1.0, steps=0)
    with pytest.raises(ValueError, match="alpha must be at least 1"):
        modern.update(states, patterns, 1.0, alpha=0.5)
