import numpy as np
import pytest

from kanjax import landscape, plotting

FOUND = landscape.IntrinsicDimension(
    np.array([10, 100]), np.array([[0.2, 0.4], [0.8, 1.0]]), 1.0, 0.9, 100.0, 100.0, 999
)


def test_lines_are_means_relative_to_the_baseline():
    none = FOUND._replace(baseline=2.0, threshold=1.8, dimension=np.inf)
    figure = plotting.intrinsic_dimension({"a": FOUND, "b": none}, title="t")
    axes = figure.axes[0]
    lines = [line for line in axes.lines if line.get_label()[0] in "ab"]
    np.testing.assert_allclose(lines[0].get_ydata(), [0.3, 0.9])
    np.testing.assert_allclose(lines[1].get_ydata(), [0.15, 0.45])
    assert [line.get_label() for line in lines] == ["a: 100", "b: none"]
    assert axes.get_xscale() == "log" and axes.get_xlabel() and axes.get_ylabel()
    figure.draw_without_rendering()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="measured is empty"):
        plotting.intrinsic_dimension({})
    with pytest.raises(ValueError, match="baseline of 'a' is -1.0"):
        plotting.intrinsic_dimension({"a": FOUND._replace(baseline=-1.0)})
