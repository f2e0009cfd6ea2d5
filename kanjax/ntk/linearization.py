"""A network replaced by its Taylor polynomial in the parameters.

Lee et al. 2019, arXiv 1902.06720 (the linearised network).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import checks, linalg

Params = Any
Apply = Callable[..., Array]


def linearize(apply: Apply, params: Params) -> Apply:
    """Return the network that is linear in its parameters and tangent at some.

    ``f(params_0, x) + J(x) (params - params_0)``, by one forward-mode product.

    Args:
        apply: ``apply(params, x, ...)``.
        params: the point of tangency, a pytree of floating-point arrays.

    Returns:
        A function of the same arguments.

    Examples:
        >>> import jax.numpy as jnp
        >>> square = lambda w, x: w**2 * x
        >>> float(linearize(square, jnp.array(3.0))(jnp.array(4.0), 1.0))
        15.0
    """
    return taylor_expand(apply, params, 1)


def taylor_expand(apply: Apply, params: Params, degree: int) -> Apply:
    """Return the Taylor polynomial of a network in its parameters, of some degree.

    Each term is the derivative along the line from ``params_0`` to the parameters, by
    nested forward mode: no Jacobian is formed.

    Args:
        apply: ``apply(params, x)``.
        params: ``params_0``, where to expand.
        degree: of the polynomial, from 0.

    Raises:
        TypeError: if a leaf of params is not of real floating point.
        ValueError: if degree is negative.
    """
    if degree < 0:
        raise ValueError(f"degree must be at least 0; got {degree}.")
    checks.check_real(params, "params")
    origin = params

    def polynomial(params: Params, *args: Any, **kwargs: Any) -> Array:
        step = jax.tree.map(jnp.subtract, params, origin)

        def along(p: Params) -> Array:
            return apply(p, *args, **kwargs)

        value, factorial, term = along(origin), 1, along
        for order in range(1, degree + 1):
            term, factorial = _derivative(term, step), factorial * order
            value = value + term(origin) / factorial
        return value

    return polynomial


def _derivative(function: Callable[[Params], Array], step: Params):
    return lambda p: linalg.linearize(function, p)[1](step)
