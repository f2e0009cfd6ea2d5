"""Bags of instances for multiple-instance learning: a label for each bag, not inside.

Source of the bit patterns: Ramsauer et al. (2020), Hopfield Networks is All You Need,
arXiv 2008.02217.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int


class Bags(NamedTuple):
    """Bags of up to as many instances, and whether each is positive.

    Attributes:
        x: (bags, instances, ...), zeros where there is no instance.
        present: (bags, instances), True where there is one.
        y: (bags,), 1 for a bag with a witness, 0 for one without.
    """

    x: Float[Array, "bags instances *features"]
    present: Bool[Array, "bags instances"]
    y: Int[Array, " bags"]


def bags_from_instances(
    key: Array,
    x: Any,
    y: Any,
    target: int,
    *,
    bags: int,
    instances: int | tuple[int, int] = 30,
    witness_rate: float = 0.1,
    positive: float = 0.5,
) -> Bags:
    """Bags of labelled examples; those of the target class are the witnesses.

    Instances are drawn with replacement. A positive bag has ``witness_rate`` of its
    instances from the target class, at least one; a negative bag has none.

    Args:
        key: drives sizes, labels, instances and their places.
        x: (n, ...) examples.
        y: (n,) their integer classes.
        target: the class of the witnesses.
        bags: how many.
        instances: in each bag, or the least and the most of them.
        witness_rate: in (0, 1].
        positive: the share of positive bags, in (0, 1).

    Raises:
        ValueError: for arguments out of range, or a target of which there is no
            example, or nothing else.
    """
    x, y = jnp.asarray(x), np.asarray(y)
    least, most = (instances, instances) if isinstance(instances, int) else instances
    _check(bags=bags, instances=least)
    if least > most:
        raise ValueError(f"instances must be (least, most); got {instances}.")
    _check_shares(witness_rate=witness_rate, positive=positive)
    if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"y must hold an integer class for each of {len(x)} examples; got shape "
            f"{y.shape} and type {y.dtype}."
        )
    inside, outside = np.flatnonzero(y == target), np.flatnonzero(y != target)
    if not len(inside) or not len(outside):
        raise ValueError(
            f"target {target} must be the class of some examples and not of all; the "
            f"classes are {np.unique(y).tolist()}."
        )
    keys = jax.random.split(key, 5)
    labels = _labels(keys[0], bags, positive)
    sizes = jax.random.randint(keys[1], (bags,), least, most + 1)
    present = jnp.arange(most)[None] < sizes[:, None]
    wanted = jnp.maximum(1, jnp.round(witness_rate * sizes)).astype(int) * labels
    witness = _places(keys[2], present, wanted)
    rows = jnp.where(
        witness,
        jax.random.choice(keys[3], jnp.asarray(inside), (bags, most)),
        jax.random.choice(keys[4], jnp.asarray(outside), (bags, most)),
    )
    shown = present.reshape(*present.shape, *(1,) * (x.ndim - 1))
    return Bags(jnp.where(shown, x[rows], 0), present, labels)


def bit_pattern_bags(
    key: Array,
    *,
    bags: int,
    instances: int,
    signals: int,
    signals_per_bag: int = 1,
    positive: float = 0.5,
    bits: int = 8,
) -> Bags:
    """Bags of bit patterns; a positive one has patterns that are signals.

    The signals are distinct rows of bits, not all zero, drawn once; all other
    instances are drawn from the remaining rows that are not all zero.

    Args:
        key: drives signals, labels, instances and places.
        bags: how many.
        instances: in each bag.
        signals: how many rows are signals, fewer than ``2^bits - 1``.
        signals_per_bag: how many instances of a positive bag are signals.
        positive: the share of positive bags, in (0, 1).
        bits: of an instance, at most 20.

    Raises:
        ValueError: for arguments out of range.
    """
    _check(
        bags=bags,
        instances=instances,
        signals=signals,
        signals_per_bag=signals_per_bag,
        bits=bits,
    )
    _check_shares(positive=positive)
    if bits > 20 or signals >= 2**bits - 1 or signals_per_bag > instances:
        raise ValueError(
            "bits must be at most 20, signals fewer than 2^bits - 1, and "
            f"signals_per_bag at most instances; got bits={bits}, signals={signals}, "
            f"signals_per_bag={signals_per_bag}, instances={instances}."
        )
    keys = jax.random.split(key, 5)
    codes = jax.random.permutation(keys[0], jnp.arange(1, 2**bits))
    labels = _labels(keys[1], bags, positive)
    present = jnp.ones((bags, instances), bool)
    signal = _places(keys[2], present, signals_per_bag * labels)
    drawn = jnp.where(
        signal,
        jax.random.choice(keys[3], codes[:signals], present.shape),
        jax.random.choice(keys[4], codes[signals:], present.shape),
    )
    x = (drawn[..., None] >> jnp.arange(bits)[None, None]) & 1
    return Bags(x.astype(jnp.float32), present, labels)


def _labels(key: Array, bags: int, positive: float) -> Int[Array, " bags"]:
    number = min(bags, max(1, round(positive * bags)))
    labels = (jnp.arange(bags) < number).astype(jnp.int32)
    return jax.random.permutation(key, labels)


def _places(key: Array, present: Array, wanted: Array) -> Bool[Array, "bags instances"]:
    """Return True at so many random instances of each bag."""
    score = jnp.where(present, jax.random.uniform(key, present.shape), jnp.inf)
    rank = jnp.argsort(jnp.argsort(score, axis=1), axis=1)
    return rank < wanted[:, None]


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} must be a positive integer; got {count!r}.")


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        above = share > 1 if name == "witness_rate" else share >= 1
        if not share > 0 or above:
            end = "1]" if name == "witness_rate" else "1)"
            raise ValueError(f"{name} must lie in (0, {end}; got {share!r}.")
