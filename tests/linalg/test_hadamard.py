import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg as scipy_linalg

from kanjax import linalg


def test_the_number_of_the_textbook():
    found = linalg.fwht(jnp.array([1, 0, 1, 0, 0, 1, 1, 0]))
    np.testing.assert_array_equal(found, [4, 2, 0, -2, 0, 2, 0, 2])


@pytest.mark.parametrize("length", [1, 2, 8, 32, 512])
def test_equals_the_matrix_of_scipy(key, x64, length):
    x = jax.random.normal(key, (3, length), jnp.float64)
    matrix = scipy_linalg.hadamard(length)
    np.testing.assert_allclose(linalg.fwht(x), x @ matrix, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        linalg.fwht(x.T, axis=0, normalize=True),
        matrix @ x.T / np.sqrt(length),
        atol=1e-12,
    )
    np.testing.assert_allclose(linalg.fwht(linalg.fwht(x)), length * x, atol=1e-10)


def test_long_vectors_keep_single_precision(key):
    x = jax.random.normal(key, (2**16,))
    back = linalg.fwht(linalg.fwht(x, normalize=True), normalize=True)
    np.testing.assert_allclose(back, x, atol=1e-5)


def test_its_own_transpose_under_jit_and_vmap(key):
    x, y = jax.random.normal(key, (2, 3, 16))
    transform = jax.jit(jax.vmap(linalg.fwht))
    np.testing.assert_allclose(
        jnp.sum(transform(x) * y), jnp.sum(x * transform(y)), rtol=1e-4
    )
    slope = jax.grad(lambda x: jnp.sum(transform(x) * y))(x)
    np.testing.assert_allclose(slope, transform(y), rtol=1e-5)


def test_other_lengths_are_refused():
    with pytest.raises(ValueError, match="length 6 along axis -1.*power of two"):
        linalg.fwht(jnp.ones(6))
