"""Statements about new rows that hold as often as they say, from held-out rows.

Split conformal prediction asks nothing of the model: if the held-out and the new rows
are exchangeable, an interval or a set of coverage 0.9 holds the target of a new row
with probability 0.9 at least, over the draw of all rows.

Sources: Vovk, Gammerman, Shafer (2005), Algorithmic Learning in a Random World;
Sadinle, Lei, Wasserman (2019), arXiv:1609.00451 (sets of classes); Guo, Pleiss, Sun and
Weinberger (2017), arXiv:1706.04599 (temperature).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax.linalg import bisect


def conformal_quantile(
    scores: Float[ArrayLike, "n ..."], coverage: float
) -> Float[Array, "..."]:
    """Return the score that a new row's stays below with the asked probability.

    It is the ceil((n + 1) coverage)-th smallest: the rank of a new score among n + 1
    exchangeable ones is uniform. Infinite where n is too small for the coverage.

    Args:
        scores: (n, ...) what each held-out row is off by, such as ``abs(y - mean)``,
            or 1 minus the probability of the true class.
        coverage: the probability, between 0 and 1.

    Raises:
        ValueError: for a coverage outside of (0, 1), or without scores.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax import training
        >>> residuals = jnp.arange(1.0, 20.0)       # 19 of them
        >>> float(training.conformal_quantile(residuals, 0.9))
        18.0
        >>> float(training.conformal_quantile(residuals, 0.96))
        inf
    """
    scores = jnp.asarray(scores)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1; got {coverage!r}.")
    if scores.ndim == 0 or len(scores) == 0:
        raise ValueError("scores has no rows; give one score for each held-out row.")
    # A product of 18 but for rounding, such as 18.000000000000004, is not 19.
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    if rank > len(scores):
        return jnp.full(scores.shape[1:], jnp.inf, scores.dtype)
    return jnp.sort(scores, axis=0)[rank - 1]


def fit_temperature(
    log_p: Float[ArrayLike, "n classes"], y: Int[ArrayLike, " n"]
) -> Float[Array, ""]:
    """Return the temperature T for which softmax(log_p / T) is the best calibrated.

    T has the least negative log likelihood on held-out rows; a standard normal prior
    on log T keeps it finite where every row is predicted right, and does not matter
    beside many rows. Classes keep their order, so accuracy does not change.

    Args:
        log_p: (n, classes) logarithms of probabilities, or logits.
        y: (n,) true classes.

    Returns:
        T, between 0.05 and 20; above 1 for predictions that were too sure.

    Raises:
        ValueError: if the shapes do not belong together.
    """
    log_p, y = jnp.asarray(log_p), jnp.asarray(y)
    if log_p.ndim != 2 or y.shape != log_p.shape[:1]:
        raise ValueError(
            "log_p must be (n, classes) and y (n,); got "
            f"{np.shape(log_p)} and {np.shape(y)}."
        )

    def loss(log_t: Array) -> Array:
        scaled = jax.nn.log_softmax(log_p * jnp.exp(-log_t), axis=-1)
        chosen = jnp.take_along_axis(scaled, y[:, None], axis=-1)
        return log_t**2 / 2 - jnp.sum(chosen)

    slope = jax.grad(loss)
    # The likelihood is convex in 1/T, so that its slope changes its sign once.
    limit = math.log(20.0)
    return jnp.exp(bisect(lambda log_t: slope(log_t) > 0, -limit, limit))
