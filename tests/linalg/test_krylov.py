import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import linalg


def dense(found):
    beside = found.offdiagonal
    return jnp.diag(found.diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)


def test_the_basis_is_of_the_krylov_space_and_the_matrix_its_projection(key, x64):
    matrix = jax.random.normal(key, (12, 12))
    matrix = matrix + matrix.T
    start = jnp.arange(1.0, 13.0)
    found = linalg.lanczos(lambda v: matrix @ v, start, 5)
    assert found.rank == 5
    q = found.basis
    np.testing.assert_allclose(q @ q.T, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(q @ matrix @ q.T, dense(found), atol=1e-11)
    krylov = np.stack([np.linalg.matrix_power(matrix, i) @ start for i in range(5)])
    expected, _ = np.linalg.qr(krylov.T)
    np.testing.assert_allclose(np.abs(np.sum(q.T * expected, 0)), 1.0, rtol=1e-9)
    rest = matrix @ q[-1] - q.T @ (q @ (matrix @ q[-1]))
    np.testing.assert_allclose(found.remainder, np.linalg.norm(rest), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_a_breakdown_is_told_and_leaves_zeros(scale):
    diagonal = scale * jnp.array([1.0, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0])
    found = linalg.lanczos(lambda v: diagonal * v, jnp.ones(7), 6)
    assert found.rank == 3
    ritz = np.linalg.eigvalsh(dense(found)[:3, :3] / scale)
    np.testing.assert_allclose(ritz, [1.0, 2.0, 5.0], rtol=1e-5)
    assert not jnp.any(found.diagonal[3:]) and not jnp.any(found.offdiagonal[2:])
    assert not jnp.any(found.basis[3:]) and found.remainder == 0


def test_pytrees_jit_vmap_and_grad(key, x64):
    like = {"a": jnp.ones((2, 2)), "b": jnp.ones(3)}
    weights = {"a": jnp.arange(4.0).reshape(2, 2), "b": jnp.array([-1.0, 6.0, 9.0])}

    def first(c):
        product = lambda v: jax.tree.map(lambda w, u: c * w * u, weights, v)  # noqa: E731
        return linalg.lanczos(product, like, 7)

    both = jax.jit(jax.vmap(first))(jnp.array([1.0, 2.0]))
    assert both.basis["a"].shape == (2, 7, 2, 2)
    np.testing.assert_allclose(both.diagonal[1], 2 * both.diagonal[0], rtol=1e-8)
    slope = jax.grad(lambda c: jnp.sum(first(c).diagonal))(1.3)
    np.testing.assert_allclose(slope, 20.0, rtol=1e-9)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="steps is 4.*dimension, 3"):
        linalg.lanczos(lambda v: v, jnp.zeros(3), 4)
    with pytest.raises(TypeError, match="complex64; only real parameters"):
        linalg.lanczos(lambda v: v, jnp.zeros(3, jnp.complex64), 2)
