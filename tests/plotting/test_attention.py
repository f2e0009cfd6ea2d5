import numpy as np
import pytest

from kanjax import plotting


def test_every_head_of_every_block_is_drawn_on_one_signed_scale():
    values = np.arange(2 * 3 * 4 * 4, dtype=float).reshape(2, 3, 4, 4) - 60
    figure = plotting.attention_matrices(values, names=("first", "last"), title="t")
    *panels, bar = figure.axes
    assert len(panels) == 6
    for panel, matrix in zip(panels, values.reshape(6, 4, 4), strict=True):
        np.testing.assert_array_equal(panel.images[0].get_array(), matrix)
        assert panel.images[0].get_clim() == (-60, 60)
    assert panels[0].get_ylabel() == "first\nquery" and bar.get_ylabel() == "weight"
    figure.draw_without_rendering()
    with pytest.raises(ValueError, match="must have 4 axes"):
        plotting.attention_matrices(values[0])


def test_spectra_are_shares_of_the_largest():
    values = np.array([[2.0, 1.0, 0.0], [8.0, 1.0, 0.0]])
    figure = plotting.attention_spectra({"a": values, "b": values[0]})
    first, second = figure.axes[0].lines
    np.testing.assert_allclose(first.get_ydata(), [1, 0.25, 1e-8])
    np.testing.assert_allclose(second.get_ydata(), [1, 0.5, 1e-8])
    figure.draw_without_rendering()
    with pytest.raises(ValueError, match="spectra is empty"):
        plotting.attention_spectra({})
    with pytest.raises(ValueError, match="no matrix of 'a'"):
        plotting.attention_spectra({"a": np.zeros((2, 3))})


def test_weights_of_all_leaves_are_counted():
    params = {"net": {"a": np.zeros((3, 1)), "b": np.array([1.0, np.nan])}}
    figure = plotting.weight_histograms(params, bins=2)
    (axes,) = figure.axes
    heights = np.unique(axes.patches[0].get_xy()[:, 1])
    # Three of four in the first half of [0, 1], one in the second.
    np.testing.assert_allclose(heights, [0, 0.5, 1.5])
    assert "1 non-finite weight not shown" in axes.get_xlabel()
    figure.draw_without_rendering()
    with pytest.raises(ValueError, match="got 0 and 60"):
        plotting.weight_histograms({})
