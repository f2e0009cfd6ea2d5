"""A classifier whose positives go on to a regressor.

As in screening: whether a candidate is of a kind, and if so, how good it is. Source:
Bandyopadhyay, Avlani, Zhuang (2024), arXiv 2410.08452, its third example.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax.training import losses


class Cascade(NamedTuple):
    """What a cascade says of each row.

    Attributes:
        probability: (n,), of being a member.
        member: (n,), whether it is taken for one.
        value: (n, outputs), the regressor's value; NaN where it is no member.
    """

    probability: Float[Array, " n"]
    member: Bool[Array, " n"]
    value: Float[Array, "n outputs"]


def cascade(
    classify: Callable[[Array], Array],
    regress: Callable[[Array], Array],
    x: Float[Array, "n features"],
    *,
    threshold: float = 0.5,
) -> Cascade:
    """Classify rows, and give those taken for members the regressor's value.

    Args:
        classify: maps x to logits (n, 2) of non-members and members.
        regress: maps x to values (n, outputs).
        x: (n, features).
        threshold: the least probability of a member, between 0 and 1.

    Raises:
        ValueError: if the threshold is not in [0, 1], or there are not two logits.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1]; got {threshold}.")
    logits = classify(x)
    if logits.ndim != 2 or logits.shape[1] != 2:
        raise ValueError(
            f"classify must give logits (n, 2); got shape {logits.shape}. For one "
            "logit, put zeros beside it."
        )
    probability = jax.nn.softmax(logits)[:, 1]
    member = probability >= threshold
    return Cascade(probability, member, jnp.where(member[:, None], regress(x), jnp.nan))


def fit_cascade(
    fit: Callable[[losses.Loss, Any, Any], Any],
    classifier: tuple[losses.Loss, Any],
    regressor: tuple[losses.Loss, Any],
    x: Float[Array, "n features"],
    member: Int[Array, " n"],
    y: Float[Array, "n outputs"],
) -> tuple[Any, Any]:
    """Fit the classifier on all rows, and the regressor on the true members alone.

    Args:
        fit: ``fit(loss, params, (x, y))``, giving parameters, e.g. ``lambda *given:
            training.fit(*given, optimizer="adam", ...).params``.
        classifier: its loss, of batches (x, member), and its parameters at the start.
        regressor: its loss, of batches (x, y), and its parameters at the start.
        x: (n, features).
        member: (n,), 1 for members and 0 for others.
        y: (n, outputs); only members' values are read.

    Returns:
        The parameters of the classifier and of the regressor.

    Raises:
        ValueError: if the rows do not fit together or there is no member.
    """
    if not len(x) == len(member) == len(y):
        raise ValueError(
            f"x, member and y must have as many rows; got {len(x)}, {len(member)} and "
            f"{len(y)}."
        )
    rows = np.flatnonzero(np.asarray(member))
    if not rows.size:
        raise ValueError("member has no 1, so there is nothing to fit a regressor on.")
    labels = jnp.asarray(member, jnp.int32)
    first = fit(*classifier, (x, labels))
    return first, fit(*regressor, (x[rows], y[rows]))
