import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import scipy.linalg

from kanjax import linalg


def stack(key):
    factors = jax.random.normal(key, (4, 7, 9))
    return factors @ jnp.swapaxes(factors, 1, 2)


def test_roots_are_those_of_scipy(key, x64):
    matrices = stack(key)
    found = jax.jit(jax.vmap(linalg.triangular_roots))(matrices)
    for i, matrix in enumerate(np.asarray(matrices)):
        root = scipy.linalg.cholesky(matrix, lower=True)
        np.testing.assert_allclose(found.root[i], root, atol=1e-12)
        inverse = scipy.linalg.solve_triangular(root, np.eye(7), lower=True)
        np.testing.assert_allclose(found.inverse[i], inverse, atol=1e-11)
    assert np.all(np.triu(found.root[0], 1) == 0)
    assert np.all(np.triu(found.inverse[0], 1) == 0)


def test_derivatives_are_those_of_what_is_computed(key, x64):
    """Both modes, by finite differences."""
    matrix = stack(key)[0]
    weights = jax.random.normal(jax.random.key(1), (2, 7, 7))

    def value(matrix):
        roots = linalg.triangular_roots((matrix + matrix.T) / 2)
        return jnp.vdot(weights[0], roots.root) + jnp.vdot(weights[1], roots.inverse)

    jax.test_util.check_grads(value, (matrix,), order=1, modes=("fwd", "rev"))


def test_blocks_are_those_of_scipy(x64):
    """Of more rows than a block, and no multiple of it."""
    factor = jax.random.normal(jax.random.key(2), (77, 90))
    matrix = factor @ factor.T
    root, inverse = linalg.triangular_roots(matrix)
    expected = scipy.linalg.cholesky(np.asarray(matrix), lower=True)
    np.testing.assert_allclose(root, expected, atol=1e-11)
    np.testing.assert_allclose(inverse @ expected, np.eye(77), atol=1e-11)


def test_what_is_not_positive_definite_is_nan():
    found = linalg.triangular_roots(jnp.array([[1.0, 2.0], [2.0, 1.0]]))
    assert np.any(np.isnan(found.root)) and np.any(np.isnan(found.inverse))


def test_single_precision_keeps_most_digits(key):
    """Of a kernel with a jitter of 1e-4, whose condition is about 1e5."""
    x = jnp.linspace(-1, 1, 60)
    matrix = jnp.exp(-jnp.square(jnp.subtract.outer(x, x))) + 1e-4 * jnp.eye(60)
    root, inverse = linalg.triangular_roots(matrix)
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-5)
    np.testing.assert_allclose(inverse @ root, np.eye(60), atol=1e-3)
