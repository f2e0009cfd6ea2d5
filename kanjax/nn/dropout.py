"""Values, or whole branches, set to zero at random while training.

Sources: Srivastava et al. (2014), Journal of Machine Learning Research 15; Huang et al.
(2016), arXiv 1603.09382 (stochastic depth).
"""

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.nn import checks


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
        _check_rate(self.rate)

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


@model.dataclass
class DropPath:
    """An example's values are all 0 with probability ``rate``, else ``x / (1 - rate)``.

    At the end of a residual branch: the example skips the branch. Without a key it is
    the identity.

    Args:
        rate: the probability, in [0, 1).
        axes: how many trailing axes make one example; 2 are tokens and features.
    """

    rate: float
    axes: int = 2

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        checks.check_positive(axes=self.axes)

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(self, params: tuple[()], x: Array, *, key: Array | None = None) -> Array:
        """x (..., *example), with some examples dropped if there is a key."""
        if key is None or self.rate == 0:
            return x
        shape = x.shape[: -self.axes] + (1,) * min(self.axes, x.ndim)
        keep = jax.random.bernoulli(key, 1 - self.rate, shape)
        return jnp.where(keep, x / (1 - self.rate), 0)

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: units pass in their order."""
        return ()


def _check_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be at least 0 and less than 1; got {rate!r}.")
