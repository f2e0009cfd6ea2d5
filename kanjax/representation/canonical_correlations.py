"""Canonical correlations of two networks' features, and scores made of them.

CCA: Hotelling (1936); SVCCA: Raghu, Gilmer, Yosinski, Sohl-Dickstein (2017), arXiv
1706.05806; PWCCA: Morcos, Raghu, Bengio (2018), arXiv 1806.05759. They are blind to any
invertible map of a layer, where the alignments of Li et al. (2016), arXiv 1511.07543,
see its axes.
"""

from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax.representation import samples


class Canonical(NamedTuple):
    """Canonical correlations, from the largest down.

    Attributes:
        correlations: (min(p, q),), 0 beyond the smaller rank.
        ranks: (2,) how many directions of x and of y are correlated. Directions that
            are null to round-off, as of dead units, are left out.
    """

    correlations: Float[Array, " k"]
    ranks: Int[Array, "2"]

    @property
    def mean(self) -> Float[Array, ""]:
        """Mean correlation, over the smaller rank."""
        return jnp.sum(self.correlations) / jnp.min(self.ranks)

    @property
    def mean_square(self) -> Float[Array, ""]:
        """Mean squared correlation, over the smaller rank."""
        return jnp.sum(self.correlations**2) / jnp.min(self.ranks)


def cca(x: ArrayLike, y: ArrayLike) -> Canonical:
    """Correlate the directions of two networks' features that correlate most.

    Args:
        x: (..., p) activations; all axes but the last are samples, more than p + q.
        y: (..., q) on the same samples.

    Works under jit and vmap. It has derivatives where features have full rank and
    correlations are distinct.

    Raises:
        ValueError: if samples differ in number, or are too few: correlations would be 1
            whatever the features.
    """
    x, y = _enough(x, y, "cca")
    (left, rank_x), (right, rank_y) = _directions(x), _directions(y)
    return _correlate(left, right, rank_x, rank_y)


def svcca(x: ArrayLike, y: ArrayLike, *, variance: float = 0.99) -> Canonical:
    """Correlate the leading principal directions of two networks' features.

    Args:
        x: (..., p) activations; all axes but the last are samples.
        y: (..., q) on the same samples.
        variance: share of each network's variance that the directions kept must hold.

    Returns:
        Correlations whose ``mean`` is the score. With traced values, see to it that the
        samples outnumber the sum of ``ranks``.

    Raises:
        ValueError: if samples differ in number, or do not outnumber the directions that
            are kept; for variance out of (0, 1].
    """
    if not 0 < variance <= 1:
        raise ValueError(f"variance is {variance}; it must be above 0, at most 1.")
    x, y = samples.as_pair(x, y)
    (left, rank_x), (right, rank_y) = (_directions(v, variance) for v in (x, y))
    total = rank_x + rank_y
    if not isinstance(total, jax.core.Tracer) and len(x) <= int(total):
        raise ValueError(
            f"svcca keeps {int(rank_x)} + {int(rank_y)} directions, and there are "
            f"{len(x)} samples; correlations are meaningless unless samples outnumber "
            "directions. Give more samples, or lower variance."
        )
    return _correlate(left, right, rank_x, rank_y)


def pwcca(x: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
    """Return the mean canonical correlation, weighted by what x has of each direction.

    Not symmetric: a direction weighs ``sum_j |<h, x_j>|``, with h the canonical variate
    of x. Give the network with fewer units first, as the paper does.

    Args:
        x: (..., p) activations; all axes but the last are samples, more than p + q.
        y: (..., q) on the same samples.

    Raises:
        ValueError: as for :func:`cca`.
    """
    x, y = _enough(x, y, "pwcca")
    (left, _), (right, _) = _directions(x), _directions(y)
    u, values, _ = jnp.linalg.svd(samples.matmul(left.T, right), full_matrices=False)
    variates = samples.matmul(left, u)
    weights = jnp.sum(jnp.abs(samples.matmul(variates.T, samples.center(x))), axis=1)
    return jnp.sum(weights * jnp.minimum(values, 1.0)) / jnp.sum(weights)


def linear_predictivity(x: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
    """Return the share of y's variance that least squares explains from x.

    Args:
        x: (..., p) activations; all axes but the last are samples, more than p.
        y: (..., q) on the same samples.

    Raises:
        ValueError: if samples differ in number, or do not outnumber x's units.
    """
    x, y = samples.as_pair(x, y)
    if len(x) <= x.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} units and {len(x)} samples; any y would be explained. "
            "Give more samples than units."
        )
    (left, _), y = _directions(x), samples.center(y)
    return jnp.sum(samples.matmul(left.T, y) ** 2) / jnp.sum(y**2)


def _enough(x: ArrayLike, y: ArrayLike, name: str) -> tuple[Array, Array]:
    x, y = samples.as_pair(x, y)
    units = x.shape[1] + y.shape[1]
    if len(x) <= units:
        raise ValueError(
            f"{name} was given {len(x)} samples of {x.shape[1]} + {y.shape[1]} units; "
            "correlations would be 1 unless samples outnumber units. Give more samples "
            "(positions of a convolution count), or use svcca."
        )
    return x, y


def _directions(x: Array, variance: float = 1.0) -> tuple[Array, Array]:
    """Give orthonormal directions among samples, 0 for those left out, and the rank."""
    u, values, _ = jnp.linalg.svd(samples.center(x), full_matrices=False)
    kept = values > max(x.shape) * jnp.finfo(x.dtype).eps * values[0]
    if variance < 1:
        share = jnp.cumsum(values**2) / jnp.sum(values**2)
        # The first direction with which the share is reached is kept as well.
        before = jnp.concatenate([jnp.zeros(1, share.dtype), share[:-1]])
        kept &= before < variance
    return jnp.where(kept[None, :], u, 0.0), jnp.sum(kept)


def _correlate(left: Array, right: Array, rank_x: Array, rank_y: Array) -> Canonical:
    values = jnp.linalg.svd(samples.matmul(left.T, right), compute_uv=False)
    # Cosines of principal angles; round-off may leave them above 1.
    return Canonical(jnp.minimum(values, 1.0), jnp.stack([rank_x, rank_y]))
