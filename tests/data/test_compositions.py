"""Alloys from text, their descriptors, and tables with a column of them."""

import jax
import numpy as np
import pandas as pd
import pytest

from kanjax import data

CANTOR = "CoCrFeMnNi"


def test_amounts_are_as_written():
    assert data.parse_composition("AlCoCrFeNi2") == {
        "Al": 1,
        "Co": 1,
        "Cr": 1,
        "Fe": 1,
        "Ni": 2,
    }
    assert data.parse_composition("Ti0.5 Zr.25Ti1.") == {"Ti": 1.5, "Zr": 0.25}


def test_fractions_sum_to_one_and_a_note_says_so():
    found = data.parse_compositions(["Ti0.5Zr0.5", "AlCoCrFeNi2"])
    np.testing.assert_allclose(found.fractions.sum(axis=1), 1)
    assert found.fractions[1, found.elements.index("Ni")] == pytest.approx(1 / 3)
    (note,) = found.notes
    assert "1 of 2 compositions do not sum to 1" in note
    assert "'AlCoCrFeNi2', sums to 6" in note
    assert data.parse_compositions(["Ti0.5Zr0.5"]).notes == ()


def test_descriptors_of_an_equimolar_alloy():
    found = data.alloy_descriptors([CANTOR])
    assert found.mixing_entropy[0] == pytest.approx(8.314462618 * np.log(5))
    assert found.valence_electrons[0] == pytest.approx((9 + 6 + 8 + 7 + 10) / 5)
    assert found.mixing_enthalpy is None


def test_descriptors_equal_loops_over_the_definitions():
    texts = ["AlCoCrFeNi2", "Ti20Zr20Hf20Nb20Ta20", "Cu"]
    pairs = {("Al", "Ni"): -22.0, ("Co", "Al"): -19.0}
    with pytest.raises(data.DataError, match="no value for"):
        data.alloy_descriptors(texts, pair_enthalpies=pairs)
    everything = {
        (a, b): -abs(i - j) * 1.5
        for i, a in enumerate(data.ELEMENTS)
        for j, b in enumerate(data.ELEMENTS)
        if i < j
    }
    found = data.alloy_descriptors(texts, pair_enthalpies=everything)
    for row, text in enumerate(texts):
        amounts = data.parse_composition(text)
        total = sum(amounts.values())
        c = {symbol: amount / total for symbol, amount in amounts.items()}
        elements = {symbol: data.ELEMENTS[symbol] for symbol in c}
        radius = sum(c[s] * e.radius for s, e in elements.items())
        chi = sum(c[s] * e.electronegativity for s, e in elements.items())
        delta = sum(c[s] * (1 - e.radius / radius) ** 2 for s, e in elements.items())
        spread = sum(
            c[s] * (e.electronegativity - chi) ** 2 for s, e in elements.items()
        )
        enthalpy = sum(
            4 * value * c.get(a, 0) * c.get(b, 0)
            for (a, b), value in everything.items()
        )
        assert found.size_mismatch[row] == pytest.approx(100 * delta**0.5)
        assert found.electronegativity_spread[row] == pytest.approx(spread**0.5)
        assert found.mixing_enthalpy[row] == pytest.approx(enthalpy)
    assert found.mixing_entropy[2] == 0 and found.size_mismatch[2] == 0


@pytest.mark.parametrize(
    "text, words",
    [
        ("AlXx2", "names 'Xx', which is no element"),
        ("al2", "is no composition, expected symbols"),
        ("Al-Cu", "is no composition"),
        ("", "is no composition"),
        ("Al0Cu0", "no positive amount"),
    ],
)
def test_what_is_no_composition(text, words):
    with pytest.raises(data.DataError, match=words):
        data.parse_composition(text)


def test_elements_without_constants_are_named():
    with pytest.raises(data.DataError, match="no constants for the elements 'U'"):
        data.alloy_descriptors(["AlU"])
    own = {**data.ELEMENTS, "U": data.Element(1.42, 1.38, 3)}
    found = data.alloy_descriptors(["AlU"], constants=own)
    assert found.valence_electrons[0] == 3
    with pytest.raises(data.DataError, match="there are no compositions"):
        data.alloy_descriptors([])


def table(rows=40):
    generator = np.random.default_rng(0)
    amounts = generator.integers(1, 9, (rows, 3))
    texts = [f"Al{a}Co{b}Ni{c}" for a, b, c in amounts]
    return pd.DataFrame(
        {
            "alloy": texts,
            "annealing": generator.uniform(0, 10, rows),
            "strength": amounts @ [1.0, 2.0, 3.0] / amounts.sum(axis=1),
        }
    )


def test_a_composition_column_becomes_fractions_and_descriptors():
    frame = table()
    prepared = data.prepare(
        frame, target="strength", key=jax.random.key(0), composition="alloy"
    )
    assert prepared.feature_names[:4] == (
        "alloy:Al",
        "alloy:Co",
        "alloy:Ni",
        "alloy:mixing_entropy",
    )
    assert prepared.feature_names[-1] == "annealing"
    x = np.asarray(prepared.split.train.x)
    assert x.min() >= -1 and x.max() <= 1
    assert any("do not sum to 1" in note for note in prepared.notes)
    again = data.Preprocessor.from_dict(prepared.preprocessor.to_dict())
    np.testing.assert_array_equal(
        again.features(frame), prepared.preprocessor.features(frame)
    )
    new = frame.assign(alloy="AlCoTi2")
    assert any("'Ti'" in note for note in again.remarks(new))
    assert np.all(np.isfinite(again.features(new)))


def test_bad_composition_columns_say_which_row():
    frame = table()
    for bad, words in (
        ("AlXx", "row 3: 'AlXx' names 'Xx'"),
        (None, "no composition in"),
    ):
        spoiled = frame.copy()
        spoiled.loc[3, "alloy"] = bad
        fitted = data.fit_preprocessor(
            frame, "strength", "regression", range(40), composition="alloy"
        )
        with pytest.raises(data.DataError, match=words):
            fitted.features(spoiled)
    with pytest.raises(data.DataError, match="lacks the column 'aloy'"):
        data.prepare(
            frame, target="strength", key=jax.random.key(0), composition="aloy"
        )
