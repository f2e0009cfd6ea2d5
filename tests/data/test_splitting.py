import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kanjax.data
from kanjax.data import splitting


def test_split_is_reproducible_disjoint_and_complete(key):
    first = kanjax.data.split_rows(key, 103)
    again = kanjax.data.split_rows(key, 103)
    other = kanjax.data.split_rows(jax.random.key(1), 103)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    assert [part.size for part in first] == [72, 16, 15]
    np.testing.assert_array_equal(np.sort(np.concatenate(first)), np.arange(103))


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    st.lists(st.integers(2, 40), min_size=1, max_size=30),
    st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.98, 0.01, 0.01)]),
)
def test_every_class_is_divided_alike(members, fractions):
    members, shares = np.array(members), np.array(fractions)
    counts = splitting._counts(members, shares)
    np.testing.assert_array_equal(counts.sum(axis=1), members)
    assert np.all(counts[members >= 3] >= 1)
    assert np.all(counts[members == 2] == [1, 0, 1])
    least = np.where(members[:, None] >= 3, 1, counts)
    wanted = np.maximum(members[:, None] * shares, least)
    assert np.all(np.abs(counts - wanted) <= 3)


def test_sizes_hold_over_many_small_classes():
    counts = splitting._counts(np.full(100, 7), np.array([0.6, 0.2, 0.2]))
    np.testing.assert_allclose(counts.sum(axis=0), [420, 140, 140], atol=2)


def test_stratified_split(key):
    labels = np.repeat(["a", "b", "c"], [100, 20, 3])
    parts = kanjax.data.split_rows(key, 123, labels=labels)
    for part in parts:
        assert set(labels[part]) == {"a", "b", "c"}
        # The order is random, so a slice of a part is not of one class.
        assert list(labels[part]) != sorted(labels[part])
    assert np.sum(labels[parts[0]] == "a") == 70


def test_a_part_may_be_empty(key):
    parts = kanjax.data.split_rows(
        key, 50, labels=np.arange(50) % 2, fractions=(0.8, 0, 0.2)
    )
    assert [part.size for part in parts] == [40, 0, 10]


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5)]
)
def test_bad_fractions(key, fractions):
    with pytest.raises(ValueError, match="fractions must be three shares"):
        kanjax.data.split_rows(key, 50, fractions=fractions)


def test_a_class_with_one_member_raises(key):
    labels = np.array(["a"] * 30 + ["lonely"])
    with pytest.raises(kanjax.data.DataError, match="class 'lonely' has one member"):
        kanjax.data.split_rows(key, 31, labels=labels)


def test_split_of_a_data_set(key):
    data = kanjax.data.load("wine")
    split = data.split(key)
    assert split.train.x.dtype == jnp.float32 and split.train.y.dtype == jnp.int32
    np.testing.assert_allclose(split.test.x, data.x[split.rows[2]], rtol=1e-6)
    np.testing.assert_array_equal(split.validation.y, data.y[split.rows[1]])
    regression = kanjax.data.load("diabetes").split(key, fractions=(0.5, 0.2, 0.3))
    assert regression.train.y.shape == (221, 1)
    assert regression.test.y.dtype == jnp.float32


def test_data_sets_check_their_shapes():
    x, y = np.ones((4, 2)), np.array([0, 1, 1, 2])
    make = kanjax.data.Dataset
    assert "x=(4, 2)" in repr(make(x, y, ("a", "b"), ("n", "p", "q"), "classification"))
    with pytest.raises(ValueError, match=r"0\.\.1, one for each of target_names"):
        make(x, y, ("a", "b"), ("n", "p"), "classification")
    with pytest.raises(ValueError, match="as many rows"):
        make(x[:3], y, ("a", "b"), ("n", "p", "q"), "classification")
    with pytest.raises(ValueError, match="3 names for x"):
        make(x, y, ("a", "b", "c"), ("n", "p", "q"), "classification")
    with pytest.raises(ValueError, match=r"y must be \(n, outputs\)"):
        make(x, y.astype(float), ("a", "b"), ("y",), "regression")
    with pytest.raises(ValueError, match="integer class indices"):
        make(x, y.astype(float), ("a", "b"), ("y",), "classification")
    with pytest.raises(ValueError, match="got 'ranking'"):
        make(x, y, ("a", "b"), ("y",), "ranking")


def test_rows_of_a_group_stay_together(key):
    groups = np.random.default_rng(0).integers(40, size=500)
    parts = kanjax.data.split_groups(key, groups)
    assert sorted(np.concatenate(parts)) == list(range(500))
    names = [set(groups[part]) for part in parts]
    assert not names[0] & names[1] and not names[0] & names[2]
    assert not names[1] & names[2]
    sizes = np.array([len(part) for part in parts]) / 500
    np.testing.assert_allclose(sizes, (0.7, 0.15, 0.15), atol=0.03)
    again = kanjax.data.split_groups(key, groups)
    assert all(map(np.array_equal, parts, again))


def test_every_part_gets_a_group(key):
    """Also where one group has nearly all rows."""
    groups = np.array(["a"] * 98 + ["b", "c"])
    sizes = [len(part) for part in kanjax.data.split_groups(key, groups)]
    assert sorted(sizes) == [1, 1, 98] and sizes[0] == 98
    with pytest.raises(kanjax.data.DataError, match="2 groups, expected at least 3"):
        kanjax.data.split_groups(key, groups[:99])


def test_the_last_rows_are_tested_on(key):
    times = np.random.default_rng(0).permutation(np.repeat(np.arange(50), 4))
    train, validation, test = kanjax.data.split_in_time(key, times)
    assert max(times[train]) < min(times[validation])
    assert max(times[validation]) < min(times[test])
    assert abs(len(train) - 140) <= 4 and abs(len(test) - 30) <= 4
    assert not np.array_equal(train, np.sort(train))
    with pytest.raises(kanjax.data.DataError, match="2 different times"):
        kanjax.data.split_in_time(key, times > 40)


@pytest.mark.parametrize("folds", [2, 5, 23])
def test_folds_test_every_row_once(key, folds):
    """And each class to within a row of its share."""
    labels = np.repeat([0, 1, 2], [13, 8, 2])
    parts = [
        splitting.split_fold(key, 23, (fold, folds), labels=labels)
        for fold in range(folds)
    ]
    for rows in parts:
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), range(23))
        sizes = np.bincount(labels[rows[2]], minlength=3)
        assert np.all(np.abs(sizes - np.array([13, 8, 2]) / folds) < 1)
        assert len(rows[0]) > len(rows[1])
    tested = np.concatenate([test for _, _, test in parts])
    np.testing.assert_array_equal(np.sort(tested), range(23))


def test_folds_keep_groups_together(key):
    groups = np.repeat(list("abcdefg"), [9, 1, 4, 4, 2, 6, 4])
    parts = [
        splitting.split_fold(key, 30, (fold, 3), groups=groups) for fold in range(3)
    ]
    for rows in parts:
        of_parts = [set(groups[part]) for part in rows]
        assert all(of_parts) and sum(map(len, of_parts)) == 7
    assert sorted(len(test) for _, _, test in parts) == [10, 10, 10]


def test_folds_that_are_none(key):
    with pytest.raises(ValueError, match=r"such as \(0, 5\); got \(5, 5\)"):
        splitting.split_fold(key, 20, (5, 5))
    with pytest.raises(
        kanjax.data.DataError, match="4 rows, expected at least one for each"
    ):
        splitting.split_fold(key, 4, (0, 5))
    with pytest.raises(kanjax.data.DataError, match="2 groups"):
        splitting.split_fold(key, 20, (0, 5), groups=np.arange(20) % 2)
