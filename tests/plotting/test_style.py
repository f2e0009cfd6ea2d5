import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from kanjax import plotting
from kanjax.plotting import style


def test_no_pyplot_and_no_changed_settings():
    code = """
import sys, matplotlib
before = dict(matplotlib.rcParams)
from kanjax import plotting
plotting.calibration([0.1, 0.9], [0.2, 0.8])
assert dict(matplotlib.rcParams) == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_settings_are_put_back_after_an_error():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match="nominal"):
        plotting.calibration([0.1, 0.9], [0.2])
    assert dict(matplotlib.rcParams) == before


def test_figures_show_themselves():
    figure = plotting.calibration([0.1, 0.9], [0.2, 0.8])
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_given_axes_are_drawn_into():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plotting.calibration([0.1], [0.2], axes=right) is figure
    assert right.lines and not left.lines


def test_fonts_are_readable():
    sizes = [v for k, v in style.STYLE.items() if k.endswith("size") and "font" in k]
    sizes += [style.STYLE["xtick.labelsize"], style.STYLE["axes.labelsize"]]
    assert min(sizes) >= 9


@pytest.mark.parametrize("name", ["short", "a" * 18])
def test_short_names_stay(name):
    assert style.shorten(name) == name


def test_long_names_keep_both_ends():
    short = style.shorten("mean radius of the nucleus, worst")
    assert len(short) == 18 and short.startswith("mean") and short.endswith("worst")


def test_dollar_signs_are_not_mathematics():
    assert style.shorten("$a$") == r"\$a\$"
    figure = plotting.scores([("$a_{$", 1.0), ("b$^$", 2.0)], metric="cost ($) in $^$")
    figure.draw_without_rendering()


def test_shortened_names_stay_different():
    names = [f"a long common start {i} and a long common end" for i in range(3)]
    assert len(set(style.labels(names, 3, "names", ""))) == 3


def test_wrong_number_of_names():
    with pytest.raises(ValueError, match="names has 1 entries; there are 2"):
        style.labels(["a"], 2, "names", "")
    with pytest.raises(ValueError, match="there are 2"):
        style.labels("ab", 2, "names", "")


def test_arrays_are_copied():
    given = np.ones(3)
    style.array(given, "given", 1)[0] = 7
    assert given[0] == 1


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (["a"], TypeError, "array of numbers"),
        ([[1.0]], ValueError, r"shape \(1, 1\)"),
        ([], ValueError, "empty"),
    ],
)
def test_bad_arrays(value, error, words):
    with pytest.raises(error, match=words):
        style.array(value, "given", 1)


def test_powers_of_ten_on_a_log_axis_are_plain_text():
    figure, axes = style.on_axes(None)
    axes.plot([1, 100], [1e-12, 1e3])
    style.log_scale(axes, "both")
    figure.draw_without_rendering()
    assert axes.get_xscale() == axes.get_yscale() == "log"
    texts = [label.get_text() for label in axes.get_xticklabels()]
    assert {"10⁰", "10¹", "10²"} <= set(texts)
    assert any(label.get_text().startswith("10⁻") for label in axes.get_yticklabels())
    axes.set_xticks([3, 30])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3", "30"]


def test_one_axis_may_be_logarithmic():
    axes = style.on_axes(None)[1]
    style.log_scale(axes, "y")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
