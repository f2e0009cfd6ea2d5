"""Columns that number or name the rows are no features, unless the user says so."""

import jax
import numpy as np
import pandas as pd
import pytest

import kanjax.data

ROWS = 60
KEY = jax.random.key(0)


def prepared(name, values, **options):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: values, "b": rng.normal(size=ROWS)})
    frame["y"] = np.sort(rng.normal(size=ROWS))
    return kanjax.data.prepare(frame, target="y", key=KEY, **options)


RNG = np.random.default_rng(1)
COUNTING = {
    "from 1": np.arange(1, ROWS + 1),
    "backwards from 0": np.arange(ROWS)[::-1],
    "shuffled from 1000": 1000 + RNG.permutation(ROWS),
    "objects": pd.Series(list(range(ROWS)), dtype=object),
    "nullable": pd.array(range(ROWS), dtype="Int64"),
}


@pytest.mark.parametrize("case", COUNTING)
def test_whole_numbers_that_count_the_rows(case):
    ready = prepared("run", COUNTING[case])
    assert ready.feature_names == ("b",)
    # What else is noted is clipped in rows that are not trained on.
    assert ready.notes[0] == (
        "column 'run' dropped: 42 of its 42 training values differ, as numbers that "
        "count the rows do; to keep it, name it as numeric"
    )
    kept = prepared("run", COUNTING[case], numeric=["run"])
    assert kept.feature_names == ("run", "b")


def test_rows_without_a_target_count():
    """Numbers count the rows of the table, also where some are left out."""
    frame = pd.DataFrame({"run": np.arange(ROWS), "b": RNG.normal(size=ROWS)})
    frame["y"] = frame.b.where(np.arange(ROWS) % 3 > 0)
    ready = kanjax.data.prepare(frame, target="y", key=KEY)
    assert ready.feature_names == ("b",)


@pytest.mark.parametrize("name", ["id", "PatientID", "sample_no", "Index", "Row"])
def test_whole_numbers_named_as_identifiers(name):
    values = 7 * RNG.permutation(10 * ROWS)[:ROWS]
    ready = prepared(name, values)
    assert ready.feature_names == ("b",) and "its name is" in ready.notes[0]
    with_gap = np.where(np.arange(ROWS) == 5, np.nan, values)
    assert prepared(name, with_gap).feature_names == ("b",)
    assert prepared("dose", values).feature_names == ("dose", "b")


def test_text_that_differs_in_nearly_every_row():
    """In small tables, too, where each would have a feature."""
    names = [f"sample {i}" for i in range(ROWS)]
    ready = prepared("who", [*names[:-1], names[0]])
    assert ready.feature_names == ("b",)
    assert "training values differ, as identifiers do" in ready.notes[0]
    assert "name it as categorical" in ready.notes[0]
    assert len(prepared("who", names, categorical=["who"]).feature_names) == 43
    thrice = [f"sample {i // 3}" for i in range(ROWS)]
    assert len(prepared("who", thrice).feature_names) > 10


def test_measurements_are_none():
    """Numbers with decimals, spread or repeated whole numbers, declared categories."""
    for values in (
        np.arange(ROWS) / 4,
        np.arange(float(ROWS)),
        RNG.permutation(5 * ROWS)[:ROWS],
        np.arange(ROWS) // 2,
    ):
        assert prepared("n", values).feature_names == ("n", "b")
    declared = pd.Categorical([f"s{i}" for i in range(ROWS)])
    assert len(prepared("id", declared).feature_names) == 43


def test_kinds_that_cannot_be():
    with pytest.raises(kanjax.data.DataError, match="both name 'run'"):
        prepared("run", range(ROWS), numeric=["run"], categorical=["run"])
    with pytest.raises(kanjax.data.DataError, match="lacks the column 'rum'"):
        prepared("run", range(ROWS), numeric=["rum"])
    with pytest.raises(kanjax.data.DataError, match="not numbers, the first is 's'"):
        prepared("run", ["s", "t"] * 30, numeric=["run"])


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%y", "%Y-%m-%d %H:%M"])
def test_dates_are_called_dates(form):
    dates = pd.date_range("2020-01-01", periods=ROWS).strftime(form)
    ready = prepared("day", dates)
    assert ready.feature_names == ("b",)
    assert "and they are dates, of which nothing is learned" in ready.notes[0]
