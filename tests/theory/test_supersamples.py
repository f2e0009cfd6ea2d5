"""Bounds for trained networks, and estimates of information with their bias."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from kanjax.theory import information_bounds, information_estimates, supersamples


def nearest(key, batch):
    """Remember the examples, as a network that fits everything."""
    return batch


def is_wrong(memory, batch):
    near = jnp.argmin(jnp.abs(batch[0][:, None] - memory[0][None]), axis=1)
    return memory[1][near] != batch[1]


@pytest.fixture(scope="module")
def seen():
    """One nearest neighbor on labels that are right seven times of ten."""
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (4000,))
    y = (x > 0) ^ jax.random.bernoulli(keys[1], 0.3, x.shape)
    measure = functools.partial(
        supersamples.measure_gap, fit=nearest, mistakes=is_wrong, pool=(x, y),
        examples=20, draws=400,
    )  # fmt: skip
    return jax.jit(measure)(jax.random.key(1))


def test_what_is_remembered_has_a_gap_and_an_information_that_are_known(seen):
    # Of two noisy labels one is wrong: 2 * 0.3 * 0.7, but for neighbors across 0.
    assert abs(seen.gap.mean - 0.42) < 4 * seen.gap.error + 0.01
    assert seen.train == 0 and seen.counts.sum() == 8000
    # Without a loss on trained examples a loss tells the coin, and no loss nothing.
    np.testing.assert_allclose(
        seen.information.estimate, seen.gap.mean * np.log(2), atol=0.001
    )
    np.testing.assert_allclose(
        seen.bound, np.sqrt(2 * seen.information.estimate), rtol=1e-6
    )
    assert seen.gap.mean < seen.bound


def test_the_gap_is_that_of_a_loop():
    """By hand, with the coins read off what was trained on."""
    pool, lists = jnp.arange(6.0), []

    def fit(key, batch):
        return batch

    def mistakes(trained, batch):
        jax.debug.callback(lambda *v: lists.append(v), trained, batch)
        return batch > 2

    got = supersamples.measure_gap(
        jax.random.key(2), fit, mistakes, pool, examples=2, draws=3
    )
    jax.effects_barrier()
    counts, gaps = np.zeros((4, 2)), []
    for trained, batch in lists:
        pairs = np.asarray(batch).reshape(2, 2)
        coins = (pairs[:, 1] == np.asarray(trained)).astype(int)
        losses = (pairs > 2).astype(int)
        for pair, coin in zip(losses, coins, strict=True):
            counts[2 * pair[0] + pair[1], coin] += 1
        rows = np.arange(2)
        gaps.append(np.mean(losses[rows, 1 - coins] - losses[rows, coins]))
    np.testing.assert_array_equal(got.counts, counts)
    np.testing.assert_allclose(got.gap.mean, np.mean(gaps), atol=1e-6)
    np.testing.assert_allclose(got.gap.error, np.std(gaps, ddof=1) / 3**0.5, atol=1e-6)


def test_no_table_has_a_gap_above_its_bound():
    """The inequality itself, for many laws of the losses given a fair coin."""
    rng = np.random.default_rng(0)
    for shape in (0.1, 1.0, 5.0):
        laws = rng.dirichlet(np.full(4, shape), size=(500, 2)) / 2
        losses = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        trained = laws[:, 0] @ losses[:, 0] + laws[:, 1] @ losses[:, 1]
        other = laws[:, 0] @ losses[:, 1] + laws[:, 1] @ losses[:, 0]
        joint = jnp.asarray(laws.transpose(0, 2, 1))
        information = information_bounds.discrete_information(joint).mutual
        assert np.all(other - trained <= np.sqrt(2 * information) + 1e-6)


def test_counts_are_too_informative_by_the_bias():
    law = np.array([[0.3, 0.1], [0.05, 0.25], [0.2, 0.1]])
    exact = float(information_bounds.discrete_information(law).mutual)
    tables = np.random.default_rng(0).multinomial(80, law.ravel(), size=4000)
    got = jax.vmap(information_estimates.counted_information)(
        jnp.asarray(tables.reshape(-1, 3, 2), float)
    )
    error = float(got.estimate.std()) / 4000**0.5
    off = float(got.estimate.mean()) - exact
    assert abs(off - float(got.bias.mean())) < 4 * error and off > 10 * error
    np.testing.assert_allclose(got.error.mean(), got.estimate.std(), rtol=0.05)
    product = np.outer(law.sum(1), law.sum(0))
    expected = stats.entropy(law.ravel(), product.ravel())
    exactly = information_estimates.counted_information(1000 * law)
    np.testing.assert_allclose(exactly.estimate, expected, rtol=1e-5)


def test_gaussian_twins_show_what_neighbors_miss():
    rng = np.random.default_rng(1)
    for features, least in ((1, -0.02), (10, -1.0)):
        x = rng.normal(size=(400, features))
        y = 0.8 * x + 0.6 * rng.normal(size=x.shape)
        twin = information_estimates.gaussian_twin(jax.random.key(0), x, y)
        truth = -features * np.log(0.36) / 2
        assert abs(twin.exact - truth) < 0.15 * truth
        seen = information_estimates.neighbor_information(x, y)
        # What is left once the bias is taken off is the noise of 400 samples.
        assert abs(seen - twin.bias - truth) < 0.15 * truth
        assert (twin.bias < least) == (features > 1)


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: supersamples.measure_gap(
                jax.random.key(0), nearest, is_wrong, jnp.ones(5), examples=3, draws=2
            ),
            "3 pairs need 6",
        ),
        (
            lambda: supersamples.measure_gap(
                jax.random.key(0), nearest, is_wrong, jnp.ones(5), examples=1, draws=1
            ),
            "draws must be an integer of at least 2; got 1",
        ),
        (lambda: information_estimates.counted_information([1.0]), r"\(a, b\)"),
        (lambda: information_estimates.counted_information([[-1.0]]), "at least 0"),
        (
            lambda: information_estimates.gaussian_twin(
                jax.random.key(0), np.ones((3, 2)), np.ones((3, 2))
            ),
            "3 samples of 4 features",
        ),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
