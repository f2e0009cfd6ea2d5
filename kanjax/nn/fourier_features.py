"""Embeddings of coordinates by waves: random ones, and those of a period.

Tancik et al. (2020), arXiv 2006.10739 (random Fourier features); Dong, Ni (2021), "A
Method for Representing Periodic Functions and Enforcing Exactly Periodic Boundary
Conditions with Deep Neural Networks", arXiv 2007.07442.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks


@model.dataclass
class FourierFeatures:
    """Cosines and sines of random projections: ``[cos(x B), sin(x B)]``.

    Args:
        in_features: number of coordinates.
        features: number of outputs, even.
        scale: the standard deviation of the entries of B: the larger it is, the finer
            the functions that a network on top learns first.
        frequencies: a B (in_features, features / 2) that is fixed; by default B is
            drawn and trained.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> embedding = FourierFeatures(2, 8)
        >>> jnp.abs(embedding.apply(embedding.init(jax.random.key(0)), jnp.zeros(2)))
        Array([1., 1., 1., 1., 0., 0., 0., 0.], dtype=float32)
    """

    in_features: int
    features: int
    scale: float = 1.0
    frequencies: Float[Array, "in half"] | None = model.child(default=None)

    def __post_init__(self) -> None:
        checks.check_positive(in_features=self.in_features, features=self.features)
        if self.features % 2:
            raise ValueError(f"features must be even; got {self.features}.")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be positive; got {self.scale!r}.")

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "frequencies" (in, features / 2), unless they are fixed."""
        if self.frequencies is not None:
            return {}
        shape = (self.in_features, self.features // 2)
        return {"frequencies": self.scale * jax.random.normal(key, shape)}

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """Return the waves at x (..., in): (..., features)."""
        checks.check_last_axis(x, self.in_features)
        fixed = self.frequencies
        phases = jnp.dot(x, params["frequencies"] if fixed is None else fixed)
        return jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=-1)


@model.dataclass
class PeriodicEmbedding:
    """Waves that make any network on top of them exactly periodic.

    A coordinate of period P becomes ``(1, cos(k w x), sin(k w x))`` for ``k = 1 ...
    harmonics`` and ``w = 2 pi / P``; several periodic coordinates become all products
    of their waves. Other coordinates come first, as they are.

    Args:
        periods: the period of each coordinate, None for one that is not periodic.
        harmonics: the number of waves.

    Examples:
        >>> import jax.numpy as jnp
        >>> embedding = PeriodicEmbedding((None, 2.0), harmonics=1)
        >>> embedding.apply((), jnp.array([0.5, 1.0])).round(3)
        Array([ 0.5,  1. , -1. , -0. ], dtype=float32)
    """

    periods: tuple[float | None, ...]
    harmonics: int = 1

    def __post_init__(self) -> None:
        periods = [p for p in self.periods if p is not None]
        if not periods or any(not 0 < p < math.inf for p in periods):
            raise ValueError(
                "periods must have a positive number for each periodic coordinate, and "
                f"at least one; got {self.periods!r}."
            )
        checks.check_positive(harmonics=self.harmonics)

    @property
    def features(self) -> int:
        """The number of outputs."""
        plain = self.periods.count(None)
        return plain + (2 * self.harmonics + 1) ** (len(self.periods) - plain)

    def init(self, key: Array) -> tuple[()]:
        """There is nothing to train."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """Return the embedding of x (..., coordinates): (..., features)."""
        checks.check_last_axis(x, len(self.periods))
        plain = [i for i, p in enumerate(self.periods) if p is None]
        waves = [self._waves(x[..., i], p) for i, p in enumerate(self.periods) if p]
        products = functools.reduce(_all_products, waves)
        return jnp.concatenate([x[..., jnp.array(plain, int)], products], axis=-1)

    def _waves(self, x: Array, period: float) -> Array:
        k = jnp.arange(1, self.harmonics + 1, dtype=x.dtype)
        phases = jnp.multiply.outer(2 * math.pi / period * x, k)
        constant = jnp.ones_like(x)[..., None]
        return jnp.concatenate([constant, jnp.cos(phases), jnp.sin(phases)], axis=-1)


def _all_products(a: Array, b: Array) -> Array:
    products = a[..., :, None] * b[..., None, :]
    return products.reshape(*products.shape[:-2], -1)
