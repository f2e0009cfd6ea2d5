import numpy as np
import pytest

from kanjax import plotting
from kanjax.kan import symbolic


def panels(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def curves(axes):
    return [line for line in axes.lines if not line.get_label().startswith("_")]


class TestEdgeFunctions:
    def test_best_inputs_and_edges_first(self):
        rng = np.random.default_rng(0)
        x, values = rng.uniform(-1, 1, (30, 3)), rng.normal(size=(30, 3, 4))
        scores = np.array([[1, 2, 3, 4.0], [9, 8, 7, 6], [0, 0, 0, 1]])
        before = values.copy()
        figure = plotting.edge_functions(x, values, ["a", "b", "c"], scores, top=2)
        first, second, third = panels(figure)
        assert first.get_title() == "b\n→ 1, 2"
        assert second.get_title() == "a\n→ 4, 3"
        order = np.argsort(x[:, 1])
        strongest = [c for c in curves(first) if c.get_label() == "strongest edge"][0]
        np.testing.assert_array_equal(strongest.get_xdata(), x[order, 1])
        np.testing.assert_array_equal(strongest.get_ydata(), values[order, 1, 0])
        assert len(curves(third)) == 2
        np.testing.assert_array_equal(values, before)
        figure.draw_without_rendering()

    def test_shared_grid_one_output_and_formula(self):
        x = np.linspace(-1, 1, 50)
        values = np.sin(2 * x)[:, None, None]
        fit = symbolic.Fit("sin", (2.0, 0.0, 1.0, 0.0), 0.999)
        figure = plotting.edge_functions(
            x, values, ["x" * 50], None, [symbolic.Edge(0, 0, 0, fit)]
        )
        (axes,) = panels(figure)
        (overlay,) = [line for line in axes.lines if line.get_label() == "_fit"]
        np.testing.assert_allclose(
            overlay.get_ydata(), np.sin(2 * overlay.get_xdata()), atol=1e-12
        )
        assert "≈ sin, R² 0.999" in axes.get_title()
        assert len(axes.get_title().splitlines()[0]) == 18
        entries = [text.get_text() for text in figure.legends[0].get_texts()]
        assert entries == ["learned function", "formula"]

    def test_hidden_inputs_and_lost_values_are_counted(self):
        values = np.ones((10, 5, 2))
        values[0, 0, 0] = np.nan
        figure = plotting.edge_functions(
            np.arange(10.0), values, list("abcde"), inputs=3
        )
        note = figure.legends[0].get_title().get_text()
        assert len(panels(figure)) == 3
        assert "3 of 5 inputs shown" in note and "1 non-finite value" in note

    def test_an_input_of_two_values_has_bars(self):
        x = np.stack([np.arange(10) % 2, np.linspace(0, 1, 10)], axis=1)
        values = np.stack([2 * x - 1, x + 1], axis=2)
        figure = plotting.edge_functions(x, values, ["kind=a", "b"], np.eye(2))
        first, second = panels(figure)
        heights = [[bar.get_height() for bar in bars] for bars in first.containers]
        assert heights == [[-1, 1], [1, 2]] and not curves(first)[1:]
        assert [t.get_text() for t in first.get_xticklabels()] == ["0", "1"]
        assert not second.containers and len(curves(second)) == 2
        figure.draw_without_rendering()

    def test_bad_shapes(self):
        values = np.ones((10, 2, 3))
        with pytest.raises(ValueError, match=r"x must be \(10, 2\)"):
            plotting.edge_functions(np.ones((9, 2)), values, ["a", "b"])
        with pytest.raises(ValueError, match="scores has shape"):
            plotting.edge_functions(
                np.ones((10, 2)), values, ["a", "b"], np.ones((3, 2))
            )
        with pytest.raises(ValueError, match="names has 1"):
            plotting.edge_functions(np.ones((10, 2)), values, ["a"])


class TestAttribution:
    def test_bars_are_sorted(self):
        figure = plotting.attribution([0.1, 0.7, 0.2], ["a", "b", "c"], [0.0, 0.1, 0.2])
        axes = figure.axes[0]
        np.testing.assert_allclose(
            [p.get_width() for p in axes.patches], [0.7, 0.2, 0.1]
        )
        assert [t.get_text() for t in axes.get_yticklabels()] == ["b", "c", "a"]
        figure.draw_without_rendering()

    @pytest.mark.parametrize("members", [1, 2])
    def test_members_are_dots(self, members):
        scores = np.array([[0.2, 0.8], [0.4, 0.6]])[:members]
        axes = plotting.attribution(scores, ["a", "b"]).axes[0]
        widths = [p.get_width() for p in axes.patches]
        np.testing.assert_allclose(widths, scores.mean(axis=0)[::-1])
        assert len(axes.lines) == (members if members > 1 else 0)

    def test_rest_and_lost_are_counted(self):
        scores = np.r_[np.arange(29.0), np.nan]
        axes = plotting.attribution(scores, [f"input {i}" for i in range(30)]).axes[0]
        assert len(axes.patches) == 20
        assert "9 of 30 inputs with lower scores" in axes.get_xlabel()
        assert "1 non-finite input" in axes.get_xlabel()

    def test_bad_shapes(self):
        with pytest.raises(ValueError, match="spread has shape"):
            plotting.attribution([1.0, 2.0], ["a", "b"], [1.0])
        with pytest.raises(ValueError, match="names"):
            plotting.attribution([1.0, 2.0], ["a"])


@pytest.mark.parametrize("inputs", [1, 2, 13])
def test_curves_on_a_uniform_grid_can_be_drawn(inputs, tmp_path):
    """An artist without extent would make the layout collapse."""
    grid = np.linspace(-1, 1, 50)[:, None] * np.ones(inputs)
    values = np.sin(grid)[:, :, None] * np.arange(1, 6)
    names = [f"x{i}" for i in range(inputs)]
    figure = plotting.edge_functions(grid, values, names)
    figure.savefig(tmp_path / "curves.png", bbox_inches="tight")
    heights = [axes.get_position().height for axes in figure.axes if axes.get_visible()]
    assert len(heights) == min(inputs, 12) and min(heights) > 0.05
