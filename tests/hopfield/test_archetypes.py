import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield
from kanjax.hopfield import (
    archetype_theory,
    archetypes,
    blocking,
    diluted,
    self_consistency,
    tensors,
)


def test_blocks_of_an_autoregressive_series(key):
    """The error of its mean is known: ``sqrt((1 + a) / (1 - a) / time)``."""
    a, time = 0.8, 16_384
    noise = jax.random.normal(key, (time, 20)) * np.sqrt(1 - a * a)

    def step(x, e):
        x = a * x + e
        return x, x

    series = jax.lax.scan(step, jnp.zeros(20), noise)[1]
    found = jax.jit(blocking.standard_error)(series)
    expected = np.sqrt((1 + a) / (1 - a) / time)
    assert np.mean(found.error) == pytest.approx(expected, rel=0.25)
    assert np.mean(found.time) == pytest.approx((1 + a) / (1 - a), rel=0.5)
    np.testing.assert_allclose(found.mean, np.mean(series, axis=0), atol=1e-5)
    # Independent values have the textbook's error.
    alone = blocking.standard_error(noise, blocks=256)
    naive = np.std(noise, axis=0, ddof=1) / np.sqrt(time)
    np.testing.assert_allclose(alone.error, naive, rtol=0.2)
    still = blocking.standard_error(jnp.ones(64))
    assert still.error == 0 and still.time == 1


def test_sums_under_jit_vmap_and_grad(x64):
    x = jax.random.normal(jax.random.key(0), (5, 7))
    found = jax.jit(jax.vmap(lambda x: tensors.elementary_symmetric(x, 4)))(x)
    np.testing.assert_allclose(found, tensors.elementary_symmetric(x, 4))
    slope = jax.grad(lambda x: tensors.elementary_symmetric(x, 4)[4])(x[0])
    for i in range(7):
        rest = tensors.leave_out(found[0], x[0, i])
        assert slope[i] == pytest.approx(float(rest[3]), abs=1e-12)


def test_labels_give_archetypes():
    x = jnp.array([[0.0, 5, 9], [1, 6, 2], [9, 9, 0]])
    spins = archetypes.binarize(x, 4.0)
    np.testing.assert_array_equal(spins, [[-1, 1, 1], [-1, 1, -1], [1, 1, -1]])
    found = archetypes.archetypes_from_labels(spins, jnp.array([0, 0, 1]), 2)
    np.testing.assert_array_equal(found, [[-1, 1, 1], [1, 1, -1]])


def test_a_memory_of_examples_recalls_archetypes(key):
    xi = hopfield.random_patterns(key, 20, 100)
    data = diluted.noisy_examples(jax.random.key(1), xi, 40, 0.4)
    for teaching in ("supervised", "unsupervised"):
        memory = archetypes.archetype_memory(
            data, order=4, quality=0.4, teaching=teaching
        )
        start = hopfield.corrupt(jax.random.key(2), xi, 0.1)
        end = hopfield.retrieve(memory, start).state
        assert jnp.mean(end * xi) > 0.95, teaching


def test_mean_fields_of_a_magnet(x64):
    """A single pattern: the overlap is that of a magnet of products."""
    spins, beta = 400, 24.0
    xi = hopfield.random_patterns(jax.random.key(0), 1, spins)
    memory = archetypes.archetype_memory(xi, order=4)
    found = jax.jit(lambda b: archetypes.magnetizations(memory, xi[0], beta=b))(beta)
    assert found.converged
    m = float(jnp.mean(found.value * xi[0]))
    # Distinct spins: e_3 of the other 399 in units of spins^3.
    field = 399 * 398 * 397 / 6 * m**3 / spins**3
    assert m == pytest.approx(np.tanh(beta * field), abs=1e-9)


def test_the_reaction_corrects_mean_fields():
    """With Onsager's term the overlap is nearer to that of the theory."""
    spins, load, beta = 64, 0.1, 2.0
    xi = hopfield.random_patterns(jax.random.key(0), round(load * spins**3 / 12), spins)
    memory = archetypes.archetype_memory(xi, order=4)

    @jax.jit
    def overlap(start):
        plain, tap = (
            archetypes.magnetizations(memory, start, beta=12 * beta, load=g)
            for g in (None, load)
        )
        return jnp.mean(plain.value * start), jnp.mean(tap.value * start)

    each = np.array([overlap(start) for start in xi[:8]])
    theory = float(archetype_theory.solve(beta, load, 0.0, 4).overlap)
    gaps = np.abs(each - theory)
    assert np.median(gaps[:, 1]) < 0.01
    assert np.all(each[:, 0] != each[:, 1])


def test_regimes_over_a_plane():
    found = jax.jit(
        lambda t, g: self_consistency.over_plane(
            lambda t, g: archetype_theory.regime(1 / t, g, 0.0, 4), t, g
        )
    )(jnp.array([0.02, 0.3, 1.0]), jnp.array([0.05, 0.3, 1.5]))
    names = np.array(archetype_theory.REGIMES)[np.asarray(found.code)]
    assert list(names[:, 0]) == ["recall", "recall", "paramagnet"]
    assert names[0, 1] == "broken recall" and names[1, 1] == "recall"
    assert names[0, 2] == "glass" and names[2, 2] == "paramagnet"
    assert np.all(found.replicon[found.code == 3] <= 0)


def test_the_derivative_of_a_solution(x64):
    solve = jax.jit(lambda rho: archetype_theory.solve(3.0, 0.1, rho, 4).overlap)
    ends = solve(0.1 + 1e-5) - solve(0.1 - 1e-5)
    assert jax.grad(solve)(0.1) == pytest.approx(float(ends) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: archetype_theory.solve(1.0, 0.1, 0.0, 5), "order must be even and"),
        (lambda: archetype_theory.solve(1.0, 0.1, -1.0, 4), "entropy must be at leas"),
        (lambda: archetype_theory.solve(1.0, -0.1, 0.0, 4), "load must be at least 0"),
        (lambda: archetype_theory.solve(-1.0, 0.1, 0.0, 4), "beta must be positive"),
        (
            lambda: archetype_theory.learning_threshold(0.1, 0.5, 4, 0.0),
            "threshold must be positive",
        ),
        (
            lambda: archetypes.archetype_memory(jnp.zeros((2, 3)), order=4),
            r"examples must hold -1 and \+1 only",
        ),
        (
            lambda: archetypes.archetype_memory(jnp.ones(3), order=4),
            "examples must have shape",
        ),
        (
            lambda: archetypes.archetype_memory(
                jnp.ones((2, 3)), order=4, teaching="self"
            ),
            "teaching must be 'supervised' or",
        ),
        (
            lambda: archetypes.archetypes_from_labels(
                jnp.ones((2, 3)), jnp.array([1, 2]), 2
            ),
            "numbered from 0 to 1",
        ),
        (lambda: tensors.LowRankTensor(jnp.ones((2, 3)), 1.0, 1), "order must be an"),
        (lambda: blocking.standard_error(jnp.ones(3)), "at least 16 entries"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
