import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, ntk

NET = nn.MLP((3, 5, 2), jnp.tanh)


def points():
    params, other = (NET.init(jax.random.key(i)) for i in (0, 1))
    near = jax.tree.map(lambda a, b: a + 0.1 * b, params, other)
    return params, near, jax.random.normal(jax.random.key(2), (4, 3))


def test_linear_in_the_parameters_by_their_jacobian():
    params, near, x = points()
    jacobian = jax.jacobian(NET.apply)(params, x)
    step = jax.tree.map(jnp.subtract, near, params)
    products = jax.tree.map(
        lambda j, s: jnp.tensordot(j, s, axes=s.ndim), jacobian, step
    )
    expected = NET.apply(params, x) + sum(jax.tree.leaves(products))
    found = ntk.linearize(NET.apply, params)(near, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_polynomial_network_is_its_own_expansion(x64):
    cube = lambda w, x: w["a"] ** 3 * x + w["a"] * w["b"]  # noqa: E731
    start, other = {"a": 0.5, "b": -1.0}, {"a": 2.0, "b": 3.0}
    found = ntk.taylor_expand(cube, start, 3)(other, 1.5)
    np.testing.assert_allclose(found, cube(other, 1.5), rtol=1e-12)
    assert abs(ntk.taylor_expand(cube, start, 2)(other, 1.5) - found) > 1


def test_errors_fall_with_the_degree(x64):
    params, near, x = points()
    errors = [
        float(
            jnp.max(
                jnp.abs(
                    ntk.taylor_expand(NET.apply, params, k)(near, x)
                    - NET.apply(near, x)
                )
            )
        )
        for k in range(4)
    ]
    assert all(b < 0.5 * a for a, b in zip(errors[:-1], errors[1:], strict=True))


def test_the_linearised_network_has_a_constant_kernel():
    params, near, x = points()
    linear = ntk.linearize(NET.apply, params)
    kernel = ntk.empirical(NET.apply, params, x)
    for point in (params, near):
        np.testing.assert_allclose(
            ntk.empirical(linear, point, x), kernel, rtol=1e-4, atol=1e-5
        )


def test_jit_vmap_and_grad():
    params, near, x = points()
    linear = ntk.linearize(NET.apply, params)
    np.testing.assert_allclose(
        jax.jit(linear)(near, x), linear(near, x), rtol=1e-5, atol=1e-6
    )
    stack = jax.tree.map(lambda a, b: jnp.stack([a, b]), params, near)
    together = jax.vmap(linear, (0, None))(stack, x)
    np.testing.assert_allclose(together[1], linear(near, x), rtol=1e-5, atol=1e-6)
    at = jax.grad(lambda p: jnp.sum(linear(p, x)))(near)
    there = jax.grad(lambda p: jnp.sum(NET.apply(p, x)))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-5), at, there)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="degree must be at least 0"):
        ntk.taylor_expand(NET.apply, {}, -1)
