"""Gaps of trained networks beside a bound by conditional information.

Steinke, Zakynthinou 2020, arXiv 2001.09122 (of two examples each, a fair coin says
which is trained on); Harutyunyan et al. 2021, arXiv 2110.01584 (what predictions say of
the coins), with losses in place of predictions.

Weights of a trained network may tell all examples, and no bound by ``I(W; examples)``
is finite. What the two losses of a pair say of its coin is a number of eight cells that
can be counted: ``E[loss of the other - loss of the trained] <= sqrt(2 I(losses;
coin))`` for losses of 0 and 1, by the variational formula of the divergence, the
difference being 1-subgaussian for a coin that knows nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks
from kanjax.theory import ensembles, information_bounds, information_estimates
from kanjax.theory.ensembles import Measurement
from kanjax.theory.information_estimates import CountedInformation


class SupersampleGap(NamedTuple):
    """A measured gap beside its bound.

    Attributes:
        gap: the mean over draws of test less train error, with its standard error.
        train: the mean error on examples that were trained on.
        counts: (4, 2), of pairs by their losses (first 2 + second) and by which of them
            was trained on.
        information: what losses say of the coin.
        bound: ``sqrt(2 information)``, from the estimate before its bias is taken off,
            which makes it larger.
    """

    gap: Measurement
    train: Float[Array, ""]
    counts: Float[Array, "4 2"]
    information: CountedInformation
    bound: Float[Array, ""]


def measure_gap(
    key: Array,
    fit: Callable[[Array, Any], Any],
    mistakes: Callable[[Any, Any], Array],
    pool: Any,
    *,
    examples: int,
    draws: int,
    batch_size: int | None = None,
) -> SupersampleGap:
    """Train on one of each of many pairs, and measure the gap and its bound.

    Nothing is compiled here: jit it with its functions fixed. Draws are under one
    ``vmap``. Of a small pool pairs of different draws are alike, and errors too small.

    Args:
        key: of pairs, coins and training.
        fit: ``fit(key, batch) -> params``, training of any kind, pure.
        mistakes: ``mistakes(params, batch) -> (examples,)``, 1 or 0, True or False.
        pool: a pytree with a leading axis over examples, ``2 examples`` or more, from
            which pairs are drawn without replacement.
        examples: how many are trained on.
        draws: how many networks.
        batch_size: networks trained at once, all if None.

    Raises:
        ValueError: for a pool that is too small, no example, or fewer than 2 draws.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> pool = jax.random.normal(jax.random.key(0), (100,))
        >>> seen = measure_gap(jax.random.key(1), lambda key, x: jnp.mean(x),
        ...     lambda mean, x: x < mean, pool, examples=5, draws=50)
        >>> bool(seen.gap.mean < seen.bound)
        True
    """
    checks.check_count("examples", examples)
    checks.check_count("draws", draws, 2)
    size = jax.tree.leaves(pool)[0].shape[0]
    if size < 2 * examples:
        raise ValueError(
            f"pool has {size} examples; {examples} pairs need {2 * examples}. Train on "
            "fewer."
        )

    def draw(key: Array) -> tuple[Array, Array]:
        pair_key, coin_key, fit_key = jax.random.split(key, 3)
        chosen = jax.random.permutation(pair_key, size)[: 2 * examples]
        pairs = chosen.reshape(examples, 2)
        coins = jax.random.bernoulli(coin_key, shape=(examples,)).astype(int)
        trained = jnp.take_along_axis(pairs, coins[:, None], axis=1)[:, 0]
        params = fit(fit_key, jax.tree.map(lambda v: v[trained], pool))
        batch = jax.tree.map(lambda v: v[pairs.ravel()], pool)
        losses = mistakes(params, batch).astype(int).reshape(examples, 2)
        return losses, coins

    keys = jax.random.split(key, draws)
    losses, coins = jax.lax.map(draw, keys, batch_size=batch_size or draws)
    kind = 2 * losses[..., 0] + losses[..., 1]
    table = jax.nn.one_hot(2 * kind + coins, 8).sum(axis=(0, 1)).reshape(4, 2)
    seen, fresh = (
        jnp.take_along_axis(losses, side[..., None], axis=-1)[..., 0].mean(axis=1)
        for side in (coins, 1 - coins)
    )
    information = information_estimates.counted_information(table)
    return SupersampleGap(
        ensembles.measure(fresh - seen),
        jnp.mean(seen),
        table,
        information,
        information_bounds.conditional_bound(information.estimate, 1),
    )
