"""A table with one trained vector for each token."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks


@model.dataclass
class Embedding:
    """The row of a table that an integer names.

    Args:
        vocabulary: number of tokens.
        features: length of each token's vector.
    """

    vocabulary: int
    features: int

    def __post_init__(self) -> None:
        checks.check_positive(vocabulary=self.vocabulary, features=self.features)

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "embedding" (vocabulary, features), standard normal."""
        return {"embedding": jax.random.normal(key, (self.vocabulary, self.features))}

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """Return the vectors of the tokens x (...): (..., features).

        A token of ``vocabulary`` or more has a vector of NaN.

        Raises:
            TypeError: if x is not of an integer type.
        """
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise TypeError(
                f"x must hold tokens, of an integer type; got {x.dtype}. Use "
                "x.astype(int)."
            )
        return jnp.take(params["embedding"], x, axis=0, mode="fill")

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """Return what the axes of each parameter run over."""
        return {"embedding": (None, "out")}
