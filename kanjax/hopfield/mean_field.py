"""The classical memory with infinitely many spins: Amit, Gutfreund and Sompolinsky.

Source: Amit, Gutfreund, Sompolinsky (1985), Storing infinite numbers of patterns in a
spin-glass model of neural networks, Phys. Rev. Lett. 55; (1987), Ann. Phys. 173.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from kanjax.hopfield import checks


class MeanField(NamedTuple):
    """A solution of the replica-symmetric equations.

    Attributes:
        overlap: m, with the pattern that is recalled.
        order: q, of the spin glass.
        noise: r, the mean square overlap with the other patterns, scaled.
        converged: whether the equations hold to the tolerance.
    """

    overlap: Float[Array, ""]
    order: Float[Array, ""]
    noise: Float[Array, ""]
    converged: Bool[Array, ""]


class Capacity(NamedTuple):
    """The capacity at zero temperature.

    Attributes:
        load: patterns a spin, the largest with which patterns are recalled.
        overlap: of the state that is recalled there.
    """

    load: float
    overlap: float


def zero_temperature_capacity() -> Capacity:
    """Return the load up to which the Hebbian memory recalls: 0.1379 patterns a spin.

    ``max_y (erf(y) / y - 2 exp(-y^2) / sqrt(pi))^2 / 2``, with the overlap erf(y).

    Example:
        >>> round(zero_temperature_capacity().load, 6)
        0.137906
    """
    from scipy import optimize

    def load(y: float) -> float:
        slope = math.erf(y) / y - 2 * math.exp(-y * y) / math.sqrt(math.pi)
        return slope**2 / 2

    best: Any = optimize.minimize_scalar(
        lambda y: -load(y), bounds=(0.5, 3), method="bounded", options={"xatol": 1e-12}
    )
    return Capacity(load(float(best.x)), math.erf(best.x))


def replica_symmetric(
    load: ArrayLike,
    beta: ArrayLike,
    *,
    start: float = 1.0,
    tolerance: float = 1e-5,
    max_steps: int = 20_000,
    nodes: int = 2001,
) -> MeanField:
    """Solve for the state of recall by damped iteration.

    ``m = E tanh(beta (m + sqrt(load r) z))``, ``q = E tanh^2(...)`` and ``r = q /
    (1 - beta (1 - q))^2``, with z standard normal. The means are sums over an even
    grid, which resolves tanh where it is nearly a step; Gauss-Hermite nodes do not.

    Args:
        load: patterns a spin, at least 0.
        beta: the inverse temperature, above 0 and finite.
        start: the overlap that the iteration starts from; 0 finds the spin glass.
        tolerance: the largest change of m and q in a step at which it ends.
        max_steps: the most steps; ``converged`` tells whether they sufficed.
        nodes: of the grid on [-9, 9].

    Works under jit and vmap.

    Raises:
        ValueError: for a beta that is not positive.
    """
    load, beta = jnp.asarray(load, jnp.result_type(float)), checks.check_beta(beta)
    grid = np.linspace(-9, 9, nodes)
    density = np.exp(-(grid**2) / 2)
    z, weight = jnp.asarray(grid), jnp.asarray(density / density.sum())

    def noise(q: Array) -> Array:
        return q / jnp.square(1 - beta * (1 - q))

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        m, q, _, count = carry
        local = jnp.tanh(beta * (m + jnp.sqrt(load * noise(q)) * z))
        new_m, new_q = weight @ local, weight @ jnp.square(local)
        change = jnp.maximum(jnp.abs(new_m - m), jnp.abs(new_q - q))
        return (m + new_m) / 2, (q + new_q) / 2, change, count + 1

    def active(carry: tuple[Array, ...]) -> Array:
        return (carry[2] > tolerance) & (carry[3] < max_steps)

    unity = jnp.ones((), jnp.result_type(load, beta))
    begin = (start * unity, unity, jnp.inf * unity, jnp.array(0, jnp.int32))
    m, q, change, _ = jax.lax.while_loop(active, step, begin)
    return MeanField(m, q, noise(q), change <= tolerance)
