"""Cutting what a trained KAN does not need.

Source: Liu et al. (2024), arXiv 2404.19756, section 2.5.1, with the attribution score
of arXiv 2408.10205.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from kanjax import bases, checks, pytrees
from kanjax.kan import attribution, layers, multiplication
from kanjax.kan.networks import KAN, Params


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

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr


def prune(
    model: KAN,
    params: Params,
    x: Array,
    *,
    node_threshold: float = 1e-2,
    edge_threshold: float = 3e-2,
    input_threshold: float = 0.0,
    scores: attribution.Attribution | None = None,
) -> Pruned:
    """Remove hidden units and mask edges and inputs whose attribution score is small.

    A hidden unit without an edge left on one side goes as well, but a layer never loses
    its best unit, nor a product the best edge of any of its sums. Hidden units are
    removed from the arrays, except under a grouped rational layer, where they are
    masked. Not for use under ``jit``: the shapes of the result depend on the values.

    Args:
        model: the trained KAN.
        params: its parameters.
        x: (batch, in), the samples that the scores are measured on.
        node_threshold: units with at most this score go, from 0 up.
        edge_threshold: edges with at most this score go, from 0 up.
        input_threshold: inputs with at most this score lose all edges, from 0 up; the
            best one does not.
        scores: of :func:`attribute` on these samples, where they are known.

    Raises:
        ValueError: if a threshold is negative.
    """
    for name, value in (
        ("node_threshold", node_threshold),
        ("edge_threshold", edge_threshold),
        ("input_threshold", input_threshold),
    ):
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0; got {value}.")
    checks.check_finite(x, "x")
    known = attribution.attribute(model, params, x) if scores is None else scores
    thresholds = [input_threshold] + [node_threshold] * (len(model.layers) - 1)
    alive, kept = _survivors(model, known, thresholds, edge_threshold)

    layers, pruned = [], []
    for i, (layer, p) in enumerate(zip(model.layers, params, strict=True)):
        follower = model.layers[i + 1] if i + 1 < len(model.layers) else None
        rows, columns = np.arange(len(alive[i])), np.arange(len(alive[i + 1]))
        if i > 0 and not _is_grouped(layer):
            rows = np.flatnonzero(alive[i])
        if follower is not None and not _is_grouped(follower):
            columns = np.flatnonzero(alive[i + 1])
        smaller, smaller_params = _select(layer, p, kept[i], rows, columns)
        layers.append(smaller)
        pruned.append(smaller_params)

    left = [np.flatnonzero(a) for a in alive]
    left[0] = np.flatnonzero(kept[0].any(axis=1))
    edges_left = int(sum(k.sum() for k in kept))
    return Pruned(model.with_layers(layers), tuple(pruned), tuple(left), edges_left)


def _survivors(
    model: KAN,
    scores: attribution.Attribution,
    thresholds: list[float],
    edge_threshold: float,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Which units and which edges stay.

    A hidden unit that loses all edges on one side goes, and may take others with it.
    """
    last = len(model.layers)
    targets = [multiplication.unit_of_sum(layer) for layer in model.layers]
    best = [values == np.max(values) for values in map(np.asarray, scores.nodes)]
    alive = [np.ones(width, bool) for width in model.widths]
    kept = []
    for i, layer in enumerate(model.layers):
        edges = np.asarray(scores.edges[i])
        is_factor = np.bincount(targets[i])[targets[i]] > 1
        strongest = is_factor & (edges == edges.max(axis=0)) & (edges > 0)
        kept.append(
            multiplication.alive(layer) & ((edges > edge_threshold) | strongest)
        )
        if i > 0 or thresholds[0] > 0:
            alive[i] = (np.asarray(scores.nodes[i]) > thresholds[i]) | best[i]
    while True:
        kept = [
            k & alive[i][:, None] & alive[i + 1][targets[i]] for i, k in enumerate(kept)
        ]
        linked_units = list(alive)
        for i in range(1, last):
            entered = np.zeros(len(alive[i]), bool)
            np.logical_or.at(entered, targets[i - 1], kept[i - 1].any(axis=0))
            linked = entered & kept[i].any(axis=1)
            linked_units[i] = alive[i] & (linked | best[i])
        if all(map(np.array_equal, linked_units, alive)):
            return alive, kept
        alive = linked_units


def _is_grouped(layer: multiplication.Layer) -> bool:
    inner = multiplication.learned(layer)
    return isinstance(inner, layers.RationalLayer) and inner.basis.groups > 1


def _select(
    layer: multiplication.Layer,
    params: Any,
    kept: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
) -> tuple[multiplication.Layer, dict[str, Array]]:
    """Return the layer on a part of its inputs and units, with the edges that are
    kept.
    """
    into = np.flatnonzero(np.isin(multiplication.unit_of_sum(layer), columns))
    inner = multiplication.learned(layer)
    selected = dict(params)
    if inner is not None:
        inner, selected = _select_learned(inner, selected, rows, into)
        mask = np.array(kept)
        for edge in multiplication.formulas(layer):
            mask[edge.source, edge.target] = False
        dtype = jax.tree.leaves(selected)[0].dtype
        mask = jax.device_put(mask[rows][:, into].astype(dtype))
        inner = dataclasses.replace(inner, mask=mask)
    if not isinstance(layer, multiplication.UnitLayer):
        assert inner is not None
        return inner, selected
    old = multiplication.formulas(layer)
    places = [i for i, e in enumerate(old) if kept[e.source, e.target]]
    row, column = ({int(was): now for now, was in enumerate(v)} for v in (rows, into))
    formulas = tuple(
        multiplication.FormulaEdge(row[e.source], column[e.target], e.function)
        for e in (old[i] for i in places)
    )
    if layer.formulas:
        selected["formulas"] = params["formulas"][np.array(places, int)]
    if not formulas:
        selected.pop("formulas", None)
    for name, index in (("sum", into), ("unit", columns)) if layer.affine else ():
        for end in ("scale", "shift"):
            selected[f"{name}_{end}"] = params[f"{name}_{end}"][index]
    products = int(np.sum(columns >= layer.out_features - layer.products))
    smaller = dataclasses.replace(
        layer,
        in_features=len(rows),
        sums=len(into),
        learned=inner,
        formulas=formulas,
        products=products,
    )
    return smaller, selected


def _select_learned(
    layer: multiplication.LearnedLayer,
    params: Any,
    rows: np.ndarray,
    columns: np.ndarray,
) -> tuple[multiplication.LearnedLayer, dict[str, Array]]:
    """Return the layer of learned edges on a part of its inputs and sums."""
    block = np.ix_(rows, columns)
    smaller = dataclasses.replace(
        layer, in_features=len(rows), out_features=len(columns)
    )
    if isinstance(smaller, layers.RationalLayer):
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
        knots = basis.knots if basis.knots.ndim == 1 else basis.knots[rows]
        smaller = dataclasses.replace(
            smaller, basis=dataclasses.replace(basis, knots=knots)
        )
    return smaller, selected
