"""Formulas read off edges and networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from kanjax import bases, kan
from kanjax.kan import symbolic
from tests.kan import networks

X = jnp.linspace(-1, 1, 100)


def curve(fit):
    a, b, c, d = fit.coefficients
    function = symbolic.LIBRARY[fit.name].evaluate
    return c * function(jnp, a * X + b) + d


def test_parameters_of_a_sine_are_found():
    best = symbolic.suggest(X, 5 * jnp.sin(3 * X + 2) + 0.7)[0]
    assert best.name == "sin" and best.r2 > 0.9999
    a, b, c, d = best.coefficients
    # Up to the sine's own symmetries.
    sign = np.sign(a)
    shift = (b * sign - 2) / np.pi
    assert abs(a) == pytest.approx(3, abs=1e-2)
    assert shift == pytest.approx(round(shift), abs=1e-2)
    assert c * sign * (-1) ** round(shift) == pytest.approx(5, abs=2e-2)
    assert d == pytest.approx(0.7, abs=1e-2)


@pytest.mark.parametrize(
    "name, function",
    [
        ("x", lambda x: 3 * x - 1),
        ("x^2", lambda x: (x - 0.3) ** 2),
        ("exp", lambda x: jnp.exp(1.7 * x)),
        ("log", lambda x: jnp.log(x + 1.5)),
        ("sqrt", lambda x: jnp.sqrt(x + 1.1)),
        ("abs", lambda x: jnp.abs(x + 0.2)),
        ("tanh", lambda x: jnp.tanh(4 * x)),
        ("1/x", lambda x: 1 / (x + 2)),
    ],
)
def test_the_right_function_comes_first(name, function):
    best = symbolic.suggest(X, function(X))[0]
    assert best.name == name
    assert best.r2 > 0.999
    spread = float(jnp.std(function(X)))
    np.testing.assert_allclose(curve(best), function(X), atol=0.1 * spread)


@pytest.mark.parametrize("name", list(symbolic.LIBRARY))
def test_numbers_and_formulas_are_one_definition(name):
    u = sympy.Symbol("u")
    expression = symbolic.LIBRARY[name].evaluate(sympy, u)
    points = np.linspace(0.1, 0.9, 9)
    expected = sympy.lambdify(u, expression)(points)
    found = symbolic.LIBRARY[name].evaluate(jnp, jnp.array(points))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_r2_is_the_squared_correlation_of_the_fit():
    y = jnp.exp(X) + 0.3 * jnp.sin(9 * X)
    for fit in symbolic.suggest(X, y, library=["exp", "x", "x^2"]):
        expected = np.corrcoef(curve(fit), y)[0, 1] ** 2
        assert fit.r2 == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("value", [2.0, 0.1, 1e-12, -3e7])
def test_a_constant_curve_fits_nothing(value):
    fits = symbolic.suggest(jnp.linspace(-1, 1, 50), jnp.full(50, value))
    assert all(fit.r2 == 0 for fit in fits)
    assert fits[0].name == "0"
    np.testing.assert_allclose(fits[0].coefficients[3], value, rtol=1e-5)


@pytest.mark.parametrize("unit", [1e-25, 1e-6, 1e6, 1e25])
def test_units_of_the_curve_do_not_matter(unit):
    best = symbolic.suggest(X, unit * (5 * jnp.sin(3 * X + 2) + 0.7))[0]
    assert best.name == "sin" and best.r2 > 0.9999
    np.testing.assert_allclose(
        curve(best) / unit, 5 * jnp.sin(3 * X + 2) + 0.7, atol=0.02
    )


def test_a_constant_input_stays_out_of_the_formula(key):
    basis = bases.BSpline(8)
    net = kan.KAN((2, 1), basis, residual=None)
    points = jnp.linspace(-1, 1, 200)
    both = jnp.stack([points, points], axis=1)
    values = jnp.stack([jnp.sin(3 * points), jnp.exp(points)], axis=1)[..., None]
    params = ({"coef": kan.fit_coefficients(basis, both, values)},)
    x = jnp.stack([jax.random.uniform(key, (99,), minval=-1), jnp.full(99, 0.3)], 1)
    (expression,) = symbolic.formula(net, params, x)
    assert [str(s) for s in expression.free_symbols] == ["x1"]
    found = sympy.lambdify(sympy.Symbol("x1"), expression)(np.asarray(x[:, 0]))
    exact = np.sin(3 * np.asarray(x[:, 0])) + np.exp(0.3)
    np.testing.assert_allclose(found, exact, atol=2e-2)
    edges = symbolic.auto_symbolic(net, params, x).edges
    assert {edge.source: edge.fit.name for edge in edges} == {0: "sin", 1: "0"}


def planted(key):
    """A KAN whose edges are sin(3 x1) / 2 and x2^2 / 2, then the identity."""
    basis = bases.BSpline(20)
    points = jnp.linspace(-1, 1, 200)
    first = 0.5 * jnp.stack([jnp.sin(3 * points), points**2], axis=1)[:, :, None]
    inputs = jnp.stack([points, points], axis=1)
    net = kan.KAN((2, 1, 1), basis, residual=None)
    params = (
        {"coef": kan.fit_coefficients(basis, inputs, first)},
        {"coef": kan.fit_coefficients(basis, points[:, None], points[:, None, None])},
    )
    x = jax.random.uniform(key, (300, 2), minval=-0.6, maxval=0.6)
    return net, params, x.at[:, 1].set(jnp.abs(x[:, 1]) ** 0.5 - 0.4)


def test_the_formula_of_a_planted_network(key):
    net, params, x = planted(key)
    (expression,) = symbolic.formula(net, params, x, names=["p", "q"])
    p, q = sympy.symbols("p q")
    assert expression.free_symbols == {p, q}
    assert expression.atoms(sympy.sin)
    values = sympy.lambdify((p, q), expression)(
        np.asarray(x[:, 0]), np.asarray(x[:, 1])
    )
    np.testing.assert_allclose(values, net.apply(params, x)[:, 0], atol=2e-2)


def test_masked_edges_are_left_out(key):
    net, params, x = planted(key)
    masked = kan.KAN(
        net.widths, net.basis, None, (jnp.array([[1.0], [0.0]]), jnp.ones((1, 1)))
    )
    found = symbolic.fit_edges(masked, params, x)
    assert [(e.layer, e.source, e.target) for e in found] == [(0, 0, 0), (1, 0, 0)]
    (expression,) = symbolic.formula(masked, params, x, edges=found)
    assert {str(s) for s in expression.free_symbols} == {"x1"}


def test_an_edge_without_a_formula_is_named(key):
    net, params, x = planted(key)
    noisy = params[0]["coef"].at[:, 1].set(jax.random.normal(key, (23, 1)))
    with pytest.raises(ValueError, match=r"edge \(1, 0\) of layer 0: .* R2 = "):
        symbolic.formula(net, ({"coef": noisy}, params[1]), x)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: symbolic.suggest(X, X[:3]), r"\(100,\) and \(3,\)"),
        (lambda: symbolic.suggest(X, X, library=[]), "library is empty"),
        (lambda: symbolic.suggest(X, X, library=["sine"]), "nearest: 'sin'"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_frozen_edges_keep_the_network_and_are_parameters(key):
    net, params, x = planted(key)
    edges = symbolic.fit_edges(net, params, x)
    half, p = symbolic.freeze(net, params, edges[:1])
    assert half.formulas == ((edges[0][1:3] + (edges[0].fit.name,),), ())
    np.testing.assert_allclose(half.apply(p, x), net.apply(params, x), atol=1e-2)
    whole, q = symbolic.freeze(half, p, edges[1:])
    assert whole.basis is None and whole.masks is None
    assert jax.tree.map(jnp.shape, q) == (
        {"formulas": (2, 4)},
        {"formulas": (1, 4)},
    )
    np.testing.assert_allclose(whole.apply(q, x), net.apply(params, x), atol=2e-2)
    assert [e.fit.name for e in symbolic.fit_edges(whole, q, x)] == [
        e.fit.name for e in edges
    ]
    (expression,) = symbolic.formula(whole, q, x, digits=8)
    values = sympy.lambdify(sympy.symbols("x1 x2"), expression)(*np.asarray(x).T)
    np.testing.assert_allclose(values, whole.apply(q, x)[:, 0], atol=1e-4)
    assert r"\sin" in symbolic.latex([expression])[0]


def test_formulas_of_products_and_affine_units(key):
    net, params = networks.products_of_formulas(key)
    x = jax.random.uniform(key, (20, 2), minval=-1)
    (expression,) = symbolic.formula(net, params, x, digits=9)
    values = sympy.lambdify(sympy.symbols("x1 x2"), expression)(*np.asarray(x).T)
    np.testing.assert_allclose(values, net.apply(params, x)[:, 0], rtol=1e-4)


def test_auto_symbolic_finds_and_refits_the_planted_formula(key, x64):
    net, params, x = planted(key)
    y = 0.5 * jnp.sin(3 * x[:, :1]) + 0.5 * x[:, 1:] ** 2
    found = symbolic.auto_symbolic(net, params, x, y, steps=60)
    assert {edge.fit.name for edge in found.edges} == {"sin", "x^2", "x"}
    error = found.model.apply(found.params, x) - y
    assert float(jnp.sqrt(jnp.mean(error**2))) < 1e-4
    assert found.model.basis is None


def test_another_loss_has_targets_of_its_own(key):
    """They are not what functions are chosen by, but what is trained for then."""
    net, params, x = planted(key)
    y = 1 + net.apply(params, x)[:, 0]

    def loss(apply):
        return lambda p, b, key: jnp.mean((apply(p, b[0])[:, 0] - b[1]) ** 2)

    found = symbolic.auto_symbolic(net, params, x, y, steps=50, loss=loss)
    assert {edge.fit.name for edge in found.edges} == {"sin", "x^2", "x"}
    np.testing.assert_allclose(found.model.apply(found.params, x)[:, 0], y, atol=1e-2)
    with pytest.raises(ValueError, match="the targets .*must be equal"):
        symbolic.auto_symbolic(net, params, x, y)


def test_constants_are_fitted_to_all_samples(key):
    """More of them than what functions are compared on, and fewer than constants."""
    net = kan.KAN((1, 1), None, formulas=(((0, 0, "exp"),),))
    params = ({"formulas": jnp.array([[0.9, 0.0, 1.1, 0.0]])},)
    x = jax.random.uniform(key, (2000, 1), minval=-1)
    y = jnp.exp(x + jax.random.normal(key, (2000, 1)))
    for few in (slice(None), slice(3)):
        found = symbolic.auto_symbolic(net, params, x[few], y[few])
        error = found.model.apply(found.params, x[few]) - y[few]
        before = net.apply(params, x[few]) - y[few]
        # At the minimum nothing is left in the direction of the constant d.
        assert abs(float(jnp.mean(error))) < 1e-3 * float(jnp.std(before))
        assert float(jnp.mean(error**2)) < float(jnp.mean(before**2))


def test_an_edge_that_nothing_fits_stays_learned(key):
    net, params, x = planted(key)
    noisy = params[0]["coef"].at[:, 1].set(0.1 * jax.random.normal(key, (23, 1)))
    found = symbolic.auto_symbolic(
        net, ({"coef": noisy}, params[1]), x, minimum_r2=0.99, steps=0
    )
    assert [len(edges) for edges in found.model.formulas] == [1, 1]
    assert np.array_equal(found.model.masks[0], [[0.0], [1.0]])


def test_a_rational_layer_keeps_its_bias_when_frozen(key):
    net = kan.KAN((2, 1), bases.Rational())
    params = net.init(key)
    params[0]["bias"] = params[0]["bias"] + 0.7
    x = jax.random.uniform(key, (50, 2), minval=-1)
    edge = symbolic.Edge(0, 0, 0, symbolic.Fit("x", (1.0, 0.0, 0.0, 0.0), 1.0))
    frozen, p = symbolic.freeze(net, params, [edge])
    without = kan.KAN((2, 1), bases.Rational(), masks=(jnp.array([[0.0], [1.0]]),))
    np.testing.assert_allclose(frozen.apply(p, x), without.apply(params, x), atol=1e-6)


@pytest.mark.parametrize(
    "place, words",
    [((3, 0, 0), "there is no layer 3"), ((0, 5, 0), r"edge \(5, 0\) of layer 0")],
)
def test_freezing_what_is_not_there(place, words, key):
    net, params, _ = planted(key)
    edge = symbolic.Edge(*place, symbolic.Fit("sin", (1.0, 0.0, 1.0, 0.0), 1.0))
    with pytest.raises(ValueError, match=words):
        symbolic.freeze(net, params, [edge])


def test_a_symbolic_network_may_lose_all_edges(key):
    net, params, x = planted(key)
    edges = symbolic.fit_edges(net, params, x)
    frozen, start = symbolic.freeze(net, params, edges)
    pruned = kan.prune(frozen, start, x, edge_threshold=100.0)
    assert pruned.edges_left == 0
    np.testing.assert_array_equal(pruned.model.apply(pruned.params, x), 0)
    assert symbolic.formula(pruned.model, pruned.params, x) == [0]
    assert kan.attribute(pruned.model, pruned.params, x).inputs.sum() == 0
    assert symbolic.fit_edges(pruned.model, pruned.params, x) == []
    assert kan.prune(pruned.model, pruned.params, x).edges_left == 0
    same = symbolic.auto_symbolic(pruned.model, pruned.params, x, steps=1)
    assert same.edges == [] and same.model == pruned.model
    # It is the constant of a network of formulas, which may have new ones.
    fit = symbolic.Fit("0", (0.0, 0.0, 0.0, 0.7), 1.0)
    constant, p = symbolic.freeze(
        pruned.model, pruned.params, [symbolic.Edge(1, 0, 0, fit)]
    )
    np.testing.assert_allclose(constant.apply(p, x), 0.7, rtol=1e-6)
    assert p[1]["formulas"].dtype == x.dtype


def test_a_network_with_products_may_lose_a_layer_of_edges(key):
    """Its scales and shifts make it a constant, which the formula has, too."""
    net, params = networks.products_of_formulas(key)
    x = jax.random.uniform(key, (30, 2), minval=-1)
    pruned = kan.prune(net, params, x, edge_threshold=100.0)
    model, p = pruned.model, pruned.params
    assert model.formulas[1] == ()
    shift, last = p[1]["sum_shift"][0], p[1]
    value = last["unit_scale"][0] * shift + last["unit_shift"][0]
    np.testing.assert_allclose(model.apply(p, x), value, rtol=1e-6)
    (expression,) = symbolic.formula(model, p, x, digits=9)
    np.testing.assert_allclose(float(expression), value, rtol=1e-6)
    found = symbolic.auto_symbolic(model, p, x, jnp.full((30, 1), 0.4), steps=30)
    np.testing.assert_allclose(found.model.apply(found.params, x), 0.4, atol=1e-4)
