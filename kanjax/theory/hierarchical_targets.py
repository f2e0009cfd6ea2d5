"""Targets ``g(p(x))`` of standard normal inputs: features, links and their exponent.

Wang, Nichani, Lee 2023, arXiv 2311.13774, section 4: features p of degree k that sum
independent parts of about one size, with mean 0 and variance 1.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, gaussian

Feature = Callable[[Array], Array]
"""``feature(x) -> (...)`` of x (..., d)."""


class Target(NamedTuple):
    """A function of a feature.

    Attributes:
        feature: p, such as :func:`parities` returns.
        link: the coefficients of g in normalized Hermite polynomials, from degree 0.
    """

    feature: Feature
    link: tuple[float, ...]

    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """Return ``g(p(x))``."""
        z = self.feature(x)
        terms = [c * gaussian.hermite(j)(z) for j, c in enumerate(self.link) if c]
        return sum(terms, jnp.zeros_like(z))


def parities(degree: int) -> Feature:
    """Return the feature that sums the products of disjoint groups of coordinates.

    ``(d / k)^(-1/2) (x_1 .. x_k + x_(k+1) .. x_2k + ...)``, of mean 0 and variance 1.

    Args:
        degree: k; d must be a multiple of it.

    Raises:
        ValueError: if degree is below 1, and at the call if it does not divide d.
    """
    checks.check_count("degree", degree)

    def feature(x: Array) -> Array:
        d = x.shape[-1]
        if d % degree:
            raise ValueError(f"x has {d} coordinates; groups of {degree} do not fit.")
        groups = x.reshape(*x.shape[:-1], d // degree, degree)
        return jnp.sum(jnp.prod(groups, axis=-1), axis=-1) / (d / degree) ** 0.5

    return feature


def hermite_sum(
    degree: int, weights: Float[Array, " d"] | Sequence[float] | None = None
) -> Feature:
    """Return the feature that sums a Hermite polynomial of every coordinate.

    ``sum_i w_i He_k(x_i) / sqrt(k! sum w^2)``, of mean 0 and variance 1.

    Args:
        degree: k.
        weights: (d,), all 1 if None; they should be of about one size.

    Raises:
        ValueError: if degree is below 1.
    """
    checks.check_count("degree", degree)
    polynomial = gaussian.hermite(degree)

    def feature(x: Array) -> Array:
        w = jnp.ones(x.shape[-1]) if weights is None else jnp.asarray(weights)
        return polynomial(x) @ (w / jnp.linalg.norm(w))

    return feature


def quadratic(matrix: Float[Array, "d d"]) -> Feature:
    """Return ``x^T A x`` less its mean, over its standard deviation ``sqrt(2) |A|_F``.

    Args:
        matrix: (d, d), symmetric; its eigenvalues should be of about one size.
    """

    def feature(x: Array) -> Array:
        squares = jnp.sum((x @ matrix) * x, axis=-1) - jnp.trace(matrix)
        return squares / (2**0.5 * jnp.linalg.norm(matrix))

    return feature


def draw_balanced_matrix(key: Array, dimension: int) -> Float[Array, "d d"]:
    """Draw a symmetric matrix with eigenvalues 1 and -1, in random directions.

    Args:
        key: for the directions.
        dimension: d.
    """
    basis = jnp.linalg.qr(jax.random.normal(key, (dimension, dimension)))[0]
    signs = jnp.where(jnp.arange(dimension) % 2, -1.0, 1.0)
    return (basis * signs[None]) @ basis.T


def information_exponent(link: Sequence[float], *, tolerance: float = 1e-6) -> int:
    """Return the lowest degree, from 1, at which a link has a Hermite coefficient.

    Where it is above 1, ``E g'`` is 0 and the first stage of training sees nothing of
    the feature.

    Args:
        link: coefficients in normalized Hermite polynomials, from degree 0; those of
            any function are :func:`kanjax.gaussian.hermite_coefficients`.
        tolerance: up to which a coefficient is none.

    Raises:
        ValueError: for a link that is constant.
    """
    for degree, coefficient in enumerate(link):
        if degree and abs(coefficient) > tolerance:
            return degree
    raise ValueError(f"link is {tuple(link)!r}, a constant; it depends on nothing.")
