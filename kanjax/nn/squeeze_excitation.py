"""Channels weighed by what the whole image holds.

Source: Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, arXiv 1709.01507.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks
from kanjax.nn.dense import Dense


@model.dataclass
class SqueezeExcitation:
    """``x hard_sigmoid(W2 relu(W1 mean(x)))``, the mean over the image's pixels.

    Args:
        features: number of channels.
        hidden: number of hidden units.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = SqueezeExcitation(8, 2)
        >>> layer.apply(layer.init(jax.random.key(0)), jnp.ones((5, 4, 4, 8))).shape
        (5, 4, 4, 8)
    """

    features: int
    hidden: int

    def __post_init__(self) -> None:
        checks.check_positive(features=self.features, hidden=self.hidden)

    @property
    def squeeze(self) -> Dense:
        """The first dense layer."""
        return Dense(self.features, self.hidden)

    @property
    def excite(self) -> Dense:
        """The second dense layer."""
        return Dense(self.hidden, self.features)

    def init(self, key: Array) -> dict[str, dict[str, Array]]:
        """Draw the dense layers "squeeze" and "excite"."""
        first, second = jax.random.split(key)
        return {"squeeze": self.squeeze.init(first), "excite": self.excite.init(second)}

    def apply(
        self,
        params: dict[str, dict[str, Array]],
        x: Array,
        *,
        key: Array | None = None,
    ) -> Float[Array, "*batch height width features"]:
        """Return x (..., height, width, features), each channel times its weight."""
        checks.check_last_axis(x, self.features)
        mean = jnp.mean(x, axis=(-3, -2), keepdims=True)
        hidden = jax.nn.relu(self.squeeze.apply(params["squeeze"], mean))
        return x * jax.nn.hard_sigmoid(self.excite.apply(params["excite"], hidden))
