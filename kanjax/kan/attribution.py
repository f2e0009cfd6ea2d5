"""How much each edge, unit and input of a KAN matters.

Source: the attribution score of Liu et al. (2024), KAN 2.0, arXiv 2408.10205, section
4.1.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import checks
from kanjax.kan import multiplication
from kanjax.kan.networks import KAN
from kanjax.scales import safe_scale

# Where edges cancel, their scores are bounded by one over this.
_CANCELLED = 1e-4


class Attribution(NamedTuple):
    """Scores relative to the outputs, each of which has score 1.

    Attributes:
        inputs: (in,), the score of each input.
        nodes: for each layer of units, inputs first and outputs last, (units,).
        edges: for each layer, (in, sums); there are as many sums as units, unless some
            units multiply.
    """

    inputs: Array
    nodes: tuple[Array, ...]
    edges: tuple[Array, ...]


def edge_activations(
    model: KAN, params: Sequence[Any], x: Float[Array, "batch in"]
) -> tuple[Float[Array, "batch _ _"], ...]:
    """Return the value of every edge's function at every sample, layer by layer.

    This is the one place that makes an array of batch * in * out numbers; it is meant
    for pictures and fits of a few hundred samples.

    Args:
        model: the network.
        params: its parameters.
        x: (batch, in).
    """
    inputs = model.activations(params, x)
    return tuple(
        layer_edges(layer, p, values)
        for layer, p, values in zip(model.layers, params, inputs[:-1], strict=True)
    )


def layer_edges(
    layer: multiplication.Layer, params: Any, x: Float[Array, "batch in"]
) -> Float[Array, "batch in sums"]:
    """Return the value of every edge of one layer at every sample.

    Args:
        layer: a layer of a network.
        params: its parameters.
        x: (batch, in) of the layer.
    """
    x, inner = checks.as_floating(x), multiplication.learned(layer)
    if inner is None:
        values = jnp.zeros((*x.shape, multiplication.sums(layer)), x.dtype)
    else:
        features, weights = inner.features(params, x), inner.weights(params)
        values = jnp.einsum("bgi,gio->bio", features, weights)
    if isinstance(layer, multiplication.UnitLayer) and layer.formulas:
        sources, targets = _places(layer)
        values = values.at[:, sources, targets].add(layer.formula_values(params, x))
    return values


@jax.jit
def attribute(
    model: KAN, params: Sequence[Any], x: Float[Array, "batch in"]
) -> Attribution:
    """Scores of edges, units and inputs, from the outputs back to the inputs.

    With A_io the standard deviation of edge (i, o) over the samples and N_o that of
    sum o, an edge's score is ``A_io score_o / N_o`` and a unit's score the sum of its
    outgoing edges' scores. Each sum of a product has the product's score. N_o is
    at least 1e-4 of the largest A_io, for edges that cancel; the edges into a sum that
    does not vary have a score of 0. No unit of measurement matters.

    Raises:
        TypeError: if the model is no KAN.
        ValueError: if x is not (batch, in).
    """
    if not isinstance(model, KAN):
        raise TypeError(
            f"model must be a KAN; got a {type(model).__name__}. The order is "
            "attribute(model, params, x)."
        )
    if jnp.ndim(x) != 2:
        raise ValueError(f"x must be (batch, in); got shape {jnp.shape(x)}.")
    values = model.activations(params, x)
    score = jnp.ones(model.widths[-1], values[0].dtype)
    nodes, edges = [score], []
    for i in reversed(range(len(model.layers))):
        layer = model.layers[i]
        spread = edge_deviation(layer, params[i], values[i])
        score = score[multiplication.unit_of_sum(layer)]
        total = multiplication.sum_values(layer, params[i], values[i])
        edges.append(spread * (score / _denominator(spread, total))[None])
        score = jnp.sum(edges[-1], axis=1)
        nodes.append(score)
    return Attribution(score, tuple(reversed(nodes)), tuple(reversed(edges)))


def _denominator(
    spread: Float[Array, "in sums"], total: Float[Array, "batch sums"]
) -> Float[Array, " sums"]:
    """Return the deviations of sums, infinite for those that differ by round-off
    alone.
    """
    eps = jnp.finfo(total.dtype).eps
    size = jnp.max(jnp.abs(total), axis=0)
    size = jnp.where(size > 0, size, 1.0)
    deviation = size * jnp.std(total / size[None], axis=0)
    largest = jnp.max(spread, axis=0)
    differ = jnp.maximum(deviation, largest) > 10 * eps * size
    return jnp.where(differ, jnp.maximum(deviation, _CANCELLED * largest), jnp.inf)


def edge_deviation(
    layer: multiplication.Layer, params: Any, x: Float[Array, "batch in"]
) -> Float[Array, "in sums"]:
    """Return the standard deviation of every edge over the samples."""
    inner = multiplication.learned(layer)
    if inner is None:
        spread = jnp.zeros((layer.in_features, multiplication.sums(layer)), x.dtype)
    else:
        spread = learned_deviation(inner, params, x)
    if isinstance(layer, multiplication.UnitLayer) and layer.formulas:
        formula_spread = jnp.std(layer.formula_values(params, x), axis=0)
        spread = spread.at[_places(layer)].add(formula_spread)
    return spread


def learned_deviation(
    layer: multiplication.LearnedLayer, params: Any, x: Float[Array, "batch in"]
) -> Float[Array, "in sums"]:
    """Return the standard deviation of every learned edge, from its features'
    covariance.

    An edge is linear in its input's features, so a (rows, rows) covariance an input
    replaces the values of all edges at all samples.
    """
    features, weights = layer.features(params, x), layer.weights(params)
    # Weights in units of their own, so that squares neither vanish nor overflow.
    unit = safe_scale(weights)
    weights = weights / unit
    centered = features - jnp.mean(features, axis=0, keepdims=True)
    covariance = jnp.einsum(
        "bgi,bhi->igh", centered, centered, precision="highest"
    ) / len(x)
    variance = jnp.einsum(
        "gio,igh,hio->io", weights, covariance, weights, precision="highest"
    )
    # The inner where keeps the gradient finite at edges that are zero; what is not
    # finite fails the comparison, and shows.
    is_null = variance <= 0
    root = jnp.sqrt(jnp.where(is_null, 1, variance))
    return jnp.where(is_null, 0, unit * root)


def _places(layer: multiplication.UnitLayer) -> tuple[np.ndarray, np.ndarray]:
    sources, targets, _ = zip(*layer.formulas, strict=True)
    return np.array(sources), np.array(targets)
