"""Sums, products and symmetries are told from the derivatives of a function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from kanjax import kan
from kanjax.kan import hypotheses


@pytest.fixture(scope="module")
def x() -> jax.Array:
    return jax.random.uniform(jax.random.key(0), (60, 4), minval=0.5, maxval=2.0)


def sums(row):
    return jnp.sin(row[0] * row[2]) + jnp.exp(row[1]) + 3 * row[3]


def products(row):
    return (row[0] + row[2]) * jnp.exp(row[1]) * row[3] ** 2


def test_groups_of_sums_and_products(x):
    assert hypotheses.separability(sums, x).groups == ((0, 2), (1,), (3,))
    assert hypotheses.separability(products, x).groups == ((0, 1, 2, 3),)
    of_product = hypotheses.separability(products, x, kind="product")
    assert of_product.groups == ((0, 2), (1,), (3,))
    of_sum = hypotheses.separability(lambda row: row[0] + row[1], x, kind="product")
    assert of_sum.groups == ((0, 1), (2,), (3,))


def test_scores_equal_the_closed_form(x):
    """f = x0 x1: the mixed derivative is s0 s1, the slopes s0 x1 and s1 x0.

    As a product, of e^f: the second derivatives of its logarithm are those of f.
    """
    s = np.std(x, axis=0)
    slopes = np.stack([s[0] * x[:, 1], s[1] * x[:, 0]])
    plain = hypotheses.separability(lambda row: row[0] * row[1], x).scores
    of_log = hypotheses.separability(
        lambda row: jnp.exp(row[0] * row[1]), x, kind="product"
    ).scores
    for scores, weights in (
        (plain, np.ones(60)),
        (of_log, np.exp(4 * x[:, 0] * x[:, 1])),
    ):
        squares = np.mean(weights * slopes**2, axis=1)
        size = np.prod(squares + 0.01 * np.sum(squares)) ** 0.5
        expected = np.zeros((4, 4))
        expected[0, 1] = np.sqrt(np.mean(weights) * (s[0] * s[1]) ** 2 / size)
        np.testing.assert_allclose(scores, expected + expected.T, rtol=1e-4)


@pytest.mark.parametrize("kind", ["sum", "product"])
def test_units_do_not_matter(x, kind):
    plain = hypotheses.separability(products, x, kind=kind).scores
    units = jnp.array([1e15, 1e-15, 1e15, 1.0])
    scaled = hypotheses.separability(
        lambda row: 1e20 * products(row / units), x * units[None], kind=kind
    ).scores
    np.testing.assert_allclose(scaled, plain, rtol=1e-3, atol=1e-4)


def test_what_does_not_vary_interacts_with_nothing(x):
    of_constant = hypotheses.separability(lambda row: 0 * row[0] + 2.0, x)
    np.testing.assert_array_equal(of_constant.scores, 0)
    fixed = hypotheses.separability(lambda row: row[0] * row[1], x.at[:, 1].set(1.0))
    np.testing.assert_array_equal(fixed.scores, 0)


def test_symmetry(x):
    def f(row):
        return jnp.tanh(row[0] * row[1] ** 2) * row[2] + row[3]

    assert hypotheses.asymmetry(f, x, (0, 1)) < 1e-4
    # Through tanh(h) row[2] as well.
    assert hypotheses.asymmetry(f, x, [2, 0, 1]) < 1e-4
    assert hypotheses.asymmetry(f, x, (0, 2)) > 0.1


def test_a_function_of_the_rest_alone_has_no_gradient_that_turns(x):
    assert hypotheses.asymmetry(lambda row: jnp.sin(row[2]), x, (0, 1)) == 0


def test_the_turn_of_a_rotating_gradient_is_its_angle(x):
    """The gradient of x0 cos t + x1 sin t turns with t by one radian a radian."""

    def f(row):
        return row[0] * jnp.cos(row[2]) + row[1] * jnp.sin(row[2])

    same = x.at[:, 1].set(x[::-1, 0])
    turn = hypotheses.asymmetry(f, same, (0, 1))
    assert turn == pytest.approx(float(jnp.std(x[:, 2])), rel=1e-4)


def test_a_network(x):
    a, b, c = sympy.symbols("a b c")
    model, params = kan.compile([sympy.sin(a) + b * c], (a, b, c))
    result = hypotheses.separability(lambda row: model.apply(params, row)[0], x[:, :3])
    assert result.groups == ((0,), (1, 2))


def test_bad_input_is_named(x):
    with pytest.raises(ValueError, match="'sum' or 'product'; got 'mul'"):
        hypotheses.separability(sums, x, kind="mul")
    with pytest.raises(ValueError, match=r"samples, \(n, in\); got the shape \(4,\)"):
        hypotheses.separability(sums, x[0])
    with pytest.raises(TypeError, match="f must give a scalar for a row of 4"):
        hypotheses.separability(lambda row: row, x)
    for group in [(0,), (0, 1, 2, 3), (0, 0), (1, 7)]:
        with pytest.raises(ValueError, match="different inputs from 0 to 3"):
            hypotheses.asymmetry(sums, x, group)
