import numpy as np
import pytest

from kanjax import plotting


def test_points_lie_under_the_two_limits():
    points = {"kernel": [(1.0, 5.0), (100.0, 50.0)], "product " * 9: [(2.0, 8.0)]}
    figure = plotting.roofline(points, peak=100.0, bandwidth=10.0, title="a device")
    axes = figure.axes[0]
    limit, first, second = axes.lines
    x, y = limit.get_data()
    np.testing.assert_allclose(y, np.minimum(100, 10 * x))
    assert 10.0 in x and x[0] < 1 and x[-1] > 100
    np.testing.assert_array_equal(first.get_data(), [[1, 100], [5, 50]])
    assert first.get_marker() != second.get_marker()
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert entries[:2] == ["limit", "kernel"] and len(entries[2]) == 28
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_title() == "a device"
    figure.draw_without_rendering()


@pytest.mark.parametrize("points", [{}, {"a": []}, {"a": [(0.0, 1.0)]}])
def test_bad_input(points):
    with pytest.raises(ValueError, match="all numbers must be positive"):
        plotting.roofline(points, peak=1.0, bandwidth=1.0)
