"""Functions that are chosen together."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import kan
from kanjax.kan import formula_search, symbolic
from kanjax.kan.symbolic import Fit
from tests.kan import networks


def test_combinations_come_in_the_order_of_their_sums():
    costs = [[0.3, 0.1], [2.0], [0.0, 0.5, 0.15]]
    found = list(formula_search._choices(costs))
    everything = itertools.product(*(range(len(each)) for each in costs))
    assert sorted(found) == list(everything)
    sums = [sum(each[i] for each, i in zip(costs, one, strict=True)) for one in found]
    assert sums == sorted(sums)


def test_what_numpy_computes_is_the_network(key):
    """Products, scales and shifts too; leading axes are several parameters at once."""
    net, params = networks.products_of_formulas(key)
    x = np.asarray(jax.random.uniform(key, (7, 2)))
    found = formula_search._apply(net.layers, jax.device_get(params), x)
    np.testing.assert_allclose(found, net.apply(params, x), rtol=1e-5, atol=1e-6)
    two = jax.tree.map(lambda p: np.stack([p, 2 * p]), params)
    np.testing.assert_allclose(
        formula_search._apply(net.layers, two, x)[0], found, rtol=1e-5
    )


def test_a_scale_that_hides_a_function_is_undone():
    """exp(-x^2 / 2), with its inner edge bent: apart, other functions fit it better."""
    net = kan.KAN((1, 1, 1), None, formulas=(((0, 0, "sin"),), ((0, 0, "log"),)))
    x = jnp.linspace(-2, 2, 60)[:, None]
    y = jnp.exp(-(x**2) / 2)
    bent = (0.8 * x**2 - 0.05 * x**4)[:, 0]
    each = [
        symbolic.suggest(x[:, 0], bent, library=("sin", "x^2")),
        symbolic.suggest(bent, y[:, 0], library=("log", "exp")),
    ]
    start = net.init(jax.random.key(0))
    choice, params = formula_search.search(
        net.layers, start, x, y, each, patience=9, complexity_weight=0.8
    )
    names = [fits[i].name for fits, i in zip(each, choice, strict=True)]
    assert each[0][0].name == "sin" and names == ["x^2", "exp"]
    (inner,), (outer,) = (layer["formulas"] for layer in params)
    assert outer[0] * inner[2] * inner[0] ** 2 == pytest.approx(-0.5, abs=1e-5)


def test_an_edge_without_a_part_in_it_is_dropped(key):
    """Noise fits either way, so that simplicity decides."""
    net = kan.KAN((2, 1), None, formulas=(((0, 0, "sin"), (1, 0, "x")),))
    x = jax.random.uniform(key, (80, 2), minval=-1)
    y = jnp.sin(3 * x[:, :1]) + 1e-3 * jax.random.normal(key, (80, 1))
    each = [
        [Fit("sin", (2.9, 0.1, 1.1, 0.0), 0.99)],
        [Fit("x", (1.0, 0.0, 0.1, 0.0), 0.99), Fit("0", (0.0, 0.0, 0.0, 0.0), 0.0)],
    ]
    choice, params = formula_search.search(
        net.layers, net.init(key), x, y, each, patience=9, complexity_weight=0.8
    )
    assert choice == (0, 1)
    a, _, c, _ = params[0]["formulas"][0]
    assert a * c == pytest.approx(3, abs=0.01)
