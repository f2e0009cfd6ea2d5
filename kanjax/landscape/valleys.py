"""A landscape of two valleys in which everything has a closed form.

``L(u, v) = (u v - 1)^2 / 2`` has its minima on the two arms of the hyperbola uv = 1 and
a saddle at the origin. Two hikers who set out there reach the same arm if they walk
together for long enough, and then no barrier separates their ends. Made in the manner
of Singh et al. 2024, arXiv 2406.16300, whose own toy landscape is another one.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float


def two_valleys(point: Float[Array, "2"]) -> Float[Array, ""]:
    """``(u v - 1)^2 / 2`` at ``point = (u, v)``."""
    return jnp.square(point[0] * point[1] - 1) / 2


def valley_floor(u: ArrayLike) -> Float[Array, "2"]:
    """Return the minimum ``(u, 1 / u)``; the sign of u is the arm."""
    u = jnp.asarray(u, dtype=float)
    return jnp.stack([u, 1 / u])


def valley_line(p: ArrayLike, q: ArrayLike, alpha: ArrayLike) -> Array:
    """Return the loss on the segment between the minima of p and q, in closed form.

    ``[alpha (1 - alpha) (p - q)^2 / (p q)]^2 / 2``: at most 1/2 for (1, 1) and
    (-1, -1), which the saddle separates.
    """
    p, q, alpha = (jnp.asarray(x, dtype=float) for x in (p, q, alpha))
    return jnp.square(alpha * (1 - alpha) * jnp.square(p - q) / (p * q)) / 2


def hike(
    point: Float[Array, "2"],
    key: Array,
    steps: int | Array,
    *,
    step_size: float = 0.05,
    noise: float = 0.05,
) -> Float[Array, "2"]:
    """Noisy gradient descent in the two valleys: a ``train`` for spawn.

    Args:
        point: (2,), the start.
        key: of the noise.
        steps: how many; may be traced.
        step_size: of gradient descent.
        noise: the standard deviation of what is added to the gradient.
    """

    def step(i: Array, point: Array) -> Array:
        gradient = jax.grad(two_valleys)(point)
        shake = jax.random.normal(jax.random.fold_in(key, i), (2,), point.dtype)
        return point - step_size * (gradient + noise * shake)

    return jax.lax.fori_loop(0, steps, step, point)
