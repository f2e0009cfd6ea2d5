"""Alignments of units, held against numpy, scipy and scikit-learn.

Li et al., arXiv 1511.07543.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.cluster import hierarchy
from sklearn import cluster, linear_model, metrics, preprocessing

from kanjax import taps
from kanjax.representation import (
    sparse_prediction,
    unit_clusters,
    unit_information,
    unit_matching,
)

PERMUTATION = np.array([3, 0, 5, 1, 4, 2])


@pytest.fixture(scope="module")
def copies():
    """Units (300, 6), and the same in another order, scaled and shifted."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(300, 6)), 0).astype(np.float32)
    y = x[:, PERMUTATION] * rng.uniform(0.5, 3, 6) + rng.normal(size=6)
    return x, y.astype(np.float32)


@pytest.fixture(scope="module")
def mixed():
    """Units (400, 12) that are correlated, and (400, 5) made of them with noise."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 12)) @ (np.eye(12) + 0.3 * rng.normal(size=(12, 12)))
    weights = rng.normal(size=(12, 5)) * (rng.random((12, 5)) < 0.3)
    y = x @ weights + 0.3 * rng.normal(size=(400, 5))
    return tuple(
        np.asarray(sparse_prediction.standardize(v.astype(np.float32))) for v in (x, y)
    )


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_standardized_units_are_those_of_scikit_learn(mixed, scale):
    x = np.asarray(mixed[0][:50], np.float32) + 2
    x[:, 0] = 3
    found = sparse_prediction.standardize(np.float32(scale) * x)
    wanted = preprocessing.StandardScaler().fit_transform(x.astype(float))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_permuted_copy_is_matched_whatever_its_scale_and_shift(copies):
    table = unit_matching.correlate(*copies)
    for pairs in (
        unit_matching.bipartite_matching(table.xy),
        unit_matching.semi_matching(table.xy),
    ):
        np.testing.assert_array_equal(pairs.y, np.argsort(PERMUTATION))
        np.testing.assert_allclose(pairs.scores, 1, atol=1e-5)
    summary = unit_matching.summarize(table)
    np.testing.assert_allclose([summary.mean_bipartite, summary.mean_semi], 1, 1e-5)


def test_a_permuted_copy_is_predicted_by_one_unit_each(copies):
    x, y = (sparse_prediction.standardize(v) for v in copies)
    weights = sparse_prediction.sparse_prediction(x, y, 0.02)
    assert sparse_prediction.count_units(weights).tolist() == [1] * 6
    np.testing.assert_array_equal(jnp.argmax(weights, axis=0), PERMUTATION)
    # One regressor of variance 1: the penalty is taken off its weight.
    np.testing.assert_allclose(jnp.max(weights, axis=0), 0.98, atol=1e-4)


def test_a_permuted_copy_is_paired_by_clusters(copies, key):
    affinity = unit_clusters.joint_affinity(unit_matching.correlate(*copies))
    labels = unit_clusters.spectral_clusters(affinity, 6, key=key).labels
    np.testing.assert_array_equal(labels[6:], labels[:6][PERMUTATION])
    assert (unit_clusters.count_members(labels, 6, 6) == 1).all()


def test_correlations_are_those_of_numpy_streamed_or_not(mixed):
    x, y = mixed
    expected = np.corrcoef(x.astype(float).T, y.astype(float).T)
    # A large mean, as of units after a ReLU, must not take the digits.
    tables = (
        (unit_matching.correlate(x, y), 1e-6),
        (
            unit_matching.correlations(
                unit_matching.stream_pairs(
                    (x[i : i + 90] + 100, y[i : i + 90] - 50) for i in range(0, 400, 90)
                ),
                12,
            ),
            2e-5,
        ),
    )
    for table, bound in tables:
        np.testing.assert_allclose(table.x, expected[:12, :12], atol=bound)
        np.testing.assert_allclose(table.y, expected[12:, 12:], atol=bound)
        np.testing.assert_allclose(table.xy, expected[:12, 12:], atol=bound)
        assert table.live_x.all() and table.live_y.all()


@pytest.mark.parametrize("binning", ["width", "quantile"])
def test_information_is_that_of_scikit_learn_on_the_same_bins(mixed, binning):
    x, y = mixed
    bins = [unit_information.bin_units(v, 9, binning=binning) for v in mixed]
    result = unit_information.mutual_information(x, y, 9, binning=binning)
    for i, j in np.ndindex(12, 5):
        expected = metrics.mutual_info_score(bins[0][:, i], bins[1][:, j])
        np.testing.assert_allclose(result.mutual[i, j], expected, atol=2e-6)
    self = unit_information.mutual_information(x, x, 9, binning=binning)
    np.testing.assert_allclose(jnp.diagonal(self.mutual), self.entropy_x, atol=2e-6)
    np.testing.assert_allclose(jnp.diagonal(self.normalized()), 1, atol=2e-6)


def test_bins_are_those_of_numpy():
    x = np.random.default_rng(2).normal(size=(200, 3)).astype(np.float32)
    wide = np.asarray(unit_information.bin_units(x, 7))
    for i in range(3):
        counts, _ = np.histogram(x[:, i], bins=7)
        np.testing.assert_array_equal(np.bincount(wide[:, i], minlength=7), counts)
    even = unit_information.bin_units(x, 8, binning="quantile")
    assert (np.apply_along_axis(np.bincount, 0, even) == 25).all()


def test_the_correction_takes_off_the_bias_of_independent_units():
    x, y = np.random.default_rng(3).normal(size=(2, 500, 12)).astype(np.float32)
    options = {"bins": 8, "binning": "quantile"}
    plain = unit_information.mutual_information(x, y, **options).mutual
    fair = unit_information.mutual_information(x, y, correct_bias=True, **options)
    # All 64 cells are occupied: the bias is (64 - 16 + 1) / 1000.
    np.testing.assert_allclose(plain - fair.mutual, 0.049, atol=1e-5)
    assert abs(jnp.mean(fair.mutual)) < 0.1 * jnp.mean(plain)


@pytest.mark.parametrize("penalty", [0.3, 0.05, 0.005])
def test_weights_are_those_of_scikit_learn(mixed, penalty):
    x, y = mixed
    lasso = linear_model.Lasso(alpha=penalty, fit_intercept=False, tol=1e-10)
    expected = lasso.fit(x.astype(float), y.astype(float)).coef_.T
    weights = sparse_prediction.sparse_prediction(x, y, penalty, iterations=1000)
    np.testing.assert_allclose(weights, expected, atol=1e-4)
    np.testing.assert_array_equal(weights == 0, expected == 0)


def test_the_path_ends_in_least_squares_and_begins_at_nothing(mixed, x64):
    x, y = (v.astype(float) for v in mixed)
    largest = np.abs(x.T @ y).max() / len(x)
    penalties = jnp.array([1.0001 * largest, 0.05, 0.0])
    path = sparse_prediction.sparse_path(x, y, penalties, iterations=2000)
    assert (path[0] == 0).all()
    counts = sparse_prediction.count_units(path)
    assert counts.shape == (3, 5) and (counts[0] == 0).all() and (counts[1] < 12).all()
    alone = sparse_prediction.sparse_prediction(x, y, 0.05, iterations=2000)
    np.testing.assert_allclose(path[1], alone, atol=1e-4)
    expected = np.linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(path[2], expected, atol=1e-4)
    full = sparse_prediction.linear_prediction(x, y)
    np.testing.assert_allclose(full, expected, atol=1e-4)
    error = sparse_prediction.prediction_error(full, x, y)
    np.testing.assert_allclose(error, np.mean((y - x @ expected) ** 2, 0), atol=1e-5)


def test_clusters_are_those_of_scikit_learn(key):
    rng = np.random.default_rng(4)
    groups = rng.permutation(np.repeat(np.arange(4), [5, 9, 6, 10]))
    affinity = 0.1 * rng.random((30, 30)) + (groups[:, None] == groups[None, :])
    affinity = (affinity + affinity.T) / 2
    result = unit_clusters.spectral_clusters(jnp.asarray(affinity), 4, key=key)
    labels = cluster.SpectralClustering(
        4, affinity="precomputed", random_state=0
    ).fit_predict(affinity)
    assert metrics.adjusted_rand_score(result.labels, labels) == 1
    assert metrics.adjusted_rand_score(result.labels, groups) == 1
    k_means = cluster.KMeans(4, n_init=10, random_state=0).fit(result.embedding)
    np.testing.assert_allclose(result.inertia, k_means.inertia_, rtol=1e-4)
    tree = unit_clusters.hierarchy(result.embedding)
    cut = hierarchy.fcluster(np.asarray(tree, float), 4, "maxclust")
    assert metrics.adjusted_rand_score(cut, groups) == 1


def test_sharing_partners_is_no_worse_than_having_them_alone():
    scores = np.random.default_rng(5).normal(size=(20, 7, 9)).astype(np.float32)
    semi = jax.vmap(unit_matching.semi_matching)(scores).scores.sum(axis=1)
    pairs = jax.vmap(unit_matching.bipartite_matching)(scores).scores.sum(axis=1)
    assert (semi >= pairs).all() and (semi > pairs).any()


def test_positions_of_a_convolution_are_samples():
    x, y = np.random.default_rng(6).normal(size=(2, 4, 5, 5, 3))
    table = unit_matching.correlate(x, y)
    expected = np.corrcoef(x.reshape(-1, 3).T, y.reshape(-1, 3).T)[:3, 3:]
    np.testing.assert_allclose(table.xy, expected, atol=1e-5)
    streamed = unit_matching.stream_pairs([(x[:1], y[:1]), (x[1:], y[1:])])
    assert isinstance(streamed, taps.Moments) and streamed.count == 100
