import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import linalg


def symmetric(key, values):
    """A matrix with given eigenvalues and random eigenvectors."""
    q, _ = jnp.linalg.qr(jax.random.normal(key, (len(values), len(values))))
    return (q * values[None]) @ q.T


@pytest.mark.parametrize("which", ["magnitude", "largest", "smallest"])
def test_equals_eigh(key, x64, which):
    matrix = symmetric(key, jnp.linspace(-3.0, 2.0, 60) ** 3)
    found = linalg.eigenpairs(
        lambda v: matrix @ v, jnp.zeros(60), 5, key, which=which, tolerance=1e-9
    )
    values = np.linalg.eigvalsh(matrix)
    order = {"magnitude": -np.abs(values), "largest": -values, "smallest": values}
    expected = values[np.argsort(order[which])[:5]]
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)
    assert found.converged
    for value, vector, residual in zip(
        found.values, found.vectors, found.residuals, strict=True
    ):
        np.testing.assert_allclose(
            jnp.linalg.norm(matrix @ vector - value * vector), residual, atol=1e-12
        )
    gram = found.vectors @ found.vectors.T
    np.testing.assert_allclose(gram, np.eye(5), atol=1e-9)


def test_no_ghosts_in_single_precision(key):
    values = jnp.concatenate([jnp.array([1e3, 5e2]), jnp.linspace(0.0, 1.0, 198)])
    matrix = symmetric(key, values)
    found = linalg.eigenpairs(lambda v: matrix @ v, jnp.zeros(200), 4, key)
    expected = np.sort(np.linalg.eigvalsh(np.asarray(matrix, np.float64)))[::-1][:4]
    np.testing.assert_allclose(found.values, expected, atol=2e-4 * 1e3)
    np.testing.assert_allclose(found.values[:2], expected[:2], rtol=1e-5)


def test_the_whole_space_and_an_invariant_subspace(key, x64):
    diagonal = jnp.array([4.0, 4.0, 0.0, 0.0, 0.0, -1.0])
    found = linalg.eigenpairs(lambda v: diagonal * v, diagonal, 6, key)
    np.testing.assert_allclose(jnp.sort(found.values), np.sort(diagonal), atol=1e-8)
    zero = linalg.eigenpairs(jnp.zeros_like, diagonal, 2, key)
    np.testing.assert_array_equal(zero.values, 0)
    assert zero.converged


def test_pytrees_jit_and_vmap(key):
    like = {"a": jnp.zeros((5, 4)), "b": jnp.zeros(10, jnp.bfloat16)}
    scale = jnp.arange(1.0, 21.0).reshape(5, 4)

    def top(factor):
        product = lambda v: {"a": factor * scale * v["a"], "b": 0 * v["b"]}  # noqa: E731
        return linalg.eigenpairs(product, like, 2, key, which="largest")

    together = jax.jit(jax.vmap(top))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(together.values, [[20, 19], [40, 38]], rtol=1e-4)
    assert together.vectors["a"].shape == (2, 2, 5, 4)
    assert together.vectors["b"].dtype == jnp.bfloat16


def test_what_does_not_converge_says_so(key):
    matrix = symmetric(key, jnp.linspace(0.99, 1.0, 100))
    found = linalg.eigenpairs(
        lambda v: matrix @ v, jnp.zeros(100), 3, key, basis=5, max_restarts=1
    )
    assert not found.converged and found.residuals.max() > 1e-4
    broken = linalg.eigenpairs(lambda v: v * jnp.nan, jnp.zeros(9), 2, key)
    assert not broken.converged and jnp.all(jnp.isnan(broken.values))


def test_bad_input_is_named(key):
    same = lambda v: v  # noqa: E731
    with pytest.raises(ValueError, match="k is 4.*the dimension, 3"):
        linalg.eigenpairs(same, jnp.zeros(3), 4, key)
    with pytest.raises(ValueError, match="which is 'top'"):
        linalg.eigenpairs(same, jnp.zeros(3), 1, key, which="top")
    with pytest.raises(ValueError, match="basis is 2.* k . 1 = 4"):
        linalg.eigenpairs(same, jnp.zeros(9), 3, key, basis=2)
    with pytest.raises(ValueError, match="max_restarts is 0"):
        linalg.eigenpairs(same, jnp.zeros(9), 3, key, max_restarts=0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 25])
@pytest.mark.parametrize("which", ["magnitude", "largest", "smallest"])
def test_as_many_pairs_as_the_dimension_or_nearly(size, which, key):
    matrix = symmetric(key, jnp.linspace(1.0, 3.0, size))
    expected = np.linspace(1.0, 3.0, size)
    expected = expected if which == "smallest" else expected[::-1]
    for k in {max(size - 1, 1), size}:
        found = linalg.eigenpairs(
            lambda v: matrix @ v, jnp.zeros(size), k, key, which=which
        )
        assert found.converged
        np.testing.assert_allclose(found.values, expected[:k], rtol=1e-5)
        gram = found.vectors @ found.vectors.T
        np.testing.assert_allclose(gram, np.eye(k), atol=1e-5)


def test_residuals_are_of_the_vectors_that_are_returned(key):
    matrix = symmetric(key, jnp.linspace(-3.0, 2.0, 40) ** 3)
    like = jnp.zeros(40, jnp.bfloat16)
    product = lambda v: (matrix @ v.astype(float)).astype(v.dtype)  # noqa: E731
    found = linalg.eigenpairs(product, like, 3, key, tolerance=1e-5)
    assert found.vectors.dtype == jnp.bfloat16
    assert not found.converged
    for value, vector, residual in zip(
        found.values, found.vectors, found.residuals, strict=True
    ):
        v = vector.astype(float)
        rest = product(vector).astype(float) - value * v
        size = jnp.linalg.norm(rest) / jnp.linalg.norm(v)
        np.testing.assert_allclose(residual, size, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-22, 1e20])
def test_eigenpairs_in_any_units(scale, key):
    matrix = symmetric(key, jnp.linspace(1.0, 3.0, 40) ** 3)
    found = linalg.eigenpairs(lambda v: scale * (matrix @ v), jnp.zeros(40), 3, key)
    assert found.converged
    expected = np.linalg.eigvalsh(matrix)[:-4:-1]
    np.testing.assert_allclose(found.values / scale, expected, rtol=1e-5)
