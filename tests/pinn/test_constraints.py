"""Conditions that hold by construction, with any network."""

import jax
import jax.numpy as jnp
import numpy as np

from kanjax.pinn import constraints, domains, samplers, shapes

WALLS = domains.TimeSpace(0.5, 2.0, domains.interval(-1, 1))


def net(z):
    return jnp.cos(3 * z[0] - 2 * z[-1] + 0.3)


def draw(domain):
    return samplers.uniform(domain, 20, key=jax.random.key(0))


def test_initial_values_hold_and_the_rest_is_free():
    u = constraints.initial(lambda x: jnp.exp(x[0]), start=0.5)(net)
    z = draw(WALLS.initial)
    np.testing.assert_allclose(jax.vmap(u)(z), np.exp(z[:, 1]), rtol=1e-6)
    point = jnp.array([1.5, 0.2])
    np.testing.assert_allclose(u(point), np.exp(0.2) + net(point), rtol=1e-6)


def test_boundary_values_hold():
    disk = shapes.Disk((1.0, 0.0), 2.0)
    u = constraints.boundary(disk, lambda z: z[0] * z[1])(net)
    z = draw(disk.boundary)
    np.testing.assert_allclose(jax.vmap(u)(z), z[:, 0] * z[:, 1], atol=1e-5)
    zero = constraints.boundary(disk)(net)
    np.testing.assert_allclose(jax.vmap(zero)(z), np.zeros(20), atol=1e-5)
    center = jnp.array([1.0, 0.0])
    np.testing.assert_allclose(zero(center), net(center), rtol=1e-6)


def test_initial_and_boundary_values_hold_together():
    start = lambda x: jnp.sin(jnp.pi * x[0])  # noqa: E731
    u = jax.vmap(constraints.initial_and_boundary(WALLS, start)(net))
    z = draw(WALLS.initial)
    np.testing.assert_allclose(u(z), np.sin(np.pi * z[:, 1]), atol=1e-6)
    np.testing.assert_allclose(u(draw(WALLS.boundary)), np.zeros(20), atol=1e-6)
    inside = jnp.array([[2.0, 0.0]])
    np.testing.assert_allclose(u(inside), [net(inside[0])], rtol=1e-6)
