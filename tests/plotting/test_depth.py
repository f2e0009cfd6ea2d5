import numpy as np
import pytest

from kanjax import plotting


def test_lines_are_the_variances_on_a_logarithmic_axis():
    figure = plotting.variance_by_depth(
        {"kept": [1.0, 1.1, 0.9], "lost": [1.0, 1e-9, np.nan]}, title="t"
    )
    axes = figure.axes[0]
    kept, lost = axes.lines
    np.testing.assert_allclose(kept.get_ydata(), [1, 1.1, 0.9])
    np.testing.assert_array_equal(lost.get_xdata(), [0, 1])
    assert axes.get_yscale() == "log" and axes.get_xlabel() and axes.get_ylabel()
    assert "1 not positive or not finite" in axes.get_xlabel()
    figure.draw_without_rendering()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="variances is empty"):
        plotting.variance_by_depth({})
