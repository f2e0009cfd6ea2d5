import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape


def parameters(key):
    return {"kernel": jax.random.normal(key, (3, 2)), "bias": jnp.ones(2)}


def loss(params):
    return jnp.sum(jnp.sin(params["kernel"])) + jnp.sum(params["bias"] ** 2)


def move(origin, d1, d2, x, y):
    return jax.tree.map(lambda o, u, v: o + x * u + y * v, origin, d1, d2)


@pytest.fixture
def three(key):
    return tuple(parameters(k) for k in jax.random.split(key, 3))


@pytest.mark.parametrize("batch_size", [None, 7])
def test_plane_is_the_loss_at_each_point(three, batch_size):
    origin, d1, d2 = three
    found = landscape.plane(
        loss, *three, extent=(1.0, 2.0), points=(5, 3), batch_size=batch_size
    )
    assert found.losses.shape == (3, 5)
    np.testing.assert_allclose(found.x, np.linspace(-1, 1, 5))
    np.testing.assert_allclose(found.y, [-2, 0, 2])
    for j, y in enumerate(found.y):
        for i, x in enumerate(found.x):
            expected = loss(move(origin, d1, d2, x, y))
            np.testing.assert_allclose(found.losses[j, i], expected, rtol=1e-4)


def test_the_middle_of_the_plane_is_the_loss_at_its_origin(three):
    found = landscape.plane(jax.jit(loss), *three)
    assert found.losses.shape == (51, 51)
    np.testing.assert_allclose(found.losses[25, 25], loss(three[0]), rtol=1e-6)


def test_the_plane_of_a_quadratic_is_a_paraboloid(key):
    origin, e1, e2 = jnp.zeros(4), *jnp.eye(4)[:2]
    curvature = jnp.array([1.0, 3.0, 5.0, 7.0])
    found = landscape.plane(lambda p: jnp.sum(curvature * p**2), origin, e1, e2)
    expected = found.x[None] ** 2 + 3 * found.y[:, None] ** 2
    np.testing.assert_allclose(found.losses, expected, rtol=1e-5, atol=1e-6)


def test_plane_through_passes_through_its_three_points(three):
    values = lambda p: {"loss": loss(p), "self": p}  # noqa: E731
    found = landscape.plane_through(values, *three, points=9, margin=0.0)
    d1, d2 = found.directions
    for mark, point in zip(found.marks, three, strict=True):
        there = move(found.origin, d1, d2, *mark)
        jax.tree.map(
            lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-4, atol=1e-5),
            there,
            point,
        )
        np.testing.assert_allclose(
            landscape.project(found, point), mark, rtol=1e-4, atol=1e-4
        )
    flat = [np.concatenate([np.ravel(v) for v in jax.tree.leaves(d)]) for d in (d1, d2)]
    gram = np.array(flat) @ np.array(flat).T
    np.testing.assert_allclose(gram, np.eye(2), atol=1e-5)
    # Without a margin the box's sides go through the outermost points.
    low, high = found.marks.min(0), found.marks.max(0)
    np.testing.assert_allclose([found.x[0], found.y[0]], low, atol=1e-6)
    np.testing.assert_allclose([found.x[-1], found.y[-1]], high, rtol=1e-6)
    wide = landscape.plane_through(loss, *three, points=3, margin=0.5)
    np.testing.assert_allclose(wide.x[-1] - wide.x[0], 2 * (high - low)[0], rtol=1e-5)


def test_distances_in_the_plane_are_distances_between_parameters(three):
    found = landscape.plane_through(loss, *three, points=2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        square = jax.tree.map(lambda u, v: jnp.sum((u - v) ** 2), three[i], three[j])
        np.testing.assert_allclose(
            jnp.linalg.norm(found.marks[i] - found.marks[j]),
            jnp.sqrt(sum(jax.tree.leaves(square))),
            rtol=1e-5,
        )


def test_project_is_the_nearest_point_for_any_directions():
    d1, d2 = jnp.array([2.0, 0, 0]), jnp.array([1.0, 1, 0])
    found = landscape.plane(jnp.sum, jnp.ones(3), d1, d2, points=2)
    point = jnp.ones(3) + 0.5 * d1 - 2 * d2 + jnp.array([0, 0, 9.0])
    np.testing.assert_allclose(landscape.project(found, point), [0.5, -2], rtol=1e-5)


def test_jit_and_vmap(three):
    stack = jax.tree.map(lambda u, v: jnp.stack([u, v]), three[0], three[1])
    other = jax.tree.map(lambda v: v + 1, three[1])

    def random(origin):
        return landscape.plane(loss, origin, *three[1:], points=3).losses

    def through(origin):
        return landscape.plane_through(loss, origin, other, three[2], points=3).losses

    for function in (random, through):
        together = jax.jit(jax.vmap(function))(stack)
        np.testing.assert_allclose(together[0], function(three[0]), rtol=1e-4)
    # Everything but the loss is known before tracing.
    inside = jax.jit(lambda: random(three[0]) + through(three[0]))()
    np.testing.assert_allclose(
        inside, random(three[0]) + through(three[0]), rtol=1e-4, atol=1e-5
    )


def test_non_finite_losses_are_kept():
    e = jnp.eye(2)
    found = landscape.plane(lambda p: jnp.sqrt(p[0]), jnp.zeros(2), *e, points=3)
    assert jnp.all(jnp.isnan(found.losses[:, 0]))
    np.testing.assert_array_equal(found.losses[:, 2], 1.0)


def test_bad_input_is_named(three):
    a, b, c = three
    zero = jax.tree.map(jnp.zeros_like, a)
    with pytest.raises(ValueError, match="d2 is zero"):
        landscape.plane(loss, a, b, zero)
    with pytest.raises(ValueError, match="parallel"):
        landscape.plane(loss, a, b, jax.tree.map(lambda v: -2 * v, b))
    with pytest.raises(ValueError, match="lie on one line"):
        landscape.plane_through(loss, a, b, landscape.interpolate(a, b, 0.3))
    with pytest.raises(ValueError, match="a and c are equal"):
        landscape.plane_through(loss, a, b, a)
    with pytest.raises(ValueError, match=r"origin and d1 differ at \['bias'\]"):
        landscape.plane(loss, a, {**b, "bias": jnp.ones(3)}, c)
    with pytest.raises(ValueError, match="extent is 0"):
        landscape.plane(loss, a, b, c, extent=0)
    with pytest.raises(ValueError, match="points is 1"):
        landscape.plane(loss, a, b, c, points=1)
    with pytest.raises(ValueError, match="margin is -1"):
        landscape.plane_through(loss, a, b, c, margin=-1)
