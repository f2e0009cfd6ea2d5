"""Jacobi polynomials, and Gegenbauer's, their symmetric case in another scale.

Source: Abramowitz and Stegun (1964), table 22.7. As bases of a KAN they are used by
JacobiKAN and, with a learned order, by Gottlieb's; here the order is fixed: polynomials
of one highest degree span one space, whatever their order.
"""

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases import recurrence
from kanjax.bases.basis import Domain


@model.dataclass
class Jacobi(recurrence.Polynomials):
    """Jacobi polynomials, ``P_0^(alpha, beta)`` to ``P_degree^(alpha, beta)``.

    They are orthogonal on [-1, 1] for the weight ``(1 - t)^alpha (1 + t)^beta``.

    Args:
        degree: highest degree, at least 0.
        alpha: above -1.
        beta: above -1.
        domain: (low, high), mapped to [-1, 1].
        squash: applied to the mapped x, so that x outside the domain does not
            explode; None evaluates the polynomials themselves.
    """

    degree: int = 5
    alpha: float = 1.0
    beta: float = 1.0
    domain: Domain = (-1.0, 1.0)
    squash: recurrence.Squash = jnp.tanh

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not value > -1:
                raise ValueError(f"{name} must be above -1; got {value}.")

    def start_and_step(self, t: Array) -> tuple[Array, recurrence.Step]:
        """Table 22.7, for ``s = alpha + beta``."""
        a, b = self.alpha, self.beta
        s = a + b

        def step(n: int | Array, p: Array, before: Array) -> Array:
            m = 2 * n + s
            slope = (m + 1) * (m + 2) * m * t + (m + 1) * (a * a - b * b)
            lower = 2 * (n + a) * (n + b) * (m + 2)
            return (slope * p - lower * before) * (1 / (2 * (n + 1) * (n + s + 1) * m))

        return (s + 2) / 2 * t + (a - b) / 2, step


@model.dataclass
class Gegenbauer(recurrence.Polynomials):
    """Gegenbauer (ultraspherical) polynomials, ``C_0^(order)`` to ``C_degree^(order)``.

    They are orthogonal on [-1, 1] for the weight ``(1 - t^2)^(order - 1/2)``; order 1
    are Chebyshev's of the second kind, order 1/2 Legendre's.

    Args:
        degree: highest degree, at least 0.
        order: positive.
        domain: (low, high), mapped to [-1, 1].
        squash: applied to the mapped x, so that x outside the domain does not
            explode; None evaluates the polynomials themselves.
    """

    degree: int = 5
    order: float = 1.0
    domain: Domain = (-1.0, 1.0)
    squash: recurrence.Squash = jnp.tanh

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.order > 0:
            raise ValueError(f"order must be positive; got {self.order}.")

    def start_and_step(self, t: Array) -> tuple[Array, recurrence.Step]:
        """``(n + 1) p_(n+1) = 2 (n + a) t p_n - (n + 2 a - 1) p_(n-1)``."""
        a = self.order

        def step(n: int | Array, p: Array, before: Array) -> Array:
            return (2 * (n + a) * t * p - (n + 2 * a - 1) * before) * (1 / (n + 1))

        return 2 * a * t, step
