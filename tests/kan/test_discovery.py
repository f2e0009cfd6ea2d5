"""From samples to a formula in one call."""

import jax
import jax.numpy as jnp
import pytest

from kanjax import bases, kan


def test_a_sum_of_two_functions_is_found(key):
    """An input that has no part in it loses its edge; the targets' units are free."""
    x = jax.random.uniform(key, (300, 3), minval=-1)
    unit = 0.05
    y = unit * (jnp.sin(3 * x[:, :1]) + jnp.exp(x[:, 1:2]))
    net = kan.KAN((3, 1), bases.BSpline(5))
    found = kan.discover(net, key, x, y, starts=1, steps=100)
    edges = {edge.source: edge.fit.name for edge in found.edges}
    assert edges == {0: "sin", 1: "exp"}
    error = found.model.apply(found.params, x) - y
    assert float(jnp.sqrt(jnp.mean(error**2))) < 1e-3 * unit
    assert found.model.basis is None


def test_bad_input(key):
    net = kan.KAN((2, 1))
    with pytest.raises(ValueError, match="starts must be at least 1; got 0"):
        kan.discover(net, key, jnp.ones((3, 2)), jnp.ones((3, 1)), starts=0)
