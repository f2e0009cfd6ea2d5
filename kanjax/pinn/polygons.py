"""Polygons and the segments around them."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.pinn import domains

Point = tuple[float, float]


@model.dataclass
class Segment:
    """A straight line between two points of the plane.

    Args:
        start: (x, y).
        end: (x, y), another.
    """

    start: Point
    end: Point

    def __post_init__(self) -> None:
        if not 0 < self.measure < math.inf:
            raise ValueError(
                f"start and end must differ and be finite; got {self.start} and "
                f"{self.end}."
            )

    @property
    def coordinates(self) -> int:
        """Two, x and y."""
        return 2

    @property
    def parameters(self) -> int:
        """The dimension of what is placed on it."""
        return 1

    @property
    def measure(self) -> float:
        """Its length."""
        return math.dist(self.start, self.end)

    def place(self, s: Float[Array, "points 1"]) -> Float[Array, "points 2"]:
        """Go from start to end. s: (points, 1)."""
        start, end = (jnp.array([p], s.dtype) for p in (self.start, self.end))
        return start + s * (end - start)

    def distance(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return the distance to the segment, at least 0. z: (2,)."""
        start, end = (jnp.asarray(p, z.dtype) for p in (self.start, self.end))
        along = jnp.dot(z - start, end - start) / self.measure**2
        return jnp.linalg.norm(z - start - jnp.clip(along, 0, 1) * (end - start))

    def factor(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Not known: a segment has no inside."""
        raise ValueError("a segment has no factor; use that of its polygon.")

    def smooth_distance(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return a function that is the distance near the segment, and smooth off it.

        Rvachev's, as in Sukumar, Srivastava (2022), "Exact imposition of boundary
        conditions with distance functions in physics-informed deep neural networks",
        arXiv 2104.08426, equations 5 and 6. z: (2,).
        """
        start, end = (jnp.asarray(p, z.dtype) for p in (self.start, self.end))
        (x, y), (u, v) = z - start, (end - start) / self.measure
        beside = x * v - y * u
        # Positive inside of the circle around the segment.
        inside = (self.measure / 2) ** 2 - jnp.sum((z - (start + end) / 2) ** 2)
        inside = inside / self.measure
        beyond = (jnp.sqrt(inside**2 + beside**4) - inside) / 2
        return jnp.sqrt(beside**2 + beyond**2)

    @property
    def bounds(self) -> domains.Bounds:
        """The box around it."""
        pairs = list(zip(self.start, self.end, strict=True))
        return tuple(map(min, pairs)), tuple(map(max, pairs))

    @property
    def boundary(self) -> domains.Domain:
        """Not a domain: two points."""
        raise ValueError("the ends of a segment are no domain; name them by hand.")


@model.dataclass
class Polygon:
    """A polygon, convex or not, whose edges do not cross.

    Args:
        vertices: in order around it, each (x, y); at least three.

    Raises:
        ValueError: for fewer, for edges that meet, or for one without area.

    Examples:
        >>> triangle = Polygon(((0.0, 0.0), (2.0, 0.0), (0.0, 1.0)))
        >>> triangle.measure
        1.0
        >>> len(triangle.boundary.pieces)
        3
    """

    vertices: tuple[Point, ...]

    def __post_init__(self) -> None:
        if len(self.vertices) < 3 or any(len(p) != 2 for p in self.vertices):
            raise ValueError(
                f"vertices must be at least three points (x, y); got {self.vertices}."
            )
        if not all(math.isfinite(c) for p in self.vertices for c in p):
            raise ValueError(f"vertices must be finite; got {self.vertices}.")
        count = len(self.vertices)
        for i in range(count):
            for j in range(i + 1, count):
                is_next = j == i + 1 or (i == 0 and j == count - 1)
                if not is_next and _cross(*self._edge(i), *self._edge(j)):
                    raise ValueError(
                        f"edges {i} and {j} of the polygon meet; give vertices in "
                        "order around it."
                    )
        if self.measure == 0:
            raise ValueError("the polygon has no area; its vertices are on a line.")

    @property
    def coordinates(self) -> int:
        """Two, x and y."""
        return 2

    @property
    def parameters(self) -> int:
        """The dimension of what is placed on it."""
        return 2

    @property
    def measure(self) -> float:
        """Its area."""
        return abs(_area(self.vertices))

    def place(self, s: Float[Array, "points 2"]) -> Float[Array, "points 2"]:
        """Cut the unit square by the areas of triangles, and map each evenly."""
        corners = np.array(_triangulate(self.vertices))
        areas = np.array([abs(_area(triangle)) for triangle in corners])
        edges = np.concatenate([[0.0], np.cumsum(areas) / areas.sum()])
        which = jnp.searchsorted(jnp.asarray(edges[1:-1], s.dtype), s[:, 0], "right")
        start, width = jnp.asarray(edges[:-1], s.dtype), jnp.asarray(np.diff(edges))
        along = (s[:, 0] - start[which]) / width.astype(s.dtype)[which]
        root = jnp.sqrt(jnp.clip(along, 0, 1))[:, None]
        a, b, c = jnp.moveaxis(jnp.asarray(corners, s.dtype)[which], 1, 0)
        return a + root * (b - a) + root * s[:, 1:] * (c - b)

    def distance(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return the signed distance to the edges. z: (2,)."""
        edges = [edge.distance(z) for edge in self.edges]
        nearest = functools.reduce(jnp.minimum, edges)
        crossings = jnp.zeros((), bool)
        # A ray to the right crosses the edges an odd number of times from inside.
        for (x0, y0), (x1, y1) in map(self._edge, range(len(self.vertices))):
            spans = (y0 > z[1]) != (y1 > z[1])
            if y0 != y1:
                at = x0 + (z[1] - y0) / (y1 - y0) * (x1 - x0)
                crossings ^= spans & (z[0] < at)
        return jnp.where(crossings, -nearest, nearest)

    def factor(self, z: Float[Array, " 2"]) -> Float[Array, ""]:
        """Return ``1 / sum_i 1 / d_i`` of smooth distances to the edges.

        0 on the boundary, positive elsewhere, smooth but for the vertices; its
        derivatives are finite inside, not on the boundary itself.
        """
        d = jnp.stack([edge.smooth_distance(z) for edge in self.edges])
        # The product over all others instead of 1 / d_i, which is infinite on an edge.
        count = len(self.edges)
        others = jnp.where(jnp.eye(count, dtype=bool), 1, d)
        return jnp.prod(d) / jnp.sum(jnp.prod(others, axis=1))

    @property
    def edges(self) -> tuple[Segment, ...]:
        """From each vertex to the next."""
        return tuple(Segment(*self._edge(i)) for i in range(len(self.vertices)))

    @property
    def bounds(self) -> domains.Bounds:
        """The box around it."""
        columns = list(zip(*self.vertices, strict=True))
        return tuple(map(min, columns)), tuple(map(max, columns))

    @property
    def boundary(self) -> domains.Pieces:
        """Its edges, in order as ``pieces``."""
        return domains.Pieces(self.edges)

    def _edge(self, index: int) -> tuple[Point, Point]:
        return self.vertices[index], self.vertices[(index + 1) % len(self.vertices)]


def _area(vertices: object) -> float:
    """Return the signed area, positive counterclockwise."""
    x, y = np.asarray(vertices, float).T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _side(a: Point, b: Point, p: Point) -> float:
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two segments have a point in common."""
    first, second = _side(a, b, c), _side(a, b, d)
    third, fourth = _side(c, d, a), _side(c, d, b)
    if first == second == 0:
        overlaps = (
            max(min(a[k], b[k]), min(c[k], d[k]))
            <= min(max(a[k], b[k]), max(c[k], d[k]))
            for k in (0, 1)
        )
        return all(overlaps)
    return first * second <= 0 and third * fourth <= 0


@functools.lru_cache(maxsize=64)
def _triangulate(vertices: tuple[Point, ...]) -> list[tuple[Point, Point, Point]]:
    """Cut off ears, corners whose triangle holds no other vertex, to the last."""
    rest = list(vertices if _area(vertices) > 0 else vertices[::-1])
    triangles = []
    while len(rest) > 3:
        ears = range(len(rest))
        i = next((i for i in ears if _is_ear(rest, i)), None)
        if i is None:  # Only corners of no area are left beside the ears.
            i = min(
                ears, key=lambda i: abs(_side(rest[i - 1], rest[i], _next(rest, i)))
            )
        triangle = (rest[i - 1], rest[i], _next(rest, i))
        if _side(*triangle) > 0:
            triangles.append(triangle)
        del rest[i]
    return [*triangles, (rest[0], rest[1], rest[2])]


def _next(points: list[Point], index: int) -> Point:
    return points[(index + 1) % len(points)]


def _is_ear(points: list[Point], index: int) -> bool:
    a, b, c = points[index - 1], points[index], _next(points, index)
    if _side(a, b, c) <= 0:
        return False
    others = (p for p in points if p not in (a, b, c))
    return not any(
        _side(a, b, p) >= 0 and _side(b, c, p) >= 0 and _side(c, a, p) >= 0
        for p in others
    )
