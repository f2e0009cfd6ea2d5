"""How much each edge, unit and input of a KAN matters.

Source: the attribution score of Liu et al. (2024), KAN 2.0, arXiv 2408.10205, section
4.1.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.kan import layer
from kanjax.kan.network import KAN

_FLOOR = 1e-4


class Attribution(NamedTuple):
    """Scores relative to the outputs, each of which has score 1.

    Attributes:
        inputs: (in,), the score of each input.
        nodes: for each layer of units, inputs first and outputs last, (units,).
        edges: for each layer, (in, out).
    """

    inputs: Array
    nodes: tuple[Array, ...]
    edges: tuple[Array, ...]


def edge_activations(
    model: KAN, params: Sequence[Any], x: Float[Array, "batch in"]
) -> tuple[Float[Array, "batch in out"], ...]:
    """The value of every edge's function at every sample, layer by layer.

    This is the one place that makes an array of batch * in * out numbers; it is meant
    for pictures and fits of a few hundred samples.
    """
    inputs = model.activations(params, x)
    return tuple(
        layer_edges(one, p, values)
        for one, p, values in zip(model.layers, params, inputs[:-1], strict=True)
    )


def layer_edges(
    one: layer.Layer, params: Any, x: Float[Array, "batch in"]
) -> Float[Array, "batch in out"]:
    """The value of every edge of one layer at every sample."""
    return jnp.einsum("bgi,gio->bio", one.features(params, x), one.weights(params))


@jax.jit
def attribute(
    model: KAN, params: Sequence[Any], x: Float[Array, "batch in"]
) -> Attribution:
    """Scores of edges, units and inputs, from the outputs back to the inputs.

    With A_io the standard deviation of edge (i, o) over the samples and N_o that of
    unit o, an edge's score is ``A_io score_o / N_o`` and a unit's score the sum of its
    outgoing edges' scores.

    Raises:
        ValueError: if x is not (batch, in).
    """
    if jnp.ndim(x) != 2:
        raise ValueError(f"x must be (batch, in); got shape {jnp.shape(x)}.")
    values = model.activations(params, x)
    score = jnp.ones(model.widths[-1], x.dtype)
    nodes, edges = [score], []
    for i in reversed(range(len(model.layers))):
        spread = _edge_deviation(model.layers[i], params[i], values[i])
        unit_spread = jnp.std(values[i + 1], axis=0)
        edges.append(spread * score / (unit_spread + _FLOOR))
        score = jnp.sum(edges[-1], axis=1)
        nodes.append(score)
    return Attribution(score, tuple(reversed(nodes)), tuple(reversed(edges)))


def _edge_deviation(
    one: layer.Layer, params: Any, x: Float[Array, "batch in"]
) -> Float[Array, "in out"]:
    """The standard deviation of every edge, from the covariance of its features.

    An edge is linear in its input's features, so a (rows, rows) covariance an input
    replaces the values of all edges at all samples.
    """
    features = one.features(params, x)
    centered = features - jnp.mean(features, axis=0)
    covariance = jnp.einsum(
        "bgi,bhi->igh", centered, centered, precision="highest"
    ) / len(x)
    weights = one.weights(params)
    variance = jnp.einsum(
        "gio,igh,hio->io", weights, covariance, weights, precision="highest"
    )
    return jnp.sqrt(jnp.maximum(variance, 0))
