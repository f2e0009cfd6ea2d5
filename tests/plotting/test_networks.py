import jax
import numpy as np
import pytest
from matplotlib import transforms

from kanjax import kan, plotting


@pytest.fixture
def trained(key):
    model = kan.KAN((2, 3, 1))
    x = jax.random.uniform(key, (60, 2), minval=-1, maxval=1)
    return model, model.init(key), x


def drawn(figure, label):
    (each,) = [c for c in figure.axes[0].collections if c.get_label() == label]
    return each


def edges(figure):
    return drawn(figure, "_edges").get_segments()


def boxes(figure):
    """Return the corners of the curves' boxes, (boxes, 2, x and y)."""
    corners = [path.vertices for path in drawn(figure, "_boxes").get_paths()]
    return np.array([(c.min(axis=0), c.max(axis=0)) for c in corners])


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
    alphas = drawn(figure, "_edges").get_colors()[:, 3]
    np.testing.assert_allclose(
        np.sort(alphas), np.sort(np.maximum(np.tanh(3 * scores), 0.06)), rtol=1e-5
    )
    assert len(boxes(figure)) == 9
    assert names(axes.xaxis) == ["a", "b"]
    assert "not shown" not in axes.get_xlabel()
    figure.draw_without_rendering()


def test_a_box_holds_the_edge_function(key):
    model = kan.KAN((1, 1))
    params, x = model.init(key), jax.random.uniform(key, (40, 1))
    figure = plotting.network(kan.diagram(model, params, x))
    (curve,), (box,) = drawn(figure, "_curves").get_segments(), boxes(figure)
    order = np.argsort(x[:, 0])
    expected = np.stack([x[order, 0], model.apply(params, x)[order, 0]], axis=1)

    def in_units(points):
        return (points - points.min(axis=0)) / np.ptp(points, axis=0)

    np.testing.assert_allclose(in_units(curve), in_units(expected), atol=1e-5)
    assert np.all(box[0] < curve.min(axis=0)) and np.all(curve.max(axis=0) < box[1])


@pytest.mark.parametrize(
    ("curve", "heights"),
    [
        ((2.0, 2.0, 2.0), (0.0, 0.0, 0.0)),
        ((0.0, np.inf, 1.0), (-0.5, np.nan, 0.5)),
        ((np.nan, np.nan, np.nan), (np.nan, np.nan, np.nan)),
    ],
)
def test_a_curve_may_be_constant_or_not_finite(curve, heights):
    x = np.array([0.0, 1.0, 2.0])
    diagram = kan.Diagram(
        widths=(1, 1),
        products=(0,),
        unit_of_sum=(np.array([0]),),
        edges=(np.ones((1, 1), bool),),
        scores=(np.ones((1, 1)),),
        formulas=({(0, 0): "sin"},),
        inputs=(x[:, None],),
        curves=(np.array(curve)[:, None, None],),
    )
    figure = plotting.network(diagram)
    figure.draw_without_rendering()
    (path,), (box,) = drawn(figure, "_curves").get_paths(), boxes(figure)
    middle, size = box.mean(axis=0), np.ptp(box, axis=0)
    measured = (path.vertices[:, 1] - middle[1]) / size[1] * 1.24
    np.testing.assert_allclose(measured, heights, atol=1e-6)
    assert [text.get_text() for text in figure.axes[0].texts] == ["sin"]


def test_boxes_in_a_layer_do_not_overlap(key):
    model = kan.KAN((10, 3))
    x = jax.random.uniform(key, (50, 10))
    figure = plotting.network(kan.diagram(model, model.init(key), x), threshold=0.0)
    figure.draw_without_rendering()
    each = [transforms.Bbox(corners) for corners in boxes(figure)]
    assert len(each) == 30
    assert not any(a.overlaps(b) for i, a in enumerate(each) for b in each[:i])


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
    assert len(boxes(figure)) == 30
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
