"""What is proved of the modern Hopfield network: error, contraction and capacity.

Source: Ramsauer et al. (2020), arXiv 2008.02217, section 2 and appendix A.
"""

import math
import sys
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from kanjax.hopfield import checks


class Capacity(NamedTuple):
    """A number of random patterns that can be stored.

    Attributes:
        base: c, the base of the exponential.
        patterns: ``sqrt(failure) c^((dimension - 1) / 4)``; infinite beyond 1e308.
    """

    base: float
    patterns: float


def separation(patterns: Any) -> Float[Array, " patterns"]:
    """``Delta_i = x_i . x_i - max_{j != i} x_i . x_j``; infinite for a single pattern.

    Args:
        patterns: (patterns, features).
    """
    X = checks.check_patterns(patterns)
    products = X @ X.T
    itself = jnp.eye(len(X), dtype=bool)
    others = jnp.max(jnp.where(itself, -jnp.inf, products), axis=1)
    return jnp.diagonal(products) - others


def well_separated(patterns: Any, beta: Any) -> Bool[Array, " patterns"]:
    """Whether a fixed point is guaranteed within ``1 / (beta N M)`` of each pattern.

    ``Delta_i >= 2 / (beta N) + log(2 (N - 1) N beta M^2) / beta`` for N patterns of
    norms up to M (eq. 9).

    Args:
        patterns: (patterns, features).
        beta: the inverse temperature, above 0.
    """
    X, beta = checks.check_patterns(patterns), checks.check_beta(beta)
    number = len(X)
    square = jnp.max(jnp.sum(jnp.square(X), axis=1))
    cold = jnp.isposinf(beta)
    finite = jnp.where(cold, 1.0, beta)
    needed = 2 / (finite * number)
    needed += jnp.log(2 * (number - 1) * number * finite * square) / finite
    return separation(X) >= jnp.where(cold, 0.0, needed)


def retrieval_error_bound(
    patterns: Any, beta: Any, distance: Any
) -> Float[Array, " patterns"]:
    """How far from a pattern one update can end: theorem 5 of the paper.

    ``2 (N - 1) exp(-beta (Delta_i - 2 distance M)) M``.

    Args:
        patterns: (patterns, features).
        beta: the inverse temperature, above 0.
        distance: from the pattern to the state before, or to the pattern's fixed point
            if that is farther; a scalar, or one for each pattern.
    """
    X, beta = checks.check_patterns(patterns), checks.check_beta(beta)
    longest = jnp.max(jnp.linalg.norm(X, axis=1))
    margin = separation(X) - 2 * jnp.asarray(distance) * longest
    # Without a margin, no temperature helps.
    exponent = jnp.where(margin == 0, 0.0, beta * margin)
    return 2 * (len(X) - 1) * jnp.exp(-exponent) * longest


def contraction_bound(patterns: Any, beta: Any) -> Float[Array, ""]:
    """``beta max_i |x_i - c|^2`` with c the mean: the update's Lipschitz constant.

    Below 1 there is one fixed point only, a global average. It bounds the norm of the
    update's Jacobian everywhere, which is beta times a covariance of the patterns.

    Args:
        patterns: (patterns, features).
        beta: the inverse temperature, above 0.
    """
    X, beta = checks.check_patterns(patterns), checks.check_beta(beta)
    centered = X - jnp.mean(X, axis=0)[None]
    farthest = jnp.max(jnp.sum(jnp.square(centered), axis=1))
    return jnp.where(farthest == 0, 0.0, beta * farthest)


def capacity_bound(
    dimension: int, beta: float, *, radius: float, failure: float = 0.001
) -> Capacity:
    """How many random patterns on a sphere are stored, all but with a probability.

    ``sqrt(p) c^((d - 1) / 4)`` with ``c = b / W_0(exp(a + log b))``, ``b = 2 K^2 beta /
    5`` and ``a = 2 / (d - 1) (1 + log(2 beta K^2 p (d - 1)))`` (theorem 3).

    Args:
        dimension: d, at least 2.
        beta: the inverse temperature, above 0.
        radius: K, that of the sphere over ``sqrt(d - 1)``, above 0.
        failure: p, in (0, 1).

    Raises:
        ValueError: for arguments out of range.

    Examples:
        >>> round(capacity_bound(20, 1.0, radius=3.0).base, 4)
        3.1546
    """
    checks.check_count("dimension", dimension, 2)
    for name, value in (("beta", beta), ("radius", radius)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite; got {value!r}.")
    if not 0 < failure < 1:
        raise ValueError(f"failure must lie in (0, 1); got {failure!r}.")
    size = beta * radius**2
    a = 2 / (dimension - 1) * (1 + math.log(2 * size * failure * (dimension - 1)))
    b = 2 * size / 5
    # W_0(exp(y)) is Wright's omega of y, which does not overflow.
    from scipy import special

    base = b / float(special.wrightomega(a + math.log(b)))
    # Of a few thousand dimensions it is beyond all floats.
    power = (dimension - 1) / 4 * math.log(base)
    patterns = math.exp(power) if power < math.log(sys.float_info.max) else math.inf
    return Capacity(base, math.sqrt(failure) * patterns)
