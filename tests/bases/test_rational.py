"""Safe Pade rational functions."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from kanjax import bases, kan


def plain(x, a, b, form):
    """One value at a time, in float64, straight from the definition."""
    p = sum(a[i] * x**i for i in range(len(a)))
    if form == "A":
        q = 1 + sum(abs(b[j]) * abs(x) ** (j + 1) for j in range(len(b)))
    else:
        q = 1 + abs(sum(b[j] * x ** (j + 1) for j in range(len(b))))
    return p / q


@pytest.mark.parametrize("form", ["A", "B"])
@pytest.mark.parametrize("orders", [(5, 4), (2, 3), (1, 1)])
def test_value_equals_the_definition_group_by_group(form, orders, x64):
    rng = np.random.default_rng(0)
    basis = bases.Rational(3, orders, form, start="identity")
    a, b = rng.normal(size=(3, orders[0] + 1)), rng.normal(size=(3, orders[1]))
    x = rng.normal(size=(7, 6))
    expected = [
        [plain(x[r, c], a[c // 2], b[c // 2], form) for c in range(6)] for r in range(7)
    ]
    params = {"numerator": jnp.array(a), "denominator": jnp.array(b)}
    np.testing.assert_allclose(basis.apply(params, jnp.array(x)), expected, rtol=1e-12)


@pytest.mark.parametrize("form", ["A", "B"])
def test_identity_start_is_exact(form, key):
    basis = bases.Rational(2, form=form, start="identity")
    x = jax.random.normal(key, (5, 4))
    np.testing.assert_array_equal(basis.apply(basis.init(key), x), x)


@pytest.mark.parametrize(
    "form, start, function, error",
    [
        ("A", "silu", jax.nn.silu, 2e-6),
        ("B", "silu", jax.nn.silu, 2e-4),
        ("A", "gelu", lambda x: jax.nn.gelu(x, approximate=False), 5e-3),
        ("B", "gelu", lambda x: jax.nn.gelu(x, approximate=False), 3.1e-3),
        ("A", "tanh", jnp.tanh, 5e-5),
        ("A", "relu", jax.nn.relu, 3.1e-2),
        ("B", "geglu", lambda x: x * jax.nn.gelu(x, approximate=False), 5e-3),
        ("B", "swishglu", lambda x: x * jax.nn.silu(x), 2e-3),
    ],
)
def test_starts_approximate_their_function(form, start, function, error, key):
    basis = bases.Rational(form=form, start=start)
    x = jnp.linspace(-3, 3, 601)[:, None]
    difference = basis.apply(basis.init(key), x) - function(x)
    assert float(jnp.max(jnp.abs(difference))) < error


def test_the_denominator_of_form_a_is_even(key, x64):
    b = jax.random.normal(key, (2, 4))
    params = {"numerator": jnp.zeros((2, 6)).at[:, 0].set(1), "denominator": b}
    x = jax.random.normal(key, (5, 4))
    inverse = bases.Rational(2).apply(params, x)
    np.testing.assert_array_equal(inverse, bases.Rational(2).apply(params, -x))


def test_channels_of_a_group_can_be_permuted_and_one_group_is_one_function(key):
    basis = bases.Rational(2, shared="numerator")
    params = jax.tree.map(
        lambda v: v + 0.1 * jax.random.normal(key, v.shape), basis.init(key)
    )
    assert [params[n].shape for n in ("numerator", "denominator")] == [(1, 6), (2, 4)]
    x = jax.random.normal(key, (7, 6))
    order = np.array([2, 0, 1, 4, 5, 3])
    y = basis.apply(params, x)
    np.testing.assert_array_equal(basis.apply(params, x[:, order]), y[:, order])
    for group, columns in enumerate((slice(0, 3), slice(3, 6))):
        own = {**params, "denominator": params["denominator"][group : group + 1]}
        alone = bases.Rational().apply(own, x[:, columns])
        np.testing.assert_allclose(y[:, columns], alone, rtol=1e-6)


def test_a_zero_denominator_still_learns(key):
    """The slope of |b| at 0 is +1, so the identity can leave its start."""
    basis = bases.Rational(start="identity")
    x = jnp.ones((3, 1))
    gradient = jax.grad(lambda p: basis.apply(p, x).sum())(basis.init(key))
    assert np.all(np.asarray(gradient["denominator"]) != 0)


@pytest.mark.parametrize("form", ["A", "B"])
def test_gradients_equal_finite_differences(form, key, x64):
    basis = bases.Rational(2, form=form)
    params = jax.tree.map(
        lambda v: jnp.asarray(v, float) + 0.1 * jax.random.normal(key, v.shape),
        basis.init(key),
    )
    x = jax.random.normal(key, (9, 4))
    jax.test_util.check_grads(basis.apply, (params, x), order=2, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: bases.Rational(form="C"), "form must be 'A' or 'B'; got 'C'"),
        (lambda: bases.Rational(start="swosh"), "start must be 'identity' or"),
        (lambda: bases.Rational(form="B", start="tanh"), "in form B"),
        (lambda: bases.Rational(orders=(3, 2)), "use start='identity'"),
        (lambda: bases.Rational(shared="all"), "shared must be one of .*'all'"),
        (lambda: bases.Rational(groups=0), "groups must be an integer of at least 1"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match="(?i)" + words):
        make()


def test_groups_must_divide_the_channels(key):
    basis = bases.Rational(4)
    with pytest.raises(ValueError, match="groups=4 does not divide the 6 channels"):
        basis.apply(basis.init(key), jnp.ones((2, 6)))


def test_integer_inputs_do_not_cut_the_coefficients(key):
    net = kan.KAN((2, 1), basis=bases.Rational())
    params, x = net.init(key), jnp.array([[1, 2], [0, 3]])
    np.testing.assert_allclose(
        net.apply(params, x), net.apply(params, x.astype(float)), rtol=1e-6
    )
