"""Gaussian random functions on the unit square, as sums of its cosines."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model


@model.dataclass
class CosineField:
    """Functions of mean 0 and covariance ``s^2 (tau^2 - lap)^-alpha``, flat at edges.

    A draw is a sum of ``cos(pi i x) cos(pi j y)``, so that it is known at all points,
    with all derivatives. Li et al. (2021), "Fourier Neural Operator for Parametric
    Partial Differential Equations", arXiv 2010.08895, appendix A.3.2, draws so.

    Args:
        modes: cosines along each axis, the constant included.
        scale: s.
        decay: alpha, at least 1: the larger it is, the smoother.
        inverse_length: tau; waves much longer than 1 / tau are equally strong.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> field = CosineField(modes=4)
        >>> draw = field.draw(jax.random.key(0))
        >>> field.evaluate(draw, jnp.zeros((5, 2))).shape
        (5,)
    """

    modes: int = 16
    scale: float = 1.0
    decay: float = 2.0
    inverse_length: float = 3.0

    def __post_init__(self) -> None:
        if self.modes < 1 or self.decay < 1:
            raise ValueError(
                f"modes and decay must be at least 1; got {self.modes} and "
                f"{self.decay}."
            )
        if not (self.scale > 0 and self.inverse_length > 0):
            raise ValueError(
                "scale and inverse_length must be positive; got "
                f"{self.scale} and {self.inverse_length}."
            )

    @property
    def deviations(self) -> Float[Array, "modes modes"]:
        """The standard deviation of each eigenfunction's coefficient."""
        k = math.pi * np.arange(self.modes)
        eigenvalues = k[:, None] ** 2 + k**2 + self.inverse_length**2
        return jnp.asarray(self.scale * eigenvalues ** (-self.decay / 2))

    def draw(self, key: Array) -> Float[Array, "modes modes"]:
        """Draw the coefficients of a function.

        Args:
            key: of the draw.
        """
        return self.deviations * jax.random.normal(key, (self.modes, self.modes))

    def evaluate(
        self, coefficients: Float[Array, "modes modes"], z: Float[Array, "*points 2"]
    ) -> Float[Array, "*points"]:
        """Evaluate a function at points.

        Args:
            coefficients: of :meth:`draw`, (modes, modes).
            z: points of the unit square, (..., 2).
        """
        k = jnp.arange(self.modes)
        # Of norm 1 in L2.
        norms = jnp.where(k == 0, 1.0, math.sqrt(2)).astype(z.dtype)
        waves = jnp.cos(jnp.pi * jnp.multiply.outer(z, k))
        waves = jnp.broadcast_to(norms, waves.shape) * waves
        return jnp.einsum(
            "...i,ij,...j->...", waves[..., 0, :], coefficients, waves[..., 1, :]
        )
