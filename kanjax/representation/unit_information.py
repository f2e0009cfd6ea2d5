"""Mutual information between units, by histograms.

Li et al. (2016), "Convergent Learning", arXiv 1511.07543, section 3.1: a check that
correlation misses little. Bias: Miller (1955), Madow.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax.representation import samples

Binning = Literal["width", "quantile"]
"""Bins of equal width between a unit's extremes, or of equal numbers of samples."""


class Information(NamedTuple):
    """Mutual information between units, in nats.

    Attributes:
        mutual: (p, q).
        entropy_x: (p,) of the binned units of the first network.
        entropy_y: (q,) of the second's.
    """

    mutual: Float[Array, "p q"]
    entropy_x: Float[Array, " p"]
    entropy_y: Float[Array, " q"]

    def normalized(self) -> Float[Array, "p q"]:
        """Give mutual information over the root of both entropies; 0 without any."""
        size = jnp.sqrt(self.entropy_x[:, None] * self.entropy_y[None, :])
        return jnp.where(size > 0, self.mutual / jnp.where(size > 0, size, 1.0), 0.0)


def bin_units(
    x: ArrayLike, bins: int = 16, *, binning: Binning = "width"
) -> Int[Array, "samples units"]:
    """Return the number of the bin that each value lies in.

    Args:
        x: (..., units); all axes but the last are samples.
        bins: how many for each unit. A unit that is constant has all values in bin 0.
        binning: "width" divides the range evenly, and its largest value belongs to the
            last bin; "quantile" cuts at quantiles, and equal values share a bin.

    Raises:
        ValueError: for fewer than 2 bins or an unknown binning.
    """
    _check(bins, binning)
    x = samples.as_rows(x)
    if binning == "quantile":
        edges = jnp.quantile(x, jnp.linspace(0, 1, bins + 1)[1:-1], axis=0)
        place = jax.vmap(
            lambda e, v: jnp.searchsorted(e, v, side="right"), in_axes=1, out_axes=1
        )
        # A constant unit equals all of its edges.
        spread = jnp.max(x, axis=0) > jnp.min(x, axis=0)
        return jnp.where(spread[None], place(edges, x), 0).astype(jnp.int32)
    low, high = jnp.min(x, axis=0), jnp.max(x, axis=0)
    width = jnp.where(high > low, high - low, 1.0)
    place = jnp.floor((x - low[None]) / width[None] * bins).astype(jnp.int32)
    return jnp.clip(place, 0, bins - 1)


def mutual_information(
    x: ArrayLike,
    y: ArrayLike,
    bins: int = 16,
    *,
    binning: Binning = "width",
    correct_bias: bool = False,
    units_at_once: int = 8,
) -> Information:
    """Estimate the mutual information of all pairs of units of two networks.

    Memory is samples * bins * (q + units_at_once) numbers; no array has all pairs of
    all samples.

    Args:
        x: (..., p) activations; all axes but the last are samples.
        y: (..., q) on the same samples.
        bins: how many for each unit.
        binning: as for :func:`bin_units`.
        correct_bias: whether to take off ``(K_xy - K_x - K_y + 1) / (2 samples)``,
            where K counts the occupied bins; values may then be below 0.
        units_at_once: units of x whose tables are held at a time.

    Raises:
        ValueError: if samples differ in number, for fewer than 2 bins, an unknown
            binning or no unit at once.
    """
    x, y = samples.as_pair(x, y)
    if units_at_once < 1:
        raise ValueError(f"units_at_once is {units_at_once}; it must be at least 1.")
    count = len(x)
    hot_x = jax.nn.one_hot(bin_units(x, bins, binning=binning), bins, dtype=x.dtype)
    hot_y = jax.nn.one_hot(bin_units(y, bins, binning=binning), bins, dtype=x.dtype)
    shares_x, shares_y = jnp.mean(hot_x, axis=0), jnp.mean(hot_y, axis=0)
    entropy_x, entropy_y = _entropy(shares_x), _entropy(shares_y)

    def row(hot: Float[Array, "samples bins"]) -> tuple[Array, Array]:
        table = jnp.einsum("nb,nqc->qbc", hot, hot_y) / count
        return _entropy(table.reshape(len(table), -1)), jnp.sum(table > 0, axis=(1, 2))

    columns = jnp.swapaxes(hot_x, 0, 1)
    joint, occupied = jax.lax.map(
        row, columns, batch_size=min(units_at_once, len(columns))
    )
    mutual = entropy_x[:, None] + entropy_y[None, :] - joint
    if correct_bias:
        k_x, k_y = jnp.sum(shares_x > 0, axis=1), jnp.sum(shares_y > 0, axis=1)
        extra = occupied - k_x[:, None] - k_y[None, :] + 1
        mutual = mutual - extra / (2 * count)
    else:
        mutual = jnp.maximum(mutual, 0.0)
    return Information(mutual, entropy_x, entropy_y)


def _entropy(shares: Float[Array, "... bins"]) -> Float[Array, "..."]:
    return jnp.sum(jax.scipy.special.entr(shares), axis=-1)


def _check(bins: int, binning: str) -> None:
    if bins < 2:
        raise ValueError(f"bins is {bins}; it must be at least 2.")
    if binning not in ("width", "quantile"):
        raise ValueError(f"binning is {binning!r}; it must be 'width' or 'quantile'.")
