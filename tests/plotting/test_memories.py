import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield, plotting


@pytest.fixture
def statistics(key):
    import jax

    logits = (
        jax.random.normal(key, (3, 40, 12)) * jnp.array([0.1, 4, 50])[:, None, None]
    )
    return hopfield.head_statistics(jax.nn.softmax(logits))


def test_heads_are_drawn_with_their_medians(statistics):
    figure = plotting.head_statistics(statistics, title="t")
    axes = figure.axes[0]
    medians = [line for line in axes.lines if line.get_linewidth() == 2.5]
    drawn = [line.get_ydata()[0] for line in medians]
    np.testing.assert_array_equal(drawn, np.sort(statistics.median)[::-1])
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["global", "metastable", "single", "half of all patterns"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "3"]
    assert axes.get_title() == "t" and axes.get_ylabel() == "patterns in use"
    figure.draw_without_rendering()
    with pytest.raises(ValueError, match="order must be 'median' or 'head'"):
        plotting.head_statistics(statistics, order="size")
    nothing = statistics._replace(median=jnp.full(3, jnp.nan))
    with pytest.raises(ValueError, match="look at nothing"):
        plotting.head_statistics(nothing)


def test_states_that_look_at_nothing_are_counted(statistics):
    in_use = statistics.in_use.at[0, :3].set(jnp.nan)
    figure = plotting.head_statistics(statistics._replace(in_use=in_use), order="head")
    assert "3 states look at nothing" in figure.axes[0].get_xlabel()
    figure.draw_without_rendering()


def test_recall_curves():
    curves = {"a": ([1, 10, 100], [1, 0.5, np.nan]), "b": ([1, 10], [1e-3, 0])}
    figure = plotting.recall_curves(curves, log_y=True, ylabel="error")
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, 0.5, np.nan])
    assert axes.get_xscale() == "log" and axes.get_yscale() == "log"
    assert "2 value" in axes.get_xlabel() and axes.get_ylabel() == "error"
    figure.draw_without_rendering()
    linear = plotting.recall_curves({"a": ([0, 1], [0, 1])}, log=False)
    assert linear.axes[0].get_xscale() == "linear"
    with pytest.raises(ValueError, match="curves is empty"):
        plotting.recall_curves({})
    with pytest.raises(ValueError, match="'a' has 2 positions and 3 values"):
        plotting.recall_curves({"a": ([1, 2], [1, 2, 3])})


def test_recalled_images():
    images = np.arange(3 * 4 * 5.0).reshape(3, 4, 5)
    figure = plotting.recalled_images({"cue": images, "recalled": -images}, title="x")
    assert len(figure.axes) == 6
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), images[1])
    assert figure.axes[0].get_ylabel() == "cue"
    figure.draw_without_rendering()
    with pytest.raises(ValueError, match="rows is empty"):
        plotting.recalled_images({})
    with pytest.raises(ValueError, match="as many pictures each"):
        plotting.recalled_images({"a": images, "b": images[:2]})


def test_phase_diagram():
    codes = np.repeat([[0] * 6 + [1] * 4], 5, axis=0)
    reached = np.ones(codes.shape, bool)
    reached[0, 0] = False
    rows, columns = np.linspace(0.1, 0.5, 5), np.arange(10.0)
    line = np.array([1.0, 5.0, 9.0]), np.array([0.1, 0.3, 0.5])
    diagram = hopfield.PhaseDiagram(
        axes=("load", "temperature"),
        columns=jnp.asarray(columns),
        rows=jnp.asarray(rows),
        codes=jnp.asarray(codes),
        names=("low", "high", "absent"),
        overlap=jnp.zeros(codes.shape),
        replicon=jnp.zeros(codes.shape),
        stable=jnp.asarray(reached),
        converged=jnp.asarray(reached),
        residual=jnp.zeros(codes.shape),
        lines={"edge": line},
    )
    figure = plotting.phase_diagram(diagram, title="t")
    axes = figure.axes[0]
    shown = np.ma.filled(axes.collections[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, np.where(reached, codes, np.nan))
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert set(places) == {"low", "high", "edge"}
    assert 1 < places["low"][0] < 4 and 6 < places["high"][0] < 9
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), line[1])
    # On the line, and away from the names of regions.
    x, y = places["edge"]
    assert y == pytest.approx(np.interp(x, *line))
    size = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
    for name in ("low", "high"):
        gap = (np.array([x, y]) - places[name]) / size
        assert np.linalg.norm(gap) > 0.25
    assert axes.get_xlabel().startswith("load") and axes.get_title() == "t"
    assert "white: 1 not converged" in axes.get_xlabel()
    figure.draw_without_rendering()
