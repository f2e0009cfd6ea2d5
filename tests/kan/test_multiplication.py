"""Units that multiply, edges that are formulas, and what surgery does with them."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from kanjax import bases, kan, model
from kanjax.kan import symbolic

FORMULAS = (((0, 1, "sin"), (1, 0, "x^2")), ((0, 0, "exp"),))


def network(**options):
    return kan.KAN((2, 3, 1), bases.BSpline(4), **options)


def brute_force(net, params, x):
    """Sum by sum and unit by unit, from the values of every edge."""
    for i, one in enumerate(net.layers):
        p = params[i]
        sums = kan.layer_edges(one, p, x).sum(axis=1)
        if net.affine:
            sums = p["sum_scale"][None] * sums + p["sum_shift"][None]
        products = net.products[i] if net.products else 0
        plain = sums.shape[1] - products * net.arity
        columns = [sums[:, j] for j in range(plain)]
        for j in range(products):
            first = plain + j * net.arity
            product = sums[:, first]
            for k in range(1, net.arity):
                product = product * sums[:, first + k]
            columns.append(product)
        x = jnp.stack(columns, axis=1)
        if net.affine:
            x = p["unit_scale"][None] * x + p["unit_shift"][None]
    return x


@pytest.mark.parametrize(
    "options",
    [
        {"products": (1, 0)},
        {"products": (2, 1), "arity": 3, "affine": True},
        {"formulas": FORMULAS, "products": (1, 0)},
    ],
    ids=["products", "three factors", "formulas"],
)
def test_units_equal_the_definition_and_transform(options, key):
    net = network(**options)
    params = net.init(key)
    noise = iter(jax.random.split(key, 99))
    params = jax.tree.map(
        lambda p: p + 0.2 * jax.random.normal(next(noise), p.shape), params
    )
    x = jax.random.uniform(key, (9, 2), minval=-0.9, maxval=0.9)
    expected = brute_force(net, params, x)
    np.testing.assert_allclose(net.apply(params, x), expected, atol=1e-5)
    np.testing.assert_allclose(
        jax.jit(lambda m, p: m.apply(p, x))(net, params), expected, atol=1e-5
    )
    two = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    np.testing.assert_allclose(
        jax.vmap(net.apply, (0, None))(two, x)[0], expected, atol=1e-5
    )
    gradient = jax.grad(lambda p: jnp.sum(net.apply(p, x) ** 2))(params)
    for leaf in jax.tree.leaves(gradient):
        assert np.all(np.isfinite(leaf)) and np.any(leaf != 0)
    again = eval(repr(net), {"KAN": kan.KAN, "BSpline": bases.BSpline})
    assert again == net


def test_formulas_are_what_they_say(key):
    net = kan.KAN((2, 1), None, formulas=(((0, 0, "sin"), (1, 0, "log")),))
    params = ({"formulas": jnp.array([[2.0, 0.5, 3.0, -1.0], [1.0, 2.0, 0.5, 0.0]])},)
    x = jax.random.uniform(key, (9, 2), minval=-1)
    expected = 3 * np.sin(2 * x[:, 0] + 0.5) - 1 + 0.5 * np.log(x[:, 1] + 2)
    np.testing.assert_allclose(net.apply(params, x)[:, 0], expected, atol=1e-5)
    assert model.count_parameters(net.init(key)) == 8


@pytest.mark.parametrize("name", list(symbolic.LIBRARY))
def test_formulas_stay_finite_outside_their_domain(name, key):
    net = kan.KAN((1, 1), None, formulas=(((0, 0, name),),))
    params = net.init(key)

    def total(p):
        return jnp.sum(net.apply(p, jnp.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]])))

    value, gradient = jax.value_and_grad(total)(params)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient[0]["formulas"]))
    inside = jnp.array([0.25, 0.5])
    assert np.array_equal(symbolic.LIBRARY[name].inside(jnp, inside), inside)


def test_attribution_of_a_product(key):
    """Each factor of a product has the product's score."""
    net = network(products=(1, 0))
    params = net.init(key)
    x = jax.random.uniform(key, (40, 2), minval=-1)
    scores = kan.attribute(net, params, x)
    edges = np.asarray(kan.edge_activations(net, params, x)[0])
    sums = edges.sum(axis=1)
    of_sum = np.asarray(scores.nodes[1])[[0, 1, 2, 2]]
    expected = edges.std(0) * of_sum / sums.std(0)
    np.testing.assert_allclose(scores.edges[0], expected, rtol=1e-4, atol=1e-6)


def test_pruning_keeps_products_and_formulas_apart(key):
    """Without a unit that nothing hears, the outputs are what they were."""
    net = network(products=(2, 0), formulas=FORMULAS)
    params = net.init(key)
    params[1]["coef"] = params[1]["coef"].at[:, 1].set(0)
    params[1]["residual"] = params[1]["residual"].at[1].set(0)
    x = jax.random.uniform(key, (40, 2), minval=-1)
    pruned = kan.prune(net, params, x, node_threshold=0, edge_threshold=0)
    assert pruned.model.widths == (2, 2, 1) and pruned.model.products == (1, 0)
    assert list(pruned.units[1]) == [0, 2]
    np.testing.assert_allclose(
        pruned.model.apply(pruned.params, x), net.apply(params, x), atol=1e-5
    )
    few = kan.prune(net, params, x, node_threshold=1e6, edge_threshold=1e6)
    assert few.model.widths[1] == 1


def test_pruning_inputs(key):
    net = kan.KAN((3, 4, 1))
    params = net.init(key)
    params[0]["coef"] = params[0]["coef"].at[:, 1].multiply(1e-3)
    params[0]["residual"] = params[0]["residual"].at[1].multiply(1e-3)
    x = jax.random.uniform(key, (50, 3), minval=-1)
    pruned = kan.prune(
        net, params, x, node_threshold=0, edge_threshold=0, input_threshold=1e-2
    )
    assert list(pruned.units[0]) == [0, 2]
    assert not np.asarray(pruned.model.masks[0])[1].any()
    moved = x.at[:, 1].add(0.5)
    assert np.array_equal(
        pruned.model.apply(pruned.params, x), pruned.model.apply(pruned.params, moved)
    )


def test_grids_of_networks_with_formulas_and_products(key):
    net = network(products=(1, 0), formulas=FORMULAS)
    params = jax.tree.map(lambda p: 0.5 * p, net.init(key))
    x = jax.random.uniform(key, (200, 2), minval=-1)
    finer, fitted = kan.refine(net, params, x, 8)
    assert finer.formulas == net.formulas and finer.products == net.products
    np.testing.assert_allclose(finer.apply(fitted, x), net.apply(params, x), atol=1e-4)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"products": (4, 0)}, r"products\[0\] is 4; layer 0 has 3 units"),
        ({"products": (1,)}, "products has 1 entries"),
        ({"products": (1, 0), "arity": 1}, "arity must be at least 2; got 1"),
        ({"formulas": (((2, 0, "sin"),), ())}, r"edge \(2, 0\) of layer 0"),
        ({"formulas": (((0, 0, "sine"),), ())}, "no function 'sine'"),
        ({"formulas": (((0, 0, "x"), (0, 0, "sin")), ())}, "two formulas on one edge"),
    ],
)
def test_bad_descriptions(options, words):
    with pytest.raises(ValueError, match=words):
        network(**options)


def test_a_network_without_basis_needs_formulas():
    with pytest.raises(ValueError, match="basis is None"):
        kan.KAN((2, 1), None)
