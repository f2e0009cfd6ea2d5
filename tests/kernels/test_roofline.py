"""The least times that chips allow, and the table of them in the docs."""

import pathlib
import re

import pytest

from kanjax import bases
from pallas_kernels import roofline, triton_source

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "kernels.md"


def test_each_of_three_limits():
    chip = roofline.Chip({"float32": 2e3, "bfloat16": 4e3}, 1e3, 1e2)
    times = roofline.least_times(chip, 10, 3, 20, 4, "float32", operations=5, tile=16)
    # 120 numbers of the expansion, 20 columns in two tiles; 30 + 240 + 200 numbers.
    assert times == pytest.approx(
        (120 * 20 * 2 / 2e3, 120 * 5 * 2 / 1e3, 470 * 4 / 1e2)
    )
    assert times.least == times.memory
    half = roofline.least_times(chip, 10, 3, 20, 4, "bfloat16", operations=5)
    assert half == pytest.approx((times.product / 2, times.expansion / 2, 9.4))
    with pytest.raises(ValueError, match="one of float32, bfloat16.*got 'tf32'"):
        roofline.least_times(chip, 1, 1, 1, 1, "tf32")


def test_the_operations_of_a_cubic_spline():
    """As many as a kernel has for each number and function, but for the position."""
    lines = triton_source.source(bases.BSpline(5), 0).splitlines()
    written = [line for line in lines if re.match(r"\s+v\d+ = ", line)]
    signs = sum(len(re.findall(r" [-+*] |tl\.(?:abs|maximum)", w)) for w in written)
    # The position in intervals, two, and the centre, two, are made once for many; and
    # an addition to 0 is none.
    assert signs - 5 == 13


def test_the_table_in_the_docs():
    rows = re.findall(
        r"^\| ([^|]+) \| (float32|tf32|bfloat16) \| (.*) \|$", DOCS.read_text(), re.M
    )
    assert {name for name, *_ in rows} == set(roofline.CHIPS)
    for name, dtype, cells in rows:
        path, *figures = cells.split(" | ")
        tile = 64 if path == "Triton" else None
        for shape, least in zip(
            ((4096, 256, 256), (8192, 784, 64)), figures[::2], strict=True
        ):
            times = roofline.least_times(
                roofline.CHIPS[name], *shape, 8, dtype, tile=tile
            )
            limit = times._fields[times.index(times.least)]
            assert least == f"{times.least * 1e3:.2g} ({limit})"
        measured = [figure == "not measured" for figure in figures[1::2]]
        assert all(measured) == (path != "XLA") == any(measured)
