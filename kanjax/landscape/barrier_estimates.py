"""What curvature says about a barrier: an identity, and two estimates of second order.

Singh, Adilova, Kamp, Fischer, Schoelkopf, Hofmann 2024, "Landscaping Linear Mode
Connectivity", arXiv 2406.16300. With D = b - a and phi(alpha) the loss at
``(1 - alpha) a + alpha b``, the excess over the chord is
``B(alpha) = phi(alpha) - (1 - alpha) phi(0) - alpha phi(1)``.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import linalg, pytrees
from kanjax.landscape import paths

Params = pytrees.Params
ScalarLoss = Callable[[Params], Array]


def barrier_curvature_integral(
    loss: ScalarLoss,
    a: Params,
    b: Params,
    alpha: ArrayLike = 0.5,
    *,
    points: int = 200,
) -> Float[Array, ""]:
    """Return the excess over the chord as an integral of curvature along the segment.

    ``B(alpha) = -int_0^1 G(alpha, s) D^T H(s) D ds`` with Green's function
    ``G = min(alpha, s) (1 - max(alpha, s))``: a barrier needs negative curvature along
    D somewhere between its ends. By the midpoint rule on ``points`` intervals.

    Only for losses that are twice differentiable on the segment. The kinks of a ReLU
    network carry curvature that no derivative sees, and the integral misses it.

    Args:
        loss: of parameters alone.
        a: where the segment begins.
        b: where it ends.
        alpha: the place on it, 0 to 1.
        points: intervals of the rule.

    Raises:
        ValueError: if a and b do not match, or points is less than 1.
    """
    pytrees.check_same(a, b, "a", "b")
    if points < 1:
        raise ValueError(f"points is {points}; the rule needs at least 1.")
    alpha = jnp.asarray(alpha, dtype=float)
    s = (jnp.arange(points) + 0.5) / points

    curvatures = pytrees.evaluate(_curvature, s, a, b, static=(loss,), batch_size=None)
    green = jnp.minimum(alpha, s) * (1 - jnp.maximum(alpha, s))
    return -jnp.mean(green.astype(curvatures.dtype) * curvatures)


def _curvature(s: Array, loss: ScalarLoss, a: Params, b: Params) -> Array:
    step = pytrees.combine((1.0, -1.0), (b, a))
    here = paths.interpolate(a, b, s)
    return linalg.directional_derivatives(loss, here, step).curvature


def barrier_second_order(
    loss: ScalarLoss,
    a: Params,
    b: Params,
    alpha: ArrayLike = 0.5,
    *,
    gradients: bool = True,
) -> Float[Array, ""]:
    """Return the excess over the chord by Taylor expansion at both ends.

    ``alpha (1 - alpha) [(g_a - g_b)^T D + D^T (alpha H_a + (1 - alpha) H_b) D / 2]``:
    what the two ends see of the ridge between them. Exact for quadratic losses. It
    ranks barriers rather than measures them, as it knows no more than the ends.

    Args:
        loss: ``loss(params)``, a scalar.
        a: the solution at alpha 0.
        b: the solution at alpha 1.
        alpha: where on the segment, in [0, 1].
        gradients: False leaves out the gradients, which vanish at exact minima.

    Raises:
        ValueError: if a and b do not match.
    """
    pytrees.check_same(a, b, "a", "b")
    alpha = jnp.asarray(alpha, dtype=float)
    step = pytrees.combine((1.0, -1.0), (b, a))
    first, last = (linalg.directional_derivatives(loss, p, step) for p in (a, b))
    total = (alpha * first.curvature + (1 - alpha) * last.curvature) / 2
    if gradients:
        total = total + first.slope - last.slope
    return alpha * (1 - alpha) * total


def barrier_from_base(
    loss: ScalarLoss,
    a: Params,
    b: Params,
    base: Params,
    alpha: ArrayLike = 0.5,
) -> Float[Array, ""]:
    """Return the excess over the chord by Taylor expansion at one common point.

    ``-alpha (1 - alpha) / 2  D^T H(base) D``: positive only where D meets negative
    curvature at the base, the initialisation or the point where two runs branched.

    Args:
        loss: of parameters alone.
        a: where the segment begins.
        b: where it ends.
        base: where the loss is expanded.
        alpha: (), the place on the segment, 0 to 1.

    Raises:
        ValueError: if the three pytrees do not match.
    """
    pytrees.check_same(a, b, "a", "b")
    pytrees.check_same(a, base, "a", "base")
    alpha = jnp.asarray(alpha, dtype=float)
    step = pytrees.combine((1.0, -1.0), (b, a))
    curvature = linalg.directional_derivatives(loss, base, step).curvature
    return -alpha * (1 - alpha) / 2 * curvature
