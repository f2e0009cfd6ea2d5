"""A locally connected layer: a convolution with weights of each position's own."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, conv, linear, pooling


@model.dataclass
class ConvLocal:
    """A convolution whose kernel and bias differ from position to position.

    Parameterizations are those of :class:`kanjax.nn.Conv`.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        size: the input's extent in each of 1 to 3 spatial axes.
        kernel_size: the kernel's extent in each of them.
        strides: steps between outputs, one number or one for each spatial axis.
        padding: "SAME" (zeros) or "VALID" (none).
        use_bias: whether there is a bias; in the NTK parameterization only with a
            ``bias_scale`` above 0.
        parameterization: "standard" or "ntk".
        kernel_scale: the standard deviation of weights, times sqrt(fan-in).
        bias_scale: the standard deviation of biases.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = ConvLocal(3, 8, (6, 6), (3, 3))
        >>> params = layer.init(jax.random.key(0))
        >>> params["kernel"].shape, params["bias"].shape
        ((6, 6, 27, 8), (6, 6, 8))
    """

    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: str = "SAME"
    use_bias: bool = True
    parameterization: linear.Parameterization = "standard"
    kernel_scale: float = 1.0
    bias_scale: float = 0.0

    def __post_init__(self) -> None:
        if self.padding not in ("SAME", "VALID"):
            raise ValueError(
                f"padding must be one of ('SAME', 'VALID'); got {self.padding!r}."
            )
        # The checks of sizes are those of a convolution.
        conv.Conv(self.in_channels, self.out_channels, self.kernel_size, self.strides)
        if len(self.size) != len(self.kernel_size) or 0 in self.out_size:
            raise ValueError(
                f"size must have one entry for each axis of kernel_size="
                f"{self.kernel_size}, none smaller than the kernel; got {self.size}."
            )
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
    def out_size(self) -> tuple[int, ...]:
        """The output's extent in each spatial axis."""
        short = (0,) * len(self.size) if self.padding == "SAME" else self.kernel_size
        return tuple(
            -(-(n - max(k - 1, 0)) // s)
            for n, k, s in zip(self.size, short, self.steps, strict=True)
        )

    def mask_after(self, mask: Array) -> Array:
        """Return where windows have something at their centers."""
        return conv.mask_of_centers(mask, self.kernel_size, self.steps, self.padding)

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "kernel" (*out_size, fan-in, out) and any "bias" (*out_size, out).

        The fan-in runs over the kernel's points, the last spatial axis fastest of
        them, and within each over the channels.
        """
        fan_in = math.prod(self.kernel_size) * self.in_channels
        places = math.prod(self.out_size)

        def init_place(key: Array) -> dict[str, Array]:
            return linear.init(
                key,
                (fan_in, self.out_channels),
                use_bias=self.use_bias,
                parameterization=self.parameterization,
                kernel_scale=self.kernel_scale,
                bias_scale=self.bias_scale,
            )

        drawn = jax.vmap(init_place)(jax.random.split(key, places))
        return jax.tree.map(lambda p: p.reshape(*self.out_size, *p.shape[1:]), drawn)

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., *size, in): (..., *out_size, out)."""
        spatial = len(self.size)
        pooling.check_spatial(x, spatial)
        checks.check_last_axis(x, self.in_channels)
        if x.shape[-spatial - 1 : -1] != self.size:
            raise ValueError(
                f"x must have shape (..., {', '.join(map(str, self.size))}, "
                f"{self.in_channels}); got {x.shape}."
            )
        patches = self._patches(x)
        kernel = params["kernel"]
        if self.parameterization == "ntk":
            kernel = kernel * (self.kernel_scale / math.sqrt(kernel.shape[-2]))
        product = jnp.einsum("...pf,pfo->...po", patches, _flat(kernel, spatial))
        product = product.reshape(*product.shape[:-2], *self.out_size, -1)
        if not self.has_bias:
            return product
        scale = self.bias_scale if self.parameterization == "ntk" else 1.0
        return product + jnp.broadcast_to(scale * params["bias"], product.shape)

    def _patches(self, x: Array) -> Float[Array, "*batch places fan_in"]:
        """Return what each place sees: its points, and the channels within each
        point.
        """
        spatial = len(self.size)
        layout, kernel_layout = conv.LAYOUTS[spatial]
        patches = jax.lax.conv_general_dilated_patches(
            x.reshape(-1, *x.shape[-spatial - 1 :]),
            self.kernel_size,
            self.steps,
            self.padding,
            dimension_numbers=(layout, kernel_layout, layout),
        )
        points = math.prod(self.kernel_size)
        places = math.prod(self.out_size)
        # They come with the points within each channel.
        patches = patches.reshape(-1, places, self.in_channels, points)
        batch = x.shape[: -spatial - 1]
        return jnp.swapaxes(patches, 2, 3).reshape(*batch, places, -1)

    def parameter_axes(self) -> conv.Axes:
        """Return what the axes of each parameter run over: the fan-in mixes two."""
        raise ValueError(
            "the fan-in of a locally connected layer runs over points and channels, so "
            "no permutation of one axis leaves it unchanged. Write the spec by hand."
        )


def _flat(kernel: Array, spatial: int) -> Array:
    return kernel.reshape(-1, *kernel.shape[spatial:])
