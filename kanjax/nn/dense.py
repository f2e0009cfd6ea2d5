"""A dense layer in the standard or the NTK parameterization.

Source: Jacot, Gabriel, Hongler (2018), Neural Tangent Kernel, arXiv 1806.07572.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, linear

Axes = dict[str, tuple[str | None, ...]]


@model.dataclass
class Dense:
    """``z = x W + b``, or ``z = kernel_scale / sqrt(in) x W + bias_scale b``.

    The first is the standard parameterization, with ``W ~ N(0, kernel_scale^2 / in)``
    and ``b ~ N(0, bias_scale^2)``; the second is the NTK one, with W and b standard
    normal. Both draw the same distribution of functions; gradient descent differs.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        use_bias: whether there is a bias. In the NTK parameterization it needs a
            ``bias_scale`` above 0, too: times 0 it could never be trained, so there is
            none.
        parameterization: "standard" or "ntk".
        kernel_scale: the standard deviation of weights, W_std of the NTK literature;
            sqrt(2) keeps the scale of values through ReLU layers.
        bias_scale: the standard deviation of biases, b_std of the NTK literature (beta
            of Jacot et al.).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> dense = Dense(4, 3, parameterization="ntk", bias_scale=0.1)
        >>> params = dense.init(jax.random.key(0))
        >>> {name: leaf.shape for name, leaf in params.items()}
        {'kernel': (4, 3), 'bias': (3,)}
        >>> dense.apply(params, jnp.ones((5, 4))).shape
        (5, 3)
    """

    in_features: int
    out_features: int
    use_bias: bool = True
    parameterization: linear.Parameterization = "standard"
    kernel_scale: float = 1.0
    bias_scale: float = 0.0

    def __post_init__(self) -> None:
        checks.check_positive(
            in_features=self.in_features, out_features=self.out_features
        )
        linear.check_parameterization(
            self.parameterization, self.kernel_scale, self.bias_scale
        )

    @property
    def has_bias(self) -> bool:
        """Whether the parameters have a bias."""
        return linear.has_bias(self.use_bias, self.parameterization, self.bias_scale)

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "kernel" (in, out) and, if there is one, "bias" (out,)."""
        return linear.init(
            key,
            (self.in_features, self.out_features),
            use_bias=self.use_bias,
            parameterization=self.parameterization,
            kernel_scale=self.kernel_scale,
            bias_scale=self.bias_scale,
        )

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., in)."""
        checks.check_last_axis(x, self.in_features)
        return linear.output(
            jnp.dot(x, params["kernel"]),
            params,
            parameterization=self.parameterization,
            kernel_scale=self.kernel_scale,
            bias_scale=self.bias_scale,
        )

    def parameter_axes(self) -> Axes:
        """Return what the axes of each parameter run over."""
        axes: Axes = {"kernel": ("in", "out")}
        return axes | {"bias": ("out",)} if self.has_bias else axes
