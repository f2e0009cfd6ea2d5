import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import landscape


def test_bezier_and_polygon_points(key):
    controls = {"w": jax.random.normal(key, (3, 2))}
    a, bend, b = controls["w"]
    for t in (0.0, 0.3, 1.0):
        expected = (1 - t) ** 2 * a + 2 * t * (1 - t) * bend + t**2 * b
        found = landscape.curve_point(controls, t)["w"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    at = lambda t: landscape.curve_point(controls, t, kind="polygon")["w"]  # noqa: E731
    np.testing.assert_allclose(at(0.5), bend, rtol=1e-6)
    np.testing.assert_allclose(at(0.25), (a + bend) / 2, rtol=1e-5)
    np.testing.assert_allclose(at(1.0), b, rtol=1e-6)


@pytest.mark.parametrize("kind", ["bezier", "polygon"])
def test_a_curve_goes_around_the_hill(key, kind):
    """Around a hill between two minima of a ring, which the segment climbs."""
    ring = lambda p: (jnp.sum(p**2) - 1) ** 2  # noqa: E731
    a, b = jnp.array([1.0, 0.1]), jnp.array([-1.0, 0.1])
    fit = jax.jit(
        lambda k: landscape.train_curve(
            k,
            lambda p, batch, key: ring(p),
            a,
            b,
            jnp.zeros(1),
            optimizer=optax.adam(0.02),
            steps=600,
            bends=2,
            kind=kind,
        )
    )
    found = fit(key)
    np.testing.assert_array_equal(found.controls[0], a)
    np.testing.assert_array_equal(found.controls[-1], b)
    straight = landscape.line(ring, a, b).losses.max()
    bent = landscape.curve_line(ring, found.controls, kind=kind, batch_size=4)
    assert straight > 0.9 and bent.losses.max() < 0.3 * straight
    np.testing.assert_allclose(
        bent.losses[5],
        ring(landscape.curve_point(found.controls, 5 / 24, kind=kind)),
        rtol=1e-4,
        atol=1e-7,
    )


def test_training_starts_on_the_segment_and_vmaps(key):
    a, b = jnp.zeros(2), jnp.ones(2)
    fit = lambda k: landscape.train_curve(  # noqa: E731
        k,
        lambda p, batch, key: (jnp.sum(p) * jnp.mean(batch), {}),
        a,
        b,
        jnp.arange(6.0),
        optimizer=optax.sgd(0.0),
        steps=3,
        bends=3,
        batch_size=2,
    )
    found = jax.vmap(fit)(jax.random.split(key, 2))
    np.testing.assert_allclose(found.controls[1][:, 0], np.linspace(0, 1, 5), rtol=1e-6)
    assert found.losses.shape == (2, 3)


def test_a_plane_through_a_trajectory(key):
    e = jax.random.normal(key, (3, 6))
    t = jnp.linspace(0, 1, 9)
    flat = (
        5 * jnp.outer(t, e[0])
        + jnp.outer(jnp.sin(3 * t), e[1])
        + 1e-2 * jnp.outer(t**3, e[2])
    )
    run = {"u": flat[:, :2], "v": flat[:, 2:].reshape(9, 2, 2)}
    loss = lambda p: jnp.sum(p["u"] ** 2) + jnp.sum(p["v"] ** 2)  # noqa: E731
    found = landscape.trajectory_plane(loss, run, points=(7, 5))
    centered = np.asarray(flat - flat[-1:])
    _, _, rows = np.linalg.svd(centered)
    coordinates = centered @ rows[:2].T
    for i in range(2):
        sign = np.sign(coordinates[0, i] * found.marks[0, i])
        np.testing.assert_allclose(
            found.marks[:, i], sign * coordinates[:, i], rtol=1e-3, atol=1e-3
        )
    for mark, point in zip(found.marks, flat, strict=True):
        here = {"u": point[:2], "v": point[2:].reshape(2, 2)}
        np.testing.assert_allclose(
            landscape.project(found, here), mark, rtol=1e-3, atol=2e-3
        )
    d1, d2 = found.directions
    there = jax.tree.map(
        lambda o, u, v: o + found.x[2] * u + found.y[3] * v, found.origin, d1, d2
    )
    np.testing.assert_allclose(found.losses[3, 2], loss(there), rtol=1e-4)


def test_bad_input_is_named(key):
    a = jnp.ones(2)
    options = {"optimizer": optax.sgd(0.1), "steps": 1}
    loss = lambda p, batch, key: jnp.sum(p)  # noqa: E731
    with pytest.raises(ValueError, match="bends is 0"):
        landscape.train_curve(key, loss, a, a, a, bends=0, **options)
    with pytest.raises(ValueError, match="kind is 'spline'"):
        landscape.train_curve(key, loss, a, a, a, kind="spline", **options)
    with pytest.raises(ValueError, match="a and b differ"):
        landscape.train_curve(key, loss, a, jnp.ones(3), a, **options)
    with pytest.raises(ValueError, match="controls has 1 points"):
        landscape.curve_point(jnp.ones((1, 2)), 0.5)
    with pytest.raises(ValueError, match="points is 1"):
        landscape.curve_line(jnp.sum, jnp.ones((2, 2)), points=1)
    with pytest.raises(ValueError, match="trajectory has 2 points"):
        landscape.trajectory_plane(jnp.sum, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="lie on one line"):
        landscape.trajectory_plane(jnp.sum, jnp.arange(12.0).reshape(4, 3))
