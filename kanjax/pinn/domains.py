"""Where an equation holds: intervals, boxes, pieces of them, and time before them.

A domain maps the unit cube onto itself evenly (``place``), so that every sampler draws
in every domain; its ``distance`` is signed, negative inside. A boundary is a domain,
too, of one dimension less. Disks and the L-shape are in :mod:`kanjax.pinn.shapes`.
"""

import functools
import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.square_root import safe_sqrt

Bounds = tuple[tuple[float, ...], tuple[float, ...]]
"""The least and the largest coordinates of a domain."""


@runtime_checkable
class Domain(Protocol):
    """What every domain offers."""

    @property
    def coordinates(self) -> int:
        """The number of a point's coordinates."""
        ...

    @property
    def parameters(self) -> int:
        """The dimension of the unit cube that is placed on it."""
        ...

    @property
    def measure(self) -> float:
        """The volume, area, length or number of points."""
        ...

    def place(self, s: Float[Array, "points parameters"]) -> Float[Array, "points d"]:
        """Map points of the unit cube into the domain, keeping them even."""
        ...

    def distance(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return the signed distance of a point to the boundary, negative inside."""
        ...

    def factor(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return a smooth function that is positive inside and 0 on the boundary."""
        ...

    @property
    def bounds(self) -> "Bounds":
        """The least and the largest value of each coordinate."""
        ...

    @property
    def boundary(self) -> "Domain":
        """The points around it."""
        ...


@model.dataclass
class Box:
    """A box with sides along the axes; one of no width in an axis is a face.

    Args:
        lower: the least value of each coordinate.
        upper: the largest value of each coordinate.

    Raises:
        ValueError: unless both are as long, finite and ordered.

    Examples:
        >>> Box((0.0, 0.0), (2.0, 1.0)).face(0, "upper")
        Box((2.0, 0.0), (2.0, 1.0))
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        pairs = list(zip(self.lower, self.upper, strict=False))
        alike = len(self.lower) == len(self.upper) > 0
        if not alike or not all(-math.inf < a <= b < math.inf for a, b in pairs):
            raise ValueError(
                "lower and upper must have one finite number for each coordinate, "
                f"lower <= upper; got {self.lower!r} and {self.upper!r}."
            )

    @property
    def coordinates(self) -> int:
        """The number of a point's coordinates."""
        return len(self.lower)

    @property
    def widths(self) -> tuple[float, ...]:
        """The extent of each coordinate."""
        return tuple(b - a for a, b in zip(self.lower, self.upper, strict=True))

    @property
    def parameters(self) -> int:
        """The number of coordinates that vary."""
        return sum(w > 0 for w in self.widths)

    @property
    def measure(self) -> float:
        """The product of the widths that are not 0."""
        return math.prod(w for w in self.widths if w > 0)

    def place(self, s: Float[Array, "points parameters"]) -> Float[Array, "points d"]:
        """Stretch the unit cube to the box. s: (points, parameters)."""
        lower = jnp.asarray(self.lower, s.dtype)
        varies = np.flatnonzero(np.array(self.widths) > 0)
        widths = jnp.asarray(self.widths, s.dtype)[varies]
        z = jnp.broadcast_to(lower, (s.shape[0], self.coordinates))
        return z.at[:, varies].add(widths[None] * s)

    def distance(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return the signed distance to the boundary. z: (coordinates,)."""
        lower, upper = (jnp.asarray(v, z.dtype) for v in (self.lower, self.upper))
        beyond = jnp.maximum(lower - z, z - upper)
        outside = safe_sqrt(jnp.sum(jnp.maximum(beyond, 0) ** 2))
        return outside + jnp.minimum(jnp.max(beyond), 0)

    def factor(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return the product of ``4 (z - a) (b - z) / (b - a)^2``; 1 in the middle."""
        lower, upper = (jnp.asarray(v, z.dtype) for v in (self.lower, self.upper))
        varies = np.flatnonzero(np.array(self.widths) > 0)
        bumps = 4 * (z - lower) * (upper - z)
        return jnp.prod(bumps[varies] / (upper - lower)[varies] ** 2)

    def face(self, axis: int, side: str) -> "Box":
        """Return the face where a coordinate takes its least or largest value.

        Args:
            axis: the coordinate.
            side: "lower" or "upper".

        Raises:
            ValueError: for an axis that does not exist, or another side.
        """
        if side not in ("lower", "upper") or not 0 <= axis < self.coordinates:
            raise ValueError(
                f"a box of {self.coordinates} coordinates has faces of axes 0 to "
                f"{self.coordinates - 1}, 'lower' or 'upper'; got {axis}, {side!r}."
            )
        value = getattr(self, side)[axis]
        return Box(
            _replaced(self.lower, axis, value), _replaced(self.upper, axis, value)
        )

    @property
    def bounds(self) -> Bounds:
        """Its lower and its upper corner."""
        return self.lower, self.upper

    @property
    def boundary(self) -> "Pieces":
        """All faces."""
        varies = [i for i, w in enumerate(self.widths) if w > 0]
        return Pieces(
            tuple(self.face(i, side) for i in varies for side in ("lower", "upper"))
        )


def interval(lower: float, upper: float) -> Box:
    """Return an interval of the line: a box of one coordinate.

    Args:
        lower: its start.
        upper: its end.

    Raises:
        ValueError: unless lower <= upper.
    """
    return Box((float(lower),), (float(upper),))


@model.dataclass
class Pieces:
    """Domains that meet at most in their boundaries, taken together.

    Args:
        pieces: at least one; all of as many coordinates and as many parameters.

    Raises:
        ValueError: if there is none, or if they differ in dimension.
    """

    pieces: tuple[Domain, ...] = model.child()

    def __post_init__(self) -> None:
        kinds = {(p.coordinates, p.parameters) for p in self.pieces}
        if len(kinds) != 1:
            raise ValueError(
                "pieces must be at least one, and all of one dimension; got "
                f"(coordinates, parameters) of {sorted(kinds)}."
            )

    @property
    def coordinates(self) -> int:
        """The number of a point's coordinates."""
        return self.pieces[0].coordinates

    @property
    def parameters(self) -> int:
        """Those of each piece; at least 1, which chooses the piece."""
        return max(1, self.pieces[0].parameters)

    @property
    def measure(self) -> float:
        """The sum of the pieces' measures."""
        return sum(p.measure for p in self.pieces)

    def place(self, s: Float[Array, "points parameters"]) -> Float[Array, "points d"]:
        """Cut the unit cube along its first axis by the pieces' measures."""
        shares = np.array([p.measure for p in self.pieces]) / self.measure
        edges = np.concatenate([[0.0], np.cumsum(shares)])
        z = jnp.zeros((s.shape[0], self.coordinates), s.dtype)
        for piece, start, share in zip(self.pieces, edges[:-1], shares, strict=True):
            fraction = jnp.clip((s[:, :1] - start) / share, 0, 1)
            stretched = jnp.concatenate([fraction, s[:, 1:]], axis=1)
            placed = piece.place(stretched[:, : piece.parameters])
            z = jnp.where(s[:, :1] >= start, placed, z)
        return z

    def distance(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return the least of the pieces' distances; exact outside only."""
        return functools.reduce(jnp.minimum, [p.distance(z) for p in self.pieces])

    def factor(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Not known in general."""
        raise ValueError(
            "pieces have no smooth factor of their boundary; use their distance, or "
            "write the factor by hand."
        )

    @property
    def bounds(self) -> Bounds:
        """Around all pieces."""
        lowers, uppers = zip(*(p.bounds for p in self.pieces), strict=True)
        return (
            tuple(map(min, zip(*lowers, strict=True))),
            tuple(map(max, zip(*uppers, strict=True))),
        )

    @property
    def boundary(self) -> "Domain":
        """Not known in general: pieces may share parts of theirs."""
        raise ValueError("the boundary of pieces is not known; name its parts by hand.")


@model.dataclass
class TimeSpace:
    """An interval of time before a domain of space: points are (t, x, ...).

    Args:
        start: the initial time.
        end: the final time.
        space: where x lives.

    Examples:
        >>> domain = TimeSpace(0.0, 2.0, interval(-1, 1))
        >>> domain.coordinates, domain.measure
        (2, 4.0)
        >>> domain.initial
        TimeSpace(0.0, 0.0, Box((-1.0,), (1.0,)))
    """

    start: float
    end: float
    space: Domain = model.child()

    def __post_init__(self) -> None:
        if not -math.inf < self.start <= self.end < math.inf:
            raise ValueError(
                f"time must be ordered and finite; got {self.start} to {self.end}."
            )

    @property
    def duration(self) -> float:
        """From start to end."""
        return self.end - self.start

    @property
    def coordinates(self) -> int:
        """1 + those of space."""
        return 1 + self.space.coordinates

    @property
    def parameters(self) -> int:
        """Those of space, and 1 unless time stands still."""
        return self.space.parameters + (self.duration > 0)

    @property
    def measure(self) -> float:
        """That of space times the duration, if it is not 0."""
        return self.space.measure * (self.duration or 1.0)

    def place(self, s: Float[Array, "points parameters"]) -> Float[Array, "points d"]:
        """Return points whose first coordinate is time. s: (points, parameters)."""
        moves = int(self.duration > 0)
        t = self.start + self.duration * s[:, :1] if moves else s[:, :0]
        if not moves:
            t = jnp.full((s.shape[0], 1), self.start, s.dtype)
        return jnp.concatenate([t, self.space.place(s[:, moves:])], axis=1)

    def distance(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return the signed distance to the boundary in space and time. z: (d,)."""
        in_time = jnp.maximum(self.start - z[0], z[0] - self.end)
        in_space = self.space.distance(z[1:])
        both = jnp.stack([in_time, in_space])
        outside = safe_sqrt(jnp.sum(jnp.maximum(both, 0) ** 2))
        return outside + jnp.minimum(jnp.max(both), 0)

    def factor(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return that of space: 0 on the walls at all times."""
        return self.space.factor(z[1:])

    @property
    def bounds(self) -> Bounds:
        """Those of space, after start and end."""
        lower, upper = self.space.bounds
        return (self.start, *lower), (self.end, *upper)

    @property
    def initial(self) -> "TimeSpace":
        """All of space at the initial time."""
        return TimeSpace(self.start, self.start, self.space)

    @property
    def boundary(self) -> "TimeSpace":
        """The walls of space at all times."""
        return TimeSpace(self.start, self.end, self.space.boundary)


def _replaced(values: Sequence[float], index: int, value: float) -> tuple[float, ...]:
    return tuple(value if i == index else v for i, v in enumerate(values))
