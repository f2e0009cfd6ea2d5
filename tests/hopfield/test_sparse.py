import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from scipy import optimize

from kanjax.hopfield import entmax, sparse

ALPHAS = [1.1, 1.5, 2.0, 3.0]


def by_root(z, alpha):
    """tau by Brent's method, in float64."""
    x = (alpha - 1) * np.asarray(z, np.float64)

    def excess(tau):
        return np.sum(np.maximum(x - tau, 0) ** (1 / (alpha - 1))) - 1

    tau = optimize.brentq(excess, x.max() - 1, x.max(), xtol=1e-15)
    return np.maximum(x - tau, 0) ** (1 / (alpha - 1))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_weights_are_those_of_a_root_finder(alpha, key, x64):
    z = 2 * jax.random.normal(key, (4, 9))
    expected = np.stack([by_root(row, alpha) for row in np.asarray(z)])
    p = jax.jit(entmax, static_argnums=1)(z, alpha)
    np.testing.assert_allclose(p, expected, atol=1e-9)
    np.testing.assert_allclose(np.sum(p, axis=-1), 1, atol=1e-12)
    single = entmax(z.astype(jnp.float32), alpha)
    np.testing.assert_allclose(single, expected, atol=2e-6)


def test_softmax_and_sparsemax_are_the_libraries(key):
    z = jax.random.normal(key, (5, 8))
    np.testing.assert_allclose(entmax(z, 1.0), jax.nn.softmax(z), rtol=1e-6)
    projected = jax.vmap(optax.projections.projection_simplex)(z)
    np.testing.assert_allclose(entmax(z, 2.0), projected, atol=1e-6)
    assert np.sum(entmax(z, 2.0) == 0) > np.sum(entmax(z, 1.5) == 0) > 0


@pytest.mark.parametrize("alpha", ALPHAS)
def test_weights_maximise_the_regularised_sum(alpha, key, x64):
    z = np.asarray(jax.random.normal(key, (5,)))

    def loss(free):
        p = np.append(free, 1 - free.sum())
        return -(p @ z + np.sum(p - np.abs(p) ** alpha) / alpha / (alpha - 1))

    best = optimize.minimize(
        loss,
        np.full(4, 0.2),
        method="SLSQP",
        bounds=[(0, 1)] * 4,
        constraints={"type": "ineq", "fun": lambda free: 1 - free.sum()},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(sparse.conjugate(z, alpha), -best.fun, atol=1e-6)
    slope = jax.grad(sparse.conjugate)(jnp.asarray(z), alpha)
    np.testing.assert_allclose(slope, entmax(z, alpha), atol=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradients_are_those_of_differences(alpha, key, x64):
    z = jax.random.normal(key, (3, 6))
    check_grads(
        lambda z: entmax(z, alpha), (z,), order=1, modes=("fwd", "rev"), eps=1e-7
    )
    hidden = z.at[:, 2].set(-jnp.inf)
    slope = jax.grad(lambda z: jnp.sum(jnp.sin(entmax(z, alpha))))(hidden)
    assert np.all(np.isfinite(slope)) and not np.any(slope[:, 2])


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_what_is_hidden_gets_nothing(alpha, key):
    z = jax.random.normal(key, (2, 6)).at[:, 3].set(-jnp.inf).at[1].set(-jnp.inf)
    p = entmax(z, alpha)
    np.testing.assert_array_equal(p[1], 0)
    assert p[0, 3] == 0
    np.testing.assert_allclose(
        p[0], np.insert(entmax(np.delete(z[0], 3), alpha), 3, 0), atol=1e-6
    )


def test_large_logits_and_half_precision(key):
    z = 1e4 * jax.random.normal(key, (3, 20))
    for alpha in (1.5, 2.0):
        p = entmax(z, alpha)
        np.testing.assert_array_equal(p, jax.nn.one_hot(jnp.argmax(z, -1), 20))
        assert entmax(z.astype(jnp.bfloat16), alpha).dtype == jnp.bfloat16


def test_entropy_of_equal_weights():
    even = jnp.full(8, 1 / 8)
    np.testing.assert_allclose(sparse.entropy(even, 1.0), np.log(8), rtol=1e-6)
    np.testing.assert_allclose(sparse.entropy(even, 2.0), (1 - 1 / 8) / 2, rtol=1e-6)
    np.testing.assert_allclose(
        sparse.entropy(even, 1.001), sparse.entropy(even, 1.0), rtol=2e-3
    )


@pytest.mark.parametrize("alpha", [0.9, float("inf"), float("nan")])
def test_bad_alpha_is_named(alpha):
    with pytest.raises(ValueError, match="alpha must be at least 1"):
        entmax(jnp.ones(3), alpha)
