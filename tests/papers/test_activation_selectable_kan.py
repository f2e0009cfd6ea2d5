"""Exact statements on networks that choose their families: arXiv 2408.08338."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from scipy.interpolate import BSpline

from kanjax import bases, kan, model
from kanjax.kan import selection

POOL = (
    bases.BSpline(4, domain=(-2.0, 2.0)),
    bases.Chebyshev(3, squash=None),
    bases.Jacobi(2, squash=None),
)
N, M, OUT = 3, len(POOL), 2


@pytest.fixture(autouse=True)
def double(x64):
    """Everything here is in double precision."""


@pytest.fixture
def layer():
    """A layer with three families, its parameters, and inputs."""
    one = kan.SelectableLayer(N, OUT, POOL, jnp.tanh)
    params = one.init(jax.random.key(0))
    params["logits"] = jax.random.normal(jax.random.key(1), (N, M))
    return one, params, jax.random.uniform(jax.random.key(2), (7, N), minval=-1.0)


def single(m, params, x):
    """The layer of one family, with the same coefficients."""
    alone = {"coef": params["coef"][m], "residual": params["residual"]}
    return kan.KANLayer(N, OUT, POOL[m], jnp.tanh).apply(alone, x)


def values(m, x):
    """The functions of a family (size, rows, in), by scipy and numpy."""
    if m == 0:
        knots = np.arange(-3, 8) - 2.0
        design = [BSpline.design_matrix(row, knots, 3).toarray() for row in x]
        return np.moveaxis(np.asarray(design), 2, 0)
    if m == 1:
        return np.stack([np.polynomial.Chebyshev.basis(n)(x) for n in range(4)])
    return np.stack([special.eval_jacobi(n, 1.0, 1.0, x) for n in range(3)])


def test_the_layer_is_its_formula(layer):
    one, params, x = layer
    weights = special.softmax(np.asarray(params["logits"]), axis=1)
    known = np.asarray(x)
    expected = np.tanh(known) @ np.asarray(params["residual"])
    for m in range(M):
        for i in range(N):
            edges = np.asarray(params["coef"][m])[:, i]
            expected += weights[i, m] * values(m, known)[:, :, i].T @ edges
    np.testing.assert_allclose(one.apply(params, x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("m", range(M))
def test_a_family_alone_is_its_own_layer(layer, m):
    one, params, x = layer
    logits = jnp.full((N, M), -1e4).at[:, m].set(0)
    y = one.apply(params | {"logits": logits}, x)
    np.testing.assert_allclose(y, single(m, params, x), rtol=1e-13)


def test_equal_weights_are_the_mean_of_the_layers(layer):
    one, params, x = layer
    mean = np.mean([single(m, params, x) for m in range(M)], axis=0)
    y = one.apply(params | {"logits": jnp.ones((N, M))}, x)
    np.testing.assert_allclose(y, mean, rtol=1e-12)
    hot = selection.at_temperature(params, jnp.inf)
    np.testing.assert_allclose(one.apply(hot, x), mean, rtol=1e-12)


def test_the_order_of_the_pool_does_not_matter(layer):
    one, params, x = layer
    order = (2, 0, 1)
    other = kan.SelectableLayer(N, OUT, tuple(POOL[m] for m in order), jnp.tanh)
    moved = params | {
        "coef": tuple(params["coef"][m] for m in order),
        "logits": params["logits"][:, jnp.asarray(order)],
    }
    np.testing.assert_allclose(other.apply(moved, x), one.apply(params, x), rtol=1e-12)


def test_no_slope_where_all_families_are_one_function(layer):
    _, params, x = layer
    one = kan.SelectableLayer(N, OUT, (POOL[0],) * M, jnp.tanh)
    same = params | {"coef": (params["coef"][0],) * M}

    def total(logits, params):
        return jnp.sum(jnp.sin(one.apply(params | {"logits": logits}, x)))

    slope = jax.grad(total)
    np.testing.assert_allclose(slope(params["logits"], same), 0, atol=1e-15)
    different = same | {"coef": (same["coef"][0], 2 * same["coef"][0], same["coef"][0])}
    assert np.all(np.abs(slope(params["logits"], different)) > 1e-6)


def test_pruning_keeps_the_function_of_the_hard_choice():
    net = kan.SelectableKAN((N, 4, OUT), POOL)
    params = net.init(jax.random.key(3))
    start = selection.selection_entropy(params)
    np.testing.assert_allclose(jnp.concatenate(start), np.log(M), rtol=1e-14)
    params = jax.tree.map(
        lambda leaf: leaf + jax.random.normal(jax.random.key(leaf.size), leaf.shape),
        params,
    )
    hard = selection.harden(params)
    assert not np.any(jnp.concatenate(selection.selection_entropy(hard)))
    small, kept = selection.prune(net, params)
    x = jax.random.uniform(jax.random.key(4), (9, N), minval=-1.0)
    y = small.apply(kept, x)
    np.testing.assert_allclose(y, net.apply(hard, x), rtol=1e-12)
    chosen = selection.select(params)
    for each, found, p in zip(small.layers, chosen, params, strict=True):
        assert each.families == tuple(np.argmax(p["logits"], axis=1)) == tuple(found)
    assert len(set(small.layers[0].families)) > 1
    # The weight of the choice stays: it is no single layer of full weight.
    weight = special.softmax(np.asarray(params[1]["logits"]), axis=1).max(axis=1)
    family = small.layers[1].families
    for i, m in enumerate(family):
        edge = hard[1]["coef"][m][:, i] / params[1]["coef"][m][:, i]
        np.testing.assert_allclose(edge, weight[i], rtol=1e-12)
    # Pruned again, nothing changes: the choice has been made.
    again, twice = selection.prune(net, hard)
    assert again == small
    np.testing.assert_array_equal(again.apply(twice, x), y)


def test_the_published_switch_functions():
    x = np.linspace(-3, 3, 11)
    centers = np.linspace(-1.2, 0.2, 8)
    expected = 1 - np.tanh(0.5 * (x[:, None] - centers)) ** 2
    switches = kan.POOL_PUBLISHED[2](jnp.asarray(x))
    np.testing.assert_allclose(switches, expected, rtol=1e-11, atol=1e-15)


def test_a_kernel_of_one_point_is_a_layer_of_pixels():
    net = selection.selectable_conv(N, OUT, (1, 1), POOL)
    params = net.init(jax.random.key(5))
    params["logits"] = jax.random.normal(jax.random.key(6), (N, M))
    x = jax.random.uniform(jax.random.key(7), (2, 4, 5, N), minval=-1.0)
    dense = kan.SelectableLayer(N, OUT, POOL)
    np.testing.assert_array_equal(net.apply(params, x), dense.apply(params, x))


def test_a_convolution_sees_patches_cut_by_hand():
    net = selection.selectable_conv(2, OUT, (3, 2), POOL, padding="VALID")
    params = net.init(jax.random.key(8))
    params["logits"] = jax.random.normal(jax.random.key(9), (2, M))
    x = jax.random.uniform(jax.random.key(10), (2, 5, 4, 2), minval=-1.0)
    y = net.apply(params, x)
    each_tap = jnp.tile(params["logits"], (6, 1))
    dense = kan.SelectableLayer(12, OUT, POOL)
    assert y.shape == (2, 3, 3, OUT)
    for i in range(3):
        for j in range(3):
            patch = x[:, i : i + 3, j : j + 2].reshape(2, 12)
            expected = dense.apply(params | {"logits": each_tap}, patch)
            np.testing.assert_allclose(y[:, i, j], expected, rtol=1e-12)


def test_the_published_classifier_has_its_sizes():
    net = kan.image_classifier((28, 28, 1), 10, kan.kan_conv)
    x = jnp.zeros((2, 28, 28, 1))
    params = jax.eval_shape(net.init, jax.random.key(0))
    assert jax.eval_shape(net.apply, params, x).shape == (2, 10)
    # Two convolutions of 8 splines and a residual each, and a perceptron of 320.
    edges = 9 * (25 * 10 + 250 * 20)
    expected = edges + 320 * 50 + 50 + 50 * 10 + 10
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == expected


def test_a_classifier_is_pruned_layer_by_layer():
    net = kan.image_classifier(
        (6, 6, 1),
        3,
        lambda *args, **options: kan.selectable_conv(*args, pool=POOL, **options),
        widths=(2,),
        kernel_size=3,
        hidden=4,
    )
    params = net.init(jax.random.key(0))
    small, kept = selection.prune(net, params)
    x = jax.random.uniform(jax.random.key(1), (2, 6, 6, 1))
    expected = net.apply(selection.harden(params), x)
    np.testing.assert_allclose(small.apply(kept, x), expected, rtol=1e-12)
    assert model.count_parameters(kept) < model.count_parameters(params)
