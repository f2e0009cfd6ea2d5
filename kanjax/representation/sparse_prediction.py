"""Predict the units of one network from few of another's.

Li et al. (2016), "Convergent Learning", arXiv 1511.07543, section 4: if a few units
suffice where the best alone does not, the code is partly distributed. The solver is
FISTA: Beck, Teboulle (2009), SIAM J. Imaging Sciences 2, with the restart of
O'Donoghue, Candès (2012), arXiv 1204.3982.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax.representation import samples
from kanjax.scales import safe_scale


class Code(NamedTuple):
    """How units of one network are coded in another: shares that sum to 1.

    Attributes:
        local: units that a single unit explains.
        few: others that a few units explain.
        many: others that all units together explain.
        unexplained: the rest.
    """

    local: Float[Array, ""]
    few: Float[Array, ""]
    many: Float[Array, ""]
    unexplained: Float[Array, ""]


def standardize(
    x: ArrayLike, reference: ArrayLike | None = None
) -> Float[Array, "samples units"]:
    """Return units of mean 0 and variance 1; 0 for a unit that is constant.

    Args:
        x: (..., units); all axes but the last are samples.
        reference: (..., units) whose means and deviations are taken, such as what a
            prediction was fitted on; x itself if None.

    Raises:
        ValueError: if reference has other units.
    """
    x = samples.as_rows(x)
    reference = x if reference is None else samples.as_rows(reference, "reference")
    if reference.shape[1] != x.shape[1]:
        raise ValueError(
            f"reference has {reference.shape[1]} units and x has {x.shape[1]}; both "
            "must be of the same layer."
        )
    # In this unit squares neither vanish nor overflow.
    unit = safe_scale(reference, axis=0)
    x, reference = x / unit, reference / unit
    mean = jnp.mean(reference, axis=0, keepdims=True)
    deviation = jnp.std(reference, axis=0, keepdims=True)
    still = deviation <= 10 * jnp.finfo(x.dtype).eps
    return jnp.where(still, 0.0, (x - mean) / jnp.where(still, 1.0, deviation))


def sparse_prediction(
    x: ArrayLike,
    y: ArrayLike,
    penalty: ArrayLike,
    *,
    iterations: int = 300,
    start: Float[Array, "p q"] | None = None,
) -> Float[Array, "p q"]:
    """Return weights that predict every unit of y from few units of x.

    They minimize ``|y - x w|^2 / (2 samples) + penalty |w|_1``, for all units of y at
    once, and have exact zeros. Without a penalty, :func:`linear_prediction` is exact.

    Args:
        x: (..., p), of :func:`standardize`.
        y: (..., q), of :func:`standardize`, on the same samples.
        penalty: of at least 0; from the largest ``|x^T y| / samples`` on, all is 0.
        iterations: of the solver, at least 1.
        start: (p, q) first weights, zeros if None.

    Raises:
        ValueError: if samples differ in number, or for less than 1 iteration.
    """
    x, y = samples.as_pair(x, y)
    return _solve(*_products(x, y), penalty, iterations, start)


def sparse_path(
    x: ArrayLike,
    y: ArrayLike,
    penalties: Float[Array, " path"],
    *,
    iterations: int = 300,
) -> Float[Array, "path p q"]:
    """Return the weights of several penalties, each from those before it.

    Args:
        x: (..., p), of :func:`standardize`.
        y: (..., q), of :func:`standardize`, on the same samples.
        penalties: (path,), best from the largest down.
        iterations: of the solver for each, at least 1.

    Raises:
        ValueError: as for :func:`sparse_prediction`.
    """
    x, y = samples.as_pair(x, y)
    gram, moments = _products(x, y)

    def step(weights: Array, penalty: Array) -> tuple[Array, Array]:
        weights = _solve(gram, moments, penalty, iterations, weights)
        return weights, weights

    return jax.lax.scan(step, jnp.zeros_like(moments), jnp.asarray(penalties))[1]


def linear_prediction(x: ArrayLike, y: ArrayLike) -> Float[Array, "p q"]:
    """Return the weights of least squares, the smallest if there are several.

    Args:
        x: (..., p), of :func:`standardize`.
        y: (..., q), of :func:`standardize`, on the same samples.

    Raises:
        ValueError: if samples differ in number.
    """
    x, y = samples.as_pair(x, y)
    return jnp.linalg.lstsq(x, y)[0]


def prediction_error(
    weights: Float[Array, "p q"], x: ArrayLike, y: ArrayLike
) -> Float[Array, " q"]:
    """Return the mean squared error of every unit; about 1 is that of its mean.

    Args:
        weights: of a prediction.
        x: (..., p) of samples held out, standardized by those that it was fitted on.
        y: (..., q) likewise.

    Raises:
        ValueError: if samples differ in number.
    """
    x, y = samples.as_pair(x, y)
    return jnp.mean((y - samples.matmul(x, weights)) ** 2, axis=0)


def count_units(weights: Float[Array, "*path p q"]) -> Int[Array, "*path q"]:
    """Return how many units each prediction uses.

    Args:
        weights: (..., p, q).
    """
    return jnp.sum(weights != 0, axis=-2)


def classify_code(
    matched: Float[Array, " q"],
    errors: Float[Array, "path q"],
    counts: Int[Array, "path q"],
    *,
    few: int = 20,
    level: ArrayLike = 0.8,
) -> Code:
    """Say of what share of units the code is local, or spread over few or many.

    Args:
        matched: (q,) correlation of each unit with its partner.
        errors: (path, q) of :func:`prediction_error` for several penalties.
        counts: (path, q) units that these predictions use.
        few: how many are few.
        level: what a local unit's correlation, and the explained share of variance of
            any other, must exceed.
    """
    explained = 1 - errors > level
    local = matched > level
    by_few = jnp.any(explained & (counts <= few), axis=0) & ~local
    by_many = jnp.any(explained, axis=0) & ~local & ~by_few
    rest = ~(local | by_few | by_many)
    return Code(*(jnp.mean(kind) for kind in (local, by_few, by_many, rest)))


def _products(x: Array, y: Array) -> tuple[Array, Array]:
    return samples.matmul(x.T, x) / len(x), samples.matmul(x.T, y) / len(x)


def _solve(
    gram: Float[Array, "p p"],
    moments: Float[Array, "p q"],
    penalty: ArrayLike,
    iterations: int,
    start: Array | None,
) -> Float[Array, "p q"]:
    if iterations < 1:
        raise ValueError(f"iterations is {iterations}; it must be at least 1.")
    # Units that are all still leave nothing to divide by.
    largest = jnp.linalg.eigvalsh(gram)[-1]
    step = jnp.where(largest > 0, 1 / jnp.where(largest > 0, largest, 1.0), 0.0)
    weights = jnp.zeros_like(moments) if start is None else start

    def advance(carry: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
        weights, ahead, momentum = carry
        moved = ahead - step * (samples.matmul(gram, ahead) - moments)
        shrunk = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - step * penalty, 0.0)
        # Momentum that points uphill is let go, for each target by itself.
        uphill = jnp.sum((ahead - shrunk) * (shrunk - weights), axis=0) > 0
        momentum = jnp.where(uphill, 1.0, momentum)
        grown = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        share = jnp.where(uphill, 0.0, (momentum - 1) / grown)
        return (shrunk, shrunk + share[None] * (shrunk - weights), grown), None

    first = (weights, weights, jnp.ones(moments.shape[1], moments.dtype))
    return jax.lax.scan(advance, first, None, length=iterations)[0][0]
