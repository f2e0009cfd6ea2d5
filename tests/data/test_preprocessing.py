import dataclasses
import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from sklearn import impute, preprocessing

import kanjax.data

ROWS = 120


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "a": rng.normal(3, 2, ROWS),
            "b": rng.integers(0, 50, ROWS).astype(float),
            "color": rng.choice(["red", "blue", "green"], ROWS),
            "flat": np.full(ROWS, 7),
            "flag": rng.choice([True, False], ROWS),
            "y": rng.normal(100, 20, ROWS),
            "label": rng.choice(["no", "yes", "maybe"], ROWS),
        }
    )
    made.loc[rng.choice(ROWS, 15, replace=False), "b"] = np.nan
    made.loc[rng.choice(ROWS, 10, replace=False), "color"] = None
    return made


@pytest.fixture
def train():
    return np.random.default_rng(1).permutation(ROWS)[:80]


def _fit(frame, train, target="y", task="regression", **options):
    unused = [name for name in ("y", "label") if name != target]
    return kanjax.data.fit_preprocessor(
        frame.drop(columns=unused), target, task, train, **options
    )


def test_features_are_scikit_learns(frame, train):
    fitted = _fit(frame, train)
    numeric = frame[["a", "b"]].to_numpy()
    median = impute.SimpleImputer(strategy="median").fit(numeric[train])
    scale = preprocessing.MinMaxScaler((-1, 1), clip=True)
    scale.fit(median.transform(numeric[train]))
    colors = frame[["color"]].astype(object).where(frame[["color"]].notna(), None)
    common = impute.SimpleImputer(strategy="most_frequent", missing_values=None)
    common.fit(colors.to_numpy(object)[train])
    filled = common.transform(colors.to_numpy(object))
    flags = frame[["flag"]].to_numpy().astype(str)
    onehot = preprocessing.OneHotEncoder(sparse_output=False)
    expected = np.hstack(
        [
            scale.transform(median.transform(numeric)),
            onehot.fit(filled[train]).transform(filled),
            onehot.fit(flags[train]).transform(flags),
        ]
    )
    x = fitted.features(frame)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)
    assert fitted.feature_names == (
        "a",
        "b",
        "color=blue",
        "color=green",
        "color=red",
        "flag=False",
        "flag=True",
    )
    units = fitted.in_units(x)
    known = median.transform(numeric)
    np.testing.assert_allclose(units[train, :2], known[train], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(units[:, 2:], x[:, 2:])
    assert fitted.of_categories.tolist() == [False] * 2 + [True] * 5


def test_target_is_scikit_learns(frame, train):
    fitted = _fit(frame, train)
    oracle = preprocessing.StandardScaler().fit(frame[["y"]].to_numpy()[train])
    y = fitted.target(frame)
    assert y.shape == (ROWS, 1) and y.dtype == np.float32
    np.testing.assert_allclose(y, oracle.transform(frame[["y"]].to_numpy()), rtol=1e-5)
    np.testing.assert_allclose(
        fitted.inverse_target(y), frame[["y"]].to_numpy(), rtol=1e-5
    )
    members = np.stack([y, y + 1])
    np.testing.assert_allclose(
        fitted.inverse_target(members)[1] - fitted.inverse_target(members)[0],
        np.full((ROWS, 1), fitted.std[0]),
        rtol=1e-4,
    )


def test_classes(frame, train):
    fitted = _fit(frame, train, "label", "classification")
    assert fitted.target_names == ("maybe", "no", "yes")
    y = fitted.target(frame)
    assert y.dtype == np.int32 and y.shape == (ROWS,)
    assert fitted.inverse_target(y).tolist() == frame["label"].tolist()
    frame.loc[5, "label"] = "never"
    with pytest.raises(kanjax.data.DataError, match="class 'never', expected one"):
        fitted.target(frame)
    frame.loc[5, "label"] = None
    with pytest.raises(kanjax.data.DataError, match="'label' is missing in 1 rows"):
        fitted.target(frame)


def test_numeric_labels_sort_as_numbers_and_survive_floats():
    frame = pd.DataFrame({"a": np.arange(33.0), "k": np.arange(33) % 11})
    fitted = kanjax.data.fit_preprocessor(frame, "k", "classification", np.arange(33))
    assert fitted.labels == tuple(map(str, range(11)))
    as_floats = frame.astype({"k": float})
    np.testing.assert_array_equal(fitted.target(as_floats), frame["k"])


def test_notes(frame, train):
    notes = " | ".join(_fit(frame, train).notes)
    missing = int(frame["b"].iloc[train].isna().sum())
    assert f"column 'b': {missing} of 80 training values missing, filled with" in notes
    assert "column 'color'" in notes and "constant columns dropped: 'flat'" in notes


def test_other_rows_do_not_change_the_fit(frame, train):
    before = _fit(frame, train)
    others = np.setdiff1d(np.arange(ROWS), train)
    frame.loc[others, ["a", "b", "y"]] = 1e6
    frame.loc[others, "color"] = "ultraviolet"
    frame.loc[others[:5], "flat"] = -1
    assert _fit(frame, train) == before
    # The training rows' features too are what they were.
    unseen = before.features(frame.iloc[others])
    assert np.all(unseen[:, 2:5] == 0) and np.all(unseen[:, 0] == 1)
    remarks = " | ".join(before.remarks(frame.iloc[others]))
    assert "40 of 40 values are of no category kept" in remarks
    assert "values outside the training range clipped to it: 80, in 'a', 'b'" in remarks


@pytest.mark.parametrize(("target", "task"), [("y", "regression"), ("label", "")])
def test_json_round_trip(frame, train, target, task):
    fitted = _fit(frame, train, target, task or "classification", domain=(0, 2))
    text = json.dumps(fitted.to_dict(), allow_nan=False)
    again = kanjax.data.Preprocessor.from_dict(json.loads(text))
    assert again == fitted
    np.testing.assert_array_equal(again.features(frame), fitted.features(frame))
    np.testing.assert_array_equal(again.target(frame), fitted.target(frame))


def test_damaged_descriptions(frame, train):
    good = _fit(frame, train).to_dict()
    for bad in (
        {},
        {k: v for k, v in good.items() if k != "targets"},
        good | {"columns": [{"kind": "unheard of"}]},
        good | {"columns": 3},
        good | {"task": "ranking"},
        good | {"color": "red"},
    ):
        with pytest.raises(kanjax.data.DataError, match="not a preprocessor's"):
            kanjax.data.Preprocessor.from_dict(bad)


def test_far_outliers_do_not_squash_the_rest():
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000)
    values[3] = 1e6
    frame = pd.DataFrame({"a": values, "y": rng.normal(size=1000)})
    fitted = kanjax.data.fit_preprocessor(frame, "y", "regression", np.arange(1000))
    x = fitted.features(frame)[:, 0]
    assert "1 outliers in the training rows clipped" in fitted.notes[0]
    assert np.quantile(x, 0.99) - np.quantile(x, 0.01) > 0.3 and x[3] == 1
    # A column that is almost always zero keeps its range.
    frame["a"] = np.where(np.arange(1000) < 3, 5.0, 0.0)
    fitted = kanjax.data.fit_preprocessor(frame, "y", "regression", np.arange(1000))
    assert fitted.notes == () and fitted.features(frame)[0, 0] == 1


def test_many_categories(train):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"user{i}" for i in range(ROWS)],
            "town": [f"t{i % 30:02}" for i in range(ROWS)],
            "y": rng.normal(size=ROWS),
        }
    )
    fitted = kanjax.data.fit_preprocessor(
        frame, "y", "regression", np.arange(ROWS), max_categories=10
    )
    assert fitted.feature_names == tuple(f"town=t{i:02}" for i in range(10))
    assert "column 'id' dropped" in fitted.notes[0]
    assert "10 most frequent of 30 categories kept" in fitted.notes[1]


def test_pandas_types(train):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 30, ROWS)
    frame = pd.DataFrame(
        {
            "int": pd.array([None, *numbers[1:]], dtype="Int64"),
            "bool": pd.array([None, *(numbers[1:] > 9)], dtype="boolean"),
            "text": pd.array([None, *numbers[1:].astype(str)], dtype="string"),
            "category": pd.Categorical(numbers % 3),
            "object": pd.Series([None, *map(float, numbers[1:])], dtype=object),
            "y": rng.normal(size=ROWS),
        }
    )
    fitted = kanjax.data.fit_preprocessor(frame, "y", "regression", train)
    names = fitted.feature_names
    assert names[:3] == ("int", "bool=False", "bool=True") and "object" in names
    assert names[-4:-1] == ("category=0", "category=1", "category=2")
    x = fitted.features(frame)
    assert np.isfinite(x).all()
    # As a CSV file would bring them back.
    plain = frame.astype({"category": int, "int": float, "object": float})
    plain["text"] = plain["text"].astype(object)
    np.testing.assert_array_equal(fitted.features(plain), x)


def test_bad_columns_at_prediction(frame, train):
    fitted = _fit(frame, train)
    with pytest.raises(kanjax.data.DataError, match="lacks the column 'color'"):
        fitted.features(frame.drop(columns="color"))
    with pytest.raises(TypeError, match="DataFrame; got a dict. kj.data.read_frame"):
        fitted.features({"a": 1.0})
    wrong = frame.assign(a=["12", "n/k", *["3"] * (ROWS - 2)])
    with pytest.raises(kanjax.data.DataError, match="1 of 120 values .* 'n/k'"):
        fitted.features(wrong)
    with pytest.raises(kanjax.data.DataError, match="'a' has infinite values in 2 of"):
        fitted.features(frame.assign(a=[np.inf, -np.inf, *[1.0] * (ROWS - 2)]))
    text = frame.assign(a=frame["a"].map(repr))
    np.testing.assert_array_equal(fitted.features(text), fitted.features(frame))


def test_fit_refuses(frame, train):
    with pytest.raises(
        kanjax.data.DataError, match="'b' has no value in any of the 80"
    ):
        _fit(frame.assign(b=np.nan), train)
    with pytest.raises(kanjax.data.DataError, match="'y' is constant"):
        _fit(frame.assign(y=3.0), train)
    with pytest.raises(kanjax.data.DataError, match="no feature column is left"):
        kanjax.data.fit_preprocessor(frame[["flat", "y"]], "y", "regression", train)
    with pytest.raises(kanjax.data.DataError, match="one target column"):
        kanjax.data.fit_preprocessor(frame, ("label", "flag"), "classification", train)
    with pytest.raises(ValueError, match="low < high"):
        _fit(frame, train, domain=(1, 1))
    with pytest.raises(ValueError, match="max_categories"):
        _fit(frame, train, max_categories=1)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    st.lists(
        st.floats(-(2.0**99), 2.0**99, width=32) | st.just(float("nan")),
        min_size=4,
        max_size=40,
    ),
    st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (-3.0, 5.0)]),
)
def test_features_stay_in_the_domain(values, domain):
    known = [value for value in values if value == value]
    hypothesis.assume(len(set(known[: len(values) // 2])) > 1)
    frame = pd.DataFrame({"a": values, "y": np.arange(len(values), dtype=float)})
    rows = np.flatnonzero(np.isin(values, known[: len(values) // 2]))
    fitted = kanjax.data.fit_preprocessor(frame, "y", "regression", rows, domain=domain)
    x = fitted.features(frame)
    slack = 1e-6 * (domain[1] - domain[0])
    assert np.all(x >= domain[0] - slack) and np.all(x <= domain[1] + slack)
    json.dumps(fitted.to_dict(), allow_nan=False)


def test_descriptions_are_frozen(frame, train):
    fitted = _fit(frame, train)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fitted.task = "classification"
