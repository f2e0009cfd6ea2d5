"""Gram polynomials: orthogonal over evenly spaced points.

Sources: Abramowitz and Stegun (1964), section 22.17 (Chebyshev's polynomials of a
discrete variable); as the basis of a KAN: Drokin (2024), arXiv 2407.01092, whose
recurrence has learned coefficients. Here they are fixed: others would give other
polynomials of the same degrees, which span the same space.
"""

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases import recurrence
from kanjax.bases.basis import Domain, check_at_least


@model.dataclass
class Gram(recurrence.Polynomials):
    """Monic Gram polynomials, degree 0 to ``degree``.

    ``p_(n+1) = t p_n - n^2 (m^2 - n^2) / (m^2 (4 n^2 - 1)) p_(n-1)``: orthogonal over
    the midpoints of m equal cells of [-1, 1], and Legendre's, but for their scale, as
    m grows.

    Args:
        degree: highest degree, at least 0 and below ``points``.
        points: m, the number of points.
        domain: (low, high), mapped to [-1, 1].
        squash: applied to the mapped x, so that x outside the domain does not
            explode; None evaluates the polynomials themselves.
    """

    degree: int = 5
    points: int = 64
    domain: Domain = (-1.0, 1.0)
    squash: recurrence.Squash = jnp.tanh

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("points", self.points, 1)
        if self.degree >= self.points:
            raise ValueError(
                f"degree must be below points: {self.points} points carry polynomials "
                f"up to degree {self.points - 1}; got {self.degree}."
            )

    def start_and_step(self, t: Array) -> tuple[Array, recurrence.Step]:
        """As above."""

        def step(n: int | Array, p: Array, before: Array) -> Array:
            share = n * (1 / self.points)
            beta = n * n * (1 - share * share) / (4 * n * n - 1)
            return t * p - beta * before

        return t, step
