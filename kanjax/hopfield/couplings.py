"""Binary memories of spins joined in pairs, and three rules of learning.

Sources: Hopfield (1982), PNAS 79 (Hebb's rule); Personnaz, Guyon, Dreyfus (1985),
J. Physique Lett. 46 (pseudo-inverse); Storkey (1997), ICANN, LNCS 1327.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.hopfield import checks


@model.dataclass
class Pairwise:
    """``E(s) = -1/2 sum_{i != j} J_ij s_i s_j`` for symmetric couplings J.

    The diagonal of J adds a constant to the energy of spins and does not enter.

    Args:
        couplings: (spins, spins), of :func:`hebb`, :func:`pseudo_inverse`,
            :func:`storkey`, or any symmetric matrix.

    Examples:
        >>> import jax.numpy as jnp
        >>> patterns = jnp.array([[1.0, 1, -1, -1], [1, -1, 1, -1]])
        >>> memory = Pairwise(hebb(patterns))
        >>> float(memory.energy(patterns[0]))
        -1.0
    """

    couplings: Array = model.child()

    @property
    def size(self) -> int:
        """The number of spins."""
        return self.couplings.shape[-1]

    def energy(self, state: Array) -> Float[Array, "*chains"]:
        """Return the energy of each state (..., spins)."""
        state = checks.check_spins("state", state)
        return -0.5 * jnp.sum(state * self.fields(state), axis=-1)

    def fields(self, state: Array) -> Float[Array, "*chains spins"]:
        """``h_i``: half the energy that it costs to turn spin i from +1 to -1."""
        state = checks.check_spins("state", state)
        return state @ self._without_diagonal

    @property
    def _without_diagonal(self) -> Float[Array, "spins spins"]:
        J = jnp.asarray(self.couplings)
        return jnp.where(jnp.eye(self.size, dtype=bool), 0, J)

    # What a sweep needs, see dynamics.py.
    def rows(self) -> Array:
        """Return what is known of each site, (spins, ...)."""
        return self._without_diagonal

    def track(self, state: Array) -> Array:
        """Return what a sweep keeps up to date: the state itself."""
        return state

    def field_at(self, tracked: Array, row: Array, old: Array) -> Array:
        """Return the field at one site, (...)."""
        return tracked @ row

    def moved(self, tracked: Array, row: Array, site: Array, change: Array) -> Array:
        """Return what is tracked after the spin of a site changed."""
        return tracked.at[..., site].add(change)


@model.dataclass
class LowRank:
    """``E(s) = -scale / 2 sum_{i != j} sum_a v_ai v_aj s_i s_j``, never forming J.

    Any Hebbian memory of real vectors v, blank entries included, at a cost of vectors x
    spins; a diagonal would freeze spins and does not enter.

    Args:
        vectors: (vectors, spins), v.
        scale: (), such as 1 / spins.

    Examples:
        >>> import jax.numpy as jnp
        >>> memory = LowRank(jnp.array([[1.0, 1, 0, 0], [0, -1, 1, -1]]), 0.25)
        >>> float(memory.energy(jnp.array([1.0, 1, -1, 1])))
        -1.0
    """

    vectors: Array = model.child()
    scale: Any = model.child()

    @property
    def size(self) -> int:
        """The number of spins."""
        return self.vectors.shape[-1]

    @property
    def couplings(self) -> Float[Array, "spins spins"]:
        """J, for :class:`Pairwise`."""
        return _no_diagonal(self.scale * self.vectors.T @ self.vectors)

    def energy(self, state: Array) -> Float[Array, "*chains"]:
        """Return the energy of each state (..., spins)."""
        sums = self.track(checks.check_spins("state", state))
        constant = jnp.sum(jnp.square(self.vectors))
        return -self.scale / 2 * (jnp.sum(jnp.square(sums), axis=-1) - constant)

    def fields(self, state: Array) -> Float[Array, "*chains spins"]:
        """``h_i``: half the energy that it costs to turn spin i from +1 to -1."""
        state = checks.check_spins("state", state)
        diagonal = jnp.sum(jnp.square(self.vectors), axis=0)
        diagonal = jnp.broadcast_to(diagonal, state.shape)
        return self.scale * (self.track(state) @ self.vectors - diagonal * state)

    # What a sweep needs, see dynamics.py.
    def rows(self) -> Array:
        """Return what is known of each site, (spins, ...)."""
        return self.vectors.T

    def track(self, state: Array) -> Float[Array, "*chains vectors"]:
        """Return what a sweep keeps up to date: ``vectors @ state``."""
        return state @ self.vectors.T

    def field_at(self, tracked: Array, row: Array, old: Array) -> Array:
        """Return the field at one site, (...), whose spin is ``old``."""
        return self.scale * (tracked @ row - row @ row * old)

    def moved(self, tracked: Array, row: Array, site: Array, change: Array) -> Array:
        """Return what is tracked after the spin of a site changed."""
        return tracked + jnp.multiply.outer(change, row)


def hebb(patterns: Any) -> Float[Array, "spins spins"]:
    """``J = X^T X / spins`` without its diagonal: Hebb's rule.

    Args:
        patterns: (patterns, spins) of -1 and +1.

    Raises:
        ValueError: for other values, or no pattern.
    """
    X = _stored(patterns)
    return _no_diagonal(X.T @ X / X.shape[1])


def pseudo_inverse(patterns: Any) -> Float[Array, "spins spins"]:
    """Return the projection on the span of the patterns, without its diagonal.

    ``J = X^T C^{-1} X / spins`` with ``C = X X^T / spins``. Every pattern is a fixed
    point while they are linearly independent and fewer than the spins. Dependent ones
    are left out by the pseudo-inverse of C.

    Args:
        patterns: (patterns, spins) of -1 and +1.

    Raises:
        ValueError: for other values, or no pattern.
    """
    X = _stored(patterns)
    # By singular vectors, so that the condition number of X is not squared.
    _, sizes, directions = jnp.linalg.svd(X, full_matrices=False)
    rounding = jnp.finfo(X.dtype).eps * max(X.shape) * sizes[0]
    basis = jnp.where((sizes > rounding)[:, None], directions, 0)
    return _no_diagonal(basis.T @ basis)


def storkey(patterns: Any) -> Float[Array, "spins spins"]:
    """Storkey's rule: patterns one after the other, each less its own crosstalk.

    ``J_ij += (x_i x_j - x_i h_ji - h_ij x_j) / spins`` with ``h_ij = sum_{k != i, j}
    J_ik x_k``; the diagonal is left out. Learning is local and incremental, and the
    capacity is above that of Hebb's rule.

    Args:
        patterns: (patterns, spins) of -1 and +1, in the order of learning.

    Raises:
        ValueError: for other values, or no pattern.
    """
    X = _stored(patterns)
    spins = X.shape[1]

    def learn(J: Array, x: Array) -> tuple[Array, None]:
        # J has no diagonal here, so that only k = j is left to take out.
        h = (J @ x)[:, None] - J * x[None]
        crosstalk = h * x[None]
        change = (jnp.outer(x, x) - crosstalk - crosstalk.T) / spins
        return _no_diagonal(J + change), None

    return jax.lax.scan(learn, jnp.zeros((spins, spins), X.dtype), X)[0]


def _stored(patterns: Any) -> Array:
    return checks.check_spins("patterns", checks.check_patterns(patterns))


def _no_diagonal(J: Array) -> Array:
    return jnp.where(jnp.eye(J.shape[0], dtype=bool), 0, J)
