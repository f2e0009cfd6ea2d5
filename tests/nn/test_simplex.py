"""The projection onto the simplex, against its definition and a solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from kanjax.nn import project_simplex


def nearest(y):
    """By bisection on lambda, in double precision."""
    y = np.asarray(y, np.float64)

    def excess(shift):
        return np.maximum(y - shift, 0).sum() - 1

    shift = optimize.brentq(excess, y.min() - 2, y.max(), xtol=1e-15)
    return np.maximum(y - shift, 0)


@pytest.fixture(scope="module")
def rows():
    return (
        jax.random.normal(jax.random.key(0), (20, 7)) * jnp.logspace(-2, 3, 20)[:, None]
    )


def test_it_is_the_nearest_point(rows):
    found = jax.jit(project_simplex)(rows)
    expected = np.stack([nearest(row) for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert np.all(found >= 0)
    np.testing.assert_allclose(project_simplex(found), found, atol=1e-6)


def test_it_solves_the_quadratic_program(x64, key):
    y = jax.random.normal(key, (5,))
    solved = optimize.minimize(
        lambda v: np.sum((v - np.asarray(y)) ** 2),
        np.full(5, 0.2),
        bounds=[(0, None)] * 5,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
        tol=1e-14,
    )
    np.testing.assert_allclose(project_simplex(y), solved.x, atol=1e-6)


def test_points_of_the_simplex_stay_and_equal_entries_share():
    y = jnp.array([0.5, 0.25, 0.0, 0.25])
    np.testing.assert_allclose(project_simplex(y), y, atol=1e-7)
    np.testing.assert_allclose(project_simplex(jnp.full(6, 1e4)), 1 / 6, rtol=1e-6)
    np.testing.assert_array_equal(project_simplex(jnp.array([5])), 1)


def test_any_axis_and_under_vmap(rows):
    expected = project_simplex(rows)
    np.testing.assert_array_equal(project_simplex(rows.T, axis=0), expected.T)
    np.testing.assert_array_equal(jax.vmap(project_simplex)(rows), expected)
    half = project_simplex(rows.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_the_jacobian_is_exact(x64, key):
    y = 0.5 * jax.random.normal(key, (6,))
    forward = jax.jacfwd(project_simplex)(y)
    s = np.asarray(project_simplex(y) > 0, float)
    assert 1 < s.sum() < 6
    np.testing.assert_allclose(forward, np.diag(s) - np.outer(s, s) / s.sum())
    np.testing.assert_allclose(jax.jacrev(project_simplex)(y), forward)
    step = 1e-6
    for i in range(6):
        shift = step * np.eye(6)[i]
        slope = (project_simplex(y + shift) - project_simplex(y - shift)) / (2 * step)
        np.testing.assert_allclose(forward[:, i], slope, atol=1e-9)
    second = jax.hessian(lambda v: project_simplex(v)[0])(y)
    np.testing.assert_array_equal(second, 0)


def test_wrong_axes_are_told():
    with pytest.raises(ValueError, match="axis=1 of y must exist"):
        project_simplex(jnp.ones(3), axis=1)
    with pytest.raises(ValueError, match=r"y has shape \(2, 0\)"):
        project_simplex(jnp.ones((2, 0)))
