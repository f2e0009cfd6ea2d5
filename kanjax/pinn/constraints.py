"""Conditions that hold by construction: transformations of the network's function.

Each function here gives a transformation ``constrain`` from fields to fields, for
:class:`kanjax.pinn.Problem`. Exact periodicity is a layer instead,
:class:`kanjax.nn.PeriodicEmbedding`.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from kanjax.pinn import domains
from kanjax.pinn.derivatives import Field

Constraint = Callable[[Field], Field]


def initial(values: Field, *, start: float = 0.0) -> Constraint:
    """Make ``u0(x) + (t - start) * net(t, x)`` of a network.

    Args:
        values: u0, a function of the coordinates of space, (coordinates - 1,). For an
            ordinary differential equation its argument is empty.
        start: the initial time.

    Examples:
        >>> import jax.numpy as jnp
        >>> u = initial(lambda x: 3 * x[0])(lambda z: jnp.exp(z[0]))
        >>> float(u(jnp.array([0.0, 2.0])))
        6.0
    """
    return lambda net: lambda z: values(z[1:]) + (z[0] - start) * net(z)


def boundary(domain: domains.Domain, values: Field | float = 0.0) -> Constraint:
    """Make ``g(z) + factor(z) * net(z)`` of a network: it is g on the boundary.

    Args:
        domain: whose ``factor`` vanishes on its boundary; of time and space, on the
            walls at all times.
        values: g, a function of a point that is smooth inside as well, or a number.
    """
    g = values if callable(values) else lambda z: jnp.asarray(values, z.dtype)
    return lambda net: lambda z: g(z) + domain.factor(z) * net(z)


def initial_and_boundary(domain: domains.TimeSpace, values: Field) -> Constraint:
    """Make ``u0(x) + (t - start) * factor(x) * net(t, x)``: u0 at all walls as well.

    Args:
        domain: time and space.
        values: u0, a function of the coordinates of space; the walls keep its values.
    """

    def constrain(net: Field) -> Field:
        def u(z: Array) -> Array:
            grown = (z[0] - domain.start) / (domain.duration or 1.0)
            return values(z[1:]) + grown * domain.factor(z) * net(z)

        return u

    return constrain
