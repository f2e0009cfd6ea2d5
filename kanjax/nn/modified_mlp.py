"""The multilayer perceptron whose hidden layers mix two encodings of the input.

Wang, Teng, Perdikaris (2021), "Understanding and Mitigating Gradient Flow Pathologies
in Physics-Informed Neural Networks", arXiv 2001.04536.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, dense


@model.dataclass
class ModifiedMLP:
    """Hidden values ``Z * U + (1 - Z) * V`` with ``Z = activation(H W + b)``.

    U and V are two dense layers of the input with the same activation, H starts as the
    input, and the output is affine in the last H. Weights are Glorot normal, of
    variance ``2 / (in + out)``; biases start at zero.

    Args:
        widths: the number of inputs, of each layer's hidden units (all alike), and of
            outputs.
        activation: tanh by default, which a differential equation can differentiate.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = ModifiedMLP((2, 16, 16, 1))
        >>> net.apply(net.init(jax.random.key(0)), jnp.zeros((3, 2))).shape
        (3, 1)
    """

    widths: tuple[int, ...]
    activation: Callable[[Array], Array] = jnp.tanh

    def __post_init__(self) -> None:
        valid = isinstance(self.widths, tuple) and len(self.widths) >= 3
        if not valid or len(set(self.widths[1:-1])) != 1 or min(self.widths) < 1:
            raise ValueError(
                "widths must be a tuple (inputs, hidden, ..., hidden, outputs) of "
                "positive integers with at least one hidden layer and all hidden "
                f"layers alike; got {self.widths!r}."
            )
        checks.check_function("activation", self.activation)

    @property
    def layers(self) -> tuple[dense.Dense, ...]:
        """The dense layers' models, first to last."""
        return tuple(
            _glorot(inputs, outputs)
            for inputs, outputs in zip(self.widths[:-1], self.widths[1:], strict=True)
        )

    def init(self, key: Array) -> dict[str, Any]:
        """Draw "encoders" (a pair of layers) and "layers"."""
        first, second, *keys = jax.random.split(key, len(self.widths) + 1)
        encoder, *_ = self.layers
        return {
            "encoders": (encoder.init(first), encoder.init(second)),
            "layers": tuple(
                layer.init(k) for layer, k in zip(self.layers, keys, strict=True)
            ),
        }

    def apply(
        self, params: dict[str, Any], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the network's outputs for x (..., in)."""
        layers = self.layers
        u, v = (self.activation(layers[0].apply(p, x)) for p in params["encoders"])
        h = x
        for layer, p in zip(layers[:-1], params["layers"][:-1], strict=True):
            z = self.activation(layer.apply(p, h))
            h = z * u + (1 - z) * v
        return layers[-1].apply(params["layers"][-1], h)


def _glorot(inputs: int, outputs: int) -> dense.Dense:
    # Dense has a variance of kernel_scale^2 / inputs.
    return dense.Dense(
        inputs, outputs, kernel_scale=math.sqrt(2 * inputs / (inputs + outputs))
    )
