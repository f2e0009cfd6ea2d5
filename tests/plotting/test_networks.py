import jax
import numpy as np
import pytest

from kanjax import kan, plotting


@pytest.fixture
def trained(key):
    model = kan.KAN((2, 3, 1))
    x = jax.random.uniform(key, (60, 2), minval=-1, maxval=1)
    return model, model.init(key), x


def edges(figure):
    return [line for line in figure.axes[0].lines if line.get_label() == "_edge"]


def names(axis):
    return sorted(label.get_text() for label in axis.get_ticklabels())


def test_edges_have_opacity_of_their_score_and_a_curve(trained):
    model, params, x = trained
    figure = plotting.network(
        kan.diagram(model, params, x), names=["a", "b"], threshold=0.0
    )
    axes = figure.axes[0]
    scores = np.concatenate(
        [np.ravel(s) for s in kan.attribute(model, params, x).edges]
    )
    alphas = [line.get_alpha() for line in edges(figure)]
    np.testing.assert_allclose(
        np.sort(alphas), np.sort(np.maximum(np.tanh(3 * scores), 0.06)), rtol=1e-5
    )
    boxes = [child for child in axes.child_axes if child.lines]
    assert len(boxes) == 9
    assert names(axes.xaxis) == ["a", "b"]
    assert "not shown" not in axes.get_xlabel()
    figure.draw_without_rendering()


def test_a_box_holds_the_edge_function(key):
    model = kan.KAN((1, 1))
    params, x = model.init(key), jax.random.uniform(key, (40, 1))
    figure = plotting.network(kan.diagram(model, params, x))
    (box,) = [child for child in figure.axes[0].child_axes if child.lines]
    order = np.argsort(x[:, 0])
    np.testing.assert_allclose(
        box.lines[0].get_ydata(), model.apply(params, x)[order, 0], rtol=1e-5
    )


def test_boxes_in_a_layer_do_not_overlap(key):
    model = kan.KAN((10, 3))
    x = jax.random.uniform(key, (50, 10))
    figure = plotting.network(kan.diagram(model, model.init(key), x), threshold=0.0)
    figure.draw_without_rendering()
    boxes = [c.get_window_extent() for c in figure.axes[0].child_axes if c.lines]
    assert len(boxes) == 30
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_threshold_hides_edges(trained):
    model, params, x = trained
    scores = kan.attribute(model, params, x).edges
    middle = float(np.median(np.concatenate([np.ravel(s) for s in scores])))
    figure = plotting.network(kan.diagram(model, params, x), threshold=middle)
    assert len(edges(figure)) == 4
    assert "5 of 9 edges not shown" in figure.axes[0].get_xlabel()
    figure = plotting.network(kan.diagram(model, params, x), threshold=100.0)
    assert "no edge has a score above 100" in figure.axes[0].texts[-1].get_text()


def test_of_large_networks_the_strongest_edges_have_curves(key):
    model = kan.KAN((40, 20, 4))
    x = jax.random.normal(key, (50, 40))
    figure = plotting.network(
        kan.diagram(model, model.init(key), x), names=["n" * 30] * 40, threshold=0.0
    )
    assert len(edges(figure)) == 200
    assert sum(bool(child.lines) for child in figure.axes[0].child_axes) == 30
    assert f"{880 - 200} of 880 edges not shown" in figure.axes[0].get_xlabel()
    shown = names(figure.axes[0].xaxis)
    assert len(shown) < 40 and max(map(len, shown)) == 14
    figure.draw_without_rendering()


def test_scores_that_are_not_finite_are_counted(trained):
    model, params, x = trained
    params = jax.tree.map(lambda leaf: leaf * np.nan, params)
    figure = plotting.network(kan.diagram(model, params, x))
    assert "9 with a non-finite score" in figure.axes[0].get_xlabel()


def test_pruned_network_is_drawn(trained):
    model, params, x = trained
    pruned = kan.prune(model, params, x, edge_threshold=0.2)
    figure = plotting.network(
        kan.diagram(pruned.model, pruned.params, x), threshold=0.0
    )
    assert 0 < len(edges(figure)) <= pruned.edges_left


def test_bad_input(trained):
    model, params, x = trained
    with pytest.raises(ValueError, match="names has 1"):
        plotting.network(kan.diagram(model, params, x), names=["a"])
    with pytest.raises(ValueError, match="threshold"):
        plotting.network(kan.diagram(model, params, x), threshold=-1.0)


def test_hidden_units_have_the_numbers_that_functions_name(key):
    net = kan.KAN((2, 3, 1))
    x = jax.random.uniform(key, (30, 2))
    figure = plotting.network(kan.diagram(net, net.init(key), x))
    axes = figure.axes[0]
    at = {text.get_text(): text.xy for text in axes.texts}
    assert list(at) == ["1", "2", "3"]
    assert [y for _, y in at.values()] == [1, 1, 1]
    assert sorted(x for x, _ in at.values()) == [x for x, _ in at.values()]
    many = kan.KAN((2, 60, 1))
    figure = plotting.network(kan.diagram(many, many.init(key), x))
    assert not figure.axes[0].texts
