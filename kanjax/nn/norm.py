"""Normalisation of each example's features.

Sources: Ba, Kiros, Hinton (2016), arXiv 1607.06450 (layer normalisation); Zhang,
Sennrich (2019), arXiv 1910.07467 (root mean square).
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.checks import as_floating
from kanjax.nn import checks

Axes = dict[str, tuple[str | None, ...]]


@model.dataclass
class LayerNorm:
    """``scale (x - mean) / sqrt(variance + eps) + bias`` over the last axis.

    The variance is the biased one; statistics are taken in float32 or better.

    Args:
        features: length of the last axis.
        eps: what keeps the division finite.
        use_scale: whether there is a scale to train.
        use_bias: whether there is a bias to train.
    """

    features: int
    eps: float = 1e-6
    use_scale: bool = True
    use_bias: bool = True

    def __post_init__(self) -> None:
        checks.check_positive(features=self.features)
        check_eps(self.eps)

    def init(self, key: Array) -> dict[str, Array]:
        """Return the identity: any "scale" of ones and "bias" of zeros, both
        (features,).
        """
        params = {"scale": jnp.ones(self.features)} if self.use_scale else {}
        return params | ({"bias": jnp.zeros(self.features)} if self.use_bias else {})

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """x (..., features), normalised."""
        checks.check_last_axis(x, self.features)
        x = as_floating(x)
        wide = widen(x)
        centered = wide - jnp.mean(wide, axis=-1, keepdims=True)
        y = _divide_by_rms(centered, self.eps)
        if self.use_scale:
            y = y * _along(params["scale"], x)
        if self.use_bias:
            y = y + _along(params["bias"], x)
        return y.astype(jnp.result_type(x, *params.values()))

    def parameter_axes(self) -> Axes:
        """Return what the axes of each parameter run over."""
        used = {"scale": self.use_scale, "bias": self.use_bias}
        return {name: ("unit",) for name, is_used in used.items() if is_used}


@model.dataclass
class RMSNorm:
    """``scale x / sqrt(mean(x^2) + eps)`` over the last axis.

    The mean is taken in float32 or better.

    Args:
        features: length of the last axis.
        eps: what keeps the division finite.
    """

    features: int
    eps: float = 1e-6

    def __post_init__(self) -> None:
        checks.check_positive(features=self.features)
        check_eps(self.eps)

    def init(self, key: Array) -> dict[str, Array]:
        """Return the identity: "scale" (features,) of ones."""
        return {"scale": jnp.ones(self.features)}

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """x (..., features), normalised."""
        checks.check_last_axis(x, self.features)
        x = as_floating(x)
        y = _divide_by_rms(widen(x), self.eps) * _along(params["scale"], x)
        return y.astype(jnp.result_type(x, params["scale"]))

    def parameter_axes(self) -> Axes:
        """Return what the axes of each parameter run over."""
        return {"scale": ("unit",)}


def _divide_by_rms(x: Array, eps: float) -> Array:
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps)


def widen(x: Array) -> Array:
    """Take float32 or better for statistics of x."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _along(values: Float[Array, " features"], x: Array) -> Array:
    """Shape a vector over the features to broadcast against x."""
    return jnp.broadcast_to(values, x.shape)


def check_eps(eps: float) -> None:
    """Raise ``ValueError`` unless eps is positive."""
    if not eps > 0:
        raise ValueError(f"eps must be positive; got {eps!r}.")
