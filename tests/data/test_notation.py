"""Numbers as tables write them: read with a note, or refused with a count."""

import json

import jax
import numpy as np
import pandas as pd
import pytest

import kanjax.data
from kanjax.data import notation

ROWS = 40


def frame(cells, name="a"):
    rng = np.random.default_rng(0)
    return pd.DataFrame({name: cells, "b": rng.normal(size=ROWS)}).assign(
        y=rng.normal(size=ROWS)
    )


@pytest.mark.parametrize(
    ("write", "first"),
    [
        (lambda v: f"{v:.1f}".replace(".", ","), "'1234,5' is 1234.5"),
        (lambda v: f"{v:,.1f}", "'1,234.5' is 1234.5"),
        (lambda v: f"{v:,.1f}".translate({44: 46, 46: 44}), "'1.234,5' is 1234.5"),
        (lambda v: f"{v:,.1f}".translate({44: 160}), r"'1\xa0234.5' is 1234.5"),
        (lambda v: f"{v:,.1f}".replace(",", "'"), '"1\'234.5" is 1234.5'),
        (lambda v: f"{v:.1f} %", "'1234.5 %' is 1234.5"),
    ],
)
def test_numbers_of_one_notation(write, first, tmp_path):
    values = np.round(np.linspace(1234.5, -678.9, ROWS), 1)
    cells = [write(v) for v in values]
    table = frame([*cells[:-1], None])
    ready = kanjax.data.prepare(table, target="y", key=jax.random.key(0))
    assert ready.feature_names == ("a", "b")
    assert f"column 'a': numbers read as {first}" in ready.notes
    plain = kanjax.data.prepare(
        table.assign(a=[*values[:-1], np.nan]), target="y", key=jax.random.key(0)
    )
    for ours, theirs in zip(ready.split[:3], plain.split[:3], strict=True):
        np.testing.assert_array_equal(ours.x, theirs.x)
    # New rows are read alike, even where they alone could be read in two ways.
    scaler = kanjax.data.Preprocessor.from_dict(
        json.loads(json.dumps(ready.preprocessor.to_dict()))
    )
    assert scaler == ready.preprocessor
    new = table.iloc[[3]].assign(a=[write(234.0)])
    as_number = new.assign(a=[234.0])
    np.testing.assert_array_equal(scaler.features(new), scaler.features(as_number))
    with pytest.raises(kanjax.data.DataError, match="1 of 1 values are not"):
        scaler.features(new.assign(a=["many"]))
    # And a target.
    backwards = table.rename(columns={"a": "y", "y": "a"}).iloc[:-1]
    ready = kanjax.data.prepare(backwards, target="y", key=jax.random.key(0))
    assert ready.task == "regression"
    np.testing.assert_allclose(
        ready.preprocessor.inverse_target(ready.preprocessor.target(backwards))[:, 0],
        values[:-1],
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([*map(str, range(ROWS - 1)), "<LOD"], "1 of 40 values are not.*is '<LOD'"),
        (["mm", *map(str, range(ROWS - 1))], r"is 'mm' in the first row \(units\?\)"),
        ([f"{i}%" for i in range(30)] + ["0.1"] * 10, "10 of 40 .* is '0.1'"),
        (["15,023", "60,078"] * 20, "'15,023' is 15.023 or 15023; write them"),
        ([*(f"{i},5" for i in range(30)), *["n.d."] * 10], "10 of 40 .* is 'n.d.'"),
    ],
)
def test_what_is_not_wholly_numbers_is_refused(cells, words):
    with pytest.raises(kanjax.data.DataError, match=f"column 'a' .*{words}"):
        kanjax.data.prepare(frame(cells), target="y", key=jax.random.key(0))
    # As categories they are what the user says that they are.
    ready = kanjax.data.prepare(
        frame(cells), target="y", key=jax.random.key(0), categorical=["a"]
    )
    assert all(name.startswith("a=") for name in ready.feature_names[:-1])


def test_text_stays_text():
    """Codes that begin with a zero are no numbers, nor is what is text mostly."""
    for cells in (["007", "012", "A12", "120"], ["red", "12", "green", "blue"]):
        table = pd.DataFrame({"a": cells * 10})
        assert notation.recognized(table) == ((), ())
    typed = pd.DataFrame({"a": pd.array(["1", "2"] * 5, dtype="string")})
    found, notes = notation.recognized(typed)
    assert found == () and "though all its values are numbers" in notes[0]
    assert notation.recognized(typed, skip=["a"]) == ((), ())
    texts = pd.Series([str(i % 3) for i in range(ROWS)], dtype="string")
    ready = kanjax.data.prepare(frame(texts), target="y", key=jax.random.key(0))
    assert [note for note in ready.notes if "are numbers" in note] == [
        "column 'a' is text, so categories, though all its values are numbers; convert "
        "it to have them as such"
    ]
    for other in (pd.Categorical(["1,5", "2"]), [True, False], [1, 2], [None, None]):
        assert notation.recognized(pd.DataFrame({"a": other})) == ((), ())
