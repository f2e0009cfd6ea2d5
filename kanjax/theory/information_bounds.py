"""Bounds on the expected generalization gap by information, and exact discrete cases.

He, Goldfeld 2024, "Information-Theoretic Generalization Bounds for Deep Neural
Networks", arXiv 2404.03176, with Xu, Raginsky 2017, arXiv 1705.07809 (mutual
information); Bu, Zou, Veeravalli 2020, arXiv 1901.04609 (single examples); Steinke,
Zakynthinou 2020, arXiv 2001.09122 (conditional); Asadi, Abbe, Verdu 2018, arXiv
1806.03803 (chained); Aminian et al. 2021, arXiv 2107.13656 (Gibbs). The gap is the
mean over training sets of the loss on a fresh example minus that on the examples.
A loss is sigma-subgaussian; one in [0, 1] is 1/2-subgaussian.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks


class DiscreteInformation(NamedTuple):
    """What two discrete variables say of each other, in nats.

    Attributes:
        mutual: ``KL(joint || product of marginals)``.
        lautum: the divergence the other way round; infinite where the joint is 0 and
            the product is not.
    """

    mutual: Array
    lautum: Array


class GibbsGap(NamedTuple):
    """The Gibbs algorithm over finitely many hypotheses and training sets.

    Attributes:
        gap: the expected generalization gap; ``(mutual + lautum) / gamma`` exactly.
        mutual: the information between hypothesis and training set.
        lautum: the same the other way round.
    """

    gap: Array
    mutual: Array
    lautum: Array


def kl_bound(divergences: ArrayLike, sigma: float) -> Array:
    """Return ``mean_i sigma sqrt(2 KL_i)``, a bound on the size of the gap.

    Of each example i, ``KL_i = KL(P(T_i, Y_i | W) || P(T, Y | W) | P(W))``, T what a
    layer makes of an example that was trained on and of a fresh one: a function of the
    example and the weights, so that the bound falls from layer to layer. At the input
    it is ``I(example; W)``. ``I(W; examples) / n`` may stand for all KL_i.

    Args:
        divergences: (..., n), or () if all are equal.
        sigma: of the loss under the law of fresh examples, for any weights.

    Returns:
        (...).

    Raises:
        ValueError: for a negative divergence, or sigma not positive.

    Examples:
        >>> round(float(kl_bound(0.02, 0.5)), 4)
        0.1
    """
    _check_least("divergences", divergences, 0.0)
    checks.check_positive("sigma", sigma)
    divergences = jnp.atleast_1d(checks.as_floating(divergences))
    return jnp.mean(sigma * jnp.sqrt(2 * divergences), axis=-1)


def conditional_bound(
    information: ArrayLike, examples: int, *, width: float = 1.0
) -> Array:
    """Return ``width sqrt(2 I / n)``, by information on which of two was trained on.

    Of n pairs of examples one each, by the fair bits U, is trained on. ``I = I(W; U |
    pairs)`` is at most ``n log 2``, where ``I(W; examples)`` may be infinite.

    Args:
        information: (...), in nats; a mean over pairs of I may stand in the root.
        examples: n.
        width: the range of the loss.

    Raises:
        ValueError: for negative information, a range not positive, or no example.
    """
    _check_least("information", information, 0.0)
    checks.check_positive("width", width)
    checks.check_count("examples", examples)
    return width * jnp.sqrt(2 * checks.as_floating(information) / examples)


def chained_bound(
    informations: ArrayLike, increments: ArrayLike, examples: int
) -> Array:
    """Return ``sum_k sigma_k sqrt(2 I_k / n)`` over ever finer grids of hypotheses.

    ``I_k`` is the information between the examples and W rounded to grid k, sigma_k the
    subgaussian constant of the loss at W on grid k minus that on grid k - 1. Grid 0 has
    one hypothesis, whose gap is 0; each grid refines the one before, the last is W.

    Args:
        informations: (grids,), in nats.
        increments: (grids,), the constants sigma_k.
        examples: n.

    Raises:
        ValueError: for negative numbers, other shapes, or no example.
    """
    _check_least("informations", informations, 0.0)
    _check_least("increments", increments, 0.0)
    checks.check_count("examples", examples)
    information, sigma = jnp.asarray(informations), jnp.asarray(increments)
    if information.shape != sigma.shape or information.ndim != 1:
        raise ValueError(
            f"informations and increments have shapes {information.shape} and "
            f"{sigma.shape}; they must be (grids,) both."
        )
    return jnp.sum(sigma * jnp.sqrt(2 * information / examples))


def wasserstein_bound(distances: ArrayLike, lipschitz: ArrayLike) -> Array:
    """Return ``mean over draws of rho_l W_1``, a bound on the size of the gap.

    Args:
        distances: (..., layers), Wasserstein distances of order 1 (or 2, which are
            larger) between a layer's values of a trained and of a fresh example, given
            the weights; leading axes are draws of weights, and examples.
        lipschitz: (..., layers), of the loss as a function of the layer's values.

    Returns:
        (layers,). Where distances are exact it never rises with the layer: what is
        after a layer moves points by its Lipschitz constant at most.

    Raises:
        ValueError: for a negative number.
    """
    _check_least("distances", distances, 0.0)
    _check_least("lipschitz", lipschitz, 0.0)
    sizes = map(jnp.asarray, (distances, lipschitz))
    products = jnp.multiply(*jnp.broadcast_arrays(*sizes))
    return jnp.mean(products.reshape(-1, products.shape[-1]), axis=0)


def funnel_layer(bounds: ArrayLike) -> Array:
    """Return the layer with the least bound, the first of equals.

    Args:
        bounds: (..., layers).
    """
    return jnp.argmin(jnp.asarray(bounds), axis=-1)


def gibbs_bound(sigma: float, gamma: float, examples: int) -> float:
    """Return ``2 sigma^2 gamma / n``, a bound on the gap of the Gibbs algorithm.

    From ``gap = (I + L) / gamma >= I / gamma`` and ``gap <= sigma sqrt(2 I / n)``.

    Args:
        sigma: of the loss, for any hypothesis.
        gamma: the inverse temperature.
        examples: n.

    Raises:
        ValueError: for sigma or gamma not positive, or no example.
    """
    checks.check_positive("sigma", sigma)
    checks.check_positive("gamma", gamma)
    checks.check_count("examples", examples)
    return 2 * sigma**2 * gamma / examples


def discrete_information(joint: checks.Numbers) -> DiscreteInformation:
    """Return mutual and lautum information of a joint law.

    Args:
        joint: (a, b), probabilities that sum to 1.

    Raises:
        ValueError: for what is no law.

    Examples:
        >>> round(float(discrete_information([[0.5, 0.0], [0.0, 0.5]]).mutual), 4)
        0.6931
    """
    check_law("joint", joint, axes=(-2, -1))
    p = checks.as_floating(joint)
    rows, columns = (jnp.sum(p, axis=i, keepdims=True) for i in (-1, -2))
    # Row by row: products of small probabilities underflow.
    given_row = p / jnp.where(rows > 0, rows, 1.0)
    mutual = rows * jax.scipy.special.rel_entr(given_row, columns)
    lautum = rows * jax.scipy.special.rel_entr(columns, given_row)
    lautum = jnp.where(rows > 0, lautum, 0.0)
    return DiscreteInformation(*(jnp.sum(v, axis=(-2, -1)) for v in (mutual, lautum)))


def gibbs_posterior(
    losses: checks.Numbers, gamma: float, *, prior: checks.Numbers | None = None
) -> Float[Array, "... hypotheses"]:
    """Return the Gibbs posterior, ``prior exp(-gamma losses)``, normalized.

    Args:
        losses: (..., hypotheses), mean losses on the examples.
        gamma: the inverse temperature; n times that of a single example's likelihood.
        prior: (hypotheses,), uniform if None.

    Raises:
        ValueError: for gamma not positive, or a prior that is no law.
    """
    checks.check_positive("gamma", gamma)
    logits = -gamma * checks.as_floating(losses)
    if prior is not None:
        check_law("prior", prior, axes=(-1,))
        logits = logits + jnp.broadcast_to(jnp.log(jnp.asarray(prior)), logits.shape)
    return jax.nn.softmax(logits, axis=-1)


def gibbs_gap(
    weights: checks.Numbers,
    losses: checks.Numbers,
    gamma: float,
    *,
    prior: checks.Numbers | None = None,
) -> GibbsGap:
    """Enumerate the Gibbs algorithm: its gap and its information, exactly.

    Args:
        weights: (sets,), the probability of each training set, or of all with one
            count of each kind of example.
        losses: (sets, hypotheses), mean losses on each training set.
        gamma: the inverse temperature.
        prior: (hypotheses,), uniform if None.

    Raises:
        ValueError: for probabilities that are no law, shapes that do not agree, or
            gamma not positive.

    Examples:
        >>> gap = gibbs_gap([0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]], 2.0)
        >>> round(float(gap.gap), 4), round(float((gap.mutual + gap.lautum) / 2), 4)
        (0.3808, 0.3808)
    """
    check_law("weights", weights, axes=(-1,))
    p, table = checks.as_floating(weights), checks.as_floating(losses)
    if table.ndim != 2 or p.shape != table.shape[:1]:
        raise ValueError(
            f"weights have shape {p.shape} and losses {table.shape}; they must be "
            "(sets,) and (sets, hypotheses)."
        )
    posterior = gibbs_posterior(table, gamma, prior=prior)
    # The mean over training sets of a mean loss is the loss on a fresh example.
    fresh = (p @ table)[None]
    gap = p @ jnp.sum(posterior * (fresh - table), axis=1)
    # Set by set: the joint law of many examples underflows.
    mean = (p @ posterior)[None]
    mutual = p @ jnp.sum(jax.scipy.special.rel_entr(posterior, mean), axis=1)
    lautum = p @ jnp.sum(jax.scipy.special.rel_entr(mean, posterior), axis=1)
    return GibbsGap(gap, mutual, lautum)


def check_law(name: str, values: Any, *, axes: Sequence[int]) -> None:
    """Raise ``ValueError`` unless values are probabilities that sum to 1.

    Args:
        name: what the message calls them.
        values: any shape; traced they pass.
        axes: over which they sum to 1.
    """
    if isinstance(values, jax.core.Tracer):
        return
    known = np.asarray(values, np.float64)
    if not np.all((known >= 0) & (known <= 1)):
        worst = known.flat[np.argmax(np.abs(np.nan_to_num(known, nan=np.inf) - 0.5))]
        raise ValueError(
            f"{name} must be probabilities, from 0 to 1; one of them is {worst}."
        )
    total = known.sum(axis=tuple(axes))
    if not np.allclose(total, 1, atol=1e-5):
        raise ValueError(
            f"{name} must sum to 1; the sum is {np.ravel(total)[0]:.6g}. Divide by it."
        )


def _check_least(name: str, value: Any, least: float) -> None:
    if not isinstance(value, jax.core.Tracer) and not np.all(
        np.asarray(value) >= least
    ):
        raise ValueError(f"{name} must be at least {least:g}; got {value!r}.")
