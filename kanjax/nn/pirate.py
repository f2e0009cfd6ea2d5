"""Physics-informed residual adaptive networks, which start as linear models.

Wang, Li, Chen, Perdikaris (2024), "PirateNets: Physics-informed Deep Learning with
Residual Adaptive Networks", arXiv 2402.00326.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, factored
from kanjax.nn.fourier_features import FourierFeatures


@model.dataclass
class PirateNet:
    """Gated residual blocks on random waves, each blended in by a trained number.

    With ``p`` the waves of the input and ``U, V`` two encoders of them, a block maps h
    to ``a g + (1 - a) h``, where ``g = act(W z + b)`` is the third of three layers and
    the first two are gated, ``z = f U + (1 - f) V`` (equations 4.1 to 4.7). All a start
    at 0, so that the network starts as a linear model of the waves, however deep.
    Layers are :class:`kanjax.nn.FactoredDense`, as in the paper.

    Args:
        in_features: number of inputs.
        features: number of waves and of each layer's units, even.
        out_features: number of outputs.
        blocks: number of blocks, of three layers each.
        activation: tanh by default.
        scale: the standard deviation of the waves' frequencies.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = PirateNet(2, 16, 1, blocks=2)
        >>> net.apply(net.init(jax.random.key(0)), jnp.zeros((3, 2))).shape
        (3, 1)
    """

    in_features: int
    features: int
    out_features: int
    blocks: int = 3
    activation: Callable[[Array], Array] = jnp.tanh
    scale: float = 1.0

    def __post_init__(self) -> None:
        checks.check_positive(out_features=self.out_features, blocks=self.blocks)
        checks.check_function("activation", self.activation)
        # Its errors name the inputs, the waves and their scale.
        _ = self.embedding

    @property
    def embedding(self) -> FourierFeatures:
        """The waves of the input."""
        return FourierFeatures(self.in_features, self.features, self.scale)

    def init(self, key: Array) -> dict[str, Any]:
        """Draw "embedding", "encoders", "blocks" and "output"."""
        names = ("embedding", "encoders", "blocks", "output")
        keys = dict(zip(names, jax.random.split(key, 4), strict=True))
        layer, last = self._layer, self._last
        return {
            "embedding": self.embedding.init(keys["embedding"]),
            "encoders": tuple(map(layer.init, jax.random.split(keys["encoders"]))),
            "blocks": tuple(
                {
                    "layers": tuple(map(layer.init, jax.random.split(k, 3))),
                    "blend": jnp.zeros(()),
                }
                for k in jax.random.split(keys["blocks"], self.blocks)
            ),
            "output": last.init(keys["output"]),
        }

    def apply(
        self, params: dict[str, Any], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the network's outputs for x (..., in)."""
        h = self.embedding.apply(params["embedding"], x)

        def dense(p: dict[str, Array], values: Array) -> Array:
            return self.activation(self._layer.apply(p, values))

        u, v = (dense(p, h) for p in params["encoders"])
        for block in params["blocks"]:
            first, second, third = block["layers"]
            f = dense(first, h)
            g = dense(second, f * u + (1 - f) * v)
            new = dense(third, g * u + (1 - g) * v)
            h = block["blend"] * new + (1 - block["blend"]) * h
        return self._last.apply(params["output"], h)

    @property
    def _layer(self) -> factored.FactoredDense:
        return factored.FactoredDense(self.features, self.features)

    @property
    def _last(self) -> factored.FactoredDense:
        return factored.FactoredDense(self.features, self.out_features)
