"""Sums over the neighbours in a graph: one for all examples, or each with its own.

Du, Hou, Poczos, Salakhutdinov, Wang, Xu 2019, arXiv 1905.13192 (graph kernels).
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.checks import as_floating
from kanjax.nn import checks, pooling


@model.dataclass
class Edges:
    """A graph as the list of its edges, in place of its matrix.

    Args:
        senders: (..., edges), integer: the node that each edge comes from.
        receivers: (..., edges), integer: the node that it goes to. An edge with an
            index that is not a node's, such as -1, is not there.
        weights: (..., edges), 1 for all edges if None; those between the same nodes
            add up.
    """

    senders: Array = model.child()
    receivers: Array = model.child()
    weights: Array | None = model.child(default=None)


Graph = Array | Edges


@model.dataclass
class Aggregate:
    """Each node's new features are a weighted sum over the nodes: ``y = weights x``.

    Args:
        weights: (new nodes, nodes), not trained: row i says what node i takes from each
            node; an adjacency matrix, with ones on its diagonal for the node itself,
            or one that is normalised. Or :class:`Edges`. With axes over examples before
            these each example has a graph of its own; None is the graph that a
            :class:`GraphNetwork` is given.
        spatial: the number of axes of positions; of several all positions are nodes,
            row by row.

    Examples:
        >>> import jax.numpy as jnp
        >>> path = jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
        >>> Aggregate(path).apply((), jnp.ones((3, 2)))[:, 0].tolist()
        [2.0, 3.0, 2.0]
    """

    weights: Graph | None = model.child(default=None)
    spatial: int = 1

    def __post_init__(self) -> None:
        checks.check_positive(spatial=self.spatial)

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """Return the sums for x (..., *nodes, features)."""
        if self.weights is None:
            raise ValueError(
                "Aggregate() has no graph: give it weights, or put the network in a "
                "GraphNetwork, which takes pairs (x, graph)."
            )
        pooling.check_spatial(x, self.spatial)
        x = as_floating(x)
        nodes = x.shape[-self.spatial - 1 : -1]
        flat = x.reshape(*x.shape[: -self.spatial - 1], math.prod(nodes), x.shape[-1])
        y = neighbors(self.weights, flat)
        after = self.positions(nodes, y.shape[-2])
        return y.reshape(*y.shape[:-2], *after, y.shape[-1])

    def mask_after(self, mask: Array) -> Array:
        """Of nodes that stay the same; of new ones, where they take anything."""
        graph = self.weights
        nodes = math.prod(mask.shape[-self.spatial :])
        if graph is None or isinstance(graph, Edges) or graph.shape[-2] == nodes:
            return mask
        there = (graph != 0).astype(int), mask[..., None].astype(int)
        return neighbors(*there)[..., 0] > 0

    def positions(self, nodes: tuple[int, ...], new: int) -> tuple[int, ...]:
        """Return the axes of that many new nodes, in the place of those of the
        nodes.
        """
        if new == math.prod(nodes):
            return nodes
        if self.spatial > 1:
            raise ValueError(
                f"of {self.spatial} axes of positions, {nodes}, weights must give as "
                f"many again; got {new}."
            )
        return (new,)

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: features pass in their order."""
        return ()


@model.dataclass
class GraphNetwork:
    """A network of examples that each bring a graph of their own.

    Its data are pairs: ``apply(params, (x, graph))``, with x (n, nodes, features) and a
    graph (n, nodes, nodes), or :class:`Edges` of (n, edges), that goes to each
    ``Aggregate()`` without weights.

    Args:
        network: a model of x.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model, nn
        >>> layers = (nn.Aggregate(), nn.Dense(4, 8), nn.GlobalPool(1))
        >>> net = nn.GraphNetwork(model.Sequential(layers))
        >>> data = jnp.ones((5, 3, 4)), jnp.ones((5, 3, 3))
        >>> net.apply(net.init(jax.random.key(0)), data).shape
        (5, 8)
    """

    network: model.Model = model.child()

    def init(self, key: Array) -> model.Params:
        """Draw the network's parameters."""
        return self.network.init(key)

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> model.State:
        """Give the network's state, with the leading axes of x."""
        return model.initial_state(self.network, batch_shape)

    def apply(
        self,
        params: model.Params,
        x: Any,
        *,
        state: model.State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """Return the network's outputs for a pair of x (n, ...) and n graphs.

        With a state the result is ``(y, new state)``.
        """
        if not isinstance(x, tuple) or len(x) != 2:
            raise ValueError(
                f"a GraphNetwork takes pairs (x, graph); got {type(x).__name__}."
            )
        nodes, graph = x
        network = self.with_graph(graph)
        if state is None:
            return network.apply(params, nodes, key=key)
        return model.apply(network, params, nodes, state=state, key=key, train=train)

    def with_graph(self, graph: Graph) -> model.Model:
        """Return the network with the graph where it is missing."""

        def fill(layer: Any) -> Any:
            bare = isinstance(layer, Aggregate) and layer.weights is None
            return dataclasses.replace(layer, weights=graph) if bare else layer

        return jax.tree.map(
            fill, self.network, is_leaf=lambda layer: isinstance(layer, Aggregate)
        )


def neighbors(
    graph: Graph, x: Array, precision: str | None = None
) -> Float[Array, "*batch nodes features"]:
    """Return the sums over the neighbours of each node, for x (..., nodes, features).

    Raises:
        ValueError: if the graph is one of another number of nodes.
    """
    if isinstance(graph, Edges):
        ones = jnp.ones(graph.senders.shape) if graph.weights is None else graph.weights
        # The same graph for all examples: axes of length 1 are written, not repeated.
        axes = tuple(range(jnp.ndim(x) - 1 - graph.senders.ndim))
        ends = (graph.senders, graph.receivers, ones.astype(x.dtype))
        return _sums(*(jnp.expand_dims(each, axes) for each in ends), x)
    nodes = graph.shape[-1]
    if jnp.ndim(x) < 2 or x.shape[-2] != nodes:
        raise ValueError(
            f"x must have shape (..., {nodes}, features); got {jnp.shape(x)}."
        )
    return jnp.matmul(graph.astype(x.dtype), x, precision=precision)


@functools.partial(jnp.vectorize, signature="(e),(e),(e),(n,c)->(n,c)")
def _sums(senders: Array, receivers: Array, weights: Array, x: Array) -> Array:
    nodes = x.shape[0]
    ends = jnp.stack([senders, receivers])
    there = jnp.all((ends >= 0) & (ends < nodes), axis=0)
    sent = jnp.where(there[:, None], weights[:, None] * x[senders], 0)
    return jax.ops.segment_sum(sent, jnp.where(there, receivers, 0), nodes)
