"""Penalties against their definitions by loops, and what they do to a fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import kan, training
from kanjax.kan import regularization


def magnitude(net, params, x):
    total, spread = 0.0, 0.0
    for edges in kan.edge_activations(net, params, x):
        v = np.mean(np.abs(np.asarray(edges, np.float64)), axis=0)
        total += v.sum()
        p = v / v.sum()
        spread -= sum(q * np.log(q) for q in p.ravel() if q > 0)
    return total, spread


def test_the_magnitude_is_that_of_the_paper(key):
    net = kan.KAN((3, 4, 2))
    params = net.init(key)
    x = jax.random.uniform(key, (30, 3), minval=-1)
    total, spread = magnitude(net, params, x)
    for l1, entropy in ((1.0, 0.0), (0.0, 1.0), (0.5, 2.0)):
        found = jax.jit(
            lambda m, p, l1=l1, entropy=entropy: kan.penalty(
                m, p, x, metric="magnitude", l1=l1, entropy=entropy
            )
        )(net, params)
        assert float(found) == pytest.approx(l1 * total + entropy * spread, rel=1e-5)


def test_the_entropy_of_large_even_edges_is_that_of_an_even_choice():
    """log2 n for the inputs and for the sums, up to the added constants."""
    even = jnp.full((8, 8), 1e6)
    assert float(regularization._entropies(even)) == pytest.approx(2 * 3, rel=1e-2)


def test_a_layer_of_formulas_costs_nothing(key):
    net = kan.KAN((1, 1), None, formulas=(((0, 0, "sin"),),))
    assert float(kan.penalty(net, net.init(key), jnp.ones((5, 1)))) == 0


def test_gradients_are_finite_at_dead_edges_and_constant_units(key):
    net = kan.KAN((2, 3, 1))
    params = jax.tree.map(jnp.zeros_like, net.init(key))
    x = jnp.stack([jnp.linspace(-1, 1, 20), jnp.ones(20)], axis=1)
    for metric in ("deviation", "magnitude"):
        gradient = jax.grad(lambda p, m=metric: kan.penalty(net, p, x, metric=m))(
            params
        )
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_a_penalised_fit_leans_on_fewer_inputs(key):
    """Of two equal columns a sparse fit takes one; a plain fit shares between them."""
    column = jax.random.uniform(key, (200, 1), minval=-1)
    x = jnp.concatenate([column, column], axis=1)
    y = column**2
    net = kan.KAN((2, 1))
    plain = training.regression(net.apply)
    sparse = kan.sparse(plain, net, strength=3e-2)
    start = net.init(key)
    value, metrics = sparse(start, (x, y))
    expected = plain(start, (x, y))[0] + 3e-2 * kan.penalty(net, start, x)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    assert set(metrics) == {"mae", "penalty"}

    def smaller_share(loss):
        found = training.fit(
            loss,
            start,
            (x, y),
            optimizer="adam",
            learning_rate=2e-2,
            steps=400,
            key=key,
        )
        scores = kan.attribute(net, found.params, x).inputs
        return float(jnp.min(scores) / jnp.sum(scores))

    assert smaller_share(sparse) < 0.1 * smaller_share(plain)


def test_bad_input(key):
    net = kan.KAN((2, 1))
    params = net.init(key)
    with pytest.raises(ValueError, match=r"metric must be one of .*; got 'width'"):
        kan.penalty(net, params, jnp.ones((3, 2)), metric="width")
    with pytest.raises(ValueError, match=r"x must be \(batch, in\); got shape \(2,\)"):
        kan.penalty(net, params, jnp.ones(2))
