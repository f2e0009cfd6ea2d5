"""Infinite-width rules of sums over the neighbours in a graph.

Du, Hou, Poczos, Salakhutdinov, Wang, Xu 2019, arXiv 1905.13192.
"""

import math

import jax.numpy as jnp
from jax import Array

from kanjax import nn
from kanjax.nn.aggregate import Graph, neighbors
from kanjax.ntk.covariances import Covariances
from kanjax.ntk.rules import Propagate, Rule, Rules
from kanjax.ntk.spatial_rules import check_spatial, needs_always


def aggregate(layer: nn.Aggregate, k: Covariances, propagate: Propagate) -> Covariances:
    """``K <- A K A'^T``, over the nodes of both examples and the graph of each."""
    check_spatial(layer, k, layer.spatial)
    left, right = _graphs(layer, k)
    positions = k.nngp.shape[k.examples : k.examples + k.spatial]
    nodes = math.prod(positions)

    def sums(covariance: Array) -> Array:
        examples = covariance.shape[: k.examples]
        values = covariance.reshape(*examples, nodes, nodes)
        for graph in (left, right):
            values = jnp.swapaxes(neighbors(graph, values, "highest"), -1, -2)
        after = layer.positions(positions, values.shape[-1])
        return values.reshape(*values.shape[:-2], *after, *after)

    return k.map(sums)


def _graphs(layer: nn.Aggregate, k: Covariances) -> tuple[Graph, Graph]:
    if layer.weights is None:
        if k.graphs is None:
            raise ValueError(
                "Aggregate() has no graph: give it weights, or put the network in a "
                "nn.GraphNetwork and give the kernel pairs (x, graph)."
            )
        return k.graphs
    if isinstance(layer.weights, nn.Edges):
        shared = layer.weights.senders.ndim == 1
    else:
        shared = layer.weights.ndim == 2
    if not shared:
        raise ValueError(
            f"{layer!r} has a graph for each example: use Aggregate() in a "
            "nn.GraphNetwork, and give the kernel pairs (x, graph)."
        )
    return layer.weights, layer.weights


def graph_network(
    layer: nn.GraphNetwork, k: Covariances, propagate: Propagate
) -> Covariances:
    """Return the network's rules, with the graphs of the examples."""
    return propagate(layer.network, k)


GRAPH_RULES: Rules = {
    nn.Aggregate: Rule(aggregate, needs_always),
    nn.GraphNetwork: Rule(
        graph_network, lambda layer, later, needs: needs(layer.network, later)
    ),
}
