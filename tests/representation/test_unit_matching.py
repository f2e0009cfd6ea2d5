"""Matching of units: dead ones, uneven layers, transformations and bad input."""

import itertools

import equinox
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, taps
from kanjax.representation import (
    samples,
    similarity,
    sparse_prediction,
    unit_clusters,
    unit_information,
    unit_matching,
)


@pytest.fixture(scope="module")
def layers():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(3, 60, 4))
    x = np.concatenate([shared, rng.normal(size=(3, 60, 2))], axis=-1)
    y = shared @ rng.normal(size=(4, 4)) + 0.1 * rng.normal(size=(3, 60, 4))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
@pytest.mark.parametrize("solver", ["host", "device"])
def test_pairs_have_the_greatest_sum_of_all(shape, solver):
    scores = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    pairs = unit_matching.bipartite_matching(jnp.asarray(scores), solver=solver)
    table = scores if shape[0] <= shape[1] else scores.T
    best = max(
        table[range(len(table)), list(order)].sum()
        for order in itertools.permutations(range(table.shape[1]), len(table))
    )
    np.testing.assert_allclose(pairs.scores.sum(), best, rtol=1e-5)
    assert len(set(pairs.x.tolist())) == len(set(pairs.y.tolist())) == min(shape)
    assert pairs.x.tolist() == sorted(pairs.x.tolist())
    np.testing.assert_array_equal(scores[pairs.x, pairs.y], pairs.scores)


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_dead_units_have_no_correlation_and_are_counted(scale):
    x = np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32)
    # A constant is not exactly its mean; a faint unit is dead beside the others.
    x[:, 1], x[:, 2] = 0.3, 1e-8 * x[:, 2]
    y = np.random.default_rng(3).normal(size=(50, 3)).astype(np.float32)
    table = unit_matching.correlate(scale * x, y / scale)
    assert table.live_x.tolist() == [True, False, False, True]
    assert table.live_y.all() and (table.xy[1:3] == 0).all()
    expected = np.corrcoef(x[:, [0, 3]].T.astype(float), y.T.astype(float))[:2, 2:]
    np.testing.assert_allclose(table.xy[jnp.array([0, 3])], expected, atol=1e-5)
    summary = unit_matching.summarize(table)
    assert [int(n) for n in summary.dead] == [2, 0]
    pairs = unit_matching.bipartite_matching(table.xy)
    np.testing.assert_allclose(summary.mean_bipartite, pairs.scores.sum() / 2, 1e-6)


def test_the_summary_is_that_of_plain_numpy(layers):
    x, y = layers[0][0], layers[1][0]
    square = unit_matching.summarize(unit_matching.correlate(x, x[:, ::-1]))
    c = np.corrcoef(np.asarray(x, float).T)
    np.testing.assert_allclose(square.unaligned, np.mean(np.diag(c[::-1])), atol=1e-6)
    others = np.abs(c - np.eye(6)).max(axis=1).mean()
    np.testing.assert_allclose(square.closest_in_x, others, atol=1e-6)
    table = unit_matching.correlate(x, y)
    summary = unit_matching.summarize(table)
    assert jnp.isnan(summary.unaligned) and summary.bipartite.shape == (4,)
    assert (jnp.diff(summary.bipartite) <= 0).all()
    np.testing.assert_allclose(summary.mean_semi, table.xy.max(axis=1).mean(), 1e-6)
    by_size = unit_matching.summarize(table, jnp.abs(table.xy))
    assert by_size.mean_bipartite > summary.mean_bipartite


def test_networks_of_three_libraries_that_compute_the_same(key):
    net = nn.MLP((3, 8, 2), jax.nn.relu)
    params = net.init(key)
    x = jax.random.normal(jax.random.key(1), (40, 3))
    ours = taps.record(net, params, x)["[0]"]
    dense = linen.Dense(8)
    weights = {name: params[0][name] for name in ("kernel", "bias")}
    _, state = dense.apply({"params": weights}, x, capture_intermediates=True)
    flax = jax.nn.relu(state["intermediates"]["__call__"][0])
    layer = equinox.tree_at(
        lambda m: (m.weight, m.bias),
        equinox.nn.Linear(3, 8, key=key),
        (weights["kernel"][:, ::-1].T, weights["bias"][::-1]),
    )
    other = jax.nn.relu(jax.vmap(layer)(x))
    result = unit_matching.compare_networks([ours, flax, other])
    for table in result:
        np.testing.assert_allclose(table, 1, atol=1e-4)


def test_networks_of_different_widths_are_compared_pair_by_pair(layers):
    x, y = layers
    values = [x[0], y[0], x[1]]
    together = unit_matching.compare_networks(values)
    alike = unit_matching.compare_networks([x[0], x[1]])
    for i, first in enumerate(values):
        for j, second in enumerate(values):
            summary = unit_matching.summarize(unit_matching.correlate(first, second))
            cka = similarity.linear_cka(first, second, debiased=True)
            expected = summary.mean_bipartite, summary.mean_semi, cka
            entries = [table[i, j] for table in together]
            np.testing.assert_allclose(entries, expected, rtol=1e-5, atol=1e-6)
    corner = jnp.array([0, 2])
    for table, small in zip(together, alike, strict=True):
        np.testing.assert_allclose(table[jnp.ix_(corner, corner)], small, 1e-5, 1e-6)


def test_alignments_under_jit_vmap_and_grad(layers):
    def align(x, y):
        table = unit_matching.correlate(x, y)
        x, y = sparse_prediction.standardize(x), sparse_prediction.standardize(y)
        affinity = unit_clusters.joint_affinity(table)
        return (
            unit_matching.summarize(table),
            sparse_prediction.sparse_prediction(x, y, 0.1, iterations=50),
            unit_information.mutual_information(x, y, 5).mutual,
            unit_clusters.spectral_clusters(
                affinity, 3, key=jax.random.key(0), iterations=20
            ).labels,
            unit_clusters.hierarchy(unit_clusters.spectral_embedding(affinity, 2)),
        )

    together = jax.jit(jax.vmap(align))(*layers)
    single = align(layers[0][1], layers[1][1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-3, atol=1e-4),
        together,
        single,
    )

    def objective(x):
        summary = unit_matching.summarize(unit_matching.correlate(x, layers[1][0]))
        y = sparse_prediction.standardize(layers[1][0])
        weights = sparse_prediction.sparse_prediction(
            sparse_prediction.standardize(x), y, 0.1, iterations=50
        )
        return summary.mean_bipartite + jnp.sum(weights**2)

    x = layers[0][0]
    slope = jax.jit(jax.grad(objective))(x)
    step = jax.random.normal(jax.random.key(5), x.shape)
    value = jax.jit(objective)
    change = (value(x + 1e-2 * step) - value(x - 1e-2 * step)) / 2e-2
    np.testing.assert_allclose(jnp.sum(slope * step), change, rtol=2e-2)


def test_information_is_the_same_in_blocks(layers):
    x, y = layers[0][0], layers[1][0]
    tables = [
        unit_information.mutual_information(x, y, 6, units_at_once=n).mutual
        for n in (1, 4, 99)
    ]
    np.testing.assert_allclose(tables[0], tables[1], atol=1e-6)
    np.testing.assert_allclose(tables[0], tables[2], atol=1e-6)
    constant = unit_information.mutual_information(jnp.ones((60, 1)), y, 6)
    assert (constant.mutual == 0).all() and (constant.normalized() == 0).all()
    still = unit_information.bin_units(jnp.ones((9, 1)), 4, binning="quantile")
    assert (still == 0).all()


def test_shares_of_codes():
    matched = jnp.array([0.9, 0.5, 0.5, 0.5])
    errors = jnp.array([[0.9, 0.1, 0.4, 0.9], [0.05, 0.05, 0.1, 0.7]])
    counts = jnp.array([[2, 3, 4, 5], [40, 40, 40, 40]])
    code = sparse_prediction.classify_code(matched, errors, counts, few=3)
    assert [float(share) for share in code] == [0.25] * 4


def test_a_cluster_for_each_unit_and_equal_units(key):
    result = unit_clusters.spectral_clusters(jnp.eye(4), 4, key=key)
    assert sorted(result.labels.tolist()) == [0, 1, 2, 3]
    equal = unit_clusters.spectral_clusters(jnp.ones((5, 5)), 1, key=key)
    assert (equal.labels == 0).all() and equal.inertia < 1e-6


def test_bad_input_is_named(key):
    x, y = jnp.ones((5, 3)), jnp.ones((4, 3))
    with pytest.raises(ValueError, match="x has 5 samples and y has 4"):
        unit_matching.correlate(x, y)
    with pytest.raises(ValueError, match=r"x has shape \(5,\); it must be"):
        samples.as_rows(x[:, 0])
    with pytest.raises(ValueError, match="units is 3; of 3 in all"):
        unit_matching.correlations(taps.measure(x), 3)
    with pytest.raises(ValueError, match="moments are diagonal"):
        unit_matching.correlations(taps.measure(x, diagonal=True), 2)
    with pytest.raises(ValueError, match="values has 1 networks"):
        unit_matching.compare_networks([x])
    with pytest.raises(ValueError, match="bins is 1"):
        unit_information.bin_units(x, 1)
    with pytest.raises(ValueError, match="binning is 'even'"):
        unit_information.mutual_information(x, x, binning="even")
    with pytest.raises(ValueError, match="units_at_once is 0"):
        unit_information.mutual_information(x, x, units_at_once=0)
    with pytest.raises(ValueError, match="iterations is 0"):
        sparse_prediction.sparse_prediction(x, x, 0.1, iterations=0)
    with pytest.raises(ValueError, match="reference has 2 units and x has 3"):
        sparse_prediction.standardize(x, x[:, :2])
    with pytest.raises(ValueError, match="k is 4; it must be from 1 to the 3 units"):
        unit_clusters.spectral_embedding(jnp.eye(3), 4)
    with pytest.raises(ValueError, match=r"affinity has shape \(5, 3\)"):
        unit_clusters.spectral_embedding(x, 2)
    with pytest.raises(ValueError, match="restarts is 0"):
        unit_clusters.spectral_clusters(jnp.eye(3), 2, key=key, restarts=0)
