"""Networks of examples of which some positions have nothing, such as padded words."""

import functools
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import model
from kanjax.nn import conv, pooling, tied_attention
from kanjax.nn.aggregate import Aggregate, Edges, GraphNetwork, neighbors
from kanjax.nn.attention import Attention
from kanjax.nn.conv import Conv
from kanjax.nn.conv_local import ConvLocal
from kanjax.nn.conv_transpose import ConvTranspose
from kanjax.nn.einsum import Einsum
from kanjax.nn.linear_attention import LinearAttention
from kanjax.nn.pooling import Flatten, GlobalPool, Pool
from kanjax.nn.resize import Index, Resize
from kanjax.nn.tied_attention import TiedAttention
from kanjax.nn.transformer import TransformerBlock

Mask = Array | None
Values = tuple[Array, Mask]


@model.dataclass
class Masked:
    """A network of examples of which some positions have nothing.

    Its data are pairs: ``apply(params, (x, mask))``, with x (n, *positions, channels)
    or tokens (n, *positions), and a boolean mask (n, *positions), True where there is
    something; what x has elsewhere is not read. Of a ``GraphNetwork``, x is a pair
    itself. Masked positions are zeroed after every layer; ``GlobalPool`` averages over,
    and attention attends to, unmasked positions. The output of a convolution or of
    pooling is unmasked where the center of its window is; that of a transposed
    convolution where its window holds no masked input.

    ``kj.ntk.infinite(network)(x, mask1=mask)`` is the limit of it.

    Args:
        network: of layers of :mod:`kanjax.nn`, in ``Sequential``, ``Residual``,
            ``Parallel``, ``Product``, ``Concatenate`` or ``GraphNetwork``. Any other
            layer must take what is zero for what is not there; one that moves
            positions must say how in :func:`mask_after`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model, nn
        >>> net = model.Sequential((nn.Attention(4, heads=2), nn.GlobalPool(1)))
        >>> params = net.init(jax.random.key(0))
        >>> words = jax.random.normal(jax.random.key(1), (1, 5, 4))
        >>> mask = jnp.array([[True, True, True, False, False]])
        >>> y = nn.Masked(net).apply(params, (words, mask))
        >>> bool(jnp.allclose(y, net.apply(params, words[:, :3]), atol=1e-6))
        True
    """

    network: model.Model = model.child()

    def init(self, key: Array) -> model.Params:
        """Draw the network's parameters."""
        return self.network.init(key)

    def apply(self, params: model.Params, x: Any, *, key: Array | None = None) -> Array:
        """Return the network's outputs for a pair of x and its mask.

        Raises:
            ValueError: if it is no such pair, or for a layer that moves positions and
                does not say where something is behind it.
        """
        if not isinstance(x, tuple) or len(x) != 2:
            raise ValueError(
                f"a Masked network takes pairs (x, mask); got {type(x).__name__}."
            )
        values, mask = x[0], jnp.asarray(x[1])
        network = self.network
        if isinstance(network, GraphNetwork):
            values, graph = values
            network = network.with_graph(graph)
        values = jnp.asarray(values)
        tokens = jnp.issubdtype(values.dtype, jnp.integer)
        shape = values.shape if tokens else values.shape[:-1]
        if mask.dtype != jnp.bool_ or mask.shape != shape:
            raise ValueError(
                f"the mask is {mask.dtype}{mask.shape}; it must be boolean and have "
                f"the shape {shape} of the positions of x."
            )
        there = mask if tokens else mask[..., None]
        return _through(network, params, jnp.where(there, values, 0), mask, key)[0]


@functools.singledispatch
def mask_after(layer: Any, mask: Array) -> Mask:
    """Where there is something behind a layer, given where there was before it.

    By class of layer: ``mask_after.register(MyLayer)`` takes a function for one of your
    own that moves positions.

    Args:
        layer: such as a convolution.
        mask: (..., *positions).

    Returns:
        (..., *new positions), or None if no positions are left.
    """
    return mask


@mask_after.register(Conv)
@mask_after.register(ConvLocal)
def _behind_conv(layer: Any, mask: Array) -> Array:
    spatial = len(layer.kernel_size)
    dilations = layer.dilations if isinstance(layer, Conv) else (1,) * spatial
    for a, window in enumerate(layer.kernel_size):
        extent = dilations[a] * (window - 1) + 1
        mask = _centers(mask, a - spatial, extent, layer.steps[a], layer.padding, a)
    return mask


@mask_after.register
def _behind_pool(layer: Pool, mask: Array) -> Array:
    spatial = len(layer.window)
    for a, extent in enumerate(layer.window):
        mask = _centers(mask, a - spatial, extent, layer.steps[a], layer.padding, a)
    return mask


def _centers(
    mask: Array, axis: int, extent: int, stride: int, padding: conv.Padding, a: int
) -> Array:
    size = mask.shape[axis]
    before, after = conv.around(padding, a, size, extent, stride)
    count = (size + before + after - extent) // stride + 1
    centers = np.arange(count) * stride + (extent - 1) // 2 - before
    return jnp.take(mask, np.clip(centers, 0, size - 1), axis)


@mask_after.register
def _behind_conv_transpose(layer: ConvTranspose, mask: Array) -> Array:
    """Where no kernel reaches a position that has nothing."""
    lead = mask.ndim - len(layer.kernel_size)
    ones = (1,) * lead
    missing = jax.lax.reduce_window(
        (~mask).astype(jnp.int32),
        np.int32(0),
        jax.lax.add,
        (*ones, *layer.kernel_size),
        (1,) * mask.ndim,
        ((0, 0),) * lead + layer.zeros,
        base_dilation=(*ones, *layer.steps),
    )
    return missing == 0


@mask_after.register
def _behind_resize(layer: Resize, mask: Array) -> Array:
    share = mask.astype(float)
    for a in range(-len(layer.shape), 0):
        matrix = layer.matrix(a, mask.shape[a])
        moved = jnp.tensordot(matrix, share, (1, a), precision="highest")
        share = jnp.moveaxis(moved, 0, a)
    return share != 0


@mask_after.register
def _behind_index(layer: Index, mask: Array) -> Mask:
    left = any(isinstance(index, slice) for index in layer.slices)
    return mask[(..., *layer.slices)] if left else None


@mask_after.register
def _behind_einsum(layer: Einsum, mask: Array) -> Mask:
    before, of_weights, after = layer.letters
    if not after:
        return None
    there = mask.astype(int), (layer.weights != 0).astype(int)
    return jnp.einsum(f"...{before},{of_weights}->...{after}", *there) > 0


@mask_after.register
def _behind_aggregate(layer: Aggregate, mask: Array) -> Array:
    """Of nodes that stay the same; of new ones, where they take anything."""
    graph = layer.weights
    nodes = math.prod(mask.shape[-layer.spatial :])
    if graph is None or isinstance(graph, Edges) or graph.shape[-2] == nodes:
        return mask
    there = (graph != 0).astype(int), mask[..., None].astype(int)
    return neighbors(*there)[..., 0] > 0


@mask_after.register(Flatten)
@mask_after.register(GlobalPool)
def _behind_all(layer: Any, mask: Array) -> None:
    return None


@functools.singledispatch
def _through(
    layer: Any, params: Any, x: Array, mask: Array, key: Array | None
) -> Values:
    y = layer.apply(params, x, key=key)
    after = mask_after(layer, mask)
    if after is None:
        return y, None
    if y.shape[:-1] != after.shape:
        raise ValueError(
            f"positions {after.shape} go into {layer!r} and {y.shape[:-1]} come out: "
            "say where there is something after it with nn.masked.mask_after.register."
        )
    return _zeroed(y, after), after


def _zeroed(y: Array, mask: Array) -> Array:
    return jnp.where(mask[..., None], y, 0)


@_through.register
def _through_global_pool(
    layer: GlobalPool, params: Any, x: Array, mask: Array, key: Array | None
) -> Values:
    pooling.check_spatial(x, layer.spatial)
    total = jnp.sum(x, tuple(range(-layer.spatial - 1, -1)))
    if layer.total:
        return total, None
    # Of an example with nothing in it the sum is 0, and so the mean.
    count = jnp.sum(mask, tuple(range(-layer.spatial, 0)))
    return total / jnp.maximum(count, 1).astype(x.dtype)[..., None], None


@_through.register(Attention)
@_through.register(TransformerBlock)
def _through_attention(
    layer: Any, params: Any, x: Array, mask: Array, key: Array | None
) -> Values:
    looks = jnp.broadcast_to(mask[..., None, :], (*mask.shape, mask.shape[-1]))
    return _zeroed(layer.apply(params, x, key=key, mask=looks), mask), mask


@_through.register
def _through_tied_attention(
    layer: TiedAttention, params: Any, x: Array, mask: Array, key: Array | None
) -> Values:
    source = _source(layer, params, x, mask, key)
    return _zeroed(layer.attend(params, x, source, mask), mask), mask


@_through.register
def _through_linear_attention(
    layer: LinearAttention, params: Any, x: Array, mask: Array, key: Array | None
) -> Values:
    source = _source(layer, params, x, mask, key)
    return _zeroed(layer.attend(params, x, source), mask), mask


def _source(layer: Any, params: Any, x: Array, mask: Array, key: Array | None) -> Array:
    tied_attention.check_tokens(x, layer.features, layer.spatial)
    if layer.key_model is None:
        return x
    return _through(layer.key_model, params["key_model"], x, mask, key)[0]


@_through.register
def _through_sequential(
    layer: model.Sequential, params: Any, x: Array, mask: Array, key: Array | None
) -> Values:
    values: Values = x, mask
    keys = model.split(key, len(layer.layers))
    for sublayer, p, k in zip(layer.layers, params, keys, strict=True):
        y, there = values
        if there is None:
            values = sublayer.apply(p, y, key=k), None
        else:
            values = _through(sublayer, p, y, there, k)
    return values


@_through.register
def _through_residual(
    layer: model.Residual, params: Any, x: Array, mask: Array, key: Array | None
) -> Values:
    y, after = _through(layer.branch, params, x, mask, key)
    return x + y, _union([mask, after])


@_through.register(model.Parallel)
@_through.register(model.Product)
@_through.register(model.Concatenate)
def _through_branches(
    layer: Any, params: Any, x: Array, mask: Array, key: Array | None
) -> Values:
    keys = model.split(key, len(layer.branches))
    outputs, masks = zip(
        *(
            _through(branch, p, x, mask, k)
            for branch, p, k in zip(layer.branches, params, keys, strict=True)
        ),
        strict=True,
    )
    return layer.join(list(outputs)), _union(masks)


def _union(masks: Any) -> Mask:
    """Something is wherever one of the branches has something."""
    if any(mask is None for mask in masks):
        return None
    return functools.reduce(operator.or_, masks)
