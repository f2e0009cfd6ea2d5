"""Straight paths between two sets of parameters, and the loss along them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import pytrees
from kanjax.landscape import linear_combinations

Params = pytrees.Params
Loss = Callable[[Params], Any]
"""``loss(params)``: a scalar, or any pytree of values that are wanted together."""


class Line(NamedTuple):
    """The loss along a straight segment.

    Attributes:
        alphas: (points,), 0 at the one end and 1 at the other.
        losses: what the loss returned, with a leading axis over points.
    """

    alphas: Float[Array, " points"]
    losses: Any


def interpolate(a: Params, b: Params, alpha: ArrayLike) -> Params:
    """``(1 - alpha) a + alpha b``, leaf by leaf; exact at both ends.

    Args:
        a: a pytree with floating-point leaves.
        b: another, of the same structure.
        alpha: a scalar, not confined to [0, 1].

    Raises:
        ValueError: naming the first path where the two pytrees differ.
        TypeError: if a leaf is not a floating-point array.

    Examples:
        >>> interpolate({"w": 0.0}, {"w": 4.0}, 0.25)
        {'w': Array(1., dtype=float32)}
    """
    pytrees.check_same(a, b, "a", "b")
    alpha = jnp.asarray(alpha)
    return pytrees.combine((1 - alpha, alpha), (a, b))


def line(
    loss: Loss,
    a: Params,
    b: Params,
    *,
    points: int = 25,
    alphas: ArrayLike | None = None,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Line:
    """Return the loss on the straight segment from a to b.

    Args:
        loss: ``loss(params)``, a scalar or a pytree of values (loss and accuracy,
            say).
        a: the parameters at alpha 0.
        b: the parameters at alpha 1.
        points: the size of a uniform grid on [0, 1] with both ends.
        alphas: (points,), other positions instead of that grid.
        batch_size: how many points are evaluated at once; if None, as many as keep
            their values within some megabytes.
        mesh: spread the points over its devices.

    Non-finite losses are kept as they are.

    Raises:
        ValueError: if a and b do not match, if points is less than 2, or if alphas is
            not one-dimensional.
    """
    pytrees.check_same(a, b, "a", "b")
    if alphas is None:
        if points < 2:
            raise ValueError(f"points is {points}; a segment has at least its 2 ends.")
        positions = jnp.linspace(0.0, 1.0, points)
    else:
        positions = jnp.asarray(alphas, dtype=float)
        if positions.ndim != 1 or positions.size == 0:
            raise ValueError(
                f"alphas has shape {positions.shape}; it must be (points,) with at "
                "least one point."
            )

    losses = linear_combinations.evaluate(
        loss, (1 - positions, positions), (a, b), batch_size=batch_size, mesh=mesh
    )
    return Line(positions, losses)
