"""Products of networks of the first coordinate and of the others.

Cho et al. (2023), "Separable Physics-Informed Neural Networks", arXiv 2306.15969.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks


@model.dataclass
class Separable:
    """``y_o = sum_k a_ok(x_0) b_k(x_1, x_2, ...)``: amplitudes of time times shapes.

    With shapes that are not trained, such as a :class:`PeriodicEmbedding`, and
    amplitudes that are linear in their parameters, such as a layer of polynomials, the
    whole is linear in its parameters, and Gauss-Newton steps find the best ones of an
    almost linear equation in a few.

    Args:
        first: a model of the first coordinate, (1,) -> (outputs * shapes,).
        rest: a model of the others, -> (shapes,).
        outputs: the number of outputs.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn
        >>> shapes = nn.PeriodicEmbedding((2.0,), harmonics=3)
        >>> net = Separable(nn.MLP((1, 8, 7), jnp.tanh), shapes)
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.zeros((5, 2))).shape
        (5, 1)
    """

    first: model.Model = model.child()
    rest: model.Model = model.child()
    outputs: int = 1

    def __post_init__(self) -> None:
        checks.check_positive(outputs=self.outputs)

    def init(self, key: Array) -> dict[str, Any]:
        """Draw the parameters of "first" and of "rest"."""
        keys = jax.random.split(key)
        return {"first": self.first.init(keys[0]), "rest": self.rest.init(keys[1])}

    def apply(
        self, params: dict[str, Any], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the outputs for x (..., coordinates)."""
        amplitudes = self.first.apply(params["first"], x[..., :1])
        shapes = self.rest.apply(params["rest"], x[..., 1:])
        count, wanted = amplitudes.shape[-1], self.outputs * shapes.shape[-1]
        if count != wanted:
            raise ValueError(
                "first must have an output for each of the outputs and shapes, here "
                f"{self.outputs} x {shapes.shape[-1]} = {wanted}; it has {count}."
            )
        amplitudes = amplitudes.reshape(*amplitudes.shape[:-1], self.outputs, -1)
        return jnp.einsum("...ok,...k->...o", amplitudes, shapes)
