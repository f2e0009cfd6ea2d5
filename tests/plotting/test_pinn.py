import numpy as np
import pytest

from kanjax import plotting


def test_a_map_has_the_values_in_their_places():
    x, y = np.linspace(0, 1, 4), np.linspace(-1, 1, 3)
    field = x[:, None] + 10 * y
    field[0, 0] = np.nan
    figure = plotting.field_maps(x, y, {"u": field, "v": -(field**2)}, title="$")
    first, second = figure.axes[:2]
    (mesh,) = first.collections
    shown = mesh.get_array()
    assert shown.shape == (3, 4) and shown.mask[0, 0] and shown.mask.sum() == 1
    np.testing.assert_allclose(shown[2, 3], field[3, 2])
    # Both signs: zero is white.
    assert mesh.norm.vmin == -mesh.norm.vmax == -11.0
    assert first.get_title() == "u" and second.get_title() == "v"
    figure.draw_without_rendering()


def test_sizes_are_on_a_logarithmic_scale_of_four_decades():
    x = np.arange(2.0)
    figure = plotting.field_maps(x, x, {"r": [[1e-9, -1.0], [0.0, 0.1]]}, log=True)
    norm = figure.axes[0].collections[0].norm
    np.testing.assert_allclose([norm.vmin, norm.vmax], [1e-4, 1.0])
    plotting.field_maps(x, x, {"zero": np.zeros((2, 2))}, log=True)
    empty = plotting.field_maps(x, x, {"lost": np.full((2, 2), np.nan)})
    assert empty.axes[0].texts[0].get_text() == "no finite values"


def test_curves_have_their_references():
    t = np.arange(3.0)
    figure = plotting.field_curves(t, {"u": t, "v": -t}, {"u": t + 1})
    lines = figure.axes[0].lines
    np.testing.assert_array_equal(lines[1].get_ydata(), t + 1)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["u", "reference", "v"]
    second = plotting.field_curves(t, {"u": t, "v": -t}, {"v": t + 1}).axes[0]
    labels = [text.get_text() for text in second.get_legend().get_texts()]
    assert labels == ["u", "v", "reference"]
    log = plotting.field_curves(t, {"u": -t}, log=True).axes[0]
    assert log.get_yscale() == "log" and log.lines[0].get_ydata()[2] == 2


def test_descent_marks_stages():
    figure = plotting.descent([1.0, 0.1, np.nan, 0.01], stages={"finer": 2})
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata()[[0, 3]], [1, 0.01])
    assert list(axes.lines[1].get_xdata()) == [2, 2]
    assert "1 non-finite value not shown" in axes.get_xlabel()
    assert plotting.descent([0.0]).axes[0].texts


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="fields is empty"):
        plotting.field_maps([0.0], [0.0], {})
    with pytest.raises(ValueError, match=r"fields\['u'\] has shape \(1, 2\)"):
        plotting.field_maps([0.0, 1], [0.0], {"u": [[1, 2]]})
    with pytest.raises(ValueError, match=r"fields\['u'\] has 2 values for 1 points"):
        plotting.field_curves([0.0], {"u": [1, 2]})
    with pytest.raises(ValueError, match="fields is empty"):
        plotting.field_curves([0.0], {})
