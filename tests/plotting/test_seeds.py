import numpy as np
import pytest

from kanjax import plotting
from kanjax.theory import sample_complexity


def test_every_seed_has_a_line():
    curves = np.array([[3.0, 2, np.inf], [2, 1, 0]])
    figure = plotting.seed_curves([0, 5, 9], curves, label="$5", place=1, dashes="--")
    first, second, legend = figure.axes[0].lines
    np.testing.assert_array_equal(first.get_ydata(), [3, 2, np.nan])
    np.testing.assert_array_equal(second.get_xdata(), [0, 5, 9])
    assert legend.get_label() == r"\$5" and first.get_linestyle() == "--"
    figure.draw_without_rendering()


def test_the_mean_is_drawn_where_every_seed_has_a_number():
    values = [[1.0, 3.0], [2.0, np.inf]]
    figure = plotting.seed_means([1, 2], values, label="steps")
    *marks, mean = figure.axes[0].lines
    np.testing.assert_array_equal([m.get_ydata() for m in marks], [[1, 2], [3, np.nan]])
    np.testing.assert_array_equal(mean.get_ydata(), [2, np.nan])
    assert figure.axes[0].get_xscale() == "linear" and mean.get_label() == "steps"


def test_a_law_is_drawn_on_log_axes_with_its_exponent():
    sizes, values = [1.0, 2, 4], np.array([[3.0], [12], [48]])
    law = sample_complexity.fit_power_law(sizes, values[:, 0])
    figure = plotting.seed_means(sizes, values, law=law, label="n")
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), values[:, 0])
    assert axes.lines[-1].get_label() == "n, exponent 2.00 ± 0.00"
    assert axes.get_xscale() == axes.get_yscale() == "log"
    few = sample_complexity.fit_power_law(sizes[:2], [1, 2])
    assert "±" not in plotting.seeds.exponent(few)
    figure.draw_without_rendering()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="curves has 3 for 2 times"):
        plotting.seed_curves([0, 1], np.ones((2, 3)))
    with pytest.raises(ValueError, match="values has 1 for 2 sizes"):
        plotting.seed_means([0, 1], np.ones((1, 2)))
