"""Scores of edges, units and inputs, and what pruning does with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan


def brute_force(net, params, x):
    """Scores from the values of every edge, in float64, by loops."""
    edges = [np.asarray(e, np.float64) for e in kan.edge_activations(net, params, x)]
    score = np.ones(net.widths[-1])
    found = []
    for layer in reversed(range(len(edges))):
        values = edges[layer]
        units = values.sum(1) + np.asarray(params[layer].get("bias", 0.0))
        scores = np.zeros(values.shape[1:])
        for i in range(values.shape[1]):
            for o in range(values.shape[2]):
                spread = values[:, i, o].std()
                least = 1e-4 * values[:, :, o].std(axis=0).max()
                scores[i, o] = spread * score[o] / max(units[:, o].std(), least)
        found.append(scores)
        score = scores.sum(1)
    return found[::-1], score


@pytest.mark.parametrize("basis", [bases.BSpline(), bases.Rational()], ids=repr)
def test_scores_equal_the_definition(basis, key):
    net = kan.KAN((3, 4, 2), basis)
    params = net.init(key)
    x = jax.random.uniform(key, (100, 3), minval=-1.0)
    found = kan.attribute(net, params, x)
    edges, inputs = brute_force(net, params, x)
    for ours, theirs in zip(found.edges, edges, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.inputs, inputs, rtol=1e-4)
    compiled = jax.jit(lambda m, p: kan.attribute(m, p, x))(net, params)
    np.testing.assert_allclose(compiled.inputs, inputs, rtol=1e-4)


@pytest.mark.parametrize("basis", [bases.BSpline(), bases.Rational()], ids=repr)
def test_edges_sum_to_the_units(basis, key):
    net = kan.KAN((3, 4, 2), basis)
    params = net.init(key)
    x = jax.random.uniform(key, (9, 3), minval=-1.0)
    values = net.activations(params, x)
    for i, edges in enumerate(kan.edge_activations(net, params, x)):
        units = np.asarray(edges).sum(1) + np.asarray(params[i].get("bias", 0.0))
        np.testing.assert_allclose(units, values[i + 1], atol=1e-5)


def test_a_dead_input_scores_zero(key):
    net = kan.KAN((3, 4, 1))
    params = net.init(key)
    params[0]["coef"] = params[0]["coef"].at[:, 1].set(0)
    params[0]["residual"] = params[0]["residual"].at[1].set(0)
    x = jax.random.uniform(key, (50, 3), minval=-1.0)
    scores = kan.attribute(net, params, x).inputs
    assert scores[1] == 0 and scores[0] > 0 and scores[2] > 0


def test_attribute_over_an_ensemble(key):
    net = kan.KAN((3, 4, 1))
    params = jax.vmap(net.init)(jax.random.split(key, 3))
    x = jax.random.uniform(key, (50, 3), minval=-1.0)
    together = jax.vmap(lambda p: kan.attribute(net, p, x))(params)
    alone = kan.attribute(net, jax.tree.map(lambda p: p[2], params), x)
    np.testing.assert_allclose(together.inputs[2], alone.inputs, rtol=1e-4)


def with_dead_unit(net, params, unit):
    """Cut what a hidden unit sends out."""
    outgoing = {name: p for name, p in params[1].items()}
    if "kernel" in outgoing:
        outgoing["kernel"] = outgoing["kernel"].at[unit].set(0)
    else:
        outgoing["coef"] = outgoing["coef"].at[:, unit].set(0)
        outgoing["residual"] = outgoing["residual"].at[unit].set(0)
    return (params[0], outgoing)


@pytest.mark.parametrize(
    "basis, widths",
    [
        (bases.BSpline(), (3, 3, 2)),
        (bases.BSpline(4, knots=jnp.tile(jnp.linspace(-2, 2, 11), (4, 1))), (3, 3, 2)),
        (bases.Rational(), (3, 3, 2)),
        (bases.Rational(2), (4, 4, 2)),
    ],
    ids=["uniform", "knots of each input", "rational", "grouped rational"],
)
def test_pruning_a_dead_unit_keeps_the_outputs(basis, widths, key):
    inputs = widths[0] if widths[0] == 4 else 3
    first = bases.BSpline() if isinstance(basis, bases.BSpline) else basis
    net = kan.KAN((inputs, 4, 2), (first, basis))
    params = with_dead_unit(net, net.init(key), 1)
    x = jax.random.uniform(key, (60, inputs), minval=-1.0)
    pruned = kan.prune(net, params, x, node_threshold=0.0, edge_threshold=0.0)
    np.testing.assert_allclose(
        pruned.model.apply(pruned.params, x), net.apply(params, x), atol=1e-5
    )
    assert pruned.model.widths == (inputs, widths[1], 2)
    assert list(pruned.units[1]) == [0, 2, 3]
    assert pruned.edges_left == inputs * 3 + 3 * 2


def test_pruning_keeps_one_unit_and_reports_used_inputs(key):
    net = kan.KAN((3, 4, 1))
    params = net.init(key)
    params[0]["coef"] = params[0]["coef"].at[:, 1].set(0)
    params[0]["residual"] = params[0]["residual"].at[1].set(0)
    x = jax.random.uniform(key, (60, 3), minval=-1.0)
    pruned = kan.prune(net, params, x, node_threshold=1e6)
    assert pruned.model.widths == (3, 1, 1)
    assert list(pruned.units[0]) == [0, 2]


def test_a_unit_whose_edges_all_go_goes_too(key):
    """Weak edges into a unit leave it without inputs, so its own edge goes as well."""
    net = kan.KAN((3, 4, 1))
    params = net.init(key)
    params[0]["coef"] = params[0]["coef"].at[:, :, 2].multiply(1e-3)
    params[0]["residual"] = params[0]["residual"].at[:, 2].multiply(1e-3)
    x = jax.random.uniform(key, (60, 3), minval=-1.0)
    pruned = kan.prune(net, params, x, node_threshold=0.0, edge_threshold=0.01)
    assert list(pruned.units[1]) == [0, 1, 3]
    for mask in pruned.model.masks:
        assert np.asarray(mask).any(axis=0).all()


def test_pruning_twice_keeps_the_first_masks(key):
    net = kan.KAN((3, 4, 1))
    params = net.init(key)
    x = jax.random.uniform(key, (60, 3), minval=-1.0)
    once = kan.prune(net, params, x, edge_threshold=0.1)
    twice = kan.prune(once.model, once.params, x, edge_threshold=0.0)
    assert twice.edges_left <= once.edges_left


def test_bad_input(key):
    net = kan.KAN((3, 2))
    params = net.init(key)
    with pytest.raises(ValueError, match=r"x must be \(batch, in\); got shape \(3,\)"):
        kan.attribute(net, params, jnp.ones(3))
    with pytest.raises(TypeError, match="must be a KAN; got a tuple. The order is"):
        kan.attribute(params, net, jnp.ones((4, 3)))
    with pytest.raises(ValueError, match="edge_threshold must be at least 0; got -1"):
        kan.prune(net, params, jnp.ones((4, 3)), edge_threshold=-1)


@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1e6])
def test_units_of_the_outputs_do_not_matter(scale, key):
    net = kan.KAN((3, 4, 2))
    params = net.init(key)
    x = jax.random.uniform(key, (50, 3), minval=-1.0)
    scaled = (params[0], jax.tree.map(lambda v: v * scale, params[1]))
    scores, others = (kan.attribute(net, p, x) for p in (params, scaled))
    for a, b in zip(scores.edges, others.edges, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)
    assert kan.prune(net, scaled, x).edges_left == kan.prune(net, params, x).edges_left


def test_sums_that_differ_by_round_off_alone_score_zero(key):
    net = kan.KAN((2, 2, 1))
    params = net.init(key)
    x = jnp.full((40, 2), 0.3) + 1e-8 * jax.random.normal(key, (40, 2))
    np.testing.assert_array_equal(kan.attribute(net, params, x).inputs, 0.0)
