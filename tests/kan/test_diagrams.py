"""What the picture of a network shows."""

import jax
import numpy as np
import pytest

from kanjax import kan


def test_the_curves_of_the_last_layer_sum_to_the_outputs(key):
    model = kan.KAN((2, 3, 2), products=(1, 0))
    params, x = model.init(key), jax.random.uniform(key, (300, 2))
    shown = kan.diagram(model, params, x)
    assert shown.widths == (2, 3, 2) and shown.products == (1, 0)
    # A product of two sums is the last unit of the first layer.
    np.testing.assert_array_equal(shown.unit_of_sum[0], [0, 1, 2, 2])
    assert [np.shape(curves) for curves in shown.curves] == [(256, 2, 4), (256, 3, 2)]
    np.testing.assert_array_equal(shown.inputs[0], x[:256])
    np.testing.assert_allclose(
        shown.curves[1].sum(axis=1), model.apply(params, x[:256]), rtol=1e-5, atol=1e-6
    )
    for ours, scores in zip(
        shown.scores, kan.attribute(model, params, x).edges, strict=True
    ):
        np.testing.assert_array_equal(ours, scores)


def test_edges_that_are_formulas_are_named(key):
    model, x = kan.KAN((2, 1)), jax.random.uniform(key, (50, 2))
    sine = kan.symbolic.Fit("sin", (1.0, 0.0, 1.0, 0.0), 1.0)
    edge = kan.symbolic.Edge(0, 1, 0, sine)
    frozen, params = kan.symbolic.freeze(model, model.init(key), [edge])
    shown = kan.diagram(frozen, params, x)
    assert shown.formulas == ({(1, 0): "sin"},)
    np.testing.assert_array_equal(shown.edges[0], [[True], [True]])
    np.testing.assert_allclose(shown.curves[0][:, 1, 0], np.sin(x[:, 1]), rtol=1e-5)


def test_bad_input(key):
    model = kan.KAN((2, 1))
    with pytest.raises(TypeError, match="must be a KAN"):
        kan.diagram("model", (), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"\(batch, 2\)"):
        kan.diagram(model, model.init(key), np.zeros((3, 1)))
