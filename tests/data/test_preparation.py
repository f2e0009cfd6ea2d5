import tracemalloc

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn import preprocessing

import kanjax.data

ROWS = 100


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.normal(size=ROWS),
            "kind": rng.choice(["u", "v", "w"], ROWS),
            "y": rng.normal(50, 3, ROWS),
        }
    )


def test_a_bundled_set(key):
    data = kanjax.data.load("breast_cancer")
    ready = kanjax.data.prepare(data, key=key)
    assert ready.task == "classification" and ready.name == "breast_cancer"
    assert ready.target_names == data.target_names
    assert ready.feature_names == data.feature_names
    split = data.split(key)
    for part, rows, theirs in zip(ready.split, ready.split.rows, split, strict=False):
        np.testing.assert_array_equal(part.y, data.y[rows])
        np.testing.assert_array_equal(part.y, theirs.y)
    scale = preprocessing.MinMaxScaler((-1, 1), clip=True)
    scale.fit(data.x[ready.split.rows[0]])
    np.testing.assert_allclose(
        ready.split.test.x, scale.transform(data.x[ready.split.rows[2]]), atol=1e-5
    )
    assert {array.dtype.name for array in ready.split.train} == {"float32", "int32"}


@pytest.mark.parametrize("name", ["diabetes", "digits", "wine", "feynman:x*y"])
def test_the_other_sets(key, name):
    ready = kanjax.data.prepare(kanjax.data.load(name), key=key)
    assert ready.split.train.x.shape[1] == len(ready.feature_names)
    assert float(abs(ready.split.train.x).max()) <= 1
    if ready.task == "regression":
        assert abs(float(ready.split.train.y.mean())) < 1e-5
        np.testing.assert_allclose(float(ready.split.train.y.std()), 1, rtol=1e-4)


def test_a_table_of_the_user(key, frame, tmp_path):
    frame.loc[[3, 9], "y"] = np.nan
    frame.loc[[5, 6, 7], "a"] = np.nan
    frame["same"] = "s"
    ready = kanjax.data.prepare(frame, target="y", key=key)
    assert ready.task == "regression"
    assert ready.feature_names == ("a", "kind=u", "kind=v", "kind=w")
    notes = " | ".join(ready.notes)
    assert "2 rows without a target were left out" in notes
    assert "constant columns dropped: 'same'" in notes and "column 'a'" in notes
    rows = np.concatenate(ready.split.rows)
    np.testing.assert_array_equal(np.sort(rows), np.setdiff1d(range(ROWS), [3, 9]))
    np.testing.assert_allclose(
        ready.preprocessor.inverse_target(ready.split.test.y)[:, 0],
        frame["y"].to_numpy()[ready.split.rows[2]],
        rtol=1e-5,
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = kanjax.data.read_table(tmp_path / "t.csv", target="y")
    from_file = kanjax.data.prepare(table, key=key)
    np.testing.assert_allclose(from_file.split.train.x, ready.split.train.x, rtol=1e-6)
    assert from_file.name == "t" and from_file.notes == ready.notes


def test_the_frame_is_left_alone(key, frame):
    frame.columns = ["a", 1, "y"]
    before = frame.copy()
    ready = kanjax.data.prepare(frame, target="1", key=key)
    assert ready.task == "classification" and ready.target_names == ("u", "v", "w")
    pd.testing.assert_frame_equal(frame, before)


def test_seeded(key, frame):
    first, again = (kanjax.data.prepare(frame, target="y", key=key) for _ in range(2))
    other = kanjax.data.prepare(frame, target="y", key=jax.random.key(3))
    np.testing.assert_array_equal(first.split.rows[2], again.split.rows[2])
    assert first.preprocessor == again.preprocessor
    assert first.preprocessor != other.preprocessor


def test_tasks(key, frame):
    frame["count"] = np.arange(ROWS) % 4
    frame["flag"] = np.arange(ROWS) % 2 == 0
    tasks = {
        name: kanjax.data.prepare(frame, target=name, key=key).task
        for name in ("a", "kind", "count", "flag")
    }
    assert tasks == {
        "a": "regression",
        "kind": "classification",
        "count": "classification",
        "flag": "classification",
    }
    forced = kanjax.data.prepare(frame, target="count", task="regression", key=key)
    assert forced.split.train.y.shape == (70, 1)
    several = kanjax.data.prepare(frame, target=["a", "y"], key=key)
    assert several.target_names == ("a", "y") and several.split.test.y.shape[1] == 2


def test_every_class_reaches_every_part(key, frame):
    frame["label"] = ["rare"] * 3 + ["pair"] * 2 + ["rest"] * (ROWS - 5)
    ready = kanjax.data.prepare(frame, target="label", key=key)
    rare, pair = (ready.target_names.index(name) for name in ("rare", "pair"))
    assert [int((part.y == rare).sum()) for part in ready.split[:3]] == [1, 1, 1]
    assert [int((part.y == pair).sum()) for part in ready.split[:3]] == [1, 0, 1]


def test_images_are_flattened(key):
    rng = np.random.default_rng(0)
    data = kanjax.data.Dataset(
        rng.random((60, 4, 4, 3), np.float32),
        rng.integers(0, 2, 60),
        (),
        ("cat", "dog"),
        "classification",
    )
    ready = kanjax.data.prepare(data, key=key)
    assert ready.split.train.x.shape[1] == 48 and ready.feature_names[-1] == "x47"


def test_bad_tables_get_one_line(key, frame):
    lonely = ["u"] * (ROWS - 1) + ["w"]
    cases = [
        (frame, "z", None, "no target column 'z'"),
        (frame, "knd", None, "did you mean 'kind'"),
        (frame, None, None, "target must name the column to predict"),
        (frame.iloc[:0], "y", None, "is an empty table"),
        (frame.iloc[:19], "y", None, "has 19 rows with a target, expected at least 20"),
        (frame.assign(gap=np.nan), "y", None, "'gap' has no value in any of 100 rows"),
        (frame.assign(gap=None), "y", None, "'gap' has no value in any of 100 rows"),
        (frame.assign(y=np.nan), "y", None, "'y' is missing in every row"),
        (frame.assign(y=1.5), "y", None, "'y' is constant"),
        (frame.assign(y="x"), "y", None, "'y' is constant"),
        (frame.assign(kind=lonely), "kind", None, "class 'w' has one member"),
        (frame, "y", "classification", "100 classes have one member, e.g."),
        (frame.assign(a=np.inf), "y", None, "'a' has infinite values in 100 of 100"),
        (frame.assign(y=[-np.inf] + [1.0] * 99), "y", None, "'y' has infinite values"),
        (frame.assign(a=[1e300] + [1.0] * 99), "y", None, "infinite values in 1 of"),
        (frame, "kind", "regression", "'kind' is text, which cannot be regressed on"),
        (frame, ["y", "kind"], None, "'kind' is text"),
        (frame, ["y", "kind"], "classification", "takes one target column"),
        (frame[["y"]], "y", None, "no column beside the target"),
        (frame[["a", "a", "y"]], "y", None, "several columns called 'a'"),
        (
            frame.assign(day=pd.Timestamp("2020-01-01")),
            "y",
            None,
            "'day' is of type datetime64",
        ),
        (frame.assign(z=1j), "y", None, "'z' is of type complex"),
        (frame.assign(z=[[1]] * ROWS), "y", None, "'z' has values that cannot be"),
    ]
    for bad, target, task, message in cases:
        with pytest.raises(kanjax.data.DataError, match=message) as caught:
            kanjax.data.prepare(bad, target=target, task=task, key=key)
        assert "\n" not in str(caught.value)


def test_wrong_arguments(key, frame):
    with pytest.raises(TypeError, match="got ndarray"):
        kanjax.data.prepare(np.ones((30, 2)), key=key)
    with pytest.raises(ValueError, match="task must be"):
        kanjax.data.prepare(frame, target="y", task="ranking", key=key)
    with pytest.raises(ValueError, match="fractions must be"):
        kanjax.data.prepare(frame, target="y", fractions=(1, 1, 1), key=key)


def test_a_large_table_needs_little_memory(key):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        rng.normal(size=(100_000, 19)), columns=[f"c{i}" for i in range(19)]
    )
    frame["town"] = rng.choice(["u", "v", "w"], 100_000)
    frame["y"] = rng.normal(size=100_000)
    tracemalloc.start()
    ready = kanjax.data.prepare(frame, target="y", key=key)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ready.split.train.x.shape == (70_000, 22) and peak < 100e6


def test_a_column_divides_the_rows(key):
    rng = np.random.default_rng(0)
    day = pd.date_range("2026-01-01", periods=60).strftime("%Y-%m-%d")
    frame = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(20), 3),
            "day": rng.permutation(day),
            "a": rng.normal(size=60),
            "y": rng.normal(size=60),
        }
    )
    frame.loc[5, "y"] = np.nan
    made = kanjax.data.prepare(frame, target="y", key=key, group="patient")
    seen = [set(frame.patient[rows]) for rows in made.split.rows]
    assert not seen[0] & seen[2] and "patient" not in made.feature_names
    folds = [
        kanjax.data.prepare(frame, target="y", key=key, group="patient", fold=(i, 4))
        for i in range(4)
    ]
    tested = np.concatenate([fold.split.rows[2] for fold in folds])
    np.testing.assert_array_equal(np.sort(tested), np.delete(np.arange(60), 5))
    for fold in folds:
        train, _, test = (set(frame.patient[rows]) for rows in fold.split.rows)
        assert not train & test
    with pytest.raises(ValueError, match="fold says what is tested on"):
        kanjax.data.prepare(frame, target="y", key=key, time="day", fold=(0, 4))
    plain = frame.drop(columns="patient")
    made = kanjax.data.prepare(plain, target="y", key=key, time="day")
    train, _, test = made.split.rows
    assert max(frame.day[train]) < min(frame.day[test])
    assert made.feature_names == ("a",)
    both = {"group": "patient", "time": "day"}
    with pytest.raises(ValueError, match="divide the rows in two ways"):
        kanjax.data.prepare(frame, target="y", key=key, **both)
    for column, words in (("y", "is the target"), ("b", "'b'")):
        with pytest.raises(kanjax.data.DataError, match=words):
            kanjax.data.prepare(frame, target="y", key=key, group=column)
    frame.loc[0, "day"] = "later"
    with pytest.raises(
        kanjax.data.DataError, match="'later', expected numbers or dates"
    ):
        kanjax.data.prepare(frame, target="y", key=key, time="day")


def test_rows_of_their_own_are_tested_on(key, frame):
    held_out = frame[::-1].assign(more=1)[:12].reset_index(drop=True)
    held_out.loc[2, "y"] = np.nan
    ready = kanjax.data.prepare(frame, target="y", key=key, test=held_out)
    expected = np.setdiff1d(range(ROWS, ROWS + 12), [ROWS + 2])
    np.testing.assert_array_equal(ready.split.rows[2], expected)
    np.testing.assert_allclose(
        ready.preprocessor.inverse_target(ready.split.test.y)[:, 0],
        held_out["y"].dropna(),
        rtol=1e-5,
    )
    first = np.concatenate(ready.split.rows[:2])
    np.testing.assert_array_equal(np.sort(first), np.arange(ROWS))
    # 15 of 85, as many of each hundred as without.
    assert len(ready.split.rows[1]) == pytest.approx(ROWS * 15 / 85, abs=1)
    classes = kanjax.data.prepare(frame, target="kind", key=key, test=held_out)
    assert set(np.asarray(classes.split.validation.y)) == {0, 1, 2}
    with pytest.raises(kanjax.data.DataError, match="lack the columns 'a'"):
        kanjax.data.prepare(frame, target="y", key=key, test=held_out[["y", "kind"]])
    with pytest.raises(kanjax.data.DataError, match="no test row has a target"):
        kanjax.data.prepare(frame, target="y", key=key, test=held_out.assign(y=np.nan))
    with pytest.raises(ValueError, match="give one"):
        kanjax.data.prepare(frame, target="y", key=key, test=held_out, group="kind")
