"""Cutting what a trained KAN does not need.

Source: Liu et al. (2024), arXiv 2404.19756, section 2.5.1, with the attribution score
of arXiv 2408.10205.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import bases
from kanjax.kan import attribution, layer
from kanjax.kan.network import KAN, Params


class Pruned(NamedTuple):
    """A smaller network.

    Attributes:
        model: the pruned model; it takes the same inputs.
        params: its parameters.
        units: for each layer of units, inputs first, the indices of those that are
            left; the inputs without an edge are left out here, though the model still
            takes them.
        edges_left: number of edges that are not masked.
    """

    model: KAN
    params: Params
    units: tuple[np.ndarray, ...]
    edges_left: int


def prune(
    model: KAN,
    params: Params,
    x: Array,
    *,
    node_threshold: float = 1e-2,
    edge_threshold: float = 3e-2,
) -> Pruned:
    """Remove hidden units and mask edges whose attribution score is small.

    A hidden unit without an edge left on one side goes as well, but a layer never loses
    its best unit. Hidden units are removed from the arrays, except under a grouped
    rational layer, where they are masked. Not for use under ``jit``: the shapes of the
    result depend on the values.

    Args:
        model: the trained KAN.
        params: its parameters.
        x: (batch, in), the samples that the scores are measured on.
        node_threshold: units with at most this score go, from 0 up.
        edge_threshold: edges with at most this score go, from 0 up.

    Raises:
        ValueError: if a threshold is negative.
    """
    for name, value in (
        ("node_threshold", node_threshold),
        ("edge_threshold", edge_threshold),
    ):
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0; got {value}.")
    scores = attribution.attribute(model, params, x)
    alive, kept = _survivors(model, scores, node_threshold, edge_threshold)

    layers, pruned = [], []
    for i, (one, p) in enumerate(zip(model.layers, params, strict=True)):
        can_shrink_in = i > 0 and not _is_grouped(one)
        follower = model.layers[i + 1] if i + 1 < len(model.layers) else None
        can_shrink_out = follower is not None and not _is_grouped(follower)
        rows = np.flatnonzero(alive[i]) if can_shrink_in else np.arange(len(alive[i]))
        columns = (
            np.flatnonzero(alive[i + 1])
            if can_shrink_out
            else np.arange(len(alive[i + 1]))
        )
        smaller, smaller_params = _select(one, p, rows, columns)
        mask = jnp.asarray(kept[i][np.ix_(rows, columns)], x.dtype)
        layers.append(dataclasses.replace(smaller, mask=mask))
        pruned.append(smaller_params)

    units = [np.flatnonzero(a) for a in alive]
    units[0] = np.flatnonzero(np.asarray(layers[0].mask).any(axis=1))
    edges_left = int(sum(np.asarray(one.mask).sum() for one in layers))
    return Pruned(model.with_layers(layers), tuple(pruned), tuple(units), edges_left)


def _survivors(
    model: KAN,
    scores: attribution.Attribution,
    node_threshold: float,
    edge_threshold: float,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Which units and which edges stay.

    A hidden unit that loses all edges on one side goes, and may take others with it.
    """
    last = len(model.layers)
    best = [values == np.max(values) for values in map(np.asarray, scores.nodes)]
    alive = [np.ones(width, bool) for width in model.widths]
    kept = []
    for i, one in enumerate(model.layers):
        strong = np.asarray(scores.edges[i]) > edge_threshold
        kept.append(
            strong if one.mask is None else strong & (np.asarray(one.mask) != 0)
        )
        if i > 0:
            alive[i] = (np.asarray(scores.nodes[i]) > node_threshold) | best[i]
    while True:
        kept = [k & alive[i][:, None] & alive[i + 1] for i, k in enumerate(kept)]
        found = list(alive)
        for i in range(1, last):
            linked = kept[i - 1].any(axis=0) & kept[i].any(axis=1)
            found[i] = alive[i] & (linked | best[i])
        if all(map(np.array_equal, found, alive)):
            return alive, kept
        alive = found


def _is_grouped(one: layer.Layer) -> bool:
    return isinstance(one, layer.RationalLayer) and one.basis.groups > 1


def _select(
    one: layer.Layer, params: Any, rows: np.ndarray, columns: np.ndarray
) -> tuple[layer.Layer, dict[str, Array]]:
    """The layer on a part of its inputs and outputs."""
    block = np.ix_(rows, columns)
    smaller = dataclasses.replace(one, in_features=len(rows), out_features=len(columns))
    if isinstance(smaller, layer.RationalLayer):
        return smaller, {
            **params,
            "kernel": params["kernel"][block],
            "bias": params["bias"][columns],
        }
    selected = {**params, "coef": params["coef"][:, block[0], block[1]]}
    if "residual" in params:
        selected["residual"] = params["residual"][block]
    basis = smaller.basis
    if isinstance(basis, bases.BSpline) and basis.knots is not None:
        own = basis.knots if basis.knots.ndim == 1 else basis.knots[rows]
        smaller = dataclasses.replace(
            smaller, basis=dataclasses.replace(basis, knots=own)
        )
    return smaller, selected
