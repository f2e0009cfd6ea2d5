"""Stacks of derivatives against nested derivatives, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, nn, pinn
from kanjax.pinn import taylor

Z = np.array([0.3, -0.7])
MATRIX = np.array([[1.0, 2.0], [0.5, -1.0], [0.2, 0.3]])


def recurrence(z):
    """A scan: no rule, so nested derivatives of the loop as it is."""
    return jax.lax.scan(lambda c, a: (jnp.sin(c + a * z[0]), None), z[1], jnp.ones(3))[
        0
    ]


def network(make, *arguments):
    net = make(*arguments)
    return lambda z: net.apply(net.init(jax.random.key(0)), z)


FIELDS = {
    "polynomial": lambda z: z[0] ** 3 * z[1] - 2 * z[1] ** 4 / (1 + z[0] ** 2),
    "products": lambda z: jnp.dot(MATRIX @ z, jnp.sin(MATRIX @ z)) * jnp.exp(z[1]),
    "indices": lambda z: jnp.concatenate([z[::-1], z**2])[jnp.array([3, 0])].sum(),
    "choices": lambda z: jnp.where(z[0] > z[1], jnp.cos(z[0]) * z[1], z[1]),
    "powers": lambda z: (2 + z[0]) ** 1.7 + jnp.arctan(z[1]) + jnp.abs(z[1]) ** 3,
    "softplus": lambda z: jax.nn.softplus(z[0] * z[1]) + jax.nn.silu(z[1]),
    "norm": lambda z: jnp.linalg.norm(z) + jax.nn.logsumexp(2 * z),
    "scan": recurrence,
    "constant": lambda z: jnp.ones(2),
    "complex": lambda z: jnp.exp(1j * (z[0] + 2 * z[1])) * jnp.abs(z[0] + 1j * z[1]),
    "vector": lambda z: jnp.stack([z[0] * z[1], jnp.tanh(z[0] - z[1])]),
    "mlp": network(nn.MLP, (2, 5, 5, 2), jnp.tanh),
    "kan": network(lambda: kan.KAN((2, 3, 1), basis=bases.Chebyshev(4))),
}
each_field = pytest.mark.parametrize("name", FIELDS)


def nested(u, z, direction, order):
    """Derivatives along a line by jvp of jvp."""
    functions = [u]
    for _ in range(order):
        functions.append(lambda y, f=functions[-1]: jax.jvp(f, (y,), (direction,))[1])
    return [f(z) for f in functions]


@each_field
def test_derivatives_along_a_line(name, x64):
    u, z, direction = FIELDS[name], jnp.array(Z), jnp.array([0.6, -1.2])
    order = 2 if name in ("mlp", "kan") else 4
    wanted = jax.jit(lambda z: nested(u, z, direction, order))(z)
    stack = jax.jit(lambda z: taylor.along(u, z, direction, order))(z)
    for k, value in enumerate(wanted):
        np.testing.assert_allclose(stack[k], value, rtol=1e-9, atol=1e-11)


@each_field
def test_a_value_a_gradient_and_a_sum_of_second_derivatives(name, x64):
    u, z = FIELDS[name], jnp.array(Z)
    axes = ((1,), None)
    by_axis, expansions = jax.jit(
        lambda z: (
            [nested(u, z, direction, 2) for direction in jnp.eye(2)],
            [pinn.expansion(u, a)(z) for a in axes],
        )
    )(z)
    (value, _), slopes, seconds = zip(*by_axis, strict=True)
    options = {"rtol": 1e-9, "atol": 1e-11}
    for got, total in zip(expansions, (seconds[1], sum(seconds)), strict=True):
        np.testing.assert_allclose(got.value, value, **options)
        np.testing.assert_allclose(got.gradient, np.stack(slopes, -1), **options)
        np.testing.assert_allclose(got.laplacian, total, **options)


def test_gradients_of_the_parameters_go_through(x64):
    net = nn.MLP((2, 4, 1), jnp.tanh)
    params = net.init(jax.random.key(1))
    z = jnp.stack([jnp.array(Z), jnp.array([0.1, 0.2])])

    def loss(params, laplacian):
        u = lambda z: net.apply(params, z)[0]  # noqa: E731
        return jnp.sum(jax.vmap(lambda z: laplacian(u)(z))(z) ** 2)

    def by_trace(u):
        return lambda z: jnp.trace(jax.hessian(u)(z))

    got, wanted = jax.jit(
        lambda p: [jax.grad(loss)(p, way) for way in (pinn.laplacian, by_trace)]
    )(params)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
