"""How sure a similarity is: against shuffled samples, and with an interval.

Controls of Li et al. (2016), "Convergent Learning", arXiv 1511.07543, and of those who
compare representations since; the jackknife: Quenouille (1956), Tukey (1958).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax.representation import samples

Similarity = Callable[[Array, Array], Array]


class Shuffles(NamedTuple):
    """A similarity beside those of samples that do not belong together.

    Attributes:
        value: of the samples as they are.
        shuffled: (shuffles,) with the samples of y in random order.
        p_value: share of all, the true order included, that are at least as large.
    """

    value: Float[Array, ""]
    shuffled: Float[Array, " shuffles"]
    p_value: Float[Array, ""]


class Interval(NamedTuple):
    """A similarity with an interval of confidence.

    Attributes:
        value: of all samples.
        low: where the interval begins.
        high: where it ends.
    """

    value: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def shuffle_test(
    similarity: Similarity,
    x: ArrayLike,
    y: ArrayLike,
    *,
    key: Array,
    shuffles: int = 100,
) -> Shuffles:
    """Hold a similarity against those of shuffled samples, its chance level.

    Args:
        similarity: ``similarity(x, y) -> scalar``, such as
            :func:`kanjax.representation.similarity.linear_cka`; pure.
        x: (..., p) activations; all axes but the last are samples.
        y: (..., q) on the same samples.
        key: for the orders.
        shuffles: how many, at least 1.

    Raises:
        ValueError: if samples differ in number, or for no shuffle.
    """
    if shuffles < 1:
        raise ValueError(f"shuffles is {shuffles}; it must be at least 1.")
    x, y = samples.as_pair(x, y)

    def step(_: None, key: Array) -> tuple[None, Array]:
        return None, similarity(x, jax.random.permutation(key, y))

    value = similarity(x, y)
    _, shuffled = jax.lax.scan(step, None, jax.random.split(key, shuffles))
    at_least = jnp.sum(shuffled >= value)
    return Shuffles(value, shuffled, (1 + at_least) / (1 + shuffles))


def jackknife_interval(
    similarity: Similarity,
    x: ArrayLike,
    y: ArrayLike,
    *,
    key: Array,
    groups: int = 20,
    level: float = 0.95,
) -> Interval:
    """Give a similarity with an interval that other samples would lead to.

    Samples are left out a group at a time, at random; unlike a bootstrap, no sample
    comes twice, which debiased similarities would take for likeness. The interval is
    for independent samples: of a convolution's positions it is too narrow.

    Args:
        similarity: ``similarity(x, y) -> scalar``, smooth in the samples; pure.
        x: (..., p) activations; all axes but the last are samples.
        y: (..., q) on the same samples.
        key: for the groups.
        groups: how many, from 2 to the number of samples; what does not divide evenly
            is never left out.
        level: of confidence, between 0 and 1, by Student's distribution.

    Raises:
        ValueError: if samples differ in number, or for groups or level out of range.
    """
    from scipy import stats

    x, y = samples.as_pair(x, y)
    if not 2 <= groups <= len(x):
        raise ValueError(
            f"groups is {groups}; it must be from 2 to the {len(x)} samples."
        )
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must be between 0 and 1.")
    order = jax.random.permutation(key, len(x))
    size = len(x) // groups

    def step(_: None, i: Array) -> tuple[None, Array]:
        # The group to leave out is rolled to the front, and cut off.
        kept = jnp.roll(order, -i * size)[size:]
        return None, similarity(x[kept], y[kept])

    value = similarity(x, y)
    _, without = jax.lax.scan(step, None, jnp.arange(groups))
    error = jnp.sqrt((groups - 1) * jnp.var(without))
    reach = float(stats.t.ppf((1 + level) / 2, groups - 1)) * error
    return Interval(value, value - reach, value + reach)
