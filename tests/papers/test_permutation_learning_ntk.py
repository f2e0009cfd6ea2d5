"""Exact statements on learned permutations: Giapitzakis et al., arXiv 2502.16763."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from kanjax import ntk
from kanjax.ntk import permutation_learning as learning

PERMUTATION = (2, 0, 1, 4, 3)
TIMES = (0.0, 30.0, 200.0, math.inf)


@pytest.fixture(scope="module")
def laws():
    """``law(k, ones, t)``, compiled once for all."""

    @jax.jit
    def law(k, ones, t):
        return *learning.mean(k, ones, t), learning.variance(k, ones, t)

    return law


def solve_explicitly(k, ones, t):
    """The same by matrices and their inverse, in numpy."""
    x = np.eye(k)
    test = np.zeros((1, k))
    test[0, :ones] = 1

    def kernels(a, b):
        size = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
        u = np.clip(a @ b.T / size, -1, 1)
        angle = np.pi - np.arccos(u)
        nngp = size * (np.sqrt(1 - u**2) + u * angle) / (2 * np.pi * k)
        return nngp, nngp + a @ b.T * angle / (2 * np.pi * k)

    (prior, theta), (cross, rows) = kernels(x, x), kernels(test, x)
    values, vectors = np.linalg.eigh(theta)
    left = np.exp(-values * t / k**2) if t < math.inf else 0 * values
    a = rows @ np.linalg.solve(theta, vectors @ np.diag(1 - left) @ vectors.T)
    spread = kernels(test, test)[0] - 2 * a @ cross.T + a @ prior @ a.T
    return a[0, 0], a[0, -1], spread[0, 0]


@pytest.mark.parametrize("k, ones", [(2, 1), (5, 2), (5, 3), (9, 8), (20, 1), (20, 10)])
@pytest.mark.parametrize("t", TIMES)
def test_the_law_is_that_of_explicit_matrices(laws, x64, k, ones, t):
    expected = solve_explicitly(k, ones, t)
    np.testing.assert_allclose(laws(k, ones, t), expected, rtol=0, atol=2e-12)


@pytest.mark.parametrize(
    "k, ones, high, low, variance",
    [
        (5, 2, 0.7928537177, -0.0207038557, 0.1323468456),
        (5, 3, 0.7120086083, -0.0554668047, 0.2862947729),
        (20, 10, 0.5395819751, -0.1461437551, 1.5966823239),
    ],
)
def test_values(laws, x64, k, ones, high, low, variance):
    found = np.asarray(laws(k, ones, math.inf)) * (1, 1, k)
    # Ten digits are what these have.
    np.testing.assert_allclose(found, (high, low, variance), rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        found, solve_explicitly(k, ones, math.inf) * np.array((1, 1, k)), rtol=1e-11
    )


def test_single_precision_suffices_for_small_means():
    ones = jnp.arange(2, 31)
    low = learning.mean(30, ones).low
    with jax.enable_x64(True):
        exact = learning.mean(30, ones).low
    np.testing.assert_allclose(low, exact, rtol=2e-5)


def test_the_law_is_that_of_the_general_kernels(x64):
    x = learning.all_binary_inputs(5)
    data = learning.permutation_dataset(PERMUTATION)
    kernel = jax.jit(ntk.infinite(learning.network(5, 1)))
    train, cross, test = kernel(data.x), kernel(x, data.x), kernel(x)
    posterior = ntk.ensemble(train.nngp, train.ntk, data.y)
    dynamics = ntk.mse_training(train.ntk, data.y)
    ones, targets = x.sum(1), learning.permutation_targets(PERMUTATION, x)
    for t in TIMES:
        general = posterior(t, test.nngp, cross.nngp, cross.ntk)
        high, low = learning.mean(5, ones[:, None], t)
        mean = jnp.where(targets == 1, high, low)
        np.testing.assert_allclose(general.mean, mean, atol=2e-12)
        spread = learning.variance(5, ones, t)
        np.testing.assert_allclose(jnp.diag(general.covariance), spread, atol=2e-12)
        flow = dynamics(t, kernel_test=cross.ntk, f_test=jnp.zeros_like(mean))
        np.testing.assert_allclose(flow.test, mean, atol=2e-12)


def test_training_inputs_are_learned_exactly(laws, x64):
    for k in (2, 5, 20):
        np.testing.assert_allclose(laws(k, 1, math.inf), (1, 0, 0), atol=1e-14)


def test_signs_of_means_are_right_for_all_unseen_inputs(laws, x64):
    for k in (2, 6, 20, 200):
        ones = jnp.minimum(jnp.arange(2, 201), k)
        high, low, _ = laws(k, ones, math.inf)
        assert high.min() > 0 and low.max() < 0
    # The gap at two ones falls as 1 / k.
    low = [laws(k, 2, math.inf)[1] for k in (1e3, 1e4)]
    assert low[0] / low[1] == pytest.approx(10, rel=0.02)


def test_finite_times_start_at_initialization_and_tend_to_the_limit(laws, x64):
    for k, ones in ((5, 2), (12, 7)):
        start = laws(k, ones, 0.0)
        np.testing.assert_allclose(start, (0, 0, ones / 2 / k), atol=1e-14)
        # 30 times the slowest mode, at an error of e^-30.
        late = 30 * k**3 / (1 - 1 / (2 * np.pi))
        end = laws(k, ones, math.inf)
        np.testing.assert_allclose(laws(k, ones, late), end, rtol=0, atol=1e-12)
        assert abs(laws(k, ones, late / 10)[0] - end[0]) > 1e-4


def test_transformations():
    t = jnp.array(50.0)
    slope = jax.jit(jax.grad(lambda t: learning.mean(5, 2, t).high))
    ahead, back = learning.mean(5, 2, t + 1).high, learning.mean(5, 2, t - 1).high
    assert slope(t) == pytest.approx(float(ahead - back) / 2, rel=1e-2)
    slope = jax.grad(lambda rate: learning.variance(5, 2, t, learning_rate=rate))
    assert jnp.isfinite(slope(jnp.array(1.0)))
    many = jax.vmap(learning.variance, (None, 0))(5, jnp.arange(1, 6))
    np.testing.assert_allclose(many, learning.variance(5, jnp.arange(1, 6)))
    sizes = functools.partial(learning.ensemble_size, 6)
    failures = jnp.array([0.1, 0.01])
    expected = [sizes(f) for f in failures]
    np.testing.assert_array_equal(jax.jit(jax.vmap(sizes))(failures), expected)


@pytest.mark.parametrize(
    "k, single, every",
    [
        (4, 845.46, 1196.14),
        (8, 940.26, 1646.97),
        (12, 1110.82, 2297.93),
        (16, 1304.03, 3095.92),
        (20, 1508.31, 4029.35),
    ],
)
def test_ensemble_sizes(x64, k, single, every):
    entries = math.log(2 * k / 0.01)
    worst = 0.0
    for ones in range(2, k + 1):
        high, low, spread = solve_explicitly(k, ones, math.inf)
        gap = high if ones == k else min(high, -low)
        worst = max(worst, spread / gap**2)
    for scope, known, more in (("single", single, 0), ("all", every, k * math.log(2))):
        bound = 2 * worst * (entries + more)
        assert bound == pytest.approx(known, abs=0.006)
        assert learning.ensemble_size(k, scope=scope) == math.ceil(bound)


def test_a_union_bound_covers_gaussian_tails(x64):
    size = learning.ensemble_size(6, 0.01, scope="all")
    failure = 0.0
    for ones in range(2, 7):
        high, low, spread = solve_explicitly(6, ones, math.inf)
        tails = stats.norm.sf(np.array([high, -low]) * np.sqrt(float(size) / spread))
        failure += math.comb(6, ones) * (ones * tails[0] + (6 - ones) * tails[1])
    assert failure < 0.01


def test_means_of_wrong_sign_need_infinitely_many():
    # Early in training every output is still positive.
    assert learning.mean(5, 2, 1.0).low > 0
    assert learning.ensemble_size(5, t=1.0) == math.inf


def test_inputs_and_targets():
    x = np.asarray(learning.all_binary_inputs(5))
    expected = set(itertools.product((0.0, 1.0), repeat=5)) - {(0.0,) * 5}
    assert set(map(tuple, x.tolist())) == expected and len(x) == 31
    assert (np.diff(x.sum(1)) >= 0).all()
    matrix = np.zeros((5, 5))
    matrix[PERMUTATION, range(5)] = 1
    targets = learning.permutation_targets(PERMUTATION, jnp.asarray(x))
    np.testing.assert_array_equal(targets, x @ matrix.T)
    np.testing.assert_array_equal(
        learning.permutation_dataset(PERMUTATION).y, np.eye(5) @ matrix.T
    )


def test_exact_accuracy_counts_whole_inputs():
    x = learning.all_binary_inputs(5)
    targets = learning.permutation_targets(PERMUTATION, x)
    outputs = jnp.stack([targets, targets.at[7, 2].add(1).at[30].set(-1.0)])
    accuracy = jax.jit(learning.exact_accuracy)(
        outputs - 0.5, jnp.array(PERMUTATION), x
    )
    np.testing.assert_allclose(accuracy, [1, 30 / 31 if targets[7, 2] else 29 / 31])
    high, low = learning.mean(5, x.sum(1, keepdims=True))
    mean = jnp.where(targets == 1, high, low)
    between = learning.midpoint(x)
    np.testing.assert_allclose(between, (high + low) / 2)
    found = learning.exact_accuracy(mean, PERMUTATION, x, threshold=between)
    assert found == 1


def train(width, permutation=PERMUTATION, **options):
    x = learning.all_binary_inputs(5)
    options = {"members": 32, "width": width, **options}
    run = functools.partial(learning.train_ensemble, **options)
    return run(jax.random.key(0), jnp.asarray(permutation), x)


def test_trained_networks_approach_the_mean_as_the_root_of_the_width():
    x = learning.all_binary_inputs(5)
    targets = learning.permutation_targets(PERMUTATION, x)
    high, low = learning.mean(5, x.sum(1, keepdims=True))
    mean = jnp.where(targets == 1, high, low)
    widths = np.array([128, 512, 2048])
    errors = [
        float(jnp.sqrt(jnp.mean((train(int(w), centered=True) - mean[None]) ** 2)))
        for w in widths
    ]
    slope = np.polyfit(np.log(widths), np.log(errors), 1)[0]
    assert -0.6 < slope < -0.4 and errors[-1] < 0.02


def test_trained_networks_follow_the_law():
    outputs = np.asarray(train(512, members=256))
    x = learning.all_binary_inputs(5)
    assert np.abs(outputs[:, :5] - np.eye(5)[:, np.argsort(PERMUTATION)]).max() < 1e-4
    spread = np.asarray(learning.variance(5, x.sum(1)))[5:]
    # 256 * 5 values each: their variance is known to 4 %, and all inputs share them.
    ratio = outputs[:, 5:].var(axis=0).mean(axis=1) / spread
    assert np.abs(ratio - 1).max() < 0.2


def test_outputs_are_relabelled_with_the_permutation(x64):
    x = learning.all_binary_inputs(5)
    kernel = jax.jit(ntk.infinite(learning.network(5, 1)))
    train, cross = kernel(jnp.eye(5)), kernel(x, jnp.eye(5))
    means = [
        ntk.mse_training(train.ntk, learning.permutation_dataset(p).y)(
            200.0, f_test=jnp.zeros_like(x), kernel_test=cross.ntk
        ).test
        for p in (PERMUTATION, tuple(range(5)))
    ]
    moved = learning.permutation_targets(PERMUTATION, means[1])
    np.testing.assert_allclose(means[0], moved, atol=1e-13)
    assert jnp.abs(means[0] - means[1]).max() > 0.5


def test_members_do_not_depend_on_how_many_are_trained_at_once():
    np.testing.assert_allclose(
        train(32, members=5, members_at_once=2),
        train(32, members=5, members_at_once=64),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: learning.permutation_dataset([0, 0, 1]), "once; got"),
        (lambda: learning.permutation_dataset([[0, 1]]), "must be .k,. integers"),
        (lambda: learning.permutation_dataset([0.0, 1.0]), "must be .k,. integers"),
        (lambda: learning.permutation_targets([1, 0], jnp.ones((3, 3))), "its last"),
        (lambda: learning.all_binary_inputs(25), "from 1 to 24"),
        (lambda: learning.ensemble_size(1), "at least 2"),
        (lambda: learning.ensemble_size(3, scope="some"), "'single' or 'all'"),
        (lambda: learning.ensemble_size(3, 1.0), "failure must be above 0"),
        (lambda: learning.mean(3, 0), "ones must be from 1 to k = 3"),
        (lambda: learning.variance(3, jnp.array([1, 4])), "from 1 to 4"),
        (lambda: learning.midpoint(jnp.zeros((1, 3))), "nonzero binary inputs"),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
