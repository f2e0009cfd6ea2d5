"""Seeded splits of rows into training, validation and test: by class, group or time."""

from collections.abc import Sequence

import jax
import numpy as np
from jax import Array

from kanjax.data import errors

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Row indices of the training, validation and test part."""

FRACTIONS = (0.7, 0.15, 0.15)

# A class with fewer members than parts goes to training first, then to the test.
_PRIORITY = (0, 2, 1)


def split_rows(
    key: Array,
    rows: int,
    *,
    labels: np.ndarray | None = None,
    fractions: Sequence[float] = FRACTIONS,
) -> Rows:
    """Divide ``range(rows)`` at random into training, validation and test rows.

    Args:
        key: a jax key; the same key gives the same split.
        rows: how many rows there are.
        labels: (rows,) class of each row. Given, every class is divided in the same
            proportions, and a class with at least as many members as there are parts
            is in every one of them.
        fractions: of training, validation and test; they sum to 1. Validation and
            test may be 0, which leaves that part empty.

    Returns:
        Three disjoint arrays of row indices, each in random order, that together
        hold every row once.

    Raises:
        ValueError: when the fractions are not three, negative, or do not sum to 1.
        DataError: when a class has a single member.
    """
    shares = _checked(fractions)
    order = np.asarray(jax.random.permutation(key, rows))
    if labels is None:
        classes = np.zeros(rows, int)
    else:
        labels = np.asarray(labels)
        if labels.shape != (rows,):
            raise ValueError(
                f"labels must have the shape ({rows},), one a row, got {labels.shape}"
            )
        names, classes = np.unique(labels, return_inverse=True)
        _refuse_singles(names, np.bincount(classes, minlength=names.size))
    return _divided(order, classes, shares)


def split_fold(
    key: Array,
    rows: int,
    fold: tuple[int, int],
    *,
    labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    fractions: Sequence[float] = FRACTIONS,
) -> Rows:
    """Divide rows so that the test parts of all folds are disjoint and hold all rows.

    Folds differ in size by one row at most, in all and in each class; with groups they
    are as near to that as the groups' sizes allow.

    Args:
        key: a jax key; all folds of one cross-validation take the same.
        rows: how many rows there are.
        fold: which fold, counted from 0, of how many.
        labels: (rows,) class of each row, which then is divided alike over the folds.
        groups: (rows,) group of each row, such as a patient, in place of labels: rows
            of one group stay together.
        fractions: as for :func:`split_rows`; the rows that are not tested on are
            divided in the ratio of the first two.

    Raises:
        ValueError: if there is no such fold, or for labels beside groups.
        DataError: if there are fewer rows, or groups, than folds.
    """
    shares = _checked(fractions)
    index, folds = fold
    if not 0 <= index < folds or folds < 2:
        raise ValueError(
            f"fold must be which of how many, such as (0, 5); got {tuple(fold)}."
        )
    if labels is not None and groups is not None:
        raise ValueError("rows are divided by labels or by groups; give one.")
    kind, units = ("rows", np.arange(rows)) if groups is None else ("groups", groups)
    names, of_row, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if names.size < folds:
        raise errors.DataError(
            f"there are {names.size} {kind}, expected at least one for each of {folds} "
            "folds"
        )
    rest = shares * (1, 1, 0) / shares[:2].sum()
    key_folds, key_rest = jax.random.split(key)
    order = np.asarray(jax.random.permutation(key_folds, names.size))
    place = np.empty(names.size, int)
    if groups is None:
        classes = np.zeros(rows, int)
        if labels is not None:
            classes = np.unique(labels, return_inverse=True)[1]
        # Dealt like cards, class after class.
        place[order[np.argsort(classes[order], kind="stable")]] = (
            np.arange(rows) % folds
        )
        left, test = order[place[order] != index], order[place[order] == index]
        train, validation, _ = _divided(left, classes, rest)
        return train, validation, test
    filled = np.zeros(folds, int)
    # The large groups first, each to the fold that has fewest rows.
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        place[group] = np.argmin(filled)
        filled[place[group]] += sizes[group]
    left = np.flatnonzero(place[of_row] != index)
    train, validation, _ = split_groups(key_rest, of_row[left], fractions=rest)
    return left[train], left[validation], np.flatnonzero(place[of_row] == index)


def _divided(order: np.ndarray, classes: np.ndarray, shares: np.ndarray) -> Rows:
    """Return the parts of the rows in ``order``, each class divided alike."""
    of_rows = classes[order]
    # Assigned by class, handed out in random order: a slice of a part is unbiased.
    by_class = order[np.argsort(of_rows, kind="stable")]
    assigned = np.empty(len(classes), int)
    assigned[by_class] = np.repeat(
        np.tile(np.arange(3), np.unique(of_rows).size),
        _counts(np.unique(of_rows, return_counts=True)[1], shares).ravel(),
    )
    train, validation, test = (order[assigned[order] == p] for p in range(3))
    return train, validation, test


def split_groups(
    key: Array,
    groups: np.ndarray,
    *,
    fractions: Sequence[float] = FRACTIONS,
) -> Rows:
    """Divide rows so that those of one group, such as a patient's, stay together.

    Groups go at random, the large ones first, to the part that lacks most rows: so the
    parts come as near to their shares as the groups' sizes allow.

    Args:
        key: a jax key; the same key gives the same split.
        groups: (rows,) the group of each row.
        fractions: as for :func:`split_rows`.

    Raises:
        ValueError: as for :func:`split_rows`.
        DataError: when there are fewer groups than parts.
    """
    shares = _checked(fractions)
    names, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if names.size < np.count_nonzero(shares):
        raise errors.DataError(
            f"the rows are of {names.size} groups, expected at least "
            f"{np.count_nonzero(shares)}, one for each of training, validation and test"
        )
    key_groups, key_rows = jax.random.split(key)
    order = np.asarray(jax.random.permutation(key_groups, names.size))
    order = order[np.argsort(-sizes[order], kind="stable")]
    lacking = shares * len(of_row)
    place = np.empty(names.size, int)
    used = np.flatnonzero(shares)
    empty = set(used.tolist())
    for left, group in zip(range(names.size, 0, -1), order, strict=True):
        # The last groups go to the parts that have none yet.
        candidates = empty if len(empty) == left else used
        chosen = max(candidates, key=lambda p: lacking[p])
        place[group] = chosen
        lacking[chosen] -= sizes[group]
        empty.discard(chosen)
    return _shuffled_parts(key_rows, place[of_row])


def split_in_time(
    key: Array,
    times: np.ndarray,
    *,
    fractions: Sequence[float] = FRACTIONS,
) -> Rows:
    """Divide rows so that training comes first in time, then validation, then test.

    Rows of one time stay together.

    Args:
        key: a jax key, of the order of the rows in their part.
        times: (rows,) numbers or dates that can be sorted.
        fractions: as for :func:`split_rows`.

    Raises:
        ValueError: as for :func:`split_rows`.
        DataError: when a part is left empty, as when nearly all rows are of one time.
    """
    shares = _checked(fractions)
    _, of_row, sizes = np.unique(times, return_inverse=True, return_counts=True)
    # A time belongs where the middle one of its rows does.
    middle = (np.cumsum(sizes) - sizes / 2) / len(of_row)
    place = np.searchsorted(np.cumsum(shares)[:2], middle, side="right")[of_row]
    for i, name in enumerate(("training", "validation", "test")):
        if shares[i] > 0 and not np.any(place == i):
            raise errors.DataError(
                f"the rows are of {sizes.size} different times, which leave no {name} "
                "rows; expected times that tell the rows apart"
            )
    return _shuffled_parts(key, place)


def _shuffled_parts(key: Array, place: np.ndarray) -> Rows:
    """Return the rows of each part in random order."""
    order = np.asarray(jax.random.permutation(key, len(place)))
    train, validation, test = (order[place[order] == p] for p in range(3))
    return train, validation, test


def _checked(fractions: Sequence[float]) -> np.ndarray:
    shares = np.asarray(fractions, float)
    if (
        shares.shape != (3,)
        or not np.all(shares >= 0)
        or shares[0] == 0
        or abs(shares.sum() - 1) > 1e-6
    ):
        raise ValueError(
            "fractions must be three shares, of training (above 0), validation and "
            f"test, that sum to 1, e.g. {FRACTIONS}; got {tuple(fractions)}"
        )
    return shares


def _refuse_singles(names: np.ndarray, counts: np.ndarray) -> None:
    single = [str(name) for name in names[counts == 1]]
    if single:
        which = (
            f"class {single[0]!r} has one member"
            if len(single) == 1
            else f"{len(single)} classes have one member, e.g. {single[0]!r}"
        )
        raise errors.DataError(
            f"{which}, expected at least 2 in "
            "each class (one to train on, one to test on); drop these rows or merge "
            "the class with another, or pass task='regression' if it is a quantity"
        )


def _counts(members: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """How many of each class go to each part: (classes, 3), rows sum to ``members``.

    What rounding withholds from a part in one class is owed to it in the next, so
    that the parts have the wanted sizes even with many small classes.
    """
    counts = np.empty((members.size, 3), int)
    owed = np.zeros(3)
    wanted = [p for p in _PRIORITY if shares[p] > 0]
    for c, size in enumerate(members):
        quota = size * shares + owed
        least = np.zeros(3, int)
        least[wanted[:size]] = 1
        counts[c] = _rounded(int(size), quota, least, shares > 0)
        # Bounded, or a large class would have to pay for a hundred tiny ones.
        owed = np.clip(quota - counts[c], -0.5, 0.5)
    return counts


def _rounded(
    size: int, quota: np.ndarray, least: np.ndarray, used: np.ndarray
) -> np.ndarray:
    """Whole numbers near ``quota``, at least ``least``, that sum to ``size``."""
    counts = np.where(used, np.maximum(np.floor(quota).astype(int), least), 0)
    while counts.sum() < size:
        counts[np.argmax(np.where(used, quota - counts, -np.inf))] += 1
    while counts.sum() > size:
        counts[np.argmax(np.where(counts > least, counts - quota, -np.inf))] -= 1
    return counts
