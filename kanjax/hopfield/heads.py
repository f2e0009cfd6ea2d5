"""How many patterns a state is made of, and what that says of attention heads.

Source: Ramsauer et al. (2020), arXiv 2008.02217, section 3 and appendix A.5: a fixed
point averages over all patterns (global), over some (metastable), or is one pattern.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from kanjax.hopfield import checks

REGIMES = ("global", "metastable", "single")
"""Names of the codes 0, 1 and 2 that :func:`classify` gives."""
NOTHING = len(REGIMES)
"""The code of a state, or of a head, that looks at nothing; it has no name."""


class HeadStatistics(NamedTuple):
    """What the heads of an attention model do, over many states.

    Attributes:
        in_use: (heads, states), the number of patterns that hold ``mass`` of a state's
            weights; NaN for a state that looks at nothing.
        median: (heads,), its median over states.
        available: (heads,), the median number of patterns that a state may look at.
        effective: (heads,), the median of exp(entropy of the weights).
        shares: (heads, 3), the share of states in each of ``REGIMES``.
        regime: (heads,), the code of the regime of the median, 3 (``NOTHING``) for a
            head that looks at nothing.
    """

    in_use: Float[Array, "heads states"]
    median: Float[Array, " heads"]
    available: Float[Array, " heads"]
    effective: Float[Array, " heads"]
    shares: Float[Array, "heads 3"]
    regime: Int[Array, " heads"]

    @property
    def regimes(self) -> tuple[str, ...]:
        """The name of each head's regime; not for tracers."""
        names = (*REGIMES, "nothing")
        return tuple(names[code] for code in self.regime.tolist())


def patterns_in_use(weights: Any, *, mass: float = 0.9) -> Int[Array, "*batch"]:
    """Return the least number of patterns whose weights sum to at least ``mass``.

    Args:
        weights: (..., patterns), which sum to 1 or, for a state that looks at nothing,
            to 0; such a state uses no pattern.
        mass: in (0, 1).

    Raises:
        ValueError: for a mass out of range, or no pattern.

    Examples:
        >>> import jax.numpy as jnp
        >>> patterns_in_use(jnp.array([[0.92, 0.04, 0.04], [0.5, 0.3, 0.2]]))
        Array([1, 3], dtype=int32)
    """
    p = _check(weights, mass)
    largest = -jnp.sort(-p, axis=-1)
    # The round-off of the sum must not ask for one pattern more.
    short = jnp.cumsum(largest, axis=-1) < mass - 4 * jnp.finfo(p.dtype).eps
    count = jnp.minimum(jnp.sum(short, axis=-1) + 1, p.shape[-1])
    return jnp.where(largest[..., 0] > 0, count, 0).astype(jnp.int32)


def effective_patterns(weights: Any) -> Float[Array, "*batch"]:
    """``exp(entropy)`` of weights (..., patterns): n for n equal ones."""
    p = jnp.asarray(weights)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(p), axis=-1))


def classify(
    weights: Any, *, mass: float = 0.9, single: int = 1, available: Any = None
) -> Int[Array, "*batch"]:
    """Return the regime of each state: 0 global, 1 metastable, 2 a single pattern, 3
    none.

    Global is a state that needs more than half of the patterns for ``mass`` of its
    weights; single one that needs at most ``single`` of them; a state that looks at
    nothing is in none.

    Args:
        weights: (..., patterns).
        mass: in (0, 1).
        single: the largest number that counts as one pattern.
        available: (...), how many patterns a state may look at; all of them if None.

    Raises:
        ValueError: for arguments out of range.
    """
    in_use = patterns_in_use(weights, mass=mass)
    checks.check_count("single", single, 1)
    number = jnp.shape(weights)[-1] if available is None else jnp.asarray(available)
    return _regime(in_use, number, single)


def head_statistics(
    weights: Any, *, mask: Any = None, mass: float = 0.9, single: int = 1
) -> HeadStatistics:
    """Characterise the heads of any attention model by the patterns they use.

    Args:
        weights: (..., heads, states, patterns), the attention weights of a layer for
            any number of examples, whatever library computed them.
        mask: broadcasts to weights, True where a state may look at a pattern; all of
            them if None. Causal attention has few patterns to look at early on.
        mass: of the weights, in (0, 1), as in :func:`patterns_in_use`.
        single: the largest number of patterns that counts as one.

    Raises:
        ValueError: for weights with fewer than three axes, or arguments out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> sharp, flat = jnp.eye(8)[None], jnp.full((1, 8, 8), 1 / 8)
        >>> statistics = head_statistics(jnp.concatenate([sharp, flat]))
        >>> statistics.regime
        Array([2, 0], dtype=int32)
    """
    p = _check(weights, mass)
    checks.check_count("single", single, 1)
    if p.ndim < 3:
        raise ValueError(
            f"weights must have shape (..., heads, states, patterns); got {p.shape}."
        )
    allowed = True if mask is None else jnp.asarray(mask)
    available = jnp.sum(jnp.broadcast_to(allowed, p.shape), axis=-1)
    in_use = patterns_in_use(p, mass=mass)
    looks = in_use > 0
    in_use, available, effective = (
        _by_head(jnp.where(looks, value, jnp.nan))
        for value in (in_use, available, effective_patterns(p))
    )
    regime = _regime(in_use, available, single)
    codes = jnp.stack([regime == code for code in range(3)], axis=-1)
    looking = ~jnp.isnan(in_use)[..., None]
    median, room = (jnp.nanmedian(value, axis=1) for value in (in_use, available))
    return HeadStatistics(
        in_use,
        median,
        room,
        jnp.nanmedian(effective, axis=1),
        jnp.sum(codes & looking, axis=1) / jnp.sum(looking, axis=1),
        _regime(median, room, single),
    )


def _regime(in_use: Array, available: Any, single: int) -> Int[Array, "*batch"]:
    codes = jnp.where(in_use <= single, 2, jnp.where(in_use > available / 2, 0, 1))
    # Nothing in use is 0 of a state, and NaN of a head.
    return jnp.where(in_use > 0, codes, NOTHING).astype(jnp.int32)


def _by_head(values: Array) -> Float[Array, "heads states"]:
    """From (..., heads, states)."""
    moved = jnp.moveaxis(values, -2, 0)
    return moved.reshape(moved.shape[0], -1)


def _check(weights: Any, mass: float) -> Array:
    p = jnp.asarray(weights)
    if p.ndim == 0 or p.shape[-1] == 0:
        raise ValueError(
            "weights must have shape (..., patterns) with at least one pattern; got "
            f"{p.shape}."
        )
    if not 0 < mass < 1:
        raise ValueError(f"mass must lie in (0, 1); got {mass!r}.")
    return p.astype(jnp.promote_types(p.dtype, jnp.float32))
