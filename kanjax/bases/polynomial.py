"""Orthogonal polynomials by their three-term recurrences.

Sources: Abramowitz and Stegun (1964), table 22.7; as the basis of a KAN: SS et al.
(2024), arXiv 2405.07200 (Chebyshev).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.bases.basis import Domain, check_at_least, check_domain, to_unit

Squash = Callable[[Array], Array] | None


@model.dataclass
class Chebyshev:
    """Chebyshev polynomials of the first kind, T_0 to T_degree.

    Args:
        degree: highest degree, at least 0.
        domain: (low, high), mapped to [-1, 1], where the polynomials are bounded.
        squash: applied to the mapped x, so that x outside the domain does not
            explode; None evaluates the polynomials themselves.
    """

    degree: int = 5
    domain: Domain = (-1.0, 1.0)
    squash: Squash = jnp.tanh

    def __post_init__(self) -> None:
        check_at_least("degree", self.degree, 0)
        check_domain(self.domain)

    @property
    def size(self) -> int:
        """degree + 1."""
        return self.degree + 1

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all polynomials at x (...,) -> (..., size), or along ``axis``."""
        t = _prepare(x, self.domain, self.squash)
        # The recurrence, not cos(n arccos t), whose derivative is lost at |t| = 1.
        values = [jnp.ones_like(t), t]
        for _ in range(2, self.size):
            values.append(2 * t * values[-1] - values[-2])
        return jnp.stack(values[: self.size], axis=axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one polynomial at x."""
        t = _prepare(x, self.domain, self.squash)

        def next_two(_: Array, two: tuple[Array, Array]) -> tuple[Array, Array]:
            return two[1], 2 * t * two[1] - two[0]

        # T_-1 is T_1.
        return jax.lax.fori_loop(0, index, next_two, (t, jnp.ones_like(t)))[1]


@model.dataclass
class Legendre:
    """Legendre polynomials, P_0 to P_degree.

    Args:
        degree: highest degree, at least 0.
        domain: (low, high), mapped to [-1, 1], where the polynomials are bounded.
        squash: applied to the mapped x, so that x outside the domain does not
            explode; None evaluates the polynomials themselves.
    """

    degree: int = 5
    domain: Domain = (-1.0, 1.0)
    squash: Squash = jnp.tanh

    def __post_init__(self) -> None:
        check_at_least("degree", self.degree, 0)
        check_domain(self.domain)

    @property
    def size(self) -> int:
        """degree + 1."""
        return self.degree + 1

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all polynomials at x (...,) -> (..., size), or along ``axis``."""
        t = _prepare(x, self.domain, self.squash)
        values = [jnp.ones_like(t), t]
        for n in range(1, self.degree):
            values.append(
                ((2 * n + 1) * t * values[-1] - n * values[-2]) * (1 / (n + 1))
            )
        return jnp.stack(values[: self.size], axis=axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one polynomial at x."""
        t = _prepare(x, self.domain, self.squash)

        def next_two(n: Array, two: tuple[Array, Array]) -> tuple[Array, Array]:
            m = jnp.asarray(n, t.dtype)
            return two[1], ((2 * m + 1) * t * two[1] - m * two[0]) / (m + 1)

        two = (jnp.zeros_like(t), jnp.ones_like(t))
        return jax.lax.fori_loop(0, index, next_two, two)[1]


def _prepare(x: Array, domain: Domain, squash: Squash) -> Array:
    t = to_unit(jnp.asarray(x), domain)
    return t if squash is None else squash(t)
