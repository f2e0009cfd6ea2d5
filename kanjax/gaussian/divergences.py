"""Divergences and distances between Gaussians.

Dowson, Landau 1982, "The Frechet distance between multivariate normal distributions"
(Wasserstein of order 2).
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.checks import Numbers
from kanjax.square_root import safe_sqrt


def kl_divergence(
    mean1: Numbers, covariance1: Numbers, mean2: Numbers, covariance2: Numbers
) -> Float[Array, ""]:
    """Return ``KL(N(mean1, covariance1) || N(mean2, covariance2))``, in nats.

    Args:
        mean1: (d,).
        covariance1: (d, d), of full rank.
        mean2: (d,).
        covariance2: (d, d), of full rank.

    Raises:
        ValueError: for shapes that do not agree.

    Examples:
        >>> round(float(kl_divergence([0.0], [[1.0]], [1.0], [[1.0]])), 4)
        0.5
    """
    m1, c1, m2, c2 = _arrays(mean1, covariance1, mean2, covariance2)
    root = jnp.linalg.cholesky(c2)

    def whiten(v: Array) -> Array:
        return jax.scipy.linalg.solve_triangular(root, v, lower=True)

    shape = whiten(jnp.linalg.cholesky(c1))
    shift = whiten((m1 - m2)[:, None])
    logs = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(shape))))
    return (jnp.sum(shape**2) + jnp.sum(shift**2) - m1.size) / 2 - logs


def wasserstein2(
    mean1: Numbers, covariance1: Numbers, mean2: Numbers, covariance2: Numbers
) -> Float[Array, ""]:
    """Return the Wasserstein distance of order 2 between two Gaussians.

    Args:
        mean1: (d,).
        covariance1: (d, d), of any rank.
        mean2: (d,).
        covariance2: (d, d), of any rank.

    Raises:
        ValueError: for shapes that do not agree.

    Examples:
        >>> round(float(wasserstein2([0.0], [[4.0]], [1.0], [[1.0]])), 4)
        1.4142
    """
    m1, c1, m2, c2 = _arrays(mean1, covariance1, mean2, covariance2)
    values, vectors = jnp.linalg.eigh(c1)
    half = (vectors * safe_sqrt(values)[None]) @ vectors.T
    shared = jnp.linalg.eigvalsh(half @ c2 @ half)
    square = jnp.sum((m1 - m2) ** 2) + jnp.trace(c1) + jnp.trace(c2)
    return safe_sqrt(square - 2 * jnp.sum(safe_sqrt(shared)))


def wasserstein1(
    mean1: Numbers, variance1: Numbers, mean2: Numbers, variance2: Numbers
) -> Float[Array, "..."]:
    """Return the Wasserstein distance of order 1 between Gaussians on the line.

    ``E |D + S Z|`` with the differences D of means and S of deviations.

    Args:
        mean1: (...).
        variance1: (...), at least 0.
        mean2: (...).
        variance2: (...), at least 0.

    Examples:
        >>> round(float(wasserstein1(0.0, 1.0, 2.0, 1.0)), 4)
        2.0
    """
    m1, v1, m2, v2 = (
        jnp.asarray(v, float) for v in (mean1, variance1, mean2, variance2)
    )
    shift = jnp.abs(m1 - m2)
    spread = jnp.abs(safe_sqrt(v1) - safe_sqrt(v2))
    ratio = shift / jnp.where(spread > 0, spread, 1.0)
    normal = jax.scipy.stats.norm
    folded = 2 * spread * normal.pdf(ratio) + shift * (1 - 2 * normal.cdf(-ratio))
    return jnp.where(spread > 0, folded, shift)


def _arrays(*values: Numbers) -> tuple[Array, Array, Array, Array]:
    m1, c1, m2, c2 = (jnp.asarray(v, float) for v in values)
    shape = (m1.size, m1.size)
    if m1.ndim != 1 or m1.shape != m2.shape or c1.shape != shape or c2.shape != shape:
        raise ValueError(
            f"means have shapes {m1.shape} and {m2.shape}, covariances {c1.shape} and "
            f"{c2.shape}; they must be (d,) and (d, d)."
        )
    return m1, c1, m2, c2
