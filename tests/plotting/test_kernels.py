import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import ntk, plotting


def test_kernel_is_sorted_and_masked():
    kernel = np.arange(9.0).reshape(3, 3)
    kernel[0, 0] = np.nan
    figure = plotting.kernel_matrix(kernel, order=[2, 0, 1], title="k")
    axes = figure.axes[0]
    drawn = axes.images[0].get_array()
    np.testing.assert_array_equal(drawn[0], [8, 6, 7])
    assert drawn.mask[1, 1] and drawn.mask.sum() == 1
    assert "1 non-finite entry" in axes.get_xlabel()
    assert axes.get_xlabel().startswith("example (sorted)")
    assert axes.get_title() == "k"
    figure.draw_without_rendering()


def test_kernel_bad_input():
    with pytest.raises(ValueError, match="must have 2 axes"):
        plotting.kernel_matrix(np.ones(3))
    with pytest.raises(ValueError, match="argsort"):
        plotting.kernel_matrix(np.eye(3), order=[0.5, 0.1, 0.7])


def test_spectra_of_one_network():
    figure = plotting.spectra(
        {"initial": np.array([1.0, 4.0, -1e-9]), "trained " * 10: np.array([2.0, 3.0])}
    )
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [4, 1, np.nan])
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1, 2, 3])
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert entries[0] == "initial" and len(entries[1]) == 28
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "1 not positive or not finite" in axes.get_xlabel()
    styles = {line.get_linestyle() for line in axes.lines}
    assert len(styles) == 2
    figure.draw_without_rendering()


@pytest.mark.parametrize("members", [1, 2, 3])
def test_spectra_of_members(members):
    values = np.arange(1.0, 1 + 4 * members).reshape(members, 4)
    lines = plotting.spectra({"a": values}).axes[0].lines
    assert len(lines) == (1 if members == 1 else members + 1)
    np.testing.assert_allclose(lines[-1].get_ydata(), np.median(values, 0)[::-1])


def test_spectrum_results_are_taken():
    found = ntk.spectrum(jnp.diag(jnp.array([1.0, 3.0, 2.0])))
    (line,) = plotting.spectra({"a": found}).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [3, 2, 1], rtol=1e-6)


def test_spectra_bad_input():
    with pytest.raises(ValueError, match="empty"):
        plotting.spectra({})
    with pytest.raises(ValueError, match=r"spectra\['a'\]"):
        plotting.spectra({"a": np.ones((2, 2, 2))})
