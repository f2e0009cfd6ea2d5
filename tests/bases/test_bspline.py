"""B-splines against scipy's, on uniform and arbitrary knots."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
from hypothesis import given, settings
from hypothesis import strategies as st

from kanjax import bases
from kanjax.bases import bspline


def derivative(basis, order):
    """x -> the order-th derivative of all functions, forward over forward."""
    function = basis
    for _ in range(order):
        function = jax.jacfwd(function)
    return jax.jit(jax.vmap(function))


def scipy_splines(knots, degree, x, order=0):
    columns = []
    for g in range(len(knots) - degree - 1):
        spline = scipy.interpolate.BSpline(
            knots, np.eye(len(knots) - degree - 1)[g], degree
        )
        columns.append(spline(x) if order == 0 else spline.derivative(order)(x))
    return np.stack(columns, -1)


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])
def test_values_equal_scipy_design_matrix(degree, uniform, x64):
    basis = bases.BSpline(7, degree, domain=(-0.5, 2.0))
    knots = np.asarray(basis.extended_knots())
    if not uniform:
        basis = bases.BSpline(7, degree, knots=jnp.array(knots))
    # The grid points themselves included, the half-open end left out.
    x = np.concatenate([np.linspace(-0.5, 2.0, 301)[:-1], [0.0, 1.25]])
    expected = scipy.interpolate.BSpline.design_matrix(x, knots, degree).toarray()
    np.testing.assert_allclose(basis(x), expected, atol=1e-13)


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("degree, order", [(1, 1), (2, 1), (3, 1), (3, 2), (3, 3)])
def test_derivatives_of_any_order_equal_scipy(degree, order, uniform, x64):
    basis = bases.BSpline(6, degree)
    knots = np.asarray(basis.extended_knots())
    if not uniform:
        basis = bases.BSpline(6, degree, knots=jnp.array(knots))
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 200)
    if order < degree:
        x = np.concatenate([x, knots[degree:-degree][:-1]])
    expected = scipy_splines(knots, degree, x, order)
    np.testing.assert_allclose(
        derivative(basis, order)(jnp.array(x)), expected, atol=1e-10 * 10**order
    )


def test_derivative_beyond_the_degree_is_zero(x64):
    x = jnp.linspace(-0.9, 0.9, 17)
    assert not np.any(derivative(bases.BSpline(5, 2), 3)(x))


def test_reverse_mode_equals_forward_mode(x64):
    basis = bases.BSpline(5)
    x = jnp.linspace(-0.99, 0.99, 41)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(jax.jacrev(basis)))(x), derivative(basis, 1)(x), atol=1e-14
    )
    second = jax.jit(jax.vmap(jax.jacfwd(jax.jacrev(basis))))(x)
    np.testing.assert_allclose(second, derivative(basis, 2)(x), atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(
    intervals=st.sampled_from([1, 2, 5, 33]),
    degree=st.integers(1, 5),
    low=st.floats(-10, 10),
    width=st.floats(0.1, 20),
)
def test_partition_of_unity(intervals, degree, low, width):
    basis = bases.BSpline(intervals, degree, (low, low + width))
    x = jnp.linspace(low, low + width, 33)[1:-1]
    np.testing.assert_allclose(jnp.sum(basis(x), -1), 1, atol=2e-4)
    assert float(jnp.min(basis(x))) > -1e-5


@settings(max_examples=15, deadline=None)
@given(
    inner=st.lists(
        st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]), min_size=6, max_size=6
    ),
    degree=st.sampled_from([1, 3]),
)
def test_tied_knots_give_finite_values_and_slopes(inner, degree):
    """Ties are intervals of length zero: 0 / 0 counts as 0, under grad as well."""
    inner = np.sort(inner)
    knots = np.concatenate([[-2.0] * (degree + 1), inner, [2.0] * (degree + 1)])
    with jax.enable_x64(True):
        evaluate = functools.partial(
            bspline.cox_de_boor, knots=jnp.array(knots), degree=degree
        )
        x = jnp.concatenate([jnp.array(inner), jnp.linspace(-1.99, 1.99, 23)])
        np.testing.assert_allclose(jnp.sum(evaluate(x), -1), 1, atol=1e-12)
        values = evaluate(x)
        slopes, knot_slopes = jax.jit(
            jax.grad(
                lambda v, t: bspline.cox_de_boor(v, t, degree).sum(), argnums=(0, 1)
            )
        )(x, jnp.array(knots))
    away = ~np.isin(np.asarray(x), knots)
    expected = scipy.interpolate.BSpline.design_matrix(
        np.asarray(x)[away], knots, degree
    ).toarray()
    np.testing.assert_allclose(values[away], expected, atol=1e-12)
    assert np.all(np.isfinite(slopes)) and np.all(np.isfinite(knot_slopes))


def test_knots_of_each_input(key, x64):
    """(in, n) knots: every column of x has its own grid, in both layouts."""
    grids = [bases.BSpline(4, 3, (-1, 1)), bases.BSpline(4, 3, (0, 3))]
    own = bases.BSpline(4, 3, knots=jnp.stack([g.extended_knots() for g in grids]))
    x = jax.random.uniform(key, (20, 2), minval=0.0, maxval=1.0)
    for i, grid in enumerate(grids):
        np.testing.assert_allclose(own(x)[:, i], grid(x[:, i]), atol=1e-12)
    np.testing.assert_allclose(own(x, axis=-2), jnp.swapaxes(own(x), -1, -2))


def test_outside_the_grid_the_splines_vanish():
    basis = bases.BSpline(5)
    far = (5 + 3) * 0.4
    x = jnp.array([-1 - far, 1 + far, -1e6, 1e6])
    assert not np.any(basis(x))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"intervals": 0}, "intervals must be an integer of at least 1; got 0"),
        ({"degree": -1}, "degree must be an integer of at least 0; got -1"),
        ({"domain": (1.0, 1.0)}, r"low < high; got \(1.0, 1.0\)"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(ValueError, match=words):
        bases.BSpline(**arguments)


def test_knots_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match=r"shape \(9,\); for intervals=5 and degree=3.*12"
    ):
        bases.BSpline(knots=jnp.linspace(-1, 1, 9))
    falling = bases.BSpline(knots=jnp.linspace(1, -1, 12))
    with pytest.raises(ValueError, match="knots decrease"):
        falling(jnp.zeros(3))
    with pytest.raises(ValueError, match="knots decrease"):
        jax.jit(lambda x: falling(x))(jnp.zeros(3))
    # Arithmetic on models as pytrees goes through.
    jax.tree.map(jnp.negative, falling)
