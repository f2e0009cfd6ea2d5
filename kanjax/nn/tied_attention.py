"""Self-attention with one matrix for queries and keys, scaled by the head size.

Hron, Bahri, Sohl-Dickstein, Novak 2020, arXiv 2006.10540, section 3.2: in this scaling
attention of infinite width is a fixed function of the tokens' covariance.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks


@model.dataclass
class TiedAttention:
    """``softmax(scale K K^T / (in head_features)) V`` in each head, then a dense layer.

    All weights are standard normal, in the NTK parameterization; a token's keys, which
    are its queries as well, are ``x W``, its values ``kernel_scale / sqrt(in) x W``.

    Args:
        features: number of features of a token.
        out_features: number of features of an output.
        heads: number of heads.
        head_features: number of features of a key and of a value.
        scale: of the logits; the product of the standard deviations of queries and
            keys.
        kernel_scale: of the outputs; the product of the standard deviations of values
            and of the output's weights.
        bias_scale: the standard deviation of the output's bias; none if 0.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> attention = TiedAttention(4, 6, heads=2, head_features=8)
        >>> params = attention.init(jax.random.key(0))
        >>> attention.apply(params, jnp.ones((5, 10, 4))).shape
        (5, 10, 6)
    """

    features: int
    out_features: int
    heads: int = 1
    head_features: int = 64
    scale: float = 1.0
    kernel_scale: float = 1.0
    bias_scale: float = 0.0

    def __post_init__(self) -> None:
        checks.check_positive(
            features=self.features,
            out_features=self.out_features,
            heads=self.heads,
            head_features=self.head_features,
        )

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "key" and "value" (heads, in, head), "output" and any "bias"."""
        keys = jax.random.split(key, 4)
        inner = (self.heads, self.features, self.head_features)
        params = {
            "key": jax.random.normal(keys[0], inner),
            "value": jax.random.normal(keys[1], inner),
            "output": jax.random.normal(
                keys[2], (self.heads, self.head_features, self.out_features)
            ),
        }
        if self.bias_scale > 0:
            params["bias"] = jax.random.normal(keys[3], (self.out_features,))
        return params

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch tokens out"]:
        """The layer's outputs for x (..., tokens, features)."""
        if jnp.ndim(x) < 2 or x.shape[-1] != self.features:
            raise ValueError(
                f"x must have shape (..., tokens, {self.features}); got {jnp.shape(x)}."
            )
        keys, values = (
            jnp.einsum("...tc,hcd->...htd", x, params[name])
            for name in ("key", "value")
        )
        logits = jnp.einsum("...htd,...hsd->...hts", keys, keys)
        logits = logits * (self.scale / (self.features * self.head_features))
        seen = jnp.einsum("...hts,...hsd->...htd", jax.nn.softmax(logits), values)
        size = math.sqrt(self.features * self.heads * self.head_features)
        y = jnp.einsum("...htd,hdo->...to", seen, params["output"])
        y = y * (self.kernel_scale / size)
        if "bias" in params:
            y = y + jnp.broadcast_to(self.bias_scale * params["bias"], y.shape)
        return y

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """What the axes of each parameter run over."""
        axes: dict[str, tuple[str | None, ...]] = {
            "key": (None, "in", None),
            "value": (None, "in", None),
            "output": (None, None, "out"),
        }
        return axes | {"bias": ("out",)} if self.bias_scale > 0 else axes
