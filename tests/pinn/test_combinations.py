"""Polygons, balls, unions and differences against counting and dense boundaries."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.path import Path

from kanjax.pinn import (
    Ball,
    Box,
    Disk,
    Polygon,
    Segment,
    TimeSpace,
    Union,
    difference,
    intersection,
    samplers,
)

ARROW = ((-2.0, -1.0), (0.0, -0.5), (2.0, -1.0), (0.5, 1.5), (0.0, 0.0), (-0.5, 1.5))
SQUARE, DISK = Box((-1.0, -1.0), (1.0, 1.0)), Disk((0.5, 0.5), 1.0)


POINTS = 3000


def in_square(z):
    return np.all(np.abs(z) < 1, axis=1)


def in_disk(z):
    return np.sum((z - 0.5) ** 2, axis=1) < 1


CASES = {
    "arrow": (Polygon(ARROW), lambda z: Path(ARROW).contains_points(z)),
    "ball": (
        Ball((0.2, 0.0, -0.3), 1.5),
        lambda z: np.sum((z - [0.2, 0, -0.3]) ** 2, axis=1) < 1.5**2,
    ),
    "union": (Union((SQUARE, DISK)), lambda z: in_square(z) | in_disk(z)),
    "difference": (difference(SQUARE, DISK), lambda z: in_square(z) & ~in_disk(z)),
    "intersection": (intersection(SQUARE, DISK), lambda z: in_square(z) & in_disk(z)),
}
each_case = pytest.mark.parametrize("name", CASES)


def draw(domain, points=POINTS):
    sample = jax.jit(lambda key: samplers.sobol(domain, points, key=key))
    return np.asarray(sample(jax.random.key(0)))


@functools.cache
def case(name):
    """The domain, its predicate and distance, and points in it and around it."""
    domain, contains = CASES[name]
    distance = jax.jit(jax.vmap(domain.distance))
    return domain, contains, distance, draw(domain), draw(domain.boundary)


@each_case
def test_points_fill_the_domain_evenly(name):
    domain, contains, distance, z, _ = case(name)
    lower, upper = np.array(domain.bounds)
    rng = np.random.default_rng(0)
    around = rng.uniform(lower, upper, (200_000, len(lower)))
    inside = contains(around)
    measure = np.prod(upper - lower) * inside.mean()
    assert abs(domain.measure / measure - 1) < 0.01
    # The signed distance has the sign of the predicate.
    some = around[:POINTS].astype(np.float32)
    signs = np.asarray(distance(some)) < 0
    assert np.mean(signs == inside[:POINTS]) > 0.999
    assert contains(z).mean() > 0.999
    for power in (1, 2):
        wanted, spread = np.mean(around[inside] ** power, 0), np.std(z**power, 0)
        error = np.abs(np.mean(z**power, 0) - wanted)
        assert np.all(error < 4.5 * spread * np.sqrt(1 / len(z) + 1 / inside.sum()))


@each_case
def test_boundaries_are_where_the_predicate_changes(name):
    _, contains, distance, z, edge = case(name)
    np.testing.assert_allclose(distance(edge), 0, atol=2e-6)
    # Beside a point of the boundary, in most directions, is the one or the other.
    rng = np.random.default_rng(1)
    away = rng.normal(size=edge.shape)
    away *= 1e-3 / np.linalg.norm(away, axis=1, keepdims=True)
    assert np.mean(contains(edge + away) != contains(edge - away)) > 0.97
    # And the boundary has no gap: no inner point is nearer to it than it says.
    nearest = np.linalg.norm(z[:60, None] - edge, axis=-1).min(axis=1)
    size = np.abs(np.asarray(distance(z)))[:60]
    assert np.all(size < nearest + 1e-4)
    if name in ("arrow", "ball"):
        assert np.all(size > nearest - (0.15 if name == "ball" else 0.02))


@pytest.mark.parametrize("name", ["arrow", "ball", "difference"])
def test_factors_vanish_on_the_boundary_alone(name):
    domain, _, _, z, edge = case(name)
    factor = jax.jit(jax.vmap(jax.value_and_grad(domain.factor)))
    np.testing.assert_allclose(factor(edge)[0], 0, atol=5e-6)
    values, slopes = factor(z)
    assert np.all(values > 0) and np.all(np.isfinite(slopes))


def test_the_order_of_vertices_may_go_either_way():
    forward, backward = Polygon(ARROW), Polygon(ARROW[::-1])
    assert forward.measure == backward.measure
    z = draw(backward, 64)
    assert np.all(jax.jit(jax.vmap(forward.distance))(z) < 1e-6)


def test_the_smooth_distance_is_the_distance_near_its_segment():
    segment = Segment((0.0, 0.0), (3.0, 4.0))
    near = jnp.array([1.5, 2.0]) + 1e-2 * jnp.array([-0.8, 0.6])
    np.testing.assert_allclose(segment.smooth_distance(near), 1e-2, rtol=1e-3)
    np.testing.assert_allclose(segment.distance(near), 1e-2, rtol=1e-3)
    assert segment.measure == 5 and segment.bounds == ((0.0, 0.0), (3.0, 4.0))


def test_the_union_s_hidden_walls_are_no_boundary():
    two = Union((Box((0.0, 0.0), (1.0, 1.0)), Box((0.5, 0.0), (2.0, 1.0))))
    np.testing.assert_allclose(two.measure, 2.0, rtol=2e-3)
    edge = draw(two.boundary)
    hidden = (edge[:, 0] > 0.01) & (edge[:, 0] < 1.99)
    assert np.all(np.isclose(edge[hidden, 1], 0) | np.isclose(edge[hidden, 1], 1))
    covered = Union((SQUARE, Disk(radius=0.5)))
    assert covered.measure == 4.0 and covered.boundary.measure == 8.0


def test_combinations_work_in_time_and_under_jit(x64):
    plate = TimeSpace(0.0, 1.0, difference(SQUARE, Disk(radius=0.5)))
    z = jax.jit(lambda key: samplers.uniform(plate, 500, key=key))(jax.random.key(0))
    assert np.all(jax.vmap(plate.distance)(z) < 0)
    walls = samplers.uniform(plate.boundary, 500, key=jax.random.key(1))
    np.testing.assert_allclose(jax.vmap(plate.factor)(walls), 0, atol=1e-9)


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: Polygon(ARROW[:2]), "at least three points"),
        (lambda: Polygon(((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))), "meet"),
        (lambda: Polygon(((0.0, 0.0), (1.0, 1.0), (2.0, 2.0))), "on a line"),
        (lambda: Polygon(((0.0, 0.0), (np.inf, 1.0), (2.0, 2.0))), "must be finite"),
        (lambda: Segment((0.0, 0.0), (0.0, 0.0)), "must differ"),
        (lambda: Ball(radius=-1.0), "radius must be positive"),
        (lambda: Ball().boundary.boundary, "no boundary"),
        (lambda: difference(SQUARE), "holes must be at least one"),
        (lambda: difference(SQUARE, Ball()), r"of 2 coordinates .* got \[3\]"),
        (lambda: intersection(SQUARE), "at least two"),
        (lambda: difference(SQUARE, Disk(radius=2.0)).measure, "nothing is left"),
        (lambda: Union((SQUARE, DISK)).factor(jnp.zeros(2)), "no smooth factor"),
        (lambda: Union((SQUARE, Ball())).measure, "of one dimension"),
    ],
)
def test_bad_input(build, words):
    with pytest.raises(ValueError, match=words):
        build()
