"""Trained vectors of positions, to be added to values or joined with them.

Vaswani et al. 2017, arXiv 1706.03762, section 3.5 (learned ones).
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, pooling


@model.dataclass
class Positions:
    """``scale E[i]`` at position i, whatever the values there.

    ``model.Residual(Positions(...))`` adds them, ``model.Concatenate`` joins them.

    Args:
        shape: the extent of each spatial axis, such as (tokens,).
        features: length of each position's vector.
        scale: the standard deviation at initialisation.
        covariance: (positions, positions), not trained, positive definite: that of one
            feature between positions, row by row; None is the identity.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model
        >>> layer = model.Residual(Positions((10,), 4))
        >>> layer.apply(layer.init(jax.random.key(0)), jnp.ones((5, 10, 4))).shape
        (5, 10, 4)
    """

    shape: tuple[int, ...]
    features: int
    scale: float = 1.0
    covariance: Array | None = model.child(default=None)

    def __post_init__(self) -> None:
        checks.check_positive(
            features=self.features,
            **{f"shape[{i}]": n for i, n in enumerate(self.shape)},
        )

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "embedding" (*shape, features), standard normal."""
        return {"embedding": jax.random.normal(key, (*self.shape, self.features))}

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """Return the vectors for x (..., *shape, anything), alike for all examples."""
        spatial = len(self.shape)
        pooling.check_spatial(x, spatial)
        if x.shape[-spatial - 1 : -1] != self.shape:
            raise ValueError(
                f"x must have positions {self.shape} before its last axis; got "
                f"{x.shape[-spatial - 1 : -1]}."
            )
        vectors = params["embedding"]
        if self.covariance is not None:
            wide = jnp.promote_types(vectors.dtype, jnp.float32)
            root = jnp.linalg.cholesky(self.covariance.astype(wide))
            flat = vectors.reshape(math.prod(self.shape), self.features)
            vectors = (root.astype(flat.dtype) @ flat).reshape(vectors.shape)
        return jnp.broadcast_to(self.scale * vectors, (*x.shape[:-1], self.features))

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """Return what the axes of each parameter run over."""
        return {"embedding": (*(None for _ in self.shape), "out")}
