"""Sums over the neighbours in a graph."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model


@model.dataclass
class Aggregate:
    """Each node's new features are a weighted sum over the nodes: ``y = weights x``.

    Args:
        weights: (new nodes, nodes), not trained: row i says what node i takes from each
            node; an adjacency matrix, with ones on its diagonal for the node itself,
            or one that is normalised.

    Example:
        >>> import jax.numpy as jnp
        >>> path = jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
        >>> Aggregate(path).apply((), jnp.ones((3, 2)))[:, 0].tolist()
        [2.0, 3.0, 2.0]
    """

    weights: Array = model.child()

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch nodes features"]:
        """The sums for x (..., nodes, features)."""
        nodes = self.weights.shape[-1]
        if jnp.ndim(x) < 2 or x.shape[-2] != nodes:
            raise ValueError(
                f"x must have shape (..., {nodes}, features); got {jnp.shape(x)}."
            )
        return jnp.einsum("ij,...jc->...ic", self.weights.astype(x.dtype), x)

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: features pass in their order."""
        return ()
