"""Domains: even maps, exact distances, smooth factors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.pinn import domains, samplers, shapes

SQUARE = domains.Box((-1.0, 0.0), (1.0, 1.0))
DISK = shapes.Disk((0.5, -0.5), 2.0)
DOMAINS = {
    "interval": domains.interval(-2, 3),
    "box": SQUARE,
    "cube": domains.Box((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)),
    "disk": DISK,
    "l-shape": shapes.LShape(),
    "time and interval": domains.TimeSpace(0.0, 2.0, domains.interval(-1, 1)),
    "time and disk": domains.TimeSpace(1.0, 2.0, DISK),
}
each_domain = pytest.mark.parametrize("name", DOMAINS)


def draw(domain, points=2000):
    return samplers.uniform(domain, points, key=jax.random.key(0))


@each_domain
def test_points_lie_inside_and_boundaries_at_distance_zero(name):
    domain = DOMAINS[name]
    z = draw(domain)
    assert z.shape == (2000, domain.coordinates)
    assert np.all(jax.vmap(domain.distance)(z) <= 1e-6)
    assert np.all(jax.vmap(domain.factor)(z) >= 0)
    edge = draw(domain.boundary)
    np.testing.assert_allclose(jax.vmap(domain.factor)(edge), 0, atol=2e-6)
    np.testing.assert_allclose(jax.vmap(domain.distance)(edge), 0, atol=1e-6)


@each_domain
def test_points_are_even(name):
    # Means over the domain of first and second moments, by rejection from a large box.
    domain = DOMAINS[name]
    around = np.random.default_rng(0).uniform(-3, 4, (400_000, domain.coordinates))
    inside = np.asarray(jax.vmap(domain.distance)(jnp.array(around))) < 0
    volume = 7.0**domain.coordinates * inside.mean()
    count = inside.sum()
    assert abs(volume / domain.measure - 1) < 5 / np.sqrt(count)
    z = np.asarray(draw(domain, 20_000))
    for power in (1, 2):
        wanted = np.mean(around[inside] ** power, axis=0)
        spread = np.std(z**power, axis=0)
        error = np.abs(np.mean(z**power, axis=0) - wanted)
        assert np.all(error < 4.5 * spread * np.sqrt(1 / 20_000 + 1 / count))


@each_domain
def test_distances_are_those_to_many_points_of_the_boundary(name):
    domain = DOMAINS[name]
    edge = np.asarray(draw(domain.boundary, 30_000))
    if isinstance(domain, domains.TimeSpace):
        ends = [domain.initial, domains.TimeSpace(domain.end, domain.end, domain.space)]
        edge = np.concatenate([edge, *(np.asarray(draw(e, 30_000)) for e in ends)])
    z = np.random.default_rng(1).uniform(-2.5, 3.5, (60, domain.coordinates))
    nearest = np.linalg.norm(z[:, None] - edge, axis=-1).min(axis=1)
    found = np.asarray(jax.vmap(domain.distance)(jnp.array(z, jnp.float32)))
    room = 0.12 if domain.coordinates == 3 else 0.01
    # Random points come near to the nearest one of the boundary, from above only.
    assert np.all(np.abs(found) < nearest + 1e-4)
    assert np.all(np.abs(found) > nearest - room)


def test_the_boundary_is_drawn_by_length():
    z = np.asarray(draw(domains.Box((0.0, 0.0), (3.0, 1.0)).boundary, 8000))
    upright = np.isclose(z[:, 0], 0) | np.isclose(z[:, 0], 3)
    assert abs(upright.mean() - 0.25) < 0.02
    assert abs(np.isclose(z[:, 1], 0).mean() - 0.375) < 0.02


def test_faces_and_the_initial_time():
    assert SQUARE.face(1, "lower") == domains.Box((-1.0, 0.0), (1.0, 0.0))
    start = DOMAINS["time and disk"].initial
    assert start.parameters == 2 and start.measure == DISK.measure
    assert np.all(draw(start)[:, 0] == 1.0)
    ends = np.asarray(draw(domains.interval(-2, 3).boundary))
    assert set(ends.ravel().tolist()) == {-2.0, 3.0}


def test_domains_work_under_jit_and_grad():
    normal = jax.jit(jax.vmap(jax.grad(DISK.distance)))(draw(DISK.boundary, 50))
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, rtol=1e-5)
    slope = jax.jit(jax.grad(SQUARE.factor))(jnp.array([0.0, 0.0]))
    np.testing.assert_allclose(slope, [0, 4], rtol=1e-6)


@pytest.mark.parametrize("z", [(0.5, 0.9), (-0.8, 0.5), (1.5, 0.4), (2.0, 3.0)])
@pytest.mark.parametrize("name", ["box", "time and interval"])
def test_distances_of_boxes_have_slopes_inside_as_well(name, z):
    domain, z = DOMAINS[name], jnp.array(z)
    slope = jax.grad(domain.distance)(z)
    step = 1e-3 * jnp.eye(2)
    moved = [domain.distance(z + e) - domain.distance(z - e) for e in step]
    np.testing.assert_allclose(slope, np.array(moved) / 2e-3, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(slope), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: domains.Box((0.0,), (1.0, 2.0)), "one finite number for each"),
        (lambda: domains.interval(1, 0), "lower <= upper"),
        (lambda: shapes.Disk(radius=0.0), "radius must be positive"),
        (lambda: domains.TimeSpace(1.0, 0.0, SQUARE), "time must be ordered"),
        (lambda: domains.Pieces((SQUARE, domains.interval(0, 1))), "of one dimension"),
        (lambda: SQUARE.face(2, "lower"), "faces of axes 0 to 1"),
        (lambda: DISK.boundary.boundary, "no boundary"),
        (lambda: SQUARE.boundary.factor(jnp.zeros(2)), "no smooth factor"),
    ],
)
def test_bad_input(build, words):
    with pytest.raises(ValueError, match=words):
        build()
