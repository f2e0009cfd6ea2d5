"""Costs against the paper's figures and against what the models have."""

import jax
import pytest

from kanjax import bases, kan, model, nn


def test_operations_of_one_function():
    """A cubic spline on three intervals and a rational function of orders (5, 4)."""
    assert kan.spline_flops(3, 3) == 204
    assert kan.rational_flops((5, 4)) == 21


def test_costs_of_a_layer():
    assert kan.rational_cost(192, 768).flops == 21 * 192 + 2 * 192 * 768
    assert kan.spline_cost(192, 768).parameters == 192 * 768 * 9 + 768
    assert kan.dense_cost(192, 768, activation_flops=0).flops == 2 * 192 * 768
    ratio = kan.spline_cost(192, 768).flops / kan.rational_cost(192, 768).flops
    assert ratio == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize("groups", [1, 8])
def test_parameters_are_those_of_the_models(groups, key):
    basis = bases.Rational(groups, shared="numerator")
    pairs = (
        (kan.rational_cost(16, 24, groups=groups), kan.RationalLayer(16, 24, basis)),
        (kan.dense_cost(16, 24), nn.Dense(16, 24)),
    )
    for cost, one in pairs:
        drawn = jax.eval_shape(one.init, key)
        assert cost.parameters == model.count_parameters(drawn)
