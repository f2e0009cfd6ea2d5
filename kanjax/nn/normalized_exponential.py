"""The layer whose wide networks have the exponential of an angle's cosine as kernel.

Shankar et al. 2020, arXiv 2003.02237, section 4 (the kernel, without a network).
"""

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.checks import as_floating


@model.dataclass
class NormalizedExponential:
    """``r exp(sqrt(gamma) x / r + gamma (shift - 1) / 2)``, r the channels' size.

    ``r^2`` is the mean of ``x^2`` over the last axis. At infinite width the kernel is
    ``sqrt(q11 q22) exp(gamma (q12 / sqrt(q11 q22) + shift))``.

    Args:
        gamma: at least 0.
        shift: with -1 the values are of the size of those before.

    Examples:
        >>> import jax.numpy as jnp
        >>> NormalizedExponential(shift=1.0).apply((), jnp.zeros(3)).tolist()
        [0.0, 0.0, 0.0]
    """

    gamma: float = 1.0
    shift: float = -1.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < math.inf:
            raise ValueError(
                f"gamma must be at least 0 and finite; got {self.gamma!r}."
            )

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """Return the values of x (..., channels); 0 where all its channels are."""
        x = as_floating(x)
        square = jnp.mean(x**2, axis=-1, keepdims=True)
        some = square > 0
        size = jnp.sqrt(jnp.where(some, square, 1))
        exponent = math.sqrt(self.gamma) * (x / size)
        values = size * jnp.exp(exponent + self.gamma * (self.shift - 1) / 2)
        return jnp.where(some, values, 0)

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: channels pass in their order."""
        return ()
