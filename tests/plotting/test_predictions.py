import numpy as np
import pytest

from kanjax import plotting


def by_label(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def texts(axes):
    return [text.get_text() for text in axes.texts]


class TestParity:
    def test_points_bars_and_summary(self):
        y, mean = np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 2.5])
        figure = plotting.parity(y, mean, [0.1, 0.2, 0.3], units="m")
        axes = figure.axes[0]
        points = by_label(axes, "prediction")
        np.testing.assert_array_equal(points.get_xdata(), y)
        np.testing.assert_array_equal(points.get_ydata(), mean)
        (bars,) = axes.collections
        lengths = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
        np.testing.assert_allclose(lengths, [0.2, 0.4, 0.6])
        assert "R² = 0.750" in texts(axes)[0] and "RMSE = 0.408 m" in texts(axes)[0]
        assert axes.get_xlabel() == "true value (m)"
        assert len(axes.get_legend().get_texts()) == 3
        figure.draw_without_rendering()

    def test_rows_that_are_not_finite_are_left_out(self):
        y = np.array([[1.0], [np.nan], [3.0], [4.0]])
        axes = plotting.parity(y, np.array([1.0, 2.0, np.inf, 4.0])).axes[0]
        np.testing.assert_array_equal(by_label(axes, "prediction").get_xdata(), [1, 4])
        assert "2 non-finite rows" in axes.get_xlabel()

    def test_all_lost_and_given_summary(self):
        axes = plotting.parity([np.nan], [1.0]).axes[0]
        assert texts(axes) == ["no finite values"]
        axes = plotting.parity([1.0], [1.0], summary="mine").axes[0]
        assert texts(axes) == ["mine"]

    def test_bad_shapes(self):
        with pytest.raises(ValueError, match="one output at a time"):
            plotting.parity(np.ones((3, 2)), np.ones((3, 2)))
        with pytest.raises(ValueError, match="std has 2 rows and y 3"):
            plotting.parity(np.ones(3), np.ones(3), np.ones(2))


class TestConfusion:
    def test_counts_and_shares(self):
        figure = plotting.confusion([0, 0, 1, 1], [0, 1, 1, 1], ["no", "y" * 30])
        axes = figure.axes[0]
        np.testing.assert_allclose(axes.images[0].get_array(), [[0.5, 0.5], [0, 1]])
        assert texts(axes) == ["1", "1", "2"]
        ticks = [tick.get_text() for tick in axes.get_yticklabels()]
        assert ticks[0] == "no" and len(ticks[1]) == 12
        figure.draw_without_rendering()

    def test_a_class_without_rows_is_masked(self):
        axes = plotting.confusion([0, 2], [0, 1]).axes[0]
        assert axes.images[0].get_array().mask[1].all()
        assert "1 without a true row" in axes.get_xlabel()

    def test_many_classes_have_no_numbers_and_few_ticks(self):
        labels = np.arange(60)
        axes = plotting.confusion(labels, labels).axes[0]
        assert not texts(axes)
        assert len(axes.get_xticks()) <= 25

    def test_bad_input(self):
        with pytest.raises(TypeError, match="integers"):
            plotting.confusion([0.5], [1])
        with pytest.raises(ValueError, match="must be equal"):
            plotting.confusion([0, 1], [1])
        with pytest.raises(ValueError, match="there is a label 2"):
            plotting.confusion([0, 2], [1, 1], ["a", "b"])
        with pytest.raises(ValueError, match="start at 0"):
            plotting.confusion([-1], [0])


class TestCalibration:
    @pytest.mark.parametrize("kind", ["coverage", "confidence"])
    def test_curve_is_sorted_and_masked(self, kind):
        figure = plotting.calibration(
            [0.9, 0.1, 0.5], [0.8, 0.2, np.nan], kind=kind, title="t"
        )
        axes = figure.axes[0]
        np.testing.assert_array_equal(
            by_label(axes, "observed").get_xdata(), [0.1, 0.9]
        )
        assert "1 non-finite point" in axes.get_xlabel()
        assert axes.get_title() == "t" and axes.get_ylabel()
        figure.draw_without_rendering()

    def test_bad_input(self):
        with pytest.raises(ValueError, match="kind"):
            plotting.calibration([0.1], [0.1], kind="other")
        with pytest.raises(ValueError, match="must be equal"):
            plotting.calibration([0.1], [0.1, 0.2])


class TestScores:
    def test_dots_means_and_best(self):
        rows = [("a", 0.5), ("b" * 40, [0.6, 0.8]), ("c", np.nan)]
        figure = plotting.scores(rows, metric="R2")
        axes = figure.axes[0]
        diamonds = [line for line in axes.lines if line.get_marker() == "D"]
        np.testing.assert_allclose(
            [d.get_xdata()[0] for d in diamonds], [0.5, 0.7, np.nan]
        )
        (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_array_equal(dots.get_xdata(), [0.6, 0.8])
        assert texts(axes) == ["0.500", "0.700", "not finite"]
        assert [text.get_weight() for text in axes.texts][1] == "bold"
        assert "higher is better" in axes.get_xlabel()
        assert "1 non-finite value" in axes.get_xlabel()
        assert len(axes.get_yticklabels()[1].get_text()) == 24
        figure.draw_without_rendering()

    def test_all_that_are_best_are_bold(self):
        axes = plotting.scores([("a", 1.0), ("b", 0.5), ("c", [1.0, 1.0])]).axes[0]
        weights = [text.get_weight() for text in axes.texts]
        assert weights == ["bold", "normal", "bold"]
        lost = plotting.scores([("a", np.nan)]).axes[0]
        assert lost.texts[0].get_weight() == "normal"

    def test_lower_is_better(self):
        axes = plotting.scores([("a", 2.0), ("b", 1.0)], higher_is_better=False).axes[0]
        assert axes.texts[1].get_weight() == "bold"
        assert "lower is better" in axes.get_xlabel()

    def test_bad_input(self):
        with pytest.raises(ValueError, match="rows is empty"):
            plotting.scores([])
        with pytest.raises(TypeError, match="value of 'a'"):
            plotting.scores([("a", "good")])
