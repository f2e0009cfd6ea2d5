import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from kanjax import linalg


def decay(values, t):
    return jnp.exp(-values * t)


def inverse(values):
    positive = values > 0
    return jnp.where(positive, 1 / jnp.where(positive, values, 1.0), 0.0)


def by_product(function, matrix, v, *args):
    return linalg.function_product(function, linalg.decompose(matrix), v, *args)


@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0, 1.0], [0.1, 2.0, 2.0, 2.0 + 1e-9], [1e-3, 1.0, 4.0, 9.0]]
)
@pytest.mark.parametrize("t", [1e-3, 1.0, 30.0])
def test_the_derivative_is_frechets_also_where_eigenvalues_are_equal(values, t, x64):
    random = np.random.default_rng(0)
    q, _ = np.linalg.qr(random.normal(size=(4, 4)))
    matrix = jnp.asarray(q * np.array(values) @ q.T)
    v, change = random.normal(size=(4, 2)), random.normal(size=(4, 4))
    change = change + change.T
    value, moved = jax.jvp(
        lambda m: by_product(decay, m, v, t), (matrix,), (jnp.asarray(change),)
    )
    exact, slope = scipy.linalg.expm_frechet(-t * matrix, -t * change)
    np.testing.assert_allclose(value, exact @ v, rtol=1e-9, atol=1e-12)
    size = np.abs(slope @ v).max()
    np.testing.assert_allclose(moved, slope @ v, atol=1e-7 * size)
    weights = random.normal(size=(4, 2))
    gradient = jax.jit(
        jax.grad(lambda m: jnp.sum(weights * by_product(decay, m, v, t)))
    )(matrix)
    expected = np.sum(weights * (slope @ v))
    np.testing.assert_allclose(np.sum(gradient * change), expected, atol=1e-6 * size)


def test_the_pseudo_inverse_and_its_derivative(x64):
    random = np.random.default_rng(1)
    features, step = random.normal(size=(2, 6, 3))
    v = random.normal(size=(6, 1))

    def solved(e):
        moved = features + e * step
        return by_product(inverse, moved @ moved.T, v)

    exact = lambda e: (  # noqa: E731
        np.linalg.pinv((features + e * step) @ (features + e * step).T, 1e-9) @ v
    )
    value, slope = jax.jvp(solved, (0.0,), (1.0,))
    np.testing.assert_allclose(value, exact(0.0), rtol=1e-8)
    expected = (exact(1e-5) - exact(-1e-5)) / 2e-5
    np.testing.assert_allclose(slope, expected, atol=1e-5 * np.abs(expected).max())


def test_second_derivatives_where_eigenvalues_are_distinct(x64):
    matrix = jnp.diag(jnp.array([1.0, 2.0, 4.0]))
    v = jnp.ones((3, 1))
    total = lambda e: jnp.sum(by_product(decay, matrix * e, v, 1.0))  # noqa: E731
    found = jax.grad(jax.grad(total))(0.5)
    values = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(found, np.sum(values**2 * np.exp(-values / 2)))


def test_vmap_over_matrices(x64):
    matrices = jnp.stack([jnp.eye(3), 2 * jnp.eye(3)])
    found = jax.vmap(lambda m: by_product(decay, m, jnp.ones((3, 1)), 1.0))(matrices)
    np.testing.assert_allclose(found[:, 0, 0], np.exp([-1.0, -2.0]))


def test_what_is_cut_is_exactly_null():
    found = linalg.decompose(jnp.diag(jnp.array([1.0, 1e-9, -1e-9])))
    np.testing.assert_array_equal(found.values, [0, 0, 1])
    np.testing.assert_array_equal(found.positive, [False, False, True])
    wide = linalg.decompose(jnp.diag(jnp.array([1.0, 1e-3])), cut=1e-2)
    np.testing.assert_array_equal(wide.positive, [False, True])
    with pytest.raises(ValueError, match="cut is -1"):
        linalg.decompose(jnp.eye(2), cut=-1)
