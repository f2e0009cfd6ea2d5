import equinox as eqx
import flax.linen as linen
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import linalg, nn


@pytest.fixture
def problem(key, x64):
    net = nn.MLP((3, 4, 2), jnp.tanh)
    params = jax.tree.map(lambda v: v.astype(jnp.float64), net.init(key))
    x = jax.random.normal(key, (7, 3), jnp.float64)
    y = jax.random.normal(jax.random.key(1), (7, 2), jnp.float64)
    outputs = lambda p: net.apply(p, x)  # noqa: E731
    loss = lambda z: jnp.mean((z - y) ** 2)  # noqa: E731
    return params, outputs, loss


def dense(function, params):
    """The full Hessian, by jax.hessian of the flattened function."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return jax.hessian(lambda v: function(unravel(v)))(flat), flat, unravel


def test_hessian_product_is_the_hessian_times_the_vector(problem, key):
    params, outputs, loss = problem
    f = lambda p: loss(outputs(p))  # noqa: E731
    hessian, flat, unravel = dense(f, params)
    v = jax.random.normal(key, flat.shape)
    found = jax.flatten_util.ravel_pytree(
        linalg.hessian_product(f, params)(unravel(v))
    )[0]
    np.testing.assert_allclose(found, hessian @ v, rtol=1e-10)


def test_gauss_newton_product_is_jacobian_hessian_jacobian(problem, key):
    params, outputs, loss = problem
    _, flat, unravel = dense(lambda p: loss(outputs(p)), params)
    jacobian = jax.jacobian(lambda v: outputs(unravel(v)).ravel())(flat)
    # The Hessian of the mean square over n values is 2 / n.
    matrix = jacobian.T @ jacobian * 2 / 14
    v = jax.random.normal(key, flat.shape)
    product = linalg.gauss_newton_product(outputs, loss, params)
    found = jax.flatten_util.ravel_pytree(product(unravel(v)))[0]
    np.testing.assert_allclose(found, matrix @ v, rtol=1e-10)


def test_block_product_is_one_block(problem, key):
    params, outputs, loss = problem
    f = lambda p: loss(outputs(p))  # noqa: E731
    hessian, flat, unravel = dense(f, params)
    selected = jax.tree.map(lambda _: False, params)
    selected[0]["kernel"] = True
    kept = jax.flatten_util.ravel_pytree(
        jax.tree.map(lambda k, v: jnp.full(v.shape, float(k)), selected, params)
    )[0]
    v = jax.random.normal(key, flat.shape)
    product = linalg.block_product(linalg.hessian_product(f, params), selected)
    found = jax.flatten_util.ravel_pytree(product(unravel(v)))[0]
    np.testing.assert_allclose(found, kept * (hessian @ (kept * v)), rtol=1e-10)


def test_directional_derivatives(problem, key):
    params, outputs, loss = problem
    f = lambda p: loss(outputs(p))  # noqa: E731
    hessian, flat, unravel = dense(f, params)
    gradient = jax.grad(lambda v: f(unravel(v)))(flat)
    v = jax.random.normal(key, flat.shape)
    found = jax.jit(lambda v: linalg.directional_derivatives(f, params, v))(unravel(v))
    np.testing.assert_allclose(found.value, f(params), rtol=1e-12)
    np.testing.assert_allclose(found.slope, gradient @ v, rtol=1e-10)
    np.testing.assert_allclose(found.curvature, v @ hessian @ v, rtol=1e-10)


def test_products_under_vmap_and_grad(problem, key):
    params, outputs, loss = problem
    f = lambda p: loss(outputs(p))  # noqa: E731
    _, flat, unravel = dense(f, params)
    stack = jax.random.normal(key, (3, flat.size))

    def curvature(v):
        return linalg.directional_derivatives(f, params, unravel(v)).curvature

    together = jax.vmap(curvature)(stack)
    np.testing.assert_allclose(together[1], curvature(stack[1]), rtol=1e-10)
    # The derivative of v^T H v in v is 2 H v.
    product = linalg.hessian_product(f, params)(unravel(stack[0]))
    np.testing.assert_allclose(
        jax.grad(curvature)(stack[0]),
        2 * jax.flatten_util.ravel_pytree(product)[0],
        rtol=1e-9,
    )


def test_flax_and_equinox_losses(key):
    x = jax.random.normal(key, (5, 3))
    net = linen.Dense(2)
    variables = net.init(key, x)
    product = linalg.hessian_product(
        lambda p: jnp.mean(net.apply(p, x) ** 2), variables
    )
    assert jax.tree.structure(product(variables)) == jax.tree.structure(variables)
    params, static = eqx.partition(eqx.nn.MLP(3, 2, 4, 1, key=key), eqx.is_array)
    found = linalg.hutchinson_trace(
        linalg.hessian_product(
            lambda p: jnp.mean(jax.vmap(eqx.combine(p, static))(x) ** 2), params
        ),
        params,
        key,
        probes=4,
    )
    assert jnp.isfinite(found.value)
