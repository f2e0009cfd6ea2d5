"""Memories of products of several distinct spins, for real vectors.

Sources: Agliari et al. (2022), Dense Hebbian neural networks: a replica symmetric
picture of supervised learning, arXiv 2212.00606. Newton's identities make the sum over
all sets of P spins one of power sums, so that no tensor of P indices is formed.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.hopfield import checks


def elementary_symmetric(x: Any, order: int) -> Float[Array, "*batch orders"]:
    """Sum the products of all sets of 0, 1, ... ``order`` entries.

    One entry after the other, which loses no digits that the sums have.

    Args:
        x: (..., entries).
        order: the largest number of factors, at least 0.

    Returns:
        (..., order + 1).

    Works under jit, vmap and grad.

    Raises:
        ValueError: for a negative order.

    Examples:
        >>> import jax.numpy as jnp
        >>> elementary_symmetric(jnp.array([1.0, 2.0, 3.0]), 3)
        Array([ 1.,  6., 11.,  6.], dtype=float32)
    """
    checks.check_count("order", order, 0)
    x = checks.as_floating(jnp.asarray(x))
    start = jnp.zeros((*x.shape[:-1], order + 1), x.dtype).at[..., 0].set(1)

    def add(e: Array, entry: Array) -> tuple[Array, None]:
        return e.at[..., 1:].add(entry[..., None] * e[..., :-1]), None

    return jax.lax.scan(add, start, jnp.moveaxis(x, -1, 0))[0]


def leave_out(e: Any, entry: Any) -> Float[Array, "*batch orders"]:
    """Return the elementary symmetric sums of the entries without a single one.

    ``f_k = e_k - x f_(k-1)``.

    Args:
        e: (..., order + 1), of :func:`elementary_symmetric`.
        entry: (...), x, the one to be left out.
    """
    e, entry = jnp.asarray(e), jnp.asarray(entry)
    return jnp.stack(_leave_out(list(jnp.moveaxis(e, -1, 0)), entry), axis=-1)


@model.dataclass
class LowRankTensor:
    """``E(s) = -scale sum_a e_P(v_a1 s_1, ..., v_aN s_N)``, P distinct spins.

    What :class:`kanjax.hopfield.PSpin` is for patterns of -1 and +1, for real vectors
    v, such as means of examples. Costs are vectors x spins x P.

    Args:
        vectors: (vectors, spins), v.
        scale: (), such as ``1 / spins^(P - 1)``.
        order: P, at least 2.

    Raises:
        ValueError: for an order below 2.

    Examples:
        >>> import jax.numpy as jnp
        >>> memory = LowRankTensor(jnp.array([[1.0, 1, 0.5, -1]]), 0.125, 3)
        >>> float(memory.energy(jnp.array([1.0, 1, 1, -1])))
        -0.3125
    """

    vectors: Array = model.child()
    scale: Any = model.child()
    order: int = 4

    def __post_init__(self) -> None:
        checks.check_count("order", self.order, 2)

    @property
    def size(self) -> int:
        """The number of spins."""
        return self.vectors.shape[-1]

    def energy(self, state: Array) -> Float[Array, "*chains"]:
        """Return the energy of each state (..., spins)."""
        state = checks.check_spins("state", state)
        return -self._factor * jnp.sum(self._sums(state, self.order)[-1], axis=-1)

    def fields(self, state: Array) -> Float[Array, "*chains spins"]:
        """``h_i``: half the energy that it costs to turn spin i from +1 to -1."""
        return self.mean_fields(checks.check_spins("state", state))

    def mean_fields(self, magnetizations: Array) -> Float[Array, "*chains spins"]:
        """``-dE/dm_i`` of independent spins with means m, (..., spins)."""
        m = jnp.asarray(magnetizations)
        sums = [e[..., None] for e in self._sums(m, self.order - 1)]
        unit = jnp.broadcast_to(self._unit, (*m.shape[:-1], *self._unit.shape))
        rest = _leave_out(sums, m[..., None, :] * unit)[-1]
        return self._factor * jnp.sum(unit * rest, axis=-2)

    # What a sweep needs, see dynamics.py.
    def rows(self) -> Array:
        """Return what is known of each site, (spins, ...)."""
        return self._unit.T

    def track(self, state: Array) -> Float[Array, "*chains vectors orders"]:
        """Return what a sweep keeps up to date: the sums of each vector."""
        return jnp.stack(self._sums(state, self.order - 1), axis=-1)

    def field_at(self, tracked: Array, row: Array, old: Array) -> Array:
        """Return the field at one site, (...), whose spin is ``old``."""
        rest = leave_out(tracked, jnp.multiply.outer(old, row))[..., -1]
        return self._factor * (rest @ row)

    def moved(self, tracked: Array, row: Array, site: Array, change: Array) -> Array:
        """Return what is tracked after the spin of a site changed."""
        # Where it did, it was minus half of the change.
        step = jnp.multiply.outer(change, row)
        rest = leave_out(tracked, -step / 2)
        return tracked.at[..., 1:].add(step[..., None] * rest[..., :-1])

    @property
    def _unit(self) -> Array:
        """Vectors over sqrt(spins), which keeps the sums of any order comparable."""
        return checks.as_floating(jnp.asarray(self.vectors)) / math.sqrt(self.size)

    @property
    def _factor(self) -> Array:
        return jnp.asarray(self.scale) * float(self.size) ** (self.order / 2)

    def _sums(self, state: Array, order: int) -> list[Array]:
        """``e_0 ... e_order`` of the vectors, (..., vectors) each, by power sums."""
        powers = [state**k @ (self._unit**k).T for k in range(1, order + 1)]
        sums = [jnp.ones_like(powers[0])]
        for k in range(1, order + 1):
            terms = [
                (-1) ** (j - 1) * sums[k - j] * powers[j - 1] for j in range(1, k + 1)
            ]
            sums.append(jnp.sum(jnp.stack(terms), axis=0) / k)
        return sums


def _leave_out(sums: list[Array], entry: Array) -> list[Array]:
    rest = [sums[0]]
    for e in sums[1:]:
        rest.append(e - entry * rest[-1])
    return rest
