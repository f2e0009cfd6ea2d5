"""Grids that move and grow while the function stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan


def network(key, scale=1.0, **options):
    net = kan.KAN((3, 5, 2), **options)
    params = net.init(key)
    return net, jax.tree.map(lambda p: jnp.asarray(scale * p, jnp.float64), params)


def test_refining_to_a_multiple_keeps_the_function(key, x64):
    net, params = network(key, 0.7)
    x = jax.random.uniform(key, (400, 3), jnp.float64, minval=-1, maxval=1)
    assert float(jnp.max(jnp.abs(net.activations(params, x)[1]))) < 1
    for intervals in (5, 10, 20):
        finer, fitted = kan.refine(net, params, x, intervals)
        np.testing.assert_allclose(
            finer.apply(fitted, x), net.apply(params, x), atol=1e-8
        )
        assert finer == kan.KAN((3, 5, 2), bases.BSpline(intervals))


@pytest.mark.numerical
def test_refining_in_float32(key):
    net = kan.KAN((3, 5, 2))
    params = jax.tree.map(lambda p: 0.7 * p, net.init(key))
    x = jax.random.uniform(key, (400, 3), minval=-1)
    finer, fitted = kan.refine(net, params, x, 10)
    np.testing.assert_allclose(finer.apply(fitted, x), net.apply(params, x), atol=1e-5)


@pytest.mark.numerical
def test_refining_adapted_knots_keeps_the_function(key, x64):
    """The new knots are the old ones and the points between them."""
    net = kan.KAN((3, 2))
    params = jax.tree.map(lambda p: jnp.asarray(p, float), net.init(key))
    x = jax.random.normal(key, (400, 3), jnp.float64)
    net, params = kan.update_grid(net, params, x)
    finer, fitted = kan.refine(net, params, x, 10)
    np.testing.assert_allclose(
        finer.basis[0].knots[:, 3:-3:2], net.basis[0].knots[:, 3:-3], atol=1e-12
    )
    np.testing.assert_allclose(finer.apply(fitted, x), net.apply(params, x), atol=1e-8)


def test_updated_knots_span_the_samples(key, x64):
    net, params = network(key)
    x = 4 + 2 * jax.random.normal(key, (400, 3), jnp.float64)
    moved, fitted = kan.update_grid(net, params, x)
    knots = moved.basis[0].knots
    np.testing.assert_allclose(knots[:, 3], x.min(0))
    np.testing.assert_allclose(knots[:, -4], x.max(0))
    assert np.all(np.diff(knots) > 0)
    assert jax.tree.structure(fitted) == jax.tree.structure(params)


def test_uniform_share_one_gives_even_knots(key, x64):
    net, params = network(key)
    x = jax.random.normal(key, (200, 3), jnp.float64)
    moved, _ = kan.update_grid(net, params, x, uniform_share=1.0)
    steps = np.diff(moved.basis[0].knots, axis=1)
    np.testing.assert_allclose(steps, steps[:, :1] * np.ones(11), rtol=1e-9)


@pytest.mark.numerical
def test_ties_and_constant_inputs_stay_finite(key):
    """A categorical column and one that never changes."""
    x = jnp.stack(
        [
            jnp.repeat(jnp.array([0.0, 1.0]), 50),
            jnp.full(100, 0.3),
            jnp.linspace(-1, 1, 100),
        ],
        axis=1,
    )
    net = kan.KAN((3, 4, 1))
    moved, fitted = kan.update_grid(net, net.init(key), x)
    gradient = jax.grad(lambda p: jnp.sum(moved.apply(p, x) ** 2))(fitted)
    for leaf in jax.tree.leaves((fitted, gradient)):
        assert np.all(np.isfinite(leaf))


def test_update_of_a_function_in_the_new_space_is_exact(key, x64):
    """A cubic lies in every cubic spline space, wherever its knots are."""
    basis = bases.BSpline(6)
    x = jax.random.uniform(key, (300, 1), jnp.float64, minval=-1, maxval=1)

    def cubic(v):
        return 2 * v**3 - v + 0.5

    points = jnp.linspace(-1, 0.999, 80)[:, None]
    coef = kan.fit_coefficients(basis, points, cubic(points)[:, :, None])
    net = kan.KAN((1, 1), basis, residual=None)
    np.testing.assert_allclose(net.apply(({"coef": coef},), x), cubic(x), atol=1e-7)
    moved, fitted = kan.update_grid(net, ({"coef": coef},), x)
    inside = jnp.sort(x, axis=0)[:-1]
    np.testing.assert_allclose(moved.apply(fitted, inside), cubic(inside), atol=1e-6)


def test_fit_coefficients_equals_numpy_least_squares(key, x64):
    basis = bases.Chebyshev(4, squash=None)
    x = jax.random.uniform(key, (50, 2), jnp.float64, minval=-1, maxval=1)
    y = jax.random.normal(key, (50, 2, 3), jnp.float64)
    coef = kan.fit_coefficients(basis, x, y, ridge=0.0)
    for i in range(2):
        expected = np.linalg.lstsq(basis(x[:, i]), y[:, i])[0]
        np.testing.assert_allclose(coef[:, i], expected, atol=1e-12)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda n, p, x: kan.refine(n, p, x, 3), ValueError, "intervals=3 is fewer"),
        (
            lambda n, p, x: kan.refine(n, p, x[0], 9),
            ValueError,
            r"x must be \(batch, in",
        ),
        (
            lambda n, p, x: kan.update_grid(n, p, x, uniform_share=2),
            ValueError,
            r"uniform_share must be in \[0, 1\]; got 2",
        ),
    ],
)
def test_bad_input(call, error, words, key):
    net = kan.KAN((3, 5, 2))
    with pytest.raises(error, match=words):
        call(net, net.init(key), jnp.zeros((10, 3)))


def test_grids_belong_to_splines(key):
    net = kan.KAN((3, 2), bases.Fourier())
    with pytest.raises(TypeError, match="layer 0 has the basis Fourier()"):
        kan.update_grid(net, net.init(key), jnp.zeros((10, 3)))


def test_decompositions_are_of_one_input_at_a_time():
    """Those of whole batches can wait for each other without end on two cores."""
    basis, x = bases.BSpline(3), jnp.outer(jnp.linspace(-1, 1, 40), jnp.ones(4))
    traced = jax.make_jaxpr(kan.fit_coefficients)(basis, x, jnp.ones((40, 4, 2)))
    names = ("geqrf", "qr", "householder_product", "triangular_solve")
    ranks = []

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in names:
                ranks.extend(v.aval.ndim for v in equation.outvars)
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    visit(inner)

    visit(traced.jaxpr)
    assert ranks and max(ranks) == 2


@pytest.mark.numerical
@pytest.mark.parametrize("surgery", ["update", "refine"])
def test_half_precision_is_fitted_in_single(surgery, key):
    net = kan.KAN((3, 4, 2))
    params = net.init(key)
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    x = jax.random.uniform(key, (400, 3), minval=-1)

    def change(params, x):
        if surgery == "update":
            return kan.update_grid(net, params, x)
        return kan.refine(net, params, x, 10)

    moved, fitted = change(half, x.astype(jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves(fitted)} == {jnp.dtype("bfloat16")}
    wide = jax.tree.map(lambda p: p.astype(jnp.float32), fitted)
    before = net.apply(jax.tree.map(lambda p: p.astype(jnp.float32), half), x)
    error = jnp.abs(moved.apply(wide, x) - before)
    assert float(jnp.mean(error)) < 0.02 * float(jnp.std(before))


def test_samples_that_are_not_finite_are_refused(key):
    net = kan.KAN((3, 2))
    params = net.init(key)
    x = jax.random.uniform(key, (50, 3)).at[7, 1].set(jnp.nan)
    for surgery in (
        lambda: kan.update_grid(net, params, x),
        lambda: kan.refine(net, params, x, 10),
        lambda: kan.prune(net, params, x),
        lambda: kan.symbolic.fit_edges(net, params, x),
        lambda: kan.discover(net, key, x, x[:, :2]),
    ):
        with pytest.raises(ValueError, match="in 1 of 50 rows, first in row 7"):
            surgery()


@pytest.mark.numerical
@pytest.mark.parametrize("rows", [11, 40, 403])
def test_order_statistics_are_the_knots_of_pykan(rows, key, x64):
    net = kan.KAN((2, 1))
    params = net.init(key)
    x = jax.random.normal(key, (rows, 2))
    moved, _ = kan.update_grid(
        net, params, x, uniform_share=0.02, rule="order statistics"
    )
    for values, knots in zip(np.sort(x, axis=0).T, moved.basis[0].knots, strict=True):
        adaptive = values[[int(rows / 5 * i) for i in range(5)] + [-1]]
        step = (adaptive[-1] - adaptive[0]) / 5
        uniform = adaptive[0] + step * np.arange(6)
        expected = 0.02 * uniform + 0.98 * adaptive
        np.testing.assert_allclose(knots[3:-3], expected, rtol=1e-12)
    with pytest.raises(ValueError, match="rule must be one of quantiles, order"):
        kan.update_grid(net, params, x, rule="pykan")


def test_an_input_that_differs_by_round_off_gets_a_grid_of_some_length(key):
    net = kan.KAN((1, 1))
    x = jnp.full((30, 1), 0.3) + jnp.linspace(0, 5e-8, 30)[:, None]
    moved, fitted = kan.update_grid(net, net.init(key), x)
    assert float(jnp.ptp(moved.basis[0].knots)) > 1
    assert all(jnp.max(jnp.abs(p)) < 100 for p in jax.tree.leaves(fitted))
