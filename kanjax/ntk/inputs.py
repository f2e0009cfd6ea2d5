"""What a kernel of infinite width is given: examples, their masks and their graphs."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from kanjax import nn
from kanjax.ntk import blockwise
from kanjax.ntk.covariances import Covariances
from kanjax.ntk.per_example import Reader, Writer

# Of a block's covariance.
_CPU_ENTRIES = 2**16
_ENTRIES = 2**22


class Examples(NamedTuple):
    """One set of examples.

    Attributes:
        x: (n, features), (n, *spatial, channels) or tokens (n, *spatial).
        mask: (n, *spatial) or None.
        graph: (n, ...) or None.
        index: (n,), which of the one set they are that both sides are from, or None.
        notes: of each example by itself, beginning with (n,), as a ``Writer`` has them.
    """

    x: Array
    mask: Array | None = None
    graph: Any = None
    index: Array | None = None
    notes: Any = None


def read(
    model: Any, x1: Any, x2: Any, mask1: Any, mask2: Any, diagonal: bool
) -> tuple[Examples, Examples | None]:
    """Both sets, masks in both if there is one in either.

    Raises:
        ValueError: if they do not fit each other or the model.
    """
    first = _split_masks(model, "x1", x1)
    second = None if x2 is None else _split_masks(model, "x2", x2)
    _check_data(first.x, None if second is None else second.x, diagonal)
    if mask1 is None and mask2 is None:
        return first, second
    if second is None and mask2 is not None:
        raise ValueError("mask2 goes with x2; without it give mask1 alone.")
    first = first._replace(mask=_mask("mask1", mask1, first.x))
    if second is not None:
        second = second._replace(mask=_mask("mask2", mask2, second.x))
    return first, second


def _split_masks(model: Any, name: str, x: Any) -> Examples:
    """Return the examples, and the graphs that a graph network takes with them."""

    def takes_graphs(node: Any) -> bool:
        return isinstance(node, nn.GraphNetwork)

    parts = jax.tree.leaves(model, is_leaf=takes_graphs)
    wanted, has_graph = any(map(takes_graphs, parts)), isinstance(x, tuple)
    if wanted != has_graph:
        raise ValueError(
            f"{name} must be a pair (x, graph) for a nn.GraphNetwork, and an array for "
            f"any other model; got {type(x).__name__} for {model!r}."
        )
    if not has_graph:
        return Examples(jnp.asarray(x))
    x, graph = jnp.asarray(x[0]), jax.tree.map(jnp.asarray, x[1])
    _check_graph(name, x, graph)
    return Examples(x, graph=graph)


def _check_graph(name: str, x: Array, graph: Any) -> None:
    n, nodes = x.shape[0], math.prod(_positions(x))
    shapes = [leaf.shape for leaf in jax.tree.leaves(graph)]
    if isinstance(graph, nn.Edges):
        wanted = f"({n}, edges)"
        fits = all(len(shape) == 2 and shape == shapes[0] for shape in shapes)
        fits = fits and shapes[0][0] == n
    else:
        wanted = f"{(n, nodes, nodes)}"
        fits = shapes == [(n, nodes, nodes)]
    if not fits:
        raise ValueError(
            f"{name} is a pair of x {x.shape} and a graph of {shapes}; one graph for "
            f"each example has the shape {wanted}."
        )


def _positions(x: Array) -> tuple[int, ...]:
    tokens = jnp.issubdtype(x.dtype, jnp.integer)
    return x.shape[1:] if tokens else x.shape[1:-1]


def covariances(
    first: Examples,
    two: Examples,
    pairs: bool,
    diagonal: bool,
    tape: Writer | Reader,
) -> Covariances:
    """Return the covariances of the data: means over channels of products."""
    x1, mask1, graph1, index1, _ = first
    x2, mask2, graph2, index2, _ = two
    tokens = jnp.issubdtype(x1.dtype, jnp.integer)
    spatial = x1.ndim - (1 if tokens else 2)
    pairs = pairs and spatial > 0
    if mask1 is not None and mask2 is not None and not tokens:
        x1, x2 = (
            jnp.where(mask[..., None], x, 0) for x, mask in ((x1, mask1), (x2, mask2))
        )
    product = functools.partial(_product, spatial, pairs, tokens)
    if diagonal:
        nngp = jax.vmap(product)(x1, x2)
    else:
        nngp = jax.vmap(jax.vmap(product, (None, 0)), (0, None))(x1, x2)
        mask1, graph1 = _expanded((mask1, graph1), 1)
        mask2, graph2 = _expanded((mask2, graph2), 0)
    itself = None
    if index1 is not None and index2 is not None:
        itself = index1 == index2 if diagonal else index1[:, None] == index2[None]
    return Covariances(
        nngp=nngp,
        ntk=jnp.zeros_like(nngp),
        examples=1 if diagonal else 2,
        spatial=spatial,
        channels=1 if tokens else x1.shape[-1],
        pairs=pairs,
        itself=itself,
        first_mask=mask1,
        second_mask=mask2,
        graphs=None if graph1 is None else (graph1, graph2),
        data=None if spatial or tokens else (x1, x2),
        tape=tape,
    ).masked()


def _expanded(values: Any, axis: int) -> Any:
    return jax.tree.map(lambda leaf: jnp.expand_dims(leaf, axis), values)


def _product(spatial: int, pairs: bool, tokens: bool, a: Array, b: Array) -> Array:
    """Of two examples: 1 for equal tokens, or the mean over channels of products."""
    if tokens:
        if pairs:
            ones = (1,) * spatial
            a, b = a.reshape(*a.shape, *ones), b.reshape(*ones, *b.shape)
        return (a == b).astype(jnp.result_type(float))
    if pairs:
        total = jnp.tensordot(a, b, (-1, -1), precision="highest")
    else:
        total = jnp.einsum("...c,...c->...", a, b, precision="highest")
    return total / a.shape[-1]


def _check_data(x1: Array, x2: Array | None, diagonal: bool) -> None:
    if x1.ndim < 1 or x1.shape[0] == 0:
        raise ValueError(
            f"x1 has shape {x1.shape}; it must be (n1, features) or (n1, *spatial, "
            "channels), with at least one example."
        )
    if jnp.issubdtype(x1.dtype, jnp.floating) and x1.ndim < 2:
        raise ValueError(
            f"x1 has shape {x1.shape}; it must be (n1, features): use x1[:, None] for "
            "one feature."
        )
    if x2 is None:
        return
    if x2.shape[1:] != x1.shape[1:] or x2.dtype != x1.dtype:
        raise ValueError(
            f"x1 and x2 must be of one kind; x1 is {x1.dtype}{x1.shape}, x2 is "
            f"{x2.dtype}{x2.shape}."
        )
    if diagonal and x2.shape != x1.shape:
        raise ValueError(
            f"diagonal=True takes pairs (x1[i], x2[i]): {x1.shape[0]} examples against "
            f"{x2.shape[0]}."
        )


def check_fits(model: Any, examples: Examples) -> None:
    """Raise ``ValueError`` unless the network of finite width takes the examples.

    Covariances know no widths, so that another number of features would give a kernel
    without a word. Both sets are of one kind, so one is enough.
    """
    x = examples.x if examples.graph is None else (examples.x, examples.graph)

    def finite(key: Array, x: Any) -> Array:
        return model.apply(model.init(key), x)

    try:
        jax.eval_shape(finite, jax.random.key(0), x)
    except (TypeError, ValueError) as error:
        shape = examples.x.shape
        raise ValueError(
            f"x1 has shape {shape}, which the model does not take: {error}"
        ) from error


def _mask(name: str, mask: Any, x: Array) -> Array:
    shape = x.shape[:1] + _positions(x)
    mask = jnp.ones(shape, bool) if mask is None else jnp.asarray(mask)
    if mask.dtype != jnp.bool_ or mask.shape != shape or len(shape) < 2:
        raise ValueError(
            f"{name} is {mask.dtype}{mask.shape}; it must be boolean and of the shape "
            f"(examples, *positions) of its data, here {shape}."
        )
    return mask


def batch_size(
    first: Examples,
    second: Examples | None,
    pairs: bool,
    diagonal: bool,
    mesh: Mesh | None,
) -> int:
    """How many examples a side have covariances that a CPU's cache holds.

    Small blocks are quick on a CPU, and of one set few of them are computed twice;
    other devices want larger ones.
    """
    if mesh is None and _is_spread(first.x):
        return max(examples.x.shape[0] for examples in (first, second or first))
    entries = _CPU_ENTRIES if jax.default_backend() == "cpu" else _ENTRIES
    most = max(1, entries // _entries(first, pairs))
    return most if diagonal else math.isqrt(most)


def _is_spread(x: Array) -> bool:
    return not isinstance(x, jax.core.Tracer) and len(x.sharding.device_set) > 1


def _entries(examples: Examples, pairs: bool) -> int:
    """Of the covariance of two examples."""
    return math.prod(_positions(examples.x)) ** (2 if pairs else 1)


def check_memory(
    first: Examples,
    second: Examples | None,
    pairs: bool,
    diagonal: bool,
    batch_size: int,
) -> None:
    """Raise ``ValueError`` if kernels or a block's covariances exceed the memory."""
    sizes = [examples.x.shape[0] for examples in (first, second or first)]
    rows = [min(n, batch_size) for n in sizes]
    size = first.x.dtype.itemsize
    blockwise.check_memory(
        2 * (sizes[0] if diagonal else sizes[0] * sizes[1]) * size,
        f"the kernels of {sizes[0]} by {sizes[1]} examples",
        lambda share: "kj.ntk.rows_product multiplies with one without forming it.",
    )
    positions = _entries(first, pairs)
    blockwise.check_memory(
        2 * (rows[0] if diagonal else rows[0] * rows[1]) * positions * size,
        f"the covariances of {rows[0]} by {rows[1]} examples with {positions} pairs of "
        "positions",
        lambda share: (
            f"Give batch_size={max(1, int(min(rows) * share**0.5 / 2))} or less."
        ),
    )
