"""Values set to zero at random while training.

Source: Srivastava et al. (2014), Journal of Machine Learning Research 15.
"""

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import model


@model.dataclass
class Dropout:
    """Each value is 0 with probability ``rate`` and ``x / (1 - rate)`` otherwise.

    Without a key it is the identity, the mean over all keys: give a key to train and
    none to evaluate.

    Args:
        rate: the probability, in [0, 1).
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(
                f"rate must be at least 0 and less than 1; got {self.rate!r}."
            )

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(self, params: tuple[()], x: Array, *, key: Array | None = None) -> Array:
        """x (...), thinned out if there is a key."""
        if key is None or self.rate == 0:
            return x
        keep = jax.random.bernoulli(key, 1 - self.rate, x.shape)
        return jnp.where(keep, x / (1 - self.rate), 0)

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: units pass in their order."""
        return ()
