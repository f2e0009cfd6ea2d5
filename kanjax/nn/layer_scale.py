"""A trained factor for each feature.

Source: Touvron et al. (2021), Going deeper with Image Transformers, arXiv 2103.17239.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks


@model.dataclass
class LayerScale:
    """``scale x``, feature by feature: at the end of a residual branch it begins small.

    Args:
        features: length of the last axis.
        start: the scale at initialisation.
    """

    features: int
    start: float = 1e-5

    def __post_init__(self) -> None:
        checks.check_positive(features=self.features)

    def init(self, key: Array) -> dict[str, Array]:
        """All scales at their start: "scale" (features,); the key is not used."""
        return {"scale": jnp.full(self.features, self.start, float)}

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """x (..., features), scaled."""
        checks.check_last_axis(x, self.features)
        return x * jnp.broadcast_to(params["scale"], x.shape)

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """Return what the axes of each parameter run over."""
        return {"scale": ("unit",)}
