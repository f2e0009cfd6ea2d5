import numpy as np
import pytest

from kanjax import plotting


class TestBarrierAngles:
    def test_points_are_the_pairs(self):
        angles = [[30.0, 31.0], [10.0, 12.0]]
        heights = [[0.1, 0.2], [0.0, 1e-3]]
        figure = plotting.barrier_angles(angles, heights, names=["0", "50"])
        axes = figure.axes[0]
        first, last = (line.get_xydata() for line in axes.lines)
        np.testing.assert_allclose(first, [[30, 0.1], [31, 0.2]])
        np.testing.assert_allclose(last, [[10, 0.2e-5], [12, 1e-3]])
        assert axes.get_yscale() == "log" and "degrees" in axes.get_xlabel()
        assert "1 of 4 at or below the lower edge" in axes.get_xlabel()
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == ["0", "50"]
        figure.draw_without_rendering()

    def test_non_finite_pairs_are_counted(self):
        figure = plotting.barrier_angles([1.0, np.nan], [0.1, 0.2])
        assert "1 non-finite pair not shown" in figure.axes[0].get_xlabel()
        figure.draw_without_rendering()

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match=r"angles has shape \(2,\)"):
            plotting.barrier_angles([1.0, 2.0], [1.0])
        with pytest.raises(ValueError, match="heights has no positive"):
            plotting.barrier_angles([1.0], [0.0])


class TestLayerBarriers:
    def test_bars_are_the_heights(self):
        figure = plotting.layer_barriers(
            {"a": 0.5, "b": np.nan}, {"b": 0.1, "a": -0.2}, title="t"
        )
        axes = figure.axes[0]
        heights = [[bar.get_height() for bar in group] for group in axes.containers]
        np.testing.assert_allclose(heights, [[0.5, 0.0], [-0.2, 0.1]])
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b"]
        assert "1 non-finite value not shown" in axes.get_xlabel()
        texts = [text.get_text() for text in axes.texts]
        assert texts == ["0.5", "n/a", "-0.2", "0.1"]
        figure.draw_without_rendering()

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="measured is empty"):
            plotting.layer_barriers({})
        with pytest.raises(ValueError, match=r"\['b'\] and measured for \['a'\]"):
            plotting.layer_barriers({"a": 1.0}, {"b": 1.0})
