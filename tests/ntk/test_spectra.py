import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import ntk


def kernel_of(key, n=8, features=12):
    x = jax.random.normal(key, (n, features))
    return x @ x.T


def test_spectrum_of_a_known_matrix():
    rotation, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (4, 4)))
    values = jnp.array([8.0, 4.0, 2.0, 2.0])
    found = ntk.spectrum(rotation @ jnp.diag(values) @ rotation.T)
    np.testing.assert_allclose(found.eigenvalues, values, rtol=1e-5)
    np.testing.assert_allclose(found.condition_number, 4.0, rtol=1e-5)
    entropy = 0.5 * np.log(2) + 0.25 * np.log(4) + 2 * 0.125 * np.log(8)
    np.testing.assert_allclose(found.effective_rank, np.exp(entropy), rtol=1e-5)


def test_spectrum_extremes():
    flat = ntk.spectrum(3 * jnp.eye(5))
    np.testing.assert_allclose(flat.effective_rank, 5.0, rtol=1e-6)
    np.testing.assert_allclose(flat.condition_number, 1.0)
    single = ntk.spectrum(jnp.diag(jnp.array([2.0, 0.0, 0.0])))
    np.testing.assert_allclose(single.effective_rank, 1.0, rtol=1e-6)
    assert jnp.isinf(single.condition_number)


def test_spectrum_of_a_full_kernel_is_that_of_its_matrix(key):
    blocks = jax.random.normal(key, (3, 2, 10))
    full = jnp.einsum("iok,jpk->ijop", blocks, blocks)
    rows = blocks.reshape(6, 10)
    np.testing.assert_allclose(
        ntk.spectrum(full).eigenvalues,
        np.linalg.eigvalsh(rows @ rows.T)[::-1],
        rtol=1e-4,
        atol=1e-4,
    )


def test_alignment_equals_its_definition(x64, key):
    kernel, y = kernel_of(key), jax.random.normal(key, (8, 3))
    h = np.eye(8) - 1 / 8
    kc, yc = h @ kernel @ h, h @ (y @ y.T) @ h
    expected = np.sum(kc * yc) / (np.linalg.norm(kc) * np.linalg.norm(yc))
    np.testing.assert_allclose(ntk.alignment(kernel, y), expected, rtol=1e-12)


def test_alignment_invariants(key):
    kernel, y = kernel_of(key), jax.random.normal(key, (8,))
    value = ntk.alignment(kernel, y)
    np.testing.assert_allclose(ntk.alignment(5 * kernel + 3, y), value, rtol=1e-4)
    np.testing.assert_allclose(ntk.alignment(kernel, 2 - 3 * y), value, rtol=1e-4)
    np.testing.assert_allclose(ntk.alignment(y[:, None] * y[None], y), 1.0, rtol=1e-5)
    # Constant targets; 0.1 is not the mean of ten of it in single precision.
    assert jnp.isnan(ntk.alignment(kernel, jnp.full(8, 0.1)))
    assert jnp.isnan(ntk.alignment(jnp.eye(10), jnp.full(10, 0.1)))
    small = ntk.alignment(1e-22 * kernel, 1e-10 * y)
    np.testing.assert_allclose(small, value, rtol=1e-4)


def test_drift(key):
    kernel = kernel_of(key)
    assert ntk.drift(kernel, kernel) == 0
    np.testing.assert_allclose(ntk.drift(kernel, 1.5 * kernel), 0.5, rtol=1e-6)
    small = 1e-25 * kernel
    np.testing.assert_allclose(ntk.drift(small, 1.5 * small), 0.5, rtol=1e-6)


def test_jit_vmap_and_grad(key):
    stack = jax.vmap(kernel_of)(jax.random.split(key, 3))
    y = jax.random.normal(key, (8,))
    for function in (
        ntk.spectrum,
        lambda k: ntk.alignment(k, y),
        lambda k: ntk.drift(stack[0] + 1, k),
    ):
        together = jax.jit(jax.vmap(function))(stack)
        alone = function(stack[1])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-3), together, alone
        )
    rank = lambda k: ntk.spectrum(k).effective_rank  # noqa: E731
    for function in (rank, lambda k: ntk.alignment(k, y)):
        assert jnp.all(jnp.isfinite(jax.grad(function)(stack[0])))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"kernel has shape \(3, 2\)"):
        ntk.spectrum(jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"kernel has shape \(3, 2\)"):
        ntk.alignment(jnp.ones((3, 2)), jnp.ones(3))
    with pytest.raises(ValueError, match=r"targets has shape \(4,\).*\(3,\)"):
        ntk.alignment(jnp.eye(3), jnp.ones(4))
    with pytest.raises(ValueError, match="same examples"):
        ntk.drift(jnp.eye(3), jnp.eye(4))
