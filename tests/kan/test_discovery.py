"""From samples to a formula in one call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from kanjax import bases, kan
from kanjax.kan import multiplication, symbolic


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_a_sum_of_two_functions_is_found(unit, key):
    """An input that has no part in it loses its edge; the targets' units are free."""
    x = jax.random.uniform(key, (300, 3), minval=-1)
    y = unit * (jnp.sin(3 * x[:, :1]) + jnp.exp(x[:, 1:2]))
    net = kan.KAN((3, 1), bases.BSpline(5))
    found = kan.discover(net, key, x, y, starts=1, steps=100)
    edges = {edge.source: edge.fit.name for edge in found.edges}
    assert edges == {0: "sin", 1: "exp"}
    curves = 0.0
    for edge in found.edges:
        a, b, c, d = edge.fit.coefficients
        function = symbolic.LIBRARY[edge.fit.name].evaluate
        curves += c * function(jnp, a * x[:, edge.source] + b) + d
    assert float(jnp.std(curves - y[:, 0])) < 0.1 * unit
    error = found.model.apply(found.params, x) - y
    assert float(jnp.sqrt(jnp.mean(error**2))) < 1e-3 * unit
    assert found.model.basis is None
    assert found.exact and found.r2 > 1 - 1e-6
    (expression,) = symbolic.formula(
        found.model, found.params, x, names=["a", "b", "c"]
    )
    plain = symbolic.tidy(expression / unit, x, sympy.symbols("a b c"))
    assert str(plain) == "exp(b) + sin(3*a)"


def test_what_no_formula_fits_is_told(key):
    """A product of two inputs is no sum of functions of each."""
    x = jax.random.uniform(key, (100, 2), minval=-1)
    net = kan.KAN((2, 1), bases.BSpline(3))
    with pytest.warns(RuntimeWarning, match="no exact formula was found in 1 starts"):
        found = kan.discover(net, key, x, x[:, :1] * x[:, 1:], starts=1, steps=20)
    assert not found.exact and found.r2 < 0.5


def test_bad_input(key):
    net = kan.KAN((2, 1))
    with pytest.raises(ValueError, match="starts must be at least 1; got 0"):
        kan.discover(net, key, jnp.ones((3, 2)), jnp.ones((3, 1)), starts=0)


@pytest.mark.parametrize("affine", [False, True])
def test_outputs_times_a_number(affine, key):
    edges = (
        multiplication.FormulaEdge(0, 0, "sin"),
        multiplication.FormulaEdge(1, 2, "exp"),
    )
    last = multiplication.UnitLayer(
        2, 3, kan.KANLayer(2, 3), edges, products=1, affine=affine
    )
    params = jax.tree.map(lambda v: v + 0.1, last.init(key))
    x = jax.random.uniform(key, (5, 2))
    scale = np.array([1e-6, 3e4])
    scaled = multiplication.scaled_outputs(last, params, scale)
    expected = last.apply(params, x) * scale[None]
    np.testing.assert_allclose(last.apply(scaled, x), expected, rtol=1e-5)
