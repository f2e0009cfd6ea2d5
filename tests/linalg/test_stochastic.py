import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import linalg


@pytest.fixture
def matrix(key, x64):
    m = jax.random.normal(key, (30, 30), jnp.float64)
    return m + m.T


def test_hutchinson_is_exact_on_diagonals(key):
    scale = {"a": jnp.arange(6.0), "b": jnp.array([[2.0, -5.0]])}
    product = lambda v: jax.tree.map(jnp.multiply, scale, v)  # noqa: E731
    for k in jax.random.split(key, 3):
        found = linalg.hutchinson_trace(product, scale, k, probes=1)
        np.testing.assert_allclose(found.value, 12.0, rtol=1e-6)
        assert jnp.isnan(found.error)


def test_hutchinson_is_unbiased_within_its_error(matrix, key):
    found = jax.jit(
        lambda k: linalg.hutchinson_trace(
            lambda v: matrix @ v, jnp.zeros(30), k, probes=400
        )
    )(key)
    assert abs(found.value - jnp.trace(matrix)) < 4 * found.error
    # The variance for random signs: twice the squares off the diagonal.
    off = matrix - jnp.diag(jnp.diag(matrix))
    expected = np.sqrt(2 * np.sum(np.square(off)) / 400)
    np.testing.assert_allclose(found.error, expected, rtol=0.15)


def test_full_quadrature_has_the_moments_of_its_probes(matrix, key):
    found = linalg.lanczos_quadrature(
        lambda v: matrix @ v, jnp.zeros(30), key, steps=30, probes=2
    )
    np.testing.assert_allclose(found.weights.sum(1), 1.0, rtol=1e-10)
    for nodes in found.nodes:
        np.testing.assert_allclose(nodes, np.linalg.eigvalsh(matrix), rtol=1e-8)
    for k, weights in zip(jax.random.split(key, 2), found.weights, strict=True):
        probe = jax.random.normal(k, (30,))
        probe = probe / jnp.linalg.norm(probe)
        for power in (1, 2):
            moment = probe @ np.linalg.matrix_power(matrix, power) @ probe
            found_moment = weights @ found.nodes[0] ** power
            np.testing.assert_allclose(found_moment, moment, rtol=1e-8)


def test_few_steps_give_the_first_moments_of_the_matrix(matrix, key):
    found = linalg.lanczos_quadrature(
        lambda v: matrix @ v, jnp.zeros(30), key, steps=6, probes=300
    )
    square = linalg.trace_of(jnp.square, found)
    assert abs(square.value - jnp.sum(matrix**2)) < 4 * square.error
    assert square.error < 0.1 * square.value


def test_density_integrates_to_one_and_follows_the_spectrum(matrix, key):
    found = linalg.lanczos_quadrature(
        lambda v: matrix @ v, jnp.zeros(30), key, steps=30, probes=200
    )
    x = jnp.linspace(-30, 30, 2001)
    y = linalg.density(found, x, width=2.0)
    np.testing.assert_allclose(jnp.trapezoid(y, x), 1.0, rtol=1e-3)
    values = jnp.linalg.eigvalsh(matrix)
    bells = jnp.exp(-((x[:, None] - values[None]) ** 2) / 8) / (2 * (2 * jnp.pi) ** 0.5)
    assert jnp.max(jnp.abs(y - bells.mean(1))) < 0.15 * bells.mean(1).max()


def test_vmap_over_maps(key):
    product = lambda c: linalg.lanczos_quadrature(  # noqa: E731
        lambda v: c * jnp.arange(8.0) * v, jnp.zeros(8), key, steps=4, probes=2
    )
    both = jax.jit(jax.vmap(product))(jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(both.nodes[1], 3 * both.nodes[0], rtol=1e-3, atol=1e-4)


def test_bad_input_is_named(key):
    same = lambda v: v  # noqa: E731
    with pytest.raises(ValueError, match="probes is 0"):
        linalg.hutchinson_trace(same, jnp.zeros(3), key, probes=0)
    with pytest.raises(ValueError, match="steps is 4.*dimension, 3"):
        linalg.lanczos_quadrature(same, jnp.zeros(3), key, steps=4)
    found = linalg.lanczos_quadrature(same, jnp.zeros(3), key, steps=1, probes=1)
    with pytest.raises(ValueError, match="width is 0"):
        linalg.density(found, jnp.zeros(2), width=0)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("steps", [5, 16, 40])
def test_beyond_the_rank_nodes_stay_within_the_spectrum(key, scale, steps):
    features = jax.random.normal(key, (4, 40))
    matrix = scale * features.T @ features
    found = linalg.lanczos_quadrature(
        lambda v: jnp.matmul(matrix, v, precision="highest"),
        jnp.zeros(40),
        key,
        steps=steps,
        probes=3,
    )
    values = np.linalg.eigvalsh(np.asarray(matrix, np.float64))
    slack = 1e-5 * values[-1]
    assert found.nodes.min() > -slack and found.nodes.max() < values[-1] + slack
    np.testing.assert_allclose(found.weights.sum(1), 1.0, rtol=1e-5)
    # The rule's nodes are the eigenvalues themselves, zero among them.
    for nodes, weights in zip(found.nodes, found.weights, strict=True):
        for value in (0.0, *values[-4:]):
            near = jnp.abs(nodes - value) < 10 * slack
            assert jnp.sum(jnp.where(near, weights, 0)) > 1e-4


def test_the_identity_has_one_node(key):
    found = linalg.lanczos_quadrature(
        lambda v: v, jnp.zeros(20), key, steps=10, probes=2
    )
    np.testing.assert_allclose(found.nodes, 1.0, rtol=1e-6)
    assert jnp.all(jnp.sum(found.weights > 0, axis=1) == 1)
    np.testing.assert_allclose(linalg.trace_of(jnp.square, found).value, 20, rtol=1e-5)
    np.testing.assert_allclose(linalg.trace_of(jnp.log, found).value, 0, atol=1e-4)


def test_traces_of_singular_maps_have_finite_derivatives(key, x64):
    def trace(c):
        found = linalg.lanczos_quadrature(
            lambda v: c * v.at[5:].set(0.0), jnp.zeros(20), key, steps=8, probes=4
        )
        return linalg.trace_of(jnp.exp, found).value

    slope = jax.grad(trace)(0.7)
    np.testing.assert_allclose(slope, (trace(0.71) - trace(0.69)) / 0.02, rtol=1e-3)
