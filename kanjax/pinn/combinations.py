"""Domains put together of others: unions and differences, by signed distance.

Their points are drawn in the domains that they are made of, and drawn again where they
are not to be: the first draw keeps a sampler's evenness, later ones are random.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from kanjax import model
from kanjax.pinn import domains

COUNT = 2**15
"""Points that measure how much of a domain is left."""
CERTAIN = 1e-9
MOST_DRAWS = 400
CLOSE = 1e-6


@model.dataclass
class Cut:
    """What is left of a domain inside of some others and outside of some.

    Args:
        domain: to draw from; a boundary, too.
        inside: domains of the same space that its points have to be in.
        outside: those that they must not be in.

    Raises:
        ValueError: if nothing is left, or dimensions differ.
    """

    domain: domains.Domain = model.child()
    inside: tuple[domains.Domain, ...] = model.child(default=())
    outside: tuple[domains.Domain, ...] = model.child(default=())

    @property
    def coordinates(self) -> int:
        """Those of the domain."""
        return self.domain.coordinates

    @property
    def parameters(self) -> int:
        """Those of the domain."""
        return self.domain.parameters

    @property
    def measure(self) -> float:
        """That of the domain times the share that is left, measured to about 1e-3."""
        return self.domain.measure * share(self)

    def keeps(self, z: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether a point of the domain is left. z: (coordinates,)."""
        within_all = jnp.ones((), bool)
        close = CLOSE * _extent(self.domain)
        for other in self.inside:
            within_all &= other.distance(z) < -close
        for other in self.outside:
            within_all &= other.distance(z) > close
        return within_all

    def place(self, s: Float[Array, "points parameters"]) -> Float[Array, "points d"]:
        """Place points in the domain, and others for those that are cut off.

        The others follow from the point by a hash of its digits, so that this is a
        function of s and works under ``jit``.
        """
        left = share(self)
        draws = min(
            MOST_DRAWS, math.ceil(math.log(CERTAIN) / math.log1p(-left + 1e-12))
        )
        keys = jax.vmap(_hash)(s)
        keeps = jax.vmap(self.keeps)

        def draw(k: int, z: Array) -> Array:
            again = jax.vmap(
                lambda key: jax.random.uniform(
                    jax.random.fold_in(key, k), s.shape[1:], s.dtype
                )
            )(keys)
            return jnp.where(keeps(z)[:, None], z, self.domain.place(again))

        return jax.lax.fori_loop(0, draws, draw, self.domain.place(s))

    def distance(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return the largest of the distances: of the right sign, and no larger than
        the distance to the boundary.
        """
        each = [self.domain.distance(z)]
        each += [other.distance(z) for other in self.inside]
        each += [-other.distance(z) for other in self.outside]
        return functools.reduce(jnp.maximum, each)

    def factor(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return the product of the domain's factor, those of domains around it, and
        the distances to what is cut out.
        """
        each = [self.domain.factor(z)]
        each += [other.factor(z) for other in self.inside]
        each += [other.distance(z) for other in self.outside]
        return functools.reduce(jnp.multiply, each)

    @property
    def bounds(self) -> domains.Bounds:
        """Those of the domain."""
        return self.domain.bounds

    @property
    def boundary(self) -> domains.Domain:
        """Walls of all domains, as far as they are around this one."""
        all_inside = (self.domain, *self.inside)
        pieces = []
        for i, other in enumerate(all_inside):
            rest = all_inside[:i] + all_inside[i + 1 :]
            pieces.append(Cut(other.boundary, rest, self.outside))
        for i, other in enumerate(self.outside):
            rest = self.outside[:i] + self.outside[i + 1 :]
            pieces.append(Cut(other.boundary, all_inside, rest))
        return _joined(pieces)


@model.dataclass
class Union:
    """Domains together, which may overlap.

    Args:
        members: at least one, of one dimension.

    Examples:
        >>> from kanjax.pinn import interval
        >>> both = Union((interval(0, 2), interval(1, 4)))
        >>> round(both.measure, 2), both.bounds
        (4.0, ((0.0,), (4.0,)))
    """

    members: tuple[domains.Domain, ...] = model.child()

    @property
    def coordinates(self) -> int:
        """Those of each member."""
        return self._pieces.coordinates

    @property
    def parameters(self) -> int:
        """Those of each member."""
        return self._pieces.parameters

    @property
    def measure(self) -> float:
        """The sum of what each adds to those before, measured to about 1e-3."""
        return self._pieces.measure

    def place(self, s: Float[Array, "points parameters"]) -> Float[Array, "points d"]:
        """Place points in the first member, and in what others add to it."""
        return self._pieces.place(s)

    def distance(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Return the least of the distances: exact outside, inside of the right sign
        and no larger than the distance to the boundary.
        """
        return functools.reduce(jnp.minimum, [m.distance(z) for m in self.members])

    def factor(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Not known in general."""
        raise ValueError(
            "a union has no smooth factor of its boundary; use a soft condition, or "
            "write the factor by hand."
        )

    @property
    def bounds(self) -> domains.Bounds:
        """Around all members."""
        return domains.Pieces(self.members).bounds

    @property
    def boundary(self) -> domains.Domain:
        """The walls of each member that no other covers."""
        pieces = []
        for i, member in enumerate(self.members):
            rest = self.members[:i] + self.members[i + 1 :]
            pieces.append(Cut(member.boundary, outside=rest))
        return _joined(pieces)

    @property
    def _pieces(self) -> domains.Pieces:
        domains.Pieces(self.members)  # Checks that they are of one dimension.
        added = [self.members[0]]
        for i, member in enumerate(self.members[1:], start=1):
            piece = Cut(member, outside=self.members[:i])
            if share(piece, refuse=False) > 0:
                added.append(piece)
        return domains.Pieces(tuple(added))


def difference(domain: domains.Domain, *holes: domains.Domain) -> Cut:
    """Return a domain without some others.

    Args:
        domain: what is left of it.
        holes: what is cut out, of the same space.

    Raises:
        ValueError: if there is no hole, or they are of another dimension.

    Examples:
        >>> from kanjax import pinn
        >>> square = pinn.Box((-1.0, -1.0), (1.0, 1.0))
        >>> plate = difference(square, pinn.Disk(radius=0.5))
        >>> bool(plate.distance(jnp.zeros(2)) > 0)
        True
    """
    if not holes or {h.coordinates for h in holes} != {domain.coordinates}:
        raise ValueError(
            f"holes must be at least one, of {domain.coordinates} coordinates as the "
            f"domain; got {[h.coordinates for h in holes]}."
        )
    return Cut(domain, outside=holes)


def intersection(*members: domains.Domain) -> Cut:
    """Return what domains have in common.

    Args:
        members: at least two, of one dimension; points are drawn in the first.

    Raises:
        ValueError: for fewer, or others.
    """
    if len(members) < 2 or len({m.coordinates for m in members}) != 1:
        raise ValueError(
            "members must be at least two, of one dimension; got coordinates "
            f"{[m.coordinates for m in members]}."
        )
    return Cut(members[0], inside=members[1:])


@functools.lru_cache(maxsize=256)
def _share(cut: Cut) -> float:
    with jax.ensure_compile_time_eval():
        key = jax.random.key(0)
        s = jax.random.uniform(key, (cut.parameters,))
        # Multiples of a vector of irrational numbers are spread evenly (Roberts' R_d).
        base = 2.0
        for _ in range(64):
            base = (1 + base) ** (1 / (cut.parameters + 1))
        steps = base ** -np.arange(1.0, cut.parameters + 1)
        points = (np.arange(COUNT)[:, None] * steps + np.asarray(s)) % 1
        z = cut.domain.place(jnp.asarray(points, s.dtype))
        return float(jnp.mean(jax.vmap(cut.keeps)(z)))


def share(cut: Cut, *, refuse: bool = True) -> float:
    """Return the share of a domain that is left.

    Args:
        cut: the domain.
        refuse: whether to refuse one of which nothing is left.

    Raises:
        ValueError: then.
    """
    left = _share(cut)
    if left == 0 and refuse:
        raise ValueError(
            f"nothing is left of {cut.domain!r}: what is cut out of it covers it, or "
            "what it is to be in does not meet it."
        )
    return left


def _joined(pieces: list[Cut]) -> domains.Domain:
    """Return the pieces of which something is left, uncut where all is."""
    kept: list[domains.Domain] = []
    for piece in pieces:
        left = share(piece, refuse=False)
        if left > 0:
            kept.append(piece if left < 1 else piece.domain)
    return kept[0] if len(kept) == 1 else domains.Pieces(tuple(kept))


def _extent(domain: domains.Domain) -> float:
    lower, upper = domain.bounds
    return max(b - a for a, b in zip(lower, upper, strict=True)) or 1.0


def _hash(s: Float[Array, " parameters"]) -> Array:
    """Return a key that depends on all digits of a point of the unit cube."""
    words = jax.lax.bitcast_convert_type(s, jnp.uint32).ravel()
    return jax.lax.fori_loop(
        0,
        words.size,
        lambda i, key: jax.random.fold_in(key, words[i]),
        jax.random.key(0),
    )
