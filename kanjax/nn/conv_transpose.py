"""The transpose of a convolution in its input, which makes images larger."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, conv, linear, pooling

_PADDINGS = ("SAME", "VALID")


@model.dataclass
class ConvTranspose:
    """A convolution of the image with ``strides - 1`` zeros between its pixels.

    As ``jax.lax.conv_transpose`` has it. Parameterizations are those of
    :class:`kanjax.nn.Conv`, whose fan-in is ``prod(kernel_size) * in_channels``, too.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        kernel_size: the kernel's extent in each of 1 to 3 spatial axes.
        strides: how many times larger the output is, one number or one for each axis.
        padding: "SAME" (``size * stride`` outputs) or "VALID" (all that an input
            reaches).
        use_bias: whether there is a bias; in the NTK parameterization only with a
            ``bias_scale`` above 0.
        parameterization: "standard" or "ntk".
        kernel_scale: the standard deviation of weights, times sqrt(fan-in).
        bias_scale: the standard deviation of biases.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = ConvTranspose(3, 8, (3, 3), strides=2)
        >>> params = layer.init(jax.random.key(0))
        >>> layer.apply(params, jnp.ones((5, 4, 4, 3))).shape
        (5, 8, 8, 8)
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: str = "SAME"
    use_bias: bool = True
    parameterization: linear.Parameterization = "standard"
    kernel_scale: float = 1.0
    bias_scale: float = 0.0

    def __post_init__(self) -> None:
        if self.padding not in _PADDINGS:
            raise ValueError(
                f"padding must be one of {_PADDINGS}; got {self.padding!r}."
            )
        # The checks of sizes are those of a convolution.
        conv.Conv(self.in_channels, self.out_channels, self.kernel_size, self.strides)
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
        if isinstance(self.strides, tuple):
            return self.strides
        return (self.strides,) * len(self.kernel_size)

    @property
    def zeros(self) -> tuple[tuple[int, int], ...]:
        """How many zeros come before and after each spatial axis."""
        pairs = zip(self.kernel_size, self.steps, strict=True)
        return tuple(self._zeros(extent, stride) for extent, stride in pairs)

    def _zeros(self, extent: int, stride: int) -> tuple[int, int]:
        total = extent + stride - 2
        if self.padding == "VALID":
            return extent - 1, total + max(extent - stride, 0) - (extent - 1)
        before = extent - 1 if stride > extent - 1 else -(-total // 2)
        return before, total - before

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "kernel" (*kernel_size, in, out) and any "bias" (out,)."""
        return linear.init(
            key,
            (*self.kernel_size, self.in_channels, self.out_channels),
            use_bias=self.use_bias,
            parameterization=self.parameterization,
            kernel_scale=self.kernel_scale,
            bias_scale=self.bias_scale,
        )

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., *spatial, in): (..., *spatial',
        out).
        """
        spatial = len(self.kernel_size)
        pooling.check_spatial(x, spatial)
        checks.check_last_axis(x, self.in_channels)
        layout, kernel_layout = conv.LAYOUTS[spatial]
        batch = x.shape[: -spatial - 1]
        images = x.reshape(-1, *x.shape[-spatial - 1 :])
        dtype = jnp.result_type(images, params["kernel"])
        product = jax.lax.conv_general_dilated(
            images.astype(dtype),
            params["kernel"].astype(dtype),
            window_strides=(1,) * spatial,
            padding=self.zeros,
            lhs_dilation=self.steps,
            dimension_numbers=(layout, kernel_layout, layout),
        )
        return linear.output(
            product.reshape(*batch, *product.shape[1:]),
            params,
            parameterization=self.parameterization,
            kernel_scale=self.kernel_scale,
            bias_scale=self.bias_scale,
        )

    def mask_after(self, mask: Array) -> Array:
        """Return where no kernel reaches a position that has nothing."""
        lead = mask.ndim - len(self.kernel_size)
        ones = (1,) * lead
        missing = jax.lax.reduce_window(
            (~mask).astype(jnp.int32),
            np.int32(0),
            jax.lax.add,
            (*ones, *self.kernel_size),
            (1,) * mask.ndim,
            ((0, 0),) * lead + self.zeros,
            base_dilation=(*ones, *self.steps),
        )
        return missing == 0

    def parameter_axes(self) -> conv.Axes:
        """Return what the axes of each parameter run over."""
        axes: conv.Axes = {"kernel": (*(None,) * len(self.kernel_size), "in", "out")}
        return axes | {"bias": ("out",)} if self.has_bias else axes
