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
from kanjax.nn.conv import around
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
    dilation, strides = layer.dilations, layer.steps

    def mean(covariance: Array) -> Array:
        widths = [(0, 0)] * covariance.ndim
        offsets, counts = [], []
        for a, window in enumerate(layer.kernel_size):
            axes = _axes(k, a)
            size, extent = covariance.shape[axes[0]], dilation[a] * (window - 1) + 1
            width = around(layer.padding, a, size, extent, strides[a])
            for axis in axes:
                widths[axis] = width
            offsets.append(range(0, extent, dilation[a]))
            counts.append((size + sum(width) - extent) // strides[a] + 1)
        mode = "wrap" if layer.padding == "CIRCULAR" else "constant"
        # All axes are padded before the sums, which XLA then makes in one pass.
        total = jnp.pad(covariance, widths, mode=mode)
        for a in range(k.spatial):
            axes = _axes(k, a)
            total = _shifted_sum(total, axes, offsets[a], counts[a], strides[a])
        return total / points

    fan_in = points * layer.in_channels
    return weighted(k, layer, fan_in, mean, channels=layer.out_channels)


def conv_transpose(
    layer: nn.ConvTranspose, k: Covariances, propagate: Propagate
) -> Covariances:
    """Return a convolution's mean, of covariances with zeros between the positions."""
    check_spatial(layer, k, len(layer.kernel_size))
    points = math.prod(layer.kernel_size)

    def mean(covariance: Array) -> Array:
        widths = [(0, 0, 0)] * covariance.ndim
        for a, (before, after) in enumerate(layer.zeros):
            for axis in _axes(k, a):
                widths[axis] = before, after, layer.steps[a] - 1
        total = jax.lax.pad(covariance, jnp.zeros((), covariance.dtype), widths)
        for a, window in enumerate(layer.kernel_size):
            axes = _axes(k, a)
            count = total.shape[axes[0]] - window + 1
            total = _shifted_sum(total, axes, range(window), count, 1)
        return total / points

    fan_in = points * layer.in_channels
    return weighted(k, layer, fan_in, mean, channels=layer.out_channels)


def conv_local(
    layer: nn.ConvLocal, k: Covariances, propagate: Propagate
) -> Covariances:
    """Return a convolution at equal positions, nothing between others."""
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


def einsum(layer: nn.Einsum, k: Covariances, propagate: Propagate) -> Covariances:
    """Return the same map of the positions of both examples: ``K <- A K A^T``."""
    before, of_weights, after = layer.letters
    check_spatial(layer, k, len(before))
    primed = layer.subscripts.upper() if k.pairs else layer.subscripts
    theirs, their_weights, their_after = primed.replace("->", ",").split(",")
    later, left = (theirs, their_after) if k.pairs else ("", "")
    subscripts = f"...{before}{later},{of_weights},{their_weights}->...{after}{left}"

    def both(covariance: Array) -> Array:
        weights = layer.weights.astype(covariance.dtype)
        return jnp.einsum(subscripts, covariance, weights, weights, precision="highest")

    pairs = k.pairs and len(after) > 0
    return k.map(both, spatial=len(after), pairs=pairs)


def _of_contraction(
    layer: nn.Einsum, later: bool, needs: Callable[[object, bool], bool]
) -> bool:
    before, _, after = layer.letters
    return later or not set(before) <= set(after)


def flatten(layer: nn.Flatten, k: Covariances, propagate: Propagate) -> Covariances:
    """Return the mean over positions that are equal in both examples."""
    check_spatial(layer, k, layer.spatial)
    k = k.equal_positions()
    axes = tuple(range(k.examples, k.examples + k.spatial))
    channels = k.channels * math.prod(k.nngp.shape[a] for a in axes)
    return k.map(lambda c: jnp.mean(c, axes), spatial=0, channels=channels)


def global_pool(
    layer: nn.GlobalPool, k: Covariances, propagate: Propagate
) -> Covariances:
    """Return the mean, or the sum, over all pairs of positions."""
    check_spatial(layer, k, layer.spatial)
    positions = k.nngp.shape[k.examples : k.examples + k.spatial]
    axes = tuple(range(k.examples, k.examples + 2 * k.spatial))
    first, second = k.first_mask, k.second_mask
    k = k.map(lambda c: jnp.sum(c, axes), spatial=0, pairs=False)
    if layer.total:
        return k
    once = axes[: len(axes) // 2]
    if first is None or second is None:
        sizes = (math.prod(positions),) * 2
    else:
        # Of an example with nothing in it the sum is 0, and so the mean.
        sizes = [jnp.maximum(jnp.sum(m, once), 1) for m in (first, second)]
    left, right = sizes
    return k.map(lambda c: c / (left * right))


def pool(layer: nn.Pool, k: Covariances, propagate: Propagate) -> Covariances:
    """Return the mean, or the sum, over windows of both positions."""
    check_spatial(layer, k, len(layer.window))

    def reduce(covariance: Array) -> Array:
        for a in range(k.spatial):
            for axis in _axes(k, a):
                covariance = _pool_axis(layer, a, axis, covariance)
        return covariance

    return k.map(reduce)


def _pool_axis(layer: nn.Pool, a: int, axis: int, covariance: Array) -> Array:
    size, window, stride = covariance.shape[axis], layer.window[a], layer.steps[a]
    before, after = around(layer.padding, a, size, window, stride)
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


def resize(layer: nn.Resize, k: Covariances, propagate: Propagate) -> Covariances:
    """Return a fixed linear map of each axis: ``K <- R K R^T``."""
    check_spatial(layer, k, len(layer.shape))

    def moved(values: Array, a: int, axes: tuple[int, ...]) -> Array:
        matrix = layer.matrix(a, values.shape[axes[0]]).astype(values.dtype)
        for axis in axes:
            product = jnp.tensordot(matrix, values, (1, axis), precision="highest")
            values = jnp.moveaxis(product, 0, axis)
        return values

    def all_axes(covariance: Array) -> Array:
        for a in range(k.spatial):
            covariance = moved(covariance, a, _axes(k, a))
        return covariance

    return k.map(all_axes)


def index(layer: nn.Index, k: Covariances, propagate: Propagate) -> Covariances:
    """Return the same positions of covariances; an axis of one position goes."""
    check_spatial(layer, k, len(layer.positions))
    examples = (slice(None),) * k.examples
    chosen = layer.slices
    both = chosen * 2 if k.pairs else chosen
    left = sum(isinstance(index, slice) for index in chosen)
    after = k.map(lambda c: c[(*examples, *both)], spatial=left)
    return after.replace(pairs=k.pairs and left > 0)


def check_spatial(layer: object, k: Covariances, spatial: int) -> None:
    """Raise ``ValueError`` unless the values have that many spatial axes."""
    if k.spatial != spatial:
        raise ValueError(
            f"{layer!r} is for values with {spatial} spatial axes; here they have "
            f"{k.spatial}. The data must be (examples, {'n, ' * spatial}channels)."
        )


def _axes(k: Covariances, a: int) -> tuple[int, ...]:
    """Where the a-th spatial axis is in a covariance: once or twice."""
    axis = k.examples + a
    return (axis, axis + k.spatial) if k.pairs else (axis,)


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
    """Return the sum over offsets of the values that far along all the axes."""
    total = None
    for offset in offsets:
        window = padded
        for axis in axes:
            stop = offset + stride * (count - 1) + 1
            window = jax.lax.slice_in_dim(window, offset, stop, stride, axis)
        total = window if total is None else total + window
    assert total is not None
    return total


def needs_never(layer: object, later: bool, needs: Callable) -> bool:
    return False


def needs_always(layer: object, later: bool, needs: Callable) -> bool:
    return True


SPATIAL_RULES: Rules = {
    nn.Conv: Rule(conv),
    nn.ConvLocal: Rule(conv_local, needs_never),
    nn.ConvTranspose: Rule(conv_transpose),
    nn.Einsum: Rule(einsum, _of_contraction),
    nn.Flatten: Rule(flatten, needs_never),
    nn.GlobalPool: Rule(global_pool, needs_always),
    nn.Index: Rule(index),
    nn.Pool: Rule(pool, needs_always),
    nn.Resize: Rule(resize, needs_always),
}
