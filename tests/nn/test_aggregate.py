import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn


def test_is_a_product_with_the_graph(key):
    weights, x = jax.random.normal(key, (3, 3)), jax.random.normal(key, (2, 3, 4))
    found = nn.Aggregate(weights).apply((), x)
    np.testing.assert_allclose(found, weights @ x, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 3, features\)"):
        nn.Aggregate(weights).apply((), jnp.ones((2, 4)))


def test_edges_equal_a_loop_over_them(key):
    x = jax.random.normal(key, (2, 4, 3))
    senders = jnp.array([[0, 1, 1, -1, 3], [2, 2, 0, 9, 0]])
    receivers = jnp.array([[1, 0, 0, 2, -1], [2, 1, 3, 0, 4]])
    weights = jnp.array([[1.0, 0.5, 2.0, 7.0, 7.0], [-1.0, 1.0, 3.0, 7.0, 7.0]])
    expected = np.zeros(x.shape)
    for n, e in np.ndindex(2, 3):
        expected[n, receivers[n, e]] += weights[n, e] * x[n, senders[n, e]]
    found = nn.Aggregate(nn.Edges(senders, receivers, weights)).apply((), x)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    once = nn.Edges(senders[0, :3], receivers[0, :3])
    alike = nn.Edges(senders[0, :3], receivers[0, :3], jnp.ones(3))
    for graph in (once, alike):
        np.testing.assert_allclose(
            nn.Aggregate(graph).apply((), x)[:, 0], 2 * x[:, 1], rtol=1e-6
        )


def test_nodes_of_two_axes_are_in_a_row(key):
    weights, x = jax.random.normal(key, (6, 6)), jax.random.normal(key, (2, 3, 2, 4))
    found = nn.Aggregate(weights, spatial=2).apply((), x)
    expected = (weights @ x.reshape(2, 6, 4)).reshape(x.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="weights must give as many again; got 5"):
        nn.Aggregate(weights[:5], spatial=2).apply((), x)


def test_a_graph_network_gives_each_example_its_graph(key):
    """Wherever the aggregation is; under jit, vmap and grad."""
    own = nn.Aggregate(2 * jnp.eye(3))
    inner = model.Residual(model.Sequential((nn.Aggregate(), own, nn.Dense(4, 4))))
    net = nn.GraphNetwork(inner)
    params, x = net.init(key), jax.random.normal(key, (5, 3, 4))
    graphs = jax.random.normal(key, (5, 3, 3))
    found = jax.jit(net.apply)(params, (x, graphs))
    for i in range(5):
        expected = x[i] + nn.Dense(4, 4).apply(params[2], 2 * graphs[i] @ x[i])
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-5)
    alone = jax.vmap(net.apply, (None, 0))(params, (x, graphs))
    np.testing.assert_allclose(alone, found, rtol=1e-5, atol=1e-5)
    slope = jax.grad(lambda g: jnp.sum(net.apply(params, (x, g))))(graphs)
    assert slope.shape == graphs.shape and np.all(np.isfinite(slope))


def test_bad_input_is_named(key):
    net = nn.GraphNetwork(nn.Aggregate())
    with pytest.raises(ValueError, match=r"takes pairs \(x, graph\); got Array"):
        net.apply((), jnp.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="Aggregate.. has no graph: give it weights"):
        nn.Aggregate().apply((), jnp.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="spatial must be a positive integer"):
        nn.Aggregate(spatial=0)
