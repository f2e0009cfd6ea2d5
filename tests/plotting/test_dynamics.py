import numpy as np
import pytest

from kanjax import ntk, plotting


def test_marks_lie_on_lines():
    times = np.arange(4.0)
    curve = np.exp(-times)
    figure = plotting.predicted_curves(
        times, {"loss": curve + 0.1}, {"loss": curve}, log=True, title="$"
    )
    axes = figure.axes[0]
    line, marks = axes.lines
    np.testing.assert_array_equal(line.get_ydata(), curve)
    np.testing.assert_array_equal(marks.get_ydata(), curve + 0.1)
    assert marks.get_linestyle() == "None" and axes.get_yscale() == "log"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["loss, predicted", "loss, measured"]
    figure.draw_without_rendering()


def test_the_band_is_two_standard_deviations_wide_and_sorted():
    x = np.array([2.0, 0.0, 1.0])
    posterior = ntk.Posterior(np.array([[3.0], [1.0], [2.0]]), np.diag([4.0, 1.0, -1]))
    figure = plotting.posterior_band(x, posterior, data=(x, x), samples=np.ones((2, 3)))
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[2].get_ydata(), [1, 2, 3])
    edges = axes.collections[0].get_paths()[0].vertices
    assert edges[:, 1].min() == -1 and edges[:, 1].max() == 7
    figure.draw_without_rendering()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="must have the same names"):
        plotting.predicted_curves([0], {"a": [1]}, {"b": [1]})
    with pytest.raises(ValueError, match=r"predicted\['a'\] has 2 values for 1 times"):
        plotting.predicted_curves([0], {"a": [1]}, {"a": [1, 2]})
    with pytest.raises(ValueError, match="x has 1 points"):
        posterior = ntk.Posterior(np.ones((2, 1)), np.eye(2))
        plotting.posterior_band([0.0], posterior)
