"""Convolutions whose kernel is a layer of learned univariate functions.

Sources: Bodner et al. (2024), Convolutional KANs, arXiv 2406.13155; Yang et al. (2024),
arXiv 2408.08338, whose small classifier is here.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

import pallas_kernels
from kanjax import bases, model, nn
from kanjax.checks import as_floating
from kanjax.kan.layers import KANLayer
from kanjax.nn import conv


@model.dataclass
class KANConv:
    """One layer applied to every patch of an image, channels last.

    The basis functions of a whole image are stored only if they are no more than the
    kernel's points, so no more than patches. More of them, that inputs share, are
    evaluated once at each place, where strides are 1 and outputs not very many; any
    other layer sees patches that are cut. Zeros of the padding are values like others:
    a basis need not vanish there.

    Args:
        layer: maps a patch to the output channels of one group. Its inputs are the
            kernel's points in row-major order and, for each, the group's channels.
            Knots that its basis has are shared, or each input's own.
        kernel_size: the kernel's extent in each of 1 to 3 spatial axes.
        strides: steps between outputs, one number or one for each spatial axis.
        padding: "SAME", "VALID", "CIRCULAR", or a (before, after) pair of numbers of
            zeros for each spatial axis, as of :class:`kanjax.nn.Conv`.
        dilation: distance of the kernel's points, one number or one for each axis.
        groups: blocks of channels that do not see each other, each with parameters of
            its own for the layer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import kan
        >>> net = kan.KANConv(kan.KANLayer(9 * 3, 8), (3, 3), strides=2)
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.ones((5, 32, 32, 3))).shape
        (5, 16, 16, 8)
    """

    layer: Any = model.child()
    kernel_size: tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: conv.Padding = "SAME"
    dilation: int | tuple[int, ...] = 1
    groups: int = 1

    def __post_init__(self) -> None:
        # jax rebuilds models with placeholders for their layers.
        inputs = getattr(self.layer, "in_features", None)
        if not isinstance(inputs, int):
            return
        if isinstance(self.kernel_size, tuple) and inputs % self._taps:
            raise ValueError(
                f"the layer has {inputs} inputs, which the {self._taps} points of "
                f"kernel_size={self.kernel_size} do not divide; give it "
                f"{self._taps} inputs for each channel of a group."
            )
        _ = self.geometry

    @property
    def geometry(self) -> conv.Conv:
        """The convolution by numbers of the same shape; it has checked all sizes."""
        per_group = self.layer.in_features // self._taps
        return conv.Conv(
            per_group * self.groups,
            self.layer.out_features * self.groups,
            self.kernel_size,
            self.strides,
            self.padding,
            self.dilation,
            self.groups,
        )

    @property
    def _taps(self) -> int:
        return math.prod(self.kernel_size)

    def init(self, key: Array) -> Any:
        """Draw the layer's parameters, with a leading axis over several groups."""
        if self.groups == 1:
            return self.layer.init(key)
        return jax.vmap(self.layer.init)(jax.random.split(key, self.groups))

    def apply(
        self, params: Any, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., *spatial, in): (..., *spatial', out).

        Raises:
            ValueError: if x has too few axes, other channels, or is smaller than the
                kernel where the padding does not make up for it.
        """
        values, room = self._pad(x)
        functions = getattr(self.layer, "shared_functions", None)
        if functions is not None and functions.size <= self._taps:
            values = values.reshape(*values.shape[:-1], self.groups, -1)
            function = self._convolve
        elif functions is not None and self._has_few_products(functions.size):
            values = values.reshape(*values.shape[:-1], self.groups, -1)
            function = functools.partial(self._shift, room)
        else:
            values, function = self._cut(values, room), self.layer.apply
        if self.groups == 1:
            return function(params, values[..., 0, :])
        y = jax.vmap(function, (0, -2), -2)(params, values)
        return y.reshape(*y.shape[:-2], -1)

    def _has_few_products(self, functions: int) -> bool:
        """Whether what a place weighs for all points is half its functions' values or
        less.

        It is stored in place of patches, and all strides are 1. With more of it patches
        are as fast.
        """
        channels = self.layer.in_features // self._taps
        products = self._taps * self.layer.out_features
        return set(self.geometry.steps) == {1} and 2 * products <= functions * channels

    def _convolve(self, params: Any, x: Array) -> Array:
        """Convolve the functions' values, of which there are no more than in patches.

        Args:
            params: the layer's.
            x: padded images (..., *spatial, channels of a group).
        """
        values = self.layer.shared_functions(x, axis=-2)
        weights = self.layer.joined_weights(params)
        rows, inputs, outputs = weights.shape
        channels = inputs // self._taps
        kernel = weights.reshape(rows, self._taps, channels, outputs).swapaxes(0, 1)
        plain = conv.Conv(
            rows * channels,
            outputs,
            self.kernel_size,
            self.strides,
            "VALID",
            self.dilation,
            use_bias=False,
        )
        kernel = kernel.reshape(*self.kernel_size, rows * channels, outputs)
        values = values.reshape(*values.shape[:-2], rows * channels)
        return plain.apply({"kernel": kernel}, values)

    def _shift(self, room: Sequence[int], params: Any, x: Array) -> Array:
        """Weigh each place for all points of the kernel, and add up what these see.

        Args:
            room: of each spatial axis, by how much the result is longer than 1.
            params: the layer's.
            x: padded images (..., *spatial, channels of a group).
        """
        layer, taps = self.layer, self._taps
        weights = layer.joined_weights(params)
        rows, inputs, outputs = weights.shape
        weights = weights.reshape(rows, taps, inputs // taps, outputs)
        weights = weights.swapaxes(1, 2).reshape(rows, -1, taps * outputs)
        values = pallas_kernels.expansion_dot(x, weights, layer.shared_functions)
        # Split, not indexed: a gradient then joins what it would else add up, padded.
        each = zip(jnp.split(values, taps, axis=-1), self._windows(room), strict=True)
        views = [value[(..., *window, slice(None))] for value, window in each]
        return functools.reduce(jnp.add, views)

    def _windows(self, room: Sequence[int]) -> Iterator[list[slice]]:
        """Give the places that each point of the kernel sees, of padded images."""
        shape = self.geometry
        for point in itertools.product(*map(range, self.kernel_size)):
            axes = zip(point, shape.dilations, room, shape.steps, strict=True)
            yield [slice(p * d, p * d + r + 1, s) for p, d, r, s in axes]

    def patches(self, x: Array) -> Float[Array, "*batch groups inputs"]:
        """Return what the layer sees, for images x (..., *spatial, in).

        Returns:
            (..., *spatial', groups, layer.in_features).
        """
        return self._cut(*self._pad(x))

    def _cut(self, x: Array, room: Sequence[int]) -> Array:
        views = [x[(..., *window, slice(None))] for window in self._windows(room)]
        cut = jnp.stack(views, axis=-2)
        cut = cut.reshape(*cut.shape[:-1], self.groups, -1)
        cut = cut.swapaxes(-3, -2)
        return cut.reshape(*cut.shape[:-2], self.layer.in_features)

    def _pad(self, x: Array) -> tuple[Array, list[int]]:
        """Pad images, and say how far the kernel can move in each axis."""
        x, shape, spatial = as_floating(x), self.geometry, len(self.kernel_size)
        channels = shape.in_channels
        if x.ndim < spatial + 1 or x.shape[-1] != channels:
            names = ", ".join(f"n{i + 1}" for i in range(spatial))
            raise ValueError(
                f"x must have shape (..., {names}, {channels}); got {x.shape}."
            )
        batch, sizes = x.shape[: -spatial - 1], x.shape[-spatial - 1 : -1]
        extents = [
            d * (k - 1) + 1
            for d, k in zip(shape.dilations, self.kernel_size, strict=True)
        ]
        widths = [
            conv.around(self.padding, axis, *each)
            for axis, each in enumerate(zip(sizes, extents, shape.steps, strict=True))
        ]
        room = [
            size + sum(width) - extent
            for size, width, extent in zip(sizes, widths, extents, strict=True)
        ]
        if min(room) < 0:
            raise ValueError(
                f"the kernel is larger than x: kernel_size={self.kernel_size} with "
                f"dilation={self.dilation} and padding={self.padding!r}, x of spatial "
                f"shape {sizes}. Pad, or use a smaller kernel."
            )
        mode = "wrap" if self.padding == "CIRCULAR" else "constant"
        x = jnp.pad(x, [*[(0, 0)] * len(batch), *widths, (0, 0)], mode=mode)
        return x, room


def kan_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, ...],
    basis: bases.Basis | None = None,
    **options: Any,
) -> KANConv:
    """Describe a convolution with one basis, from the numbers of its channels.

    Args:
        in_channels: of the images.
        out_channels: of the result.
        kernel_size: the kernel's extent in each of 1 to 3 spatial axes.
        basis: of every edge; None is a cubic B-spline.
        **options: strides, padding, dilation and groups of :class:`KANConv`.

    Examples:
        >>> from kanjax import bases, kan
        >>> kan.kan_conv(3, 16, (3, 3), bases.Chebyshev(4)).layer.in_features
        27
    """
    inputs, outputs = per_group(in_channels, out_channels, kernel_size, options)
    basis = bases.BSpline() if basis is None else basis
    return KANConv(KANLayer(inputs, outputs, basis), kernel_size, **options)


def per_group(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, ...],
    options: dict[str, Any],
) -> tuple[int, int]:
    """Return the inputs and the outputs of the layer of one group, from checked
    sizes.
    """
    conv.Conv(in_channels, out_channels, kernel_size, **options)
    groups = options.get("groups", 1)
    return math.prod(kernel_size) * in_channels // groups, out_channels // groups


def image_classifier(
    image_shape: tuple[int, int, int],
    classes: int,
    convolution: Callable[..., model.Model] = kan_conv,
    *,
    widths: tuple[int, ...] = (10, 20),
    kernel_size: int = 5,
    hidden: int = 50,
) -> model.Sequential:
    """Describe a small classifier of images, as in Yang et al.'s published code.

    Convolutions without padding, each halved by pooling (here of means), and a
    perceptron of what is left.

    Args:
        image_shape: (height, width, channels).
        classes: number of outputs.
        convolution: makes a layer of (in_channels, out_channels, kernel_size,
            padding="VALID"): :func:`kan_conv`, ``kanjax.kan.selection.selectable_conv``
            or :class:`kanjax.nn.Conv`.
        widths: the channels after each convolution.
        kernel_size: the edge of the kernels.
        hidden: units of the perceptron.

    Raises:
        ValueError: if nothing is left of the image.
    """
    *sizes, channels = image_shape
    layers: list[model.Model] = []
    for width in widths:
        kernel = (kernel_size, kernel_size)
        layers.append(convolution(channels, width, kernel, padding="VALID"))
        layers.append(nn.Pool((2, 2)))
        sizes = [(size - kernel_size + 1) // 2 for size in sizes]
        channels = width
    if min(sizes) < 1:
        raise ValueError(
            f"nothing is left of an image of {image_shape[:2]} after {len(widths)} "
            f"convolutions with kernel_size={kernel_size}; give a smaller kernel or "
            "fewer widths."
        )
    flat = math.prod(sizes) * channels
    return model.Sequential((*layers, nn.Flatten(2), nn.MLP((flat, hidden, classes))))
