import builtins
import gzip

import numpy as np
import pandas as pd
import pytest

import kanjax.data
from kanjax.data import tables

CSV = """\
age,color,smoker,weight,price
31,red,True,,10.5
28,blue,False,71.2,11.0
?,"light, green",True,80,9.25
44,,False,65.1,12
"""


def _write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_with_categories_and_gaps(tmp_path):
    table = kanjax.data.read_table(_write(tmp_path / "houses.csv", CSV), target="price")
    assert table.targets == ("price",) and table.name == "houses"
    frame = table.frame
    assert list(frame.columns) == ["age", "color", "smoker", "weight", "price"]
    np.testing.assert_array_equal(frame["age"], [31, 28, np.nan, 44])
    assert frame["color"].isna().tolist() == [False, False, False, True]
    assert frame["color"][2] == "light, green" and frame["smoker"].dtype == bool
    assert "houses" in repr(table)


@pytest.mark.parametrize(
    ("name", "separator"), [("a.tsv", "\t"), ("a.csv", ";"), ("a.txt", "|")]
)
def test_separators_are_recognised(tmp_path, name, separator):
    text = CSV.replace('"light, green"', "green").replace(",", separator)
    frame = kanjax.data.read_frame(_write(tmp_path / name, text))
    assert frame.shape == (4, 5) and frame["price"].sum() == 42.75


def test_csv_with_mark_spaces_gzip_and_row_numbers(tmp_path):
    text = "\ufeff,a, b\r\n0,1,x\r\n1,2,y\r\n"
    path = _write(tmp_path / "t.csv.gz", gzip.compress(text.encode()))
    table = kanjax.data.read_table(path, target="b")
    assert list(table.frame.columns) == ["a", "b"]
    assert "counts the rows was dropped" in table.notes[0]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["1", "2", "3"], "counts the rows"),
        (["2", "0", "1"], "counts the rows"),
        (["30", "7", "12"], "numbers the rows"),
        (["Mazda", "Fiat", "Honda"], "names the rows"),
        (["1", "1", "2"], ""),
        (["0.5", "1.5", "2.5"], ""),
    ],
)
@pytest.mark.parametrize("name", ["", '""', "Unnamed: 0"])
def test_a_first_column_without_a_name(labels, said, name, tmp_path):
    """As R's ``write.csv`` and pandas' ``to_csv`` write it."""
    rows = "".join(f"{label},{i / 2},{i}\n" for i, label in enumerate(labels))
    path = _write(tmp_path / "t.csv", f"{name},a,y\n{rows}")
    table = kanjax.data.read_table(path, target="y")
    assert list(table.frame.columns)[-2:] == ["a", "y"]
    assert len(table.frame.columns) == (2 if said else 3)
    assert [said in note for note in table.notes] == ([True] if said else [])


@pytest.mark.parametrize(
    "text",
    [
        '"Force, N, mean";"y"\n1;2\n3;4\n',
        '"a; b | c";d\n"1,5";"2,5"\n"3,5";"4,5"\n',
        '"a\nwith, a, second, line";y\n"one, two\nthree";4\nx;5\n',
        "a,a,b,b;y\n1;2\n3;4\n",
    ],
)
def test_separators_in_quotes_are_none(text, tmp_path):
    frame = kanjax.data.read_frame(_write(tmp_path / "t.csv", text))
    assert frame.shape == (2, 2) and len(set(frame.columns)) == 2


def test_cells_as_they_are_written(tmp_path):
    path = _write(tmp_path / "t.csv", "code,x,flag,y\n007,1,TRUE,2\n012,,false,3\n")
    frame = kanjax.data.read_frame(path, text=True)
    assert frame.code.tolist() == ["007", "012"] and frame.x[0] == "1"
    assert frame.isna().to_numpy().sum() == 1
    table = kanjax.data.read_table(path, target="y", categorical=["code"])
    assert table.frame.code.tolist() == ["007", "012"]
    assert table.frame.y.tolist() == [2, 3] and table.frame.flag.dtype == bool


def test_a_category_does_not_depend_on_the_other_rows(tmp_path, key):
    rng = np.random.default_rng(0)
    codes = rng.choice(["007", "012", "A12"], 60)
    flags = rng.choice(["TRUE", "FALSE"], 60)
    rows = zip(codes, flags, rng.normal(size=60), strict=True)
    text = "".join(f"{code},{flag},{x:.3f},{-x:.3f}\n" for code, flag, x in rows)
    path = _write(tmp_path / "t.csv", "code,flag,x,y\n" + text)
    table = kanjax.data.read_table(path, target="y")
    scaler = kanjax.data.prepare(table, key=key).preprocessor
    assert scaler.feature_names[:3] == ("code=007", "code=012", "code=A12")
    new = _write(tmp_path / "new.csv", "code,flag,x\n007,true,1\n012,False,2\n")
    frame = kanjax.data.read_frame(new, text=True)
    x = scaler.features(frame)
    np.testing.assert_array_equal(x[:, :3], [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(x[:, 3:5], [[0, 1], [1, 0]])
    assert not [note for note in scaler.remarks(frame) if "no category" in note]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "is an empty table"),
        ("a,b,a\n1,2,3\n", "several columns called 'a'"),
        ("a,b\n1,2\n3,4,5\n", "not a readable table .*line 3"),
        ("a,b\n1,2,3\n4,5,6\n", "more fields in its rows than the 2 names"),
        ('a,b\n1,"2\n', "not a readable table"),
        (b"a,b\n\xff\xfe,1\n", "not a readable table .* UTF-8"),
        (b"PK\x03\x04\x00\x00\xff\xff\x00", "not a readable table"),
        (gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)[:-12], "not a readable table"),
    ],
)
def test_wrong_csv(tmp_path, text, message):
    name = "t.csv.gz" if text[:2] == b"\x1f\x8b" else "t.csv"
    with pytest.raises(kanjax.data.DataError, match=message) as caught:
        kanjax.data.read_table(_write(tmp_path / name, text), target="b")
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_missing_files_and_columns(tmp_path):
    path = _write(tmp_path / "houses.csv", CSV)
    read = kanjax.data.read_table
    with pytest.raises(kanjax.data.DataError, match="no file .*mean 'houses.csv'"):
        read(tmp_path / "house.csv", target="price")
    with pytest.raises(
        kanjax.data.DataError, match="no target column 'Prize'.*'price'"
    ):
        read(path, target="Prize")
    with pytest.raises(kanjax.data.DataError, match="needs a target .*one of 'age'"):
        read(path)
    with pytest.raises(kanjax.data.DataError, match="each once"):
        read(path, target=["age", "age"])
    with pytest.raises(kanjax.data.DataError, match=r"ends in '.xlsx', expected"):
        read(_write(tmp_path / "t.xlsx", CSV), target="price")
    with pytest.raises(ValueError, match="task must be"):
        read(path, target="price", task="ranking")


def test_parquet(tmp_path, monkeypatch):
    frame = pd.DataFrame(
        {"a": [1.5, None, 3.0], "b": ["x", "y", None], "c": pd.Categorical(list("uvu"))}
    )
    path = tmp_path / "t.parquet"
    frame.set_index(pd.Index([7, 8, 9], name="id")).to_parquet(path)
    table = kanjax.data.read_table(path, target="c")
    assert table.frame.shape == (3, 3) and "'id' is not used" in table.notes[0]
    np.testing.assert_array_equal(table.frame["a"], frame["a"])
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(kanjax.data.DataError, match="not a readable Parquet file"):
        kanjax.data.read_table(path, target="c")
    original = builtins.__import__

    def without_pyarrow(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(kanjax.data.DataError, match=r"pip install kanjax\[parquet\]"):
        kanjax.data.read_table(path, target="c")


def test_npz_tables(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    np.savez(tmp_path / "xy.npz", X=x, y=y)
    table = kanjax.data.read_table(tmp_path / "xy.npz")
    assert table.targets == ("y",)
    assert list(table.frame.columns) == ["X0", "X1", "X2", "y"]
    np.savez(
        tmp_path / "named.npz",
        x=x,
        feature_names=["p", "q", "r"],
        out=rng.normal(size=(40, 2)),
    )
    table = kanjax.data.read_table(tmp_path / "named.npz", target="out")
    assert table.targets == ("out0", "out1")
    assert list(table.frame.columns) == ["p", "q", "r", "out0", "out1"]
    np.savez(tmp_path / "columns.npz", a=x[:, 0], kind=np.array(["u", "v"] * 20))
    table = kanjax.data.read_table(tmp_path / "columns.npz", target="kind")
    assert table.frame.shape == (40, 2)
    np.savez(tmp_path / "odd.npz", a=x, b=y[:7])
    with pytest.raises(kanjax.data.DataError, match="arrays of different lengths"):
        kanjax.data.read_table(tmp_path / "odd.npz", target="b")


def test_npz_data_sets(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.npz"
    images = rng.integers(0, 9, (40, 8, 8, 3))
    np.savez(path, x=images, y=np.array(["cat", "dog"] * 20))
    data = kanjax.data.read_npz(path)
    assert data.x.shape == (40, 8, 8, 3) and data.x.dtype == np.float32
    assert data.target_names == ("cat", "dog") and data.y[:2].tolist() == [0, 1]
    np.savez(path, X=rng.normal(size=(40, 3)), Y=rng.normal(size=(40, 2)))
    data = kanjax.data.read_npz(path)
    assert data.task == "regression" and data.target_names == ("Y0", "Y1")
    assert data.feature_names == ("x0", "x1", "x2")
    np.savez(path, x=images, y=np.arange(40.0))
    assert kanjax.data.read_npz(path, task="classification").y.max() == 39


def test_wrong_npz(tmp_path):
    path = tmp_path / "a.npz"
    x = np.ones((30, 2))
    cases = [
        ({"x": x, "z": x}, "expected 'x' and 'y'"),
        ({"x": x[0], "y": x[:, 0]}, "expected numbers"),
        ({"x": x, "y": x[:4, 0]}, "30 rows in x and 4 in y"),
        ({"x": np.array([["a"]] * 30), "y": x[:, 0]}, "expected numbers"),
        ({}, "holds no arrays"),
        ({"x": x, "y": np.array([None] * 30, object)}, "pickled .* never loaded"),
    ]
    for arrays, message in cases:
        np.savez(path, **arrays)
        with pytest.raises(kanjax.data.DataError, match=message):
            kanjax.data.read_npz(path)
    np.savez(path, x=x, y=np.array(["a", "b"] * 15))
    with pytest.raises(kanjax.data.DataError, match="holds text"):
        kanjax.data.read_npz(path, task="regression")
    raw = bytearray(path.read_bytes())
    raw[200:240] = b"\xff" * 40
    path.write_bytes(raw)
    with pytest.raises(kanjax.data.DataError, match="is damaged"):
        kanjax.data.read_npz(path)
    np.save(tmp_path / "b.npy", x)
    (tmp_path / "b.npy").rename(path)
    with pytest.raises(kanjax.data.DataError, match="is not an NPZ file"):
        kanjax.data.read_npz(path)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (np.array(["a", "b"] * 20), "classification"),
        (np.array([True, False] * 20), "classification"),
        (np.arange(40) % 3, "classification"),
        (np.arange(40) % 3 * 1.0, "classification"),
        (np.arange(40) % 9, "regression"),
        (np.arange(4000) % 20, "classification"),
        (np.arange(4000) % 21, "regression"),
        (np.arange(40) % 3 + 0.5, "regression"),
    ],
)
def test_task_inference(values, task):
    assert tables.infer_task(values) == task
