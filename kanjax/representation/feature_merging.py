"""How many different features a layer has, and merging those that are alike.

Chen, Zhou, Yan (2023), "Going Beyond Neural Network Feature Similarity: The Network
Feature Complexity and Its Interpretation Using Category Theory", arXiv 2310.06756. Two
units of one network that a permutation may exchange without changing what it computes
are one feature twice. Iterative feature merging finds them by the weights alone,
without data or fine-tuning, and what is left counts the features.

Functions take any parameters with a permutation spec, as those of
:mod:`kanjax.symmetry`: the name of a set of units on each axis that counts them. A
leaf's axis of output channels is of what comes into a unit, any other of what goes out.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kanjax.representation import unit_merging, unit_pruning

if TYPE_CHECKING:
    from kanjax.symmetry import PermutationSpec

Params = Any


class Merging(NamedTuple):
    """A smaller network.

    Attributes:
        params: of the new widths.
        widths: for each set of units, how many are left.
        members: for each set of units, the former units in each that is left.
        merges: what was merged, in order.
    """

    params: Params
    widths: dict[str, int]
    members: dict[str, list[np.ndarray]]
    merges: unit_merging.Merges


class Complexity(NamedTuple):
    """The features in a set of units.

    Attributes:
        features: how many are left when equivalent ones are merged.
        fraction: of the units.
        dead: units whose weights are all about 0, which merge with each other at any
            threshold: they are no redundancy of features.
    """

    features: int
    fraction: float
    dead: int


def merge_features(
    params: Params,
    spec: "PermutationSpec",
    *,
    beta: float = 0.1,
    max_ratio: float = 1.0,
    rule: unit_merging.Rule = "sum_out",
    exclude: tuple[str, ...] = (),
    channel_axis: int = -1,
) -> Merging:
    """Merge units that are alike, and leave out those that others stand for.

    Not for use under ``jit``: the shapes of the result depend on the values.

    Args:
        params: parameters that the spec fits. Fold batch norm before
            (:func:`kanjax.nn.fold_batch_norm`).
        spec: which axes count which units.
        beta: as for :func:`~kanjax.representation.unit_merging.merge_masked`. One
            outlier among the units makes all others alike: ``merges.largest`` tells.
        max_ratio: as for :func:`~kanjax.representation.unit_merging.merge_masked`.
        rule: as for :func:`~kanjax.representation.unit_merging.merge_pair`.
        exclude: as for :func:`~kanjax.representation.unit_merging.merge_masked`.
        channel_axis: as for :func:`~kanjax.representation.unit_merging.merge_pair`.

    Raises:
        ValueError: as :func:`~kanjax.representation.unit_merging.merge_masked`, or if
            beta is not in [0, 1).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn, symmetry
        >>> net = nn.MLP((2, 3, 1))
        >>> kernels = [[1.0, 1, 0], [0, 0.1, 1]], [[1.0], [1.1], [-1]]
        >>> params = tuple({"kernel": jnp.array(k), "bias": jnp.zeros(len(k[0]))}
        ...                for k in kernels)
        >>> merging = merge_features(params, symmetry.permutation_spec(net), beta=0.01)
        >>> merging.widths, [m.tolist() for m in merging.members["P1"]]
        ({'P1': 2}, [[0, 1], [2]])
    """
    _check_beta(beta)
    masked = unit_merging.merge_masked(
        params,
        spec,
        beta=beta,
        max_ratio=max_ratio,
        rule=rule,
        exclude=exclude,
        channel_axis=channel_axis,
    )
    return _compact(masked, spec)


def merge_path(
    params: Params, spec: "PermutationSpec", betas: Sequence[float], **options: Any
) -> list[Merging]:
    """Merge with several thresholds, in one program.

    With one set of units, a larger beta goes on where a smaller one ends, and widths
    fall. With several, merges in one set change the distances in others.

    Args:
        params: as for :func:`merge_features`.
        spec: as for :func:`merge_features`.
        betas: of each result.
        **options: as for :func:`~kanjax.representation.unit_merging.merge_masked`.

    Raises:
        ValueError: as :func:`merge_features`.
    """
    for beta in betas:
        _check_beta(beta)
    merge = functools.partial(unit_merging.merge_masked, params, spec, **options)
    every = jax.vmap(lambda beta: merge(beta=beta))(jnp.asarray(betas, float))
    every = jax.device_get(every)
    return [
        _compact(jax.tree.map(lambda v, i=i: v[i], every), spec)
        for i in range(len(betas))
    ]


def feature_complexity(
    params: Params, spec: "PermutationSpec", *, beta: float = 0.1, **options: Any
) -> dict[str, Complexity]:
    """Count the features in each set of units.

    Args:
        params: as for :func:`merge_features`.
        spec: as for :func:`merge_features`.
        beta: as for :func:`merge_features`; the count hangs on it.
        **options: as for :func:`merge_features`.

    Raises:
        ValueError: as :func:`merge_features`.
    """
    merging = merge_features(params, spec, beta=beta, **options)
    return {
        name: Complexity(
            merging.widths[name],
            merging.widths[name] / size,
            int(jnp.sum(unit_pruning.dead_units(params, spec, name))),
        )
        for name, size in spec.sizes
    }


def _compact(masked: unit_merging.Masked, spec: "PermutationSpec") -> Merging:
    counts = {name: np.asarray(values) for name, values in masked.counts.items()}
    merged = {
        name: values > 0 for name, values in counts.items() if (values != 1).any()
    }
    members = {
        name: [np.flatnonzero(np.asarray(owners) == i) for i in np.unique(owners)]
        for name, owners in masked.owners.items()
    }
    return Merging(
        unit_pruning.select_units(masked.params, spec, merged),
        {name: len(each) for name, each in members.items()},
        members,
        masked.merges,
    )


def _check_beta(beta: float) -> None:
    if not 0 <= beta < 1:
        raise ValueError(f"beta is {beta}; it must be in [0, 1).")
