import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape


def test_angles_in_closed_form(x64):
    base = {"u": jnp.ones(2), "v": jnp.zeros(1)}
    at = lambda x, y: {"u": base["u"] + jnp.array([x, y]), "v": base["v"]}  # noqa: E731
    for angle in (1e-6, 0.3, np.pi / 2, 3.0):
        b = at(5 * jnp.cos(angle), 5 * jnp.sin(angle))
        found = landscape.displacement_angle(at(2.0, 0.0), b, base)
        np.testing.assert_allclose(found, angle, rtol=1e-9)
    assert jnp.isnan(landscape.displacement_angle(base, at(1.0, 0.0), base))


def test_all_quantities_of_a_quadratic(key, x64):
    h = jnp.diag(jnp.array([1.0, 2.0, 7.0]))
    loss = lambda p: p @ h @ p / 2  # noqa: E731
    a, b, base = jax.random.normal(key, (3, 3), jnp.float64)
    found = jax.jit(lambda *p: landscape.mountainside(loss, *p))(a, b, base)
    d = b - a
    np.testing.assert_allclose(found.distance, jnp.linalg.norm(d))
    np.testing.assert_allclose(
        found.from_base, [jnp.linalg.norm(a - base), jnp.linalg.norm(b - base)]
    )
    np.testing.assert_allclose(
        found.losses, [loss(a), loss((a + b) / 2), loss(b)], rtol=1e-10
    )
    np.testing.assert_allclose(found.curvatures, d @ h @ d / (d @ d), rtol=1e-10)
    # The cosine rule ties angle and distances together.
    u, v = found.from_base
    third = u**2 + v**2 - 2 * u * v * jnp.cos(found.angle)
    np.testing.assert_allclose(third, found.distance**2, rtol=1e-10)


def test_the_angle_has_a_derivative_along_whole_trajectories(key):
    path = jax.random.normal(key, (4, 2, 3))
    base = jnp.zeros(3)
    together = jax.vmap(lambda p: landscape.displacement_angle(p[0], p[1], base))(path)
    u, v = path[2]
    cosine = u @ v / jnp.linalg.norm(u) / jnp.linalg.norm(v)
    np.testing.assert_allclose(together[2], jnp.arccos(cosine), rtol=1e-5)
    slope = jax.grad(lambda a: landscape.displacement_angle(a, v, base))(u)
    expected = jax.grad(
        lambda a: jnp.arccos(a @ v / jnp.linalg.norm(a) / jnp.linalg.norm(v))
    )(u)
    np.testing.assert_allclose(slope, expected, rtol=1e-4)


def walk(state, key, steps):
    """A random walk that counts its steps."""
    return jax.lax.fori_loop(
        0,
        steps,
        lambda i, s: (s[0] + jax.random.normal(jax.random.fold_in(key, i)), s[1] + 1),
        state,
    )


def test_spawned_runs_share_their_first_steps(key):
    start = (jnp.array(0.0), jnp.array(0))
    found = landscape.spawn(walk, start, key, common=5, separate=3, runs=4)
    first, rest = jax.random.split(key)
    branch = walk(start, first, 5)
    np.testing.assert_allclose(found.branch[0], branch[0], rtol=1e-6)
    np.testing.assert_array_equal(found.ends[1], 8)
    for i, k in enumerate(jax.random.split(rest, 4)):
        np.testing.assert_allclose(found.ends[0][i], walk(branch, k, 3)[0], rtol=1e-6)


def test_one_program_for_all_numbers_of_common_steps(key):
    start = (jnp.array(0.0), jnp.array(0))
    together = jax.jit(
        jax.vmap(
            lambda k: landscape.spawn(walk, start, key, common=k, separate=10 - k).ends
        )
    )(jnp.array([0, 4, 10]))
    np.testing.assert_array_equal(together[1], 10)
    assert together[0][2, 0] == together[0][2, 1]
    assert together[0][0, 0] != together[0][0, 1]


def test_bad_input_is_named(key):
    with pytest.raises(ValueError, match="runs is 1"):
        landscape.spawn(walk, (), key, common=1, separate=1, runs=1)
    with pytest.raises(ValueError, match="common is -1"):
        landscape.spawn(walk, (), key, common=-1, separate=1)
    with pytest.raises(ValueError, match="a and base differ"):
        landscape.displacement_angle(jnp.ones(2), jnp.ones(2), jnp.ones(3))
