"""Dense layers whose weights are factored into directions and scales.

Wang, Wang, Seidman, Perdikaris (2022), "Random Weight Factorization Improves the
Training of Continuous Neural Representations", arXiv 2210.01274.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, linear

Axes = dict[str, tuple[str | None, ...]]


@model.dataclass
class FactoredDense:
    """``z = x (V diag(exp(s))) + b``: each unit has a trained scale of its own.

    ``V diag(exp(s))`` starts as a Glorot normal matrix, of variance ``2 / (in + out)``,
    whatever the scales drawn; what differs is how far gradient steps move each unit. b
    starts at zero.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        scale_mean: the mean of s at the start; the paper's 1 or 0.5.
        scale_deviation: its standard deviation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> dense = FactoredDense(4, 3)
        >>> params = dense.init(jax.random.key(0))
        >>> {name: leaf.shape for name, leaf in params.items()}
        {'kernel': (4, 3), 'scale': (3,), 'bias': (3,)}
        >>> dense.apply(params, jnp.ones((5, 4))).shape
        (5, 3)
    """

    in_features: int
    out_features: int
    scale_mean: float = 1.0
    scale_deviation: float = 0.1

    def __post_init__(self) -> None:
        checks.check_positive(
            in_features=self.in_features, out_features=self.out_features
        )
        valid = math.isfinite(self.scale_mean) and 0 <= self.scale_deviation < math.inf
        if not valid:
            raise ValueError(
                "scale_mean must be finite and scale_deviation at least 0; got "
                f"{self.scale_mean!r} and {self.scale_deviation!r}."
            )

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "kernel" V (in, out) and "scale" s (out,); "bias" (out,) is 0."""
        key_kernel, key_scale = jax.random.split(key)
        shape = (self.in_features, self.out_features)
        deviation = math.sqrt(2 / sum(shape))
        kernel = deviation * jax.random.normal(key_kernel, shape)
        drawn = jax.random.normal(key_scale, shape[1:])
        scale = self.scale_mean + self.scale_deviation * drawn
        bias = jnp.zeros_like(scale)
        return {"kernel": kernel / jnp.exp(scale)[None], "scale": scale, "bias": bias}

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., in)."""
        checks.check_last_axis(x, self.in_features)
        weights = params["kernel"] * jnp.exp(params["scale"])[None]
        return linear.add_bias(jnp.dot(x, weights), params["bias"])

    def parameter_axes(self) -> Axes:
        """Return what the axes of each parameter run over."""
        return {"kernel": ("in", "out"), "scale": ("out",), "bias": ("out",)}
