"""Formulas in the place of a network's edges.

Source: Liu et al. (2024), KAN 2.0, arXiv 2408.10205: edges that a symbolic function has
taken the place of.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kanjax.kan import layers, multiplication
from kanjax.kan.affine_fit import Fit
from kanjax.kan.library import check_names
from kanjax.kan.networks import KAN, Params


class Edge(NamedTuple):
    """One edge of a network and what it looks like."""

    layer: int
    source: int
    target: int
    fit: Fit


def freeze(
    model: KAN, params: Sequence[Any], edges: Sequence[Edge]
) -> tuple[KAN, Params]:
    """Put formulas in the place of edges, and leave the rest as it is.

    The formulas' a, b, c and d are parameters, trained like all others. A layer without
    a learned edge left loses the arrays of its expansion.

    Args:
        model: a KAN.
        params: its parameters.
        edges: what takes the place of which edge, from
            :func:`kanjax.kan.symbolic.fit_edges`, or e.g.
            ``Edge(0, 1, 0, Fit("sin", (1.0, 0.0, 1.0, 0.0), 1.0))``.

    Raises:
        ValueError: for an edge that the model does not have, an unknown function, or
            two formulas for one edge.
    """
    check_names([edge.fit.name for edge in edges] or None)
    for edge in edges:
        if not 0 <= edge.layer < len(model.layers):
            raise ValueError(
                f"there is no layer {edge.layer}; the model has {len(model.layers)}."
            )
    layers, frozen = [], []
    for i, (layer, p) in enumerate(zip(model.layers, params, strict=True)):
        chosen = [edge for edge in edges if edge.layer == i]
        smaller, q = _freeze_layer(layer, p, chosen, i) if chosen else (layer, p)
        layers.append(smaller)
        frozen.append(q)
    return model.with_layers(layers), tuple(frozen)


def frozen_edges(index: int, layer: multiplication.Layer, params: Any) -> list[Edge]:
    """Return a layer's edges that are formulas, with their trained constants."""
    edges = []
    for edge, row in zip(
        multiplication.formulas(layer), params.get("formulas", ()), strict=True
    ):
        a, b, c, d = map(float, row)
        fit = Fit(edge.function, (a, b, c, d), 1.0)
        edges.append(Edge(index, edge.source, edge.target, fit))
    return edges


def _freeze_layer(
    layer: multiplication.Layer, params: Any, edges: Sequence[Edge], index: int
) -> tuple[multiplication.UnitLayer, dict[str, Array]]:
    chosen = {(edge.source, edge.target): edge.fit for edge in edges}
    new = [multiplication.FormulaEdge(e.source, e.target, e.fit.name) for e in edges]
    multiplication.check_formulas(
        new, layer.in_features, multiplication.sums(layer), f"layer {index}"
    )
    kept = [
        (edge, row)
        for edge, row in zip(
            multiplication.formulas(layer), params.get("formulas", ()), strict=True
        )
        if edge[:2] not in chosen
    ]
    inner, q = multiplication.learned(layer), dict(params)
    # A layer that has lost all edges may have no parameters.
    dtype = jnp.result_type(*(jax.tree.leaves(params) or [float]))
    coefficients = [jnp.asarray(fit.coefficients, dtype) for fit in chosen.values()]
    if inner is not None:
        is_learned = multiplication.alive(inner)
        for source, target in (*chosen, *(edge[:2] for edge, _ in kept)):
            is_learned[source, target] = False
        inner = dataclasses.replace(inner, mask=jnp.asarray(is_learned, dtype))
        if not is_learned.any() and isinstance(inner, layers.KANLayer):
            inner = None
            q.pop("coef")
            q.pop("residual", None)
    q["formulas"] = jnp.stack([*(row for _, row in kept), *coefficients])
    unit_layer = multiplication.UnitLayer(
        layer.in_features,
        multiplication.sums(layer),
        inner,
        (*(e for e, _ in kept), *new),
    )
    if isinstance(layer, multiplication.UnitLayer):
        unit_layer = dataclasses.replace(
            unit_layer, products=layer.products, arity=layer.arity, affine=layer.affine
        )
    return unit_layer, q
