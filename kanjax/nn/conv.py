"""A convolution over one, two or three spatial axes, channels last."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from kanjax import model
from kanjax.nn import checks, linear

Axes = dict[str, tuple[str | None, ...]]
Padding = str | tuple[tuple[int, int], ...]

_PADDINGS = ("SAME", "VALID", "CIRCULAR")
LAYOUTS = {1: ("NWC", "WIO"), 2: ("NHWC", "HWIO"), 3: ("NDHWC", "DHWIO")}


@model.dataclass
class Conv:
    """A convolution (cross-correlation) with a kernel of weights and a bias.

    Parameterizations are those of :class:`kanjax.nn.Dense`, with the inputs that one
    output sees, ``prod(kernel_size) * in_channels / groups``, for its ``in``.

    Args:
        in_channels: number of channels of the input; ``groups`` divides it.
        out_channels: number of channels of the output; ``groups`` divides it.
        kernel_size: the kernel's extent in each of 1 to 3 spatial axes.
        strides: steps between outputs, one number or one for each spatial axis.
        padding: "SAME" (zeros; ``ceil(size / stride)`` outputs), "VALID" (none),
            "CIRCULAR" (the image is a torus), or a (before, after) pair of numbers of
            zeros for each spatial axis.
        dilation: distance of the kernel's points, one number or one for each axis.
        groups: number of blocks of channels that do not see each other.
        use_bias: whether there is a bias; in the NTK parameterization only with a
            ``bias_scale`` above 0.
        parameterization: "standard" or "ntk".
        kernel_scale: the standard deviation of weights, times sqrt(fan-in).
        bias_scale: the standard deviation of biases.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> conv = Conv(3, 8, (3, 3), strides=2)
        >>> params = conv.init(jax.random.key(0))
        >>> params["kernel"].shape
        (3, 3, 3, 8)
        >>> conv.apply(params, jnp.ones((5, 32, 32, 3))).shape
        (5, 16, 16, 8)
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: Padding = "SAME"
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    use_bias: bool = True
    parameterization: linear.Parameterization = "standard"
    kernel_scale: float = 1.0
    bias_scale: float = 0.0

    def __post_init__(self) -> None:
        checks.check_positive(
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            groups=self.groups,
        )
        if not isinstance(self.kernel_size, tuple) or not 1 <= self._spatial <= 3:
            raise ValueError(
                "kernel_size must be a tuple of 1 to 3 integers, such as (3, 3); got "
                f"{self.kernel_size!r}."
            )
        for name in ("kernel_size", "strides", "dilation"):
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if isinstance(value, tuple) and len(value) != self._spatial:
                raise ValueError(
                    f"{name} must have one entry for each of the {self._spatial} "
                    f"spatial axes of kernel_size={self.kernel_size}; got {value}."
                )
            for i, entry in enumerate(values):
                checks.check_positive(
                    **{f"{name}[{i}]" if len(values) > 1 else name: entry}
                )
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"groups={self.groups} does not divide {name}="
                    f"{getattr(self, name)}; choose a divisor of both."
                )
        _check_padding(self.padding, self._spatial)
        linear.check_parameterization(
            self.parameterization, self.kernel_scale, self.bias_scale
        )

    @property
    def has_bias(self) -> bool:
        """Whether the parameters have a bias."""
        return linear.has_bias(self.use_bias, self.parameterization, self.bias_scale)

    @property
    def steps(self) -> tuple[int, ...]:
        """The strides, one for each spatial axis."""
        return self._each(self.strides)

    @property
    def dilations(self) -> tuple[int, ...]:
        """The distances of the kernel's points, one for each spatial axis."""
        return self._each(self.dilation)

    @property
    def _spatial(self) -> int:
        return len(self.kernel_size)

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "kernel" (*kernel_size, in / groups, out) and any "bias" (out,)."""
        return linear.init(
            key,
            (*self.kernel_size, self.in_channels // self.groups, self.out_channels),
            use_bias=self.use_bias,
            parameterization=self.parameterization,
            kernel_scale=self.kernel_scale,
            bias_scale=self.bias_scale,
        )

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., *spatial, in): (..., *spatial', out).

        Raises:
            ValueError: if x has too few axes, other channels, or is smaller than the
                kernel where the padding does not make up for it.
        """
        axes = self._spatial + 1
        if jnp.ndim(x) < axes or x.shape[-1] != self.in_channels:
            spatial = ", ".join(f"n{i + 1}" for i in range(self._spatial))
            raise ValueError(
                f"x must have shape (..., {spatial}, {self.in_channels}); got "
                f"{jnp.shape(x)}."
            )
        batch = x.shape[:-axes]
        images = x.reshape(math.prod(batch), *x.shape[-axes:])
        product = self._convolve(images, params["kernel"])
        if 0 in product.shape[1:]:
            raise ValueError(
                f"the kernel is larger than x: kernel_size={self.kernel_size} with "
                f"dilation={self.dilation} and padding={self.padding!r}, x of shape "
                f"{x.shape}. Pad, or use a smaller kernel."
            )
        return linear.output(
            product.reshape(*batch, *product.shape[1:]),
            params,
            parameterization=self.parameterization,
            kernel_scale=self.kernel_scale,
            bias_scale=self.bias_scale,
        )

    def _convolve(self, images: Array, kernel: Array) -> Array:
        dtype = jnp.result_type(images, kernel)
        padding = self.padding
        if padding == "CIRCULAR":
            widths = [
                around(padding, a, images.shape[a + 1], d * (k - 1) + 1, 1)
                for a, (k, d) in enumerate(
                    zip(self.kernel_size, self.dilations, strict=True)
                )
            ]
            images = jnp.pad(images, [(0, 0), *widths, (0, 0)], mode="wrap")
            padding = "VALID"
        layout, kernel_layout = LAYOUTS[self._spatial]
        return jax.lax.conv_general_dilated(
            images.astype(dtype),
            kernel.astype(dtype),
            window_strides=self.steps,
            padding=padding,
            rhs_dilation=self.dilations,
            dimension_numbers=(layout, kernel_layout, layout),
            feature_group_count=self.groups,
        )

    def mask_after(self, mask: Array) -> Array:
        """Return where windows have something at their centers."""
        extents = tuple(
            dilation * (size - 1) + 1
            for size, dilation in zip(self.kernel_size, self.dilations, strict=True)
        )
        return mask_of_centers(mask, extents, self.steps, self.padding)

    def _each(self, value: int | tuple[int, ...]) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * self._spatial

    def parameter_axes(self) -> Axes:
        """Return what the axes of each parameter run over.

        Raises:
            ValueError: if channels come in groups of more than one: they can only be
                reordered within their group.
        """
        if self.groups == 1:
            source, target = "in", "out"
        elif self.groups == self.in_channels == self.out_channels:
            source, target = None, "unit"
        else:
            raise ValueError(
                f"the channels of a convolution with groups={self.groups} are tied to "
                "their group, so no permutation of them all leaves it unchanged. Write "
                "the spec by hand."
            )
        axes: Axes = {"kernel": (*(None,) * self._spatial, source, target)}
        return axes | {"bias": (target,)} if self.has_bias else axes


def around(
    padding: Padding, axis: int, size: int, extent: int, stride: int
) -> tuple[int, int]:
    """How many positions are put before and after a spatial axis of that size.

    Args:
        padding: of the layer.
        axis: which of its spatial axes.
        size: the number of positions.
        extent: of a window, with what is between its points.
        stride: steps between windows.
    """
    if padding == "CIRCULAR":
        return (extent - 1) // 2, extent // 2
    if isinstance(padding, str):
        return jax.lax.padtype_to_pads((size,), (extent,), (stride,), padding)[0]
    return padding[axis]


def mask_of_centers(
    mask: Array, extents: tuple[int, ...], strides: tuple[int, ...], padding: Padding
) -> Bool[Array, "..."]:
    """Return what a mask has at the centers of windows.

    Args:
        mask: (..., *spatial).
        extents: of a window in each spatial axis, with what is between its points.
        strides: steps between windows.
        padding: of the layer.
    """
    for a, (extent, stride) in enumerate(zip(extents, strides, strict=True)):
        axis = a - len(extents)
        size = mask.shape[axis]
        before, after = around(padding, a, size, extent, stride)
        count = (size + before + after - extent) // stride + 1
        centers = np.arange(count) * stride + (extent - 1) // 2 - before
        mask = jnp.take(mask, np.clip(centers, 0, size - 1), axis)
    return mask


def _check_padding(padding: Padding, spatial: int) -> None:
    if isinstance(padding, str) and padding in _PADDINGS:
        return
    is_pairs = isinstance(padding, tuple) and all(
        isinstance(pair, tuple)
        and len(pair) == 2
        and all(isinstance(n, int) and n >= 0 for n in pair)
        for pair in padding
    )
    if not is_pairs or len(padding) != spatial:
        raise ValueError(
            f"padding must be one of {_PADDINGS} or a (before, after) pair for each of "
            f"the {spatial} spatial axes, in a tuple; got {padding!r}."
        )
