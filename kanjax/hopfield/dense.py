"""Dense binary memories: energies that are functions of the overlaps with patterns.

Sources: Krotov, Hopfield (2016), Dense associative memory for pattern recognition,
arXiv 1606.01164 (powers); Demircigil et al. (2017), On a model of associative memory
with huge storage capacity, arXiv 1702.01929 (exponentials); Gardner (1987), J. Phys. A
20, and Baldi, Venkatesh (1987), Phys. Rev. Lett. 58 (products of distinct spins).

With ``M_mu = x_mu . s`` turning one spin changes M_mu by 2 one way or the other, so
that the fields of all spins need two products with the patterns, whatever the
interaction.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.hopfield import checks
from kanjax.hopfield import patterns as patterns_


class _Overlapping:
    """What the memories of this file share: they track ``M = patterns @ state``."""

    patterns: Array

    @property
    def size(self) -> int:
        """The number of spins."""
        return self.patterns.shape[-1]

    def overlaps(self, state: Array) -> Float[Array, "*chains patterns"]:
        """``M / spins``, from -1 to 1, for states (..., spins)."""
        return patterns_.overlaps(state, self.patterns)

    def rows(self) -> Array:
        """Return what is known of each site, (spins, ...)."""
        return _floating(self.patterns).T

    def track(self, state: Array) -> Float[Array, "*chains patterns"]:
        """Return what a sweep keeps up to date: M."""
        return state @ _floating(self.patterns).T

    def moved(self, tracked: Array, row: Array, site: Array, change: Array) -> Array:
        """M after the spin of a site changed."""
        return tracked + jnp.multiply.outer(change, row)

    def _sums(self, state: Array) -> tuple[Array, Array, Array]:
        """Return the state and the patterns, checked, and M."""
        patterns = checks.check_patterns(self.patterns)
        X = checks.check_spins("patterns", patterns)
        state = checks.check_spins("state", state)
        return state, X, state @ X.T


class _Additive(_Overlapping):
    """``E = -sum_mu F(M_mu)``."""

    def interaction(self, overlap: Array) -> Array:
        """F of the unnormalised overlaps M."""
        raise NotImplementedError

    def slopes(self, overlap: Array) -> tuple[Array, Array]:
        """Half of what F gains by the last step to M, and by the next one from M."""
        here = self.interaction(overlap)
        below, above = (self.interaction(overlap + step) for step in (-2, 2))
        return (here - below) / 2, (above - here) / 2

    def energy(self, state: Array) -> Float[Array, "*chains"]:
        """Return the energy of each state (..., spins)."""
        _, _, overlap = self._sums(state)
        return -jnp.sum(self.interaction(overlap), axis=-1)

    def fields(self, state: Array) -> Float[Array, "*chains spins"]:
        """``h_i``: half the energy that it costs to turn spin i from +1 to -1."""
        state, X, overlap = self._sums(state)
        below, above = self.slopes(overlap)
        lean = jnp.sum(below - above, axis=-1, keepdims=True)
        return ((below + above) @ X + state * lean) / 2

    def field_at(self, tracked: Array, row: Array, old: Array) -> Array:
        """Return the field at one site, (...), whose spin is ``old``."""
        # A pattern that agrees with the spin would lose a step, others gain one.
        agrees = jnp.multiply.outer(old, row) > 0
        below, above = self.slopes(tracked)
        return jnp.where(agrees, below, above) @ row


@model.dataclass
class Polynomial(_Additive):
    """``E(s) = -spins sum_mu (x_mu . s / spins)^degree``.

    Krotov and Hopfield's energy over ``spins^(degree - 1)``, which keeps it extensive:
    a unit of temperature, without effect on retrieval. All products of spins count,
    those of one spin with itself too; :class:`PSpin` is the one of distinct spins.

    Args:
        patterns: (patterns, spins) of -1 and +1.
        degree: of the power, at least 2.
        rectified: whether negative overlaps count as zero.

    Raises:
        ValueError: for a degree below 2.
    """

    patterns: Array = model.child()
    degree: int = 3
    rectified: bool = False

    def __post_init__(self) -> None:
        checks.check_count("degree", self.degree, 2)

    def interaction(self, overlap: Array) -> Array:
        """``spins (M / spins)^degree``."""
        m = overlap / self.size
        return self.size * (jax.nn.relu(m) if self.rectified else m) ** self.degree


@model.dataclass
class PSpin(_Additive):
    """``E(s) = -sum_mu e_P(x_1 s_1, ..., x_N s_N) / N^(P - 1)``, P distinct spins.

    e_P is the elementary symmetric polynomial: the sum over all sets of P spins. Of
    values -1 and +1 it depends on their sum alone, by the three-term recurrence of the
    Krawtchouk polynomials, so that no tensor of P indices is ever needed. P = 2 is
    Hopfield's model with Hebb's rule, at a cost of patterns x spins.

    Args:
        patterns: (patterns, spins) of -1 and +1.
        order: P, at least 2.

    Raises:
        ValueError: for an order below 2.

    Examples:
        >>> import jax.numpy as jnp
        >>> patterns = jnp.array([[1.0, 1, -1, -1], [1, -1, 1, -1]])
        >>> float(PSpin(patterns, 2).energy(patterns[0]))
        -1.0
    """

    patterns: Array = model.child()
    order: int = 2

    def __post_init__(self) -> None:
        checks.check_count("order", self.order, 2)

    def interaction(self, overlap: Array) -> Array:
        """``e_P / N^(P - 1)`` of N spins whose sum is M."""
        return self.size * _symmetric(overlap, self.size, self.order, self.size)

    def slopes(self, overlap: Array) -> tuple[Array, Array]:
        """Half of what F gains by the last step to M, and by the next one from M."""
        # In closed form: products with a spin are those of the other spins.
        rest = self.size - 1, self.order - 1, self.size
        return _symmetric(overlap - 1, *rest), _symmetric(overlap + 1, *rest)

    def field_at(self, tracked: Array, row: Array, old: Array) -> Array:
        """Return the field at one site, (...), whose spin is ``old``."""
        rest = tracked - jnp.multiply.outer(old, row)
        return _symmetric(rest, self.size - 1, self.order - 1, self.size) @ row


@model.dataclass
class Exponential(_Overlapping):
    """``E(s) = -(1 / steepness) log sum_mu exp(steepness x_mu . s)``.

    The logarithm of Demircigil et al.'s energy, which has its minima and its dynamics
    at zero temperature, does not overflow, and is extensive.

    Args:
        patterns: (patterns, spins) of -1 and +1.
        steepness: of the exponential; 1 in the paper.

    Raises:
        ValueError: if steepness is not above zero.
    """

    patterns: Array = model.child()
    steepness: float = 1.0

    def __post_init__(self) -> None:
        if not self.steepness > 0:
            raise ValueError(f"steepness must be positive; got {self.steepness!r}.")

    def energy(self, state: Array) -> Float[Array, "*chains"]:
        """Return the energy of each state (..., spins)."""
        _, _, overlap = self._sums(state)
        return -jax.nn.logsumexp(self.steepness * overlap, axis=-1) / self.steepness

    def fields(self, state: Array) -> Float[Array, "*chains spins"]:
        """``h_i``: half the energy that it costs to turn spin i from +1 to -1."""
        state, X, overlap = self._sums(state)
        share = jax.nn.softmax(self.steepness * overlap, axis=-1)
        # Two sums of positive terms: their difference would cancel.
        up, down = share @ jnp.where(X > 0, 1.0, 0), share @ jnp.where(X < 0, 1.0, 0)
        return self._field(up, down, state)

    def field_at(self, tracked: Array, row: Array, old: Array) -> Array:
        """Return the field at one site, (...), whose spin is ``old``."""
        share = jax.nn.softmax(self.steepness * tracked, axis=-1)
        up = jnp.sum(jnp.where(row > 0, share, 0), axis=-1)
        down = jnp.sum(jnp.where(row < 0, share, 0), axis=-1)
        return self._field(up, down, old)

    def _field(self, up: Array, down: Array, spin: Array) -> Array:
        """From the weight of the patterns that want the spin up, and down."""
        k = 2 * self.steepness
        up, down = jnp.log(up), jnp.log(down)
        against, along = jnp.minimum(spin, 0) * k, jnp.maximum(spin, 0) * k
        with_up = jnp.logaddexp(up - against, down + against)
        with_down = jnp.logaddexp(up - along, down + along)
        return (with_up - with_down) / k


def _symmetric(total: Array, number: int, order: int, scale: int) -> Array:
    """``e_order / scale^order`` of ``number`` spins -1 and +1 that sum to ``total``."""
    m = total / scale
    last, here = jnp.ones_like(m), m
    for k in range(1, order):
        room = (number - k + 1) / scale / scale
        last, here = here, (m * here - room * last) / (k + 1)
    return here


def _floating(patterns: Array) -> Array:
    patterns = jnp.asarray(patterns)
    return patterns.astype(jnp.promote_types(patterns.dtype, jnp.float32))
