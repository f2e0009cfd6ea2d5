"""A trained factor and shift for each feature."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks


@model.dataclass
class Affine:
    """``scale x + bias``, feature by feature.

    What :func:`kanjax.nn.fold_batch_norm` leaves of a normalisation with no layer to
    fold it into.

    Args:
        features: length of the last axis.
    """

    features: int

    def __post_init__(self) -> None:
        checks.check_positive(features=self.features)

    def init(self, key: Array) -> dict[str, Array]:
        """Give the identity: "scale" of ones and "bias" of zeros, both (features,)."""
        return {"scale": jnp.ones(self.features), "bias": jnp.zeros(self.features)}

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """Scale and shift x (..., features)."""
        checks.check_last_axis(x, self.features)
        scale, bias = (
            jnp.broadcast_to(params[name], x.shape) for name in ("scale", "bias")
        )
        return scale * x + bias

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """Say what the axes of each parameter run over."""
        return {"scale": ("unit",), "bias": ("unit",)}
