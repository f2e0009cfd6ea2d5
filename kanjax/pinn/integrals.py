"""Integral terms of equations, by quadrature."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.pinn.derivatives import Field

Limit = float | Callable[[Array], Array]


def integral(
    u: Field, axis: int, lower: Limit, upper: Limit, *, nodes: int = 16
) -> Field:
    """Integrate a field along an axis, by Gauss and Legendre's rule.

    The rule is exact for polynomials of degree ``2 nodes - 1``; where u is rough, sum
    the integrals of pieces. A kernel that depends on both points is a factor of the
    field: ``integral(lambda y: kernel(z, y) * u(y), 0, 0.0, 1.0)(z)``.

    Args:
        u: a field.
        axis: the coordinate to integrate over.
        lower: where to begin, a number or a function of the point, such as ``lambda z:
            z[0]``.
        upper: where to end, likewise.
        nodes: points at which u is evaluated.

    Returns:
        A field; as a function of the point it depends on the other coordinates, and on
        the limits if those are functions.

    Raises:
        ValueError: if there is no node, or the point has no such coordinate.

    Examples:
        >>> import jax.numpy as jnp
        >>> u = lambda z: z[0] * z[1] ** 2
        >>> value = integral(u, 1, 0.0, lambda z: z[1])(jnp.array([2.0, 3.0]))
        >>> round(float(value), 4)
        18.0
    """
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1; got {nodes}.")
    places, weights = np.polynomial.legendre.leggauss(nodes)

    def total(z: Array) -> Array:
        if not 0 <= axis < z.shape[0]:
            raise ValueError(
                f"axis must be a coordinate of the point, 0 to {z.shape[0] - 1}; got "
                f"{axis}."
            )
        start, end = (v(z) if callable(v) else v for v in (lower, upper))
        half = (end - start) / 2
        x = start + half * (1 + jnp.asarray(places, z.dtype))
        values = jax.vmap(lambda y: u(z.at[axis].set(y)))(x)
        return half * jnp.tensordot(jnp.asarray(weights, z.dtype), values, axes=1)

    return total
