"""Error bars of Monte Carlo chains, whose values after one another are correlated.

Source: Flyvbjerg, Petersen (1989), Error estimates on averages of correlated data, J.
Chem. Phys. 91.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.hopfield import checks


class Blocked(NamedTuple):
    """The mean of a series and how well it is known.

    Attributes:
        mean: (...), over time.
        error: (...), its standard error.
        time: (...), the integrated autocorrelation time: how many values count as one,
            1 for independent ones.
    """

    mean: Float[Array, "..."]
    error: Float[Array, "..."]
    time: Float[Array, "..."]


def standard_error(values: Any, *, blocks: int = 16) -> Blocked:
    """Estimate the error of a mean over time from means of longer and longer blocks.

    Blocks double until fewer than ``blocks`` are left; the largest of their estimates
    is taken, which is where they level off if the series is long enough.

    Args:
        values: (time, ...), such as ``glauber(...).observed``; a remainder that fills
            no block is left out.
        blocks: the fewest blocks to estimate from, at least 2.

    Works under jit, vmap and grad.

    Raises:
        ValueError: for fewer values than blocks.

    Examples:
        >>> import jax
        >>> found = standard_error(jax.random.normal(jax.random.key(0), (4096,)))
        >>> round(float(found.error), 3)
        0.017
    """
    checks.check_count("blocks", blocks, 2)
    series = checks.as_floating(jnp.asarray(values))
    if series.ndim == 0 or len(series) < blocks:
        raise ValueError(
            f"values must have at least {blocks} entries along time; got shape "
            f"{series.shape}."
        )
    mean, estimates = jnp.mean(series, axis=0), []
    while len(series) >= blocks:
        count = len(series)
        estimates.append(jnp.var(series, axis=0, ddof=1) / count)
        even = series[: count // 2 * 2]
        series = (even[::2] + even[1::2]) / 2
    naive, worst = estimates[0], jnp.max(jnp.stack(estimates), axis=0)
    constant = naive == 0
    time = jnp.where(constant, 1.0, worst / jnp.where(constant, 1.0, naive))
    error = jnp.where(constant, 0.0, jnp.sqrt(jnp.where(constant, 1.0, worst)))
    return Blocked(mean, error, time)
