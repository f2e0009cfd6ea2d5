"""Results say what they hold in a line, whatever the size of their arrays."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import kan, pytrees


class Result(NamedTuple):
    value: Any

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.5, "1.5"),
        (None, "None"),
        (np.arange(3), "[0, 1, 2]"),
        (jnp.zeros((100, 2)), "float32[100, 2]"),
        ({"w": jnp.zeros((100, 2)), "b": jnp.zeros(5)}, "<2 arrays of 205 numbers>"),
        (kan.KAN((2, 5, 1)), "KAN((2, 5, 1))"),
        (list(range(1000)), "<list of 1000>"),
        ({"a": list(range(1000))}, "<dict of 1>"),
        ("x" * 1000, "<str of 1000>"),
        (Result(2), "Result(value=2)"),
        (Result(jnp.zeros(1000)), "<1 arrays of 1,000 numbers>"),
        (object, "<class 'object'>"),
    ],
)
def test_fields_in_a_line(value, said):
    assert repr(Result(value)) == f"Result(value={said})"


def test_a_notebook_shows_a_row_for_each_field():
    shown = Result(object)._repr_html_()
    assert "<tr><th>value</th><td>&lt;class &#x27;object&#x27;&gt;</td></tr>" in shown
    assert shown.startswith("<table><caption>Result</caption>")
