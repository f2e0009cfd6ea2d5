"""Gaussian expectations of functions with kinks at unknown places.

Piessens, de Doncker-Kapenga, Ueberhuber, Kahaner 1983, "QUADPACK": the worst piece is
halved until the errors of all pieces sum to less than the tolerance.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from kanjax.gaussian.quadrature import Function
from kanjax.square_root import safe_sqrt

# Beyond this many deviations a standard normal has a mass of e^-72.
_RANGE = 12.0
_START = 12


class Expectation(NamedTuple):
    """An integral and how far it may be off.

    Attributes:
        value: (...).
        error: (...), an estimate that is mostly far too large.
        converged: whether every error is within the tolerance.
    """

    value: Array
    error: Array
    converged: Array


def adaptive_expectation(
    function: Function,
    mean: ArrayLike = 0.0,
    variance: ArrayLike = 1.0,
    *,
    tolerance: float | None = None,
    max_pieces: int = 200,
) -> Expectation:
    """``E[function(x)]`` for ``x ~ N(mean, variance)``, by adaptive quadrature.

    Kinks and jumps cost pieces, and no accuracy. The pieces are the same for all values
    of the function and have no derivative; the integral over them has.

    Args:
        function: of x (points,), to (points, ...).
        mean: of x, a scalar.
        variance: of x, a scalar, at least 0.
        tolerance: of the error, relative to the integral of the function's size; 1e-6
            in float32, 1e-10 in float64 if None.
        max_pieces: the most pieces.

    Works under jit, vmap and grad.

    Raises:
        ValueError: if max_pieces is less than 12, which it begins with.

    Examples:
        >>> import jax
        >>> round(float(adaptive_expectation(jax.nn.relu).value), 4)
        0.3989
    """
    if max_pieces < _START:
        raise ValueError(f"max_pieces is {max_pieces}; it must be at least {_START}.")
    mean, variance = jnp.asarray(mean), jnp.asarray(variance)
    dtype = jnp.result_type(mean, variance, 1.0)
    if tolerance is None:
        tolerance = 1e-10 if dtype == jnp.float64 else 1e-6
    fine, coarse = (_legendre(n, dtype) for n in (15, 7))
    deviation = safe_sqrt(variance)

    def integrals(left: Array, right: Array, rule: tuple[Array, Array]) -> Array:
        """(pieces, ...): of the function on each."""
        points, weights = (values[None] for values in rule)
        half = (right - left)[:, None] / 2
        z = (left + right)[:, None] / 2 + half * points
        density = half * weights * jnp.exp(-(z**2) / 2) / jnp.sqrt(2 * jnp.pi)
        y = function((mean + deviation * z).ravel())
        y = y.reshape(*z.shape, *y.shape[1:])
        return jnp.einsum("pn,pn...->p...", density, y, precision="highest")

    def measured(left: Array, right: Array) -> tuple[Array, Array]:
        y = jax.lax.stop_gradient(integrals(left, right, fine))
        return y, jnp.abs(y - jax.lax.stop_gradient(integrals(left, right, coarse)))

    def scale(values: Array) -> Array:
        return jnp.sum(jnp.abs(values), axis=0)

    def worst(values: Array, errors: Array) -> Array:
        """(pieces,): each piece's error as a share of its integral, the largest."""
        size = scale(values)
        shares = errors / jnp.where(size > 0, size, 1.0)
        return jnp.max(shares.reshape(shares.shape[0], -1), axis=1)

    def goes_on(state: tuple) -> Array:
        _, _, values, errors, count = state
        return (count < max_pieces) & (jnp.sum(worst(values, errors)) > tolerance)

    def halve(state: tuple) -> tuple:
        left, right, values, errors, count = state
        i = jnp.argmax(worst(values, errors))
        middle = (left[i] + right[i]) / 2
        places = jnp.stack([i, count])
        left = left.at[count].set(middle)
        right = right.at[count].set(right[i]).at[i].set(middle)
        new, error = measured(left[places], right[places])
        values, errors = values.at[places].set(new), errors.at[places].set(error)
        return left, right, values, errors, count + 1

    edges = np.linspace(-_RANGE, _RANGE, _START + 1)
    rest = np.zeros(max_pieces - _START)
    left = jnp.asarray(np.concatenate([edges[:-1], rest]), dtype)
    right = jnp.asarray(np.concatenate([edges[1:], rest]), dtype)
    first = (left, right, *measured(left, right), jnp.array(_START))
    left, right, values, errors, _ = jax.lax.while_loop(goes_on, halve, first)
    total = jnp.sum(integrals(left, right, fine), axis=0)
    error = jnp.sum(errors, axis=0)
    converged = jnp.all(error <= tolerance * scale(values))
    return Expectation(total, error, converged)


def _legendre(nodes: int, dtype: jnp.dtype) -> tuple[Array, Array]:
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return jnp.asarray(points, dtype), jnp.asarray(weights, dtype)
