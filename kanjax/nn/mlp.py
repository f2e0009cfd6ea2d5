"""The multilayer perceptron: dense layers with one activation between them."""

import math
from collections.abc import Callable, Sequence

import jax
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, dense, linear

Params = tuple[dict[str, Array], ...]


@model.dataclass
class MLP:
    """Dense layers with an activation after each but the last.

    Args:
        widths: the number of inputs, of each layer's hidden units, and of outputs.
        activation: the function between layers; ReLU by default, as the theory of wide
            networks and of loss landscapes is richest for it.
        parameterization: "standard" or "ntk", see :class:`kanjax.nn.Dense`.
        kernel_scale: the standard deviation of weights. The default sqrt(2) keeps the
            scale of values through ReLU layers (He et al. 2015, arXiv 1502.01852); 1
            does so for functions of slope 1 at zero, such as tanh.
        bias_scale: the standard deviation of biases.
        use_bias: whether layers have biases (in the NTK parameterization, only with a
            ``bias_scale`` above 0).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = MLP((4, 16, 1))
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.zeros((3, 4))).shape
        (3, 1)
    """

    widths: tuple[int, ...]
    activation: Callable[[Array], Array] = jax.nn.relu
    parameterization: linear.Parameterization = "standard"
    kernel_scale: float = math.sqrt(2)
    bias_scale: float = 0.0
    use_bias: bool = True

    def __post_init__(self) -> None:
        is_tuple = isinstance(self.widths, tuple) and len(self.widths) >= 2
        if not is_tuple or any(not isinstance(n, int) or n < 1 for n in self.widths):
            raise ValueError(
                "widths must be a tuple of at least two positive integers, the inputs "
                f"first and the outputs last; got {self.widths!r}."
            )
        checks.check_function("activation", self.activation)
        linear.check_parameterization(
            self.parameterization, self.kernel_scale, self.bias_scale
        )

    @property
    def layers(self) -> tuple[dense.Dense, ...]:
        """The dense layers' models, first to last."""
        return tuple(
            dense.Dense(
                inputs,
                outputs,
                self.use_bias,
                self.parameterization,
                self.kernel_scale,
                self.bias_scale,
            )
            for inputs, outputs in zip(self.widths[:-1], self.widths[1:], strict=True)
        )

    def init(self, key: Array) -> Params:
        """Draw the parameters: a tuple with each layer's "kernel" and "bias"."""
        keys = jax.random.split(key, len(self.widths) - 1)
        return tuple(layer.init(k) for layer, k in zip(self.layers, keys, strict=True))

    def apply(
        self, params: Sequence[dict[str, Array]], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the network's outputs for x (..., in)."""
        return self.activations(params, x)[-1]

    def activations(
        self, params: Sequence[dict[str, Array]], x: Array
    ) -> tuple[Array, ...]:
        """x, the hidden values after each activation, and the outputs."""
        layers = self.layers
        values = [x]
        for i, (layer, p) in enumerate(zip(layers, params, strict=True), start=1):
            z = layer.apply(p, values[-1])
            values.append(z if i == len(layers) else self.activation(z))
        return tuple(values)
