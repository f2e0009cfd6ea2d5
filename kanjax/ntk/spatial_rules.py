"""Infinite-width rules of layers that mix positions.

Novak et al. 2019, arXiv 1810.05148 (convolutional networks, with pooling and without);
Arora, Du, Hu, Li, Salakhutdinov, Wang 2019, arXiv 1904.11955 (their tangent kernel).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import nn
from kanjax.nn.conv import Padding
from kanjax.ntk.covariances import Covariances
from kanjax.ntk.rules import Propagate, Rule, Rules, weighted


def conv(layer: nn.Conv, k: Covariances, propagate: Propagate) -> Covariances:
    """``M(K)[i, i']``: the mean over the filter's offsets d of ``K[i + d, i' + d]``."""
    check_spatial(layer, k, len(layer.kernel_size))
    if layer.groups > 1:
        raise ValueError(
            f"{layer!r}: with groups, channels are not alike at infinite width; there "
            "is a rule for groups=1 only."
        )
    points = math.prod(layer.kernel_size)
    dilation, strides = (_each(v, k.spatial) for v in (layer.dilation, layer.strides))

    def mean(covariance: Array) -> Array:
        for a in range(k.spatial):
            axes = _axes(k, a, covariance)
            size = covariance.shape[axes[0]]
            extent = dilation[a] * (layer.kernel_size[a] - 1) + 1
            before, after = _padding(layer.padding, a, size, extent, strides[a])
            offsets = range(0, extent, dilation[a])
            mode = "wrap" if layer.padding == "CIRCULAR" else "constant"
            padded = _pad(covariance, axes, before, after, mode)
            count = (size + before + after - extent) // strides[a] + 1
            covariance = _shifted_sum(padded, axes, offsets, count, strides[a])
        return covariance / points

    fan_in = points * layer.in_channels
    return weighted(k, layer, fan_in, mean, channels=layer.out_channels)


def conv_transpose(
    layer: nn.ConvTranspose, k: Covariances, propagate: Propagate
) -> Covariances:
    """A convolution's mean, of covariances with zeros between the positions."""
    check_spatial(layer, k, len(layer.kernel_size))
    points = math.prod(layer.kernel_size)

    def mean(covariance: Array) -> Array:
        for a in range(k.spatial):
            axes = _axes(k, a, covariance)
            before, after = layer.zeros[a]
            inside = layer.steps[a] - 1
            config = [
                (before, after, inside) if axis in axes else (0, 0, 0)
                for axis in range(covariance.ndim)
            ]
            padded = jax.lax.pad(covariance, jnp.zeros((), covariance.dtype), config)
            count = padded.shape[axes[0]] - layer.kernel_size[a] + 1
            offsets = range(layer.kernel_size[a])
            covariance = _shifted_sum(padded, axes, offsets, count, 1)
        return covariance / points

    fan_in = points * layer.in_channels
    return weighted(k, layer, fan_in, mean, channels=layer.out_channels)


def conv_local(
    layer: nn.ConvLocal, k: Covariances, propagate: Propagate
) -> Covariances:
    """A convolution at equal positions, nothing between others."""
    shared = nn.Conv(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.strides,
        layer.padding,
        use_bias=layer.use_bias,
        parameterization=layer.parameterization,
        kernel_scale=layer.kernel_scale,
        bias_scale=layer.bias_scale,
    )
    return conv(shared, k.equal_positions(), propagate)


def tied_attention(
    layer: nn.TiedAttention, k: Covariances, propagate: Propagate
) -> Covariances:
    """``K <- w^2 G K G'^T + b^2``, with ``G = softmax(scale K)`` of each example.

    ``Theta <- w^2 G Theta G'^T + b^2 + 2 w^2 G K G'^T``: of the values' weights and of
    the output's; the keys' share vanishes in this scaling.
    """
    check_spatial(layer, k, 1)
    weight, bias = layer.kernel_scale**2, layer.bias_scale**2
    left, right = (jax.nn.softmax(layer.scale * c) for c in (k.first, k.second))

    def seen(a: Array, covariance: Array, b: Array) -> Array:
        return weight * (a @ covariance @ jnp.swapaxes(b, -1, -2))

    nngp = seen(left, k.nngp, right)
    return k.replace(
        nngp=nngp + bias,
        ntk=seen(left, k.ntk, right) + bias + 2 * nngp,
        first=seen(left, k.first, left) + bias,
        second=seen(right, k.second, right) + bias,
        channels=layer.out_features,
        centred=True,
        fresh=True,
    )


def attention(layer: nn.Attention, k: Covariances, propagate: Propagate) -> Covariances:
    """Refuse: scaled by the root of the head size, logits stay random at any width."""
    raise ValueError(
        f"{layer!r} has no closed-form kernel: its logits are random at infinite "
        "width. nn.TiedAttention has one; or sample finite networks with "
        "kj.ntk.empirical."
    )


def aggregate(layer: nn.Aggregate, k: Covariances, propagate: Propagate) -> Covariances:
    """``K <- A K A^T``, over the nodes of both examples."""
    check_spatial(layer, k, 1)

    def sums(covariance: Array) -> Array:
        weights = layer.weights.astype(covariance.dtype)
        return weights @ covariance @ weights.T

    return k.map(sums)


def flatten(layer: nn.Flatten, k: Covariances, propagate: Propagate) -> Covariances:
    """The mean over positions that are equal in both examples."""
    check_spatial(layer, k, layer.spatial)
    k = k.equal_positions()
    axes = tuple(range(k.examples, k.examples + k.spatial))
    channels = k.channels * math.prod(k.nngp.shape[a] for a in axes)
    return k.map(lambda c: jnp.mean(c, axes), spatial=0, channels=channels)


def global_pool(
    layer: nn.GlobalPool, k: Covariances, propagate: Propagate
) -> Covariances:
    """The mean, or the sum, over all pairs of positions."""
    check_spatial(layer, k, layer.spatial)
    axes = tuple(range(k.examples, k.examples + 2 * k.spatial))
    reduce = jnp.sum if layer.total else jnp.mean
    return k.map(lambda c: reduce(c, axes), spatial=0, pairs=False)


def pool(layer: nn.Pool, k: Covariances, propagate: Propagate) -> Covariances:
    """The mean, or the sum, over windows of both positions."""
    check_spatial(layer, k, len(layer.window))

    def reduce(covariance: Array) -> Array:
        for a in range(k.spatial):
            for axis in _axes(k, a, covariance):
                covariance = _pool_axis(layer, a, axis, covariance)
        return covariance

    return k.map(reduce)


def _pool_axis(layer: nn.Pool, a: int, axis: int, covariance: Array) -> Array:
    size, window, stride = covariance.shape[axis], layer.window[a], layer.steps[a]
    before, after = _padding(layer.padding, a, size, window, stride)
    count = (size + before + after - window) // stride + 1

    def total(values: Array, axis: int) -> Array:
        padded = _pad(values, (axis,), before, after, "constant")
        return _shifted_sum(padded, (axis,), range(window), count, stride)

    sums = total(covariance, axis)
    if layer.total:
        return sums
    if layer.count_padding:
        return sums / window
    shape = [1] * covariance.ndim
    shape[axis] = count
    return sums / total(jnp.ones(size, covariance.dtype), 0).reshape(shape)


def check_spatial(layer: object, k: Covariances, spatial: int) -> None:
    """Raise ``ValueError`` unless the values have that many spatial axes."""
    if k.spatial != spatial:
        raise ValueError(
            f"{layer!r} is for values with {spatial} spatial axes; here they have "
            f"{k.spatial}. The data must be (examples, {'n, ' * spatial}channels)."
        )


def _axes(k: Covariances, a: int, covariance: Array) -> tuple[int, ...]:
    """Where the a-th spatial axis is in a covariance: once or twice."""
    axis = k.examples + a
    return (axis, axis + k.spatial) if k.pairs else (axis,)


def _padding(
    padding: Padding, a: int, size: int, extent: int, stride: int
) -> tuple[int, int]:
    if padding == "CIRCULAR":
        return (extent - 1) // 2, extent // 2
    if isinstance(padding, str):
        return jax.lax.padtype_to_pads((size,), (extent,), (stride,), padding)[0]
    return padding[a]


def _pad(
    covariance: Array, axes: tuple[int, ...], before: int, after: int, mode: str
) -> Array:
    if before == after == 0:
        return covariance
    widths = [(before, after) if a in axes else (0, 0) for a in range(covariance.ndim)]
    return jnp.pad(covariance, widths, mode=mode)


def _shifted_sum(
    padded: Array, axes: tuple[int, ...], offsets: range, count: int, stride: int
) -> Array:
    """The sum over offsets of the values that far along all the axes."""
    total = None
    for offset in offsets:
        part = padded
        for axis in axes:
            stop = offset + stride * (count - 1) + 1
            part = jax.lax.slice_in_dim(part, offset, stop, stride, axis)
        total = part if total is None else total + part
    assert total is not None
    return total


def _each(value: int | tuple[int, ...], spatial: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * spatial


def _never(layer: object, behind: bool, needs: Callable) -> bool:
    return False


def _always(layer: object, behind: bool, needs: Callable) -> bool:
    return True


SPATIAL_RULES: Rules = {
    nn.Aggregate: Rule(aggregate, _always),
    nn.Attention: Rule(attention),
    nn.Conv: Rule(conv),
    nn.ConvLocal: Rule(conv_local, _never),
    nn.ConvTranspose: Rule(conv_transpose),
    nn.Flatten: Rule(flatten, _never),
    nn.GlobalPool: Rule(global_pool, _always),
    nn.Pool: Rule(pool, _always),
    nn.TiedAttention: Rule(tied_attention, _always),
}
