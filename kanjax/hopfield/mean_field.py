"""The classical memory with infinitely many spins: Amit, Gutfreund and Sompolinsky.

Source: Amit, Gutfreund, Sompolinsky (1985), Storing infinite numbers of patterns in a
spin-glass model of neural networks, Phys. Rev. Lett. 55; (1987), Ann. Phys. 173. The
pressure as that of two glasses: Barra, Genovese, Guerra, Tantari (2012), How glassy are
neural networks?, arXiv 1205.3900, and arXiv 2111.12997.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from kanjax.hopfield import checks
from kanjax.hopfield.quadrature import normal_grid
from kanjax.hopfield.self_consistency import fixed_point
from kanjax.square_root import safe_sqrt


class MeanField(NamedTuple):
    """A solution of the replica-symmetric equations.

    Attributes:
        overlap: m, with the pattern that is recalled.
        order: q, of the spin glass.
        noise: r, the mean square overlap with the other patterns, scaled.
        residual: the largest change of m and q that the equations still ask for.
        converged: whether that is within the tolerance.
    """

    overlap: Float[Array, ""]
    order: Float[Array, ""]
    noise: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class Components(NamedTuple):
    """The pressure of the classical memory as that of two glasses.

    Attributes:
        total: ``hard - hard_beta^2 / 4 + load soft - beta m^2 / 2``.
        hard: of Sherrington and Kirkpatrick's model.
        soft: of the Gaussian glass, for each pattern.
        hard_beta: the inverse temperature of the former.
    """

    total: Float[Array, ""]
    hard: Float[Array, ""]
    soft: Float[Array, ""]
    hard_beta: Float[Array, ""]


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
        tolerance: the largest change of m and q by the equations at which it ends.
        max_steps: the most steps; ``converged`` tells whether they sufficed.
        nodes: of the grid on [-9, 9].

    Works under jit, vmap and grad; derivatives are those of the implicit function.

    Raises:
        ValueError: for a negative load, or a beta that is not positive.
    """
    load, beta = checks.check_load(load), checks.check_beta(beta)
    z, weight = normal_grid(nodes, 9.0)

    def update(x: tuple[Array, Array]) -> tuple[Array, Array]:
        m, q = x
        local = jnp.tanh(beta * (m + safe_sqrt(load * _noise(beta, q)) * z))
        return weight @ local, weight @ jnp.square(local)

    unity = jnp.ones((), jnp.result_type(load, beta))
    end = fixed_point(
        update, (start * unity, unity), tolerance=tolerance, max_steps=max_steps
    )
    m, q = end.value
    return MeanField(m, q, _noise(beta, q), end.residual, end.converged)


def pressure(
    load: ArrayLike,
    beta: ArrayLike,
    overlap: ArrayLike,
    order: ArrayLike,
    noise: ArrayLike,
    *,
    nodes: int = 2001,
) -> Float[Array, ""]:
    """Minus beta times the free energy of a spin, as a function of m, q and r.

    ``log 2 + E log cosh(beta (m + sqrt(load r) z)) - beta m^2 / 2 - load / 2 (log(1 -
    beta (1 - q)) - beta q / (1 - beta (1 - q)) + beta^2 r (1 - q))``. Its stationary
    points are the solutions of :func:`replica_symmetric`.

    Args:
        load: patterns a spin, at least 0.
        beta: the inverse temperature, above 0 and finite.
        overlap: m.
        order: q, with ``beta (1 - q)`` below 1.
        noise: r.
        nodes: of the grid on [-9, 9].

    Raises:
        ValueError: for a load or beta out of range.
    """
    load, beta = checks.check_load(load), checks.check_beta(beta)
    m, q, r = jnp.asarray(overlap), jnp.asarray(order), jnp.asarray(noise)
    z, weight = normal_grid(nodes, 9.0)
    g = beta * (m + safe_sqrt(load * r) * z)
    gap = 1 - beta * (1 - q)
    soft = jnp.log(gap) - beta * q / gap + beta**2 * r * (1 - q)
    return weight @ jnp.logaddexp(g, -g) - beta * m**2 / 2 - load / 2 * soft


def split_pressure(
    load: ArrayLike,
    beta: ArrayLike,
    overlap: ArrayLike,
    order: ArrayLike,
    *,
    nodes: int = 2001,
) -> Components:
    """Split the pressure into that of a glass of Ising spins and of a Gaussian one.

    The first, hard, is Sherrington and Kirkpatrick's with the inverse temperature
    ``sqrt(load) beta / (1 - beta (1 - q))`` in the field ``beta m``; the second, soft,
    is of the patterns that are not recalled. Both have the overlaps of the memory. In
    dense memories, :mod:`kanjax.hopfield.replica_symmetry`, there is no soft one.

    Args:
        load: patterns a spin, at least 0.
        beta: the inverse temperature, above 0 and finite.
        overlap: m.
        order: q, with ``beta (1 - q)`` below 1.
        nodes: of the grid on [-9, 9].

    Raises:
        ValueError: for a load or beta out of range.
    """
    load, beta = checks.check_load(load), checks.check_beta(beta)
    m, q = jnp.asarray(overlap), jnp.asarray(order)
    z, weight = normal_grid(nodes, 9.0)
    gap = 1 - beta * (1 - q)
    hard_beta = safe_sqrt(load) * beta / gap
    g = beta * m + hard_beta * safe_sqrt(q) * z
    hard = weight @ jnp.logaddexp(g, -g) + jnp.square(hard_beta * (1 - q)) / 4
    soft = gaussian_glass_pressure(beta, gap, beta * _noise(beta, q))
    total = hard - jnp.square(hard_beta) / 4 + load * soft - beta * m**2 / 2
    return Components(total, hard, soft, hard_beta)


def gaussian_glass_pressure(
    stiffness: ArrayLike, beta: ArrayLike, overlap: ArrayLike
) -> Float[Array, ""]:
    """Return the replica-symmetric pressure of a glass of standard normal spins.

    ``-log(1 - l + b^2 p) / 2 + b^2 p / (2 (1 - l + b^2 p)) + b^2 p^2 / 4`` for spins
    weighted by ``exp(l z^2 / 2)``; stationary in p.

    Args:
        stiffness: l, which opposes the Gaussian.
        beta: b, the inverse temperature of the couplings.
        overlap: p.
    """
    b, p = jnp.asarray(beta), jnp.asarray(overlap)
    width = 1 - jnp.asarray(stiffness) + b**2 * p
    return -jnp.log(width) / 2 + b**2 * p / (2 * width) + b**2 * p**2 / 4


def _noise(beta: Array, q: Array) -> Array:
    return q / jnp.square(1 - beta * (1 - q))
