"""The classical memory with infinitely many spins: Amit, Gutfreund and Sompolinsky.

Source: Amit, Gutfreund, Sompolinsky (1985), Storing infinite numbers of patterns in a
spin-glass model of neural networks, Phys. Rev. Lett. 55; (1987), Ann. Phys. 173. The
pressure as that of two glasses: Barra, Genovese, Guerra, Tantari (2012), How glassy are
neural networks?, arXiv 1205.3900, and arXiv 2111.12997.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from kanjax.hopfield import checks
from kanjax.hopfield.quadrature import normal_grid
from kanjax.hopfield.self_consistency import fixed_point
from kanjax.linalg import bisect
from kanjax.square_root import safe_sqrt

REGIMES = ("paramagnet", "glass", "metastable recall", "recall")
"""Names of the codes 0 to 3 that :func:`regime` gives: states of recall are metastable
where the glass has the larger pressure."""


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


class Regime(NamedTuple):
    """What the memory does at one point of its phase diagram.

    Attributes:
        code: the place in ``REGIMES``.
        overlap: m of the state of recall, or about 0.
        replicon: of that state, above 0 where replicas are alike.
        converged: whether the searches for states did.
        residual: the largest change that their equations still ask for.
    """

    code: Int[Array, ""]
    overlap: Float[Array, ""]
    replicon: Float[Array, ""]
    converged: Bool[Array, ""]
    residual: Float[Array, ""]


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

    Examples:
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
        start: the overlap that the iteration starts from.
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
        update,
        (start * unity, unity),
        tolerance=tolerance,
        max_steps=max_steps,
        accelerate=True,
    )
    m, q = end.value
    return MeanField(m, q, _noise(beta, q), end.residual, end.converged)


def glass(
    load: ArrayLike, beta: ArrayLike, *, tolerance: float = 1e-5, nodes: int = 2001
) -> MeanField:
    """Solve for the state without an overlap: the spin glass, or the paramagnet.

    The standard deviation s of the local field over the temperature solves ``s (1 -
    beta (1 - q)) = beta sqrt(load q)`` with ``q = E tanh^2(s z)``. It is bracketed
    first: iterations leave the glass for states of recall, or for noise without bound.
    Above the temperature ``1 + sqrt(load)`` it is 0, the paramagnet's.

    Args:
        load: (), patterns a spin, above 0.
        beta: (), the inverse temperature, above 0 and finite.
        tolerance: the largest relative change of s at which it ends.
        nodes: of the grid on [-9, 9].

    Works under jit, vmap and grad; derivatives are those of the implicit function.

    Raises:
        ValueError: for a negative load, or a beta that is not positive.

    Examples:
        >>> round(float(glass(0.1, 2.0).order), 3), float(glass(0.1, 0.7).order)
        (0.628, 0.0)
    """
    load, beta = checks.check_load(load), checks.check_beta(beta)
    z, weight = normal_grid(nodes, 9.0)

    def terms(log_s: Array) -> tuple[Array, Array]:
        g = jnp.exp(log_s) * z
        q = weight @ jnp.square(jnp.tanh(g))
        # 1 - q without the cancellation, which beta would multiply.
        gap = 1 - beta * (weight @ (4 * jax.nn.sigmoid(2 * g) * jax.nn.sigmoid(-2 * g)))
        return gap, jnp.log(beta) + jnp.log(load * q) / 2

    def too_large(log_s: Array) -> Array:
        gap, log_drive = terms(log_s)
        return gap > jnp.exp(log_drive - log_s)

    def update(log_s: Array) -> Array:
        gap, log_drive = terms(log_s)
        return log_drive - jnp.log(gap)

    frozen = beta * (1 + jnp.sqrt(load)) > 1
    log_s = bisect(too_large, math.log(1e-3), math.log(1e3), steps=30)
    # Above the transition a point at which nothing is left to solve.
    end = fixed_point(
        lambda x: jnp.where(frozen, update(x), 0.0),
        jnp.where(frozen, log_s, 0.0),
        tolerance=tolerance,
        max_steps=50,
        accelerate=True,
    )
    q = weight @ jnp.square(jnp.tanh(jnp.exp(end.value) * z))
    q = jnp.where(frozen, q, 0.0)
    zero = jnp.zeros_like(q)
    return MeanField(zero, q, _noise(beta, q), end.residual, end.converged)


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
        load: (), patterns a spin, at least 0.
        beta: (), the inverse temperature, above 0 and finite.
        overlap: (), m.
        order: (), q, with ``beta (1 - q)`` below 1.
        noise: (), r.
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


def replicon(
    load: ArrayLike,
    beta: ArrayLike,
    overlap: ArrayLike,
    order: ArrayLike,
    *,
    nodes: int = 2001,
) -> Float[Array, ""]:
    """Return the eigenvalue that decides on stability: replicas are alike above 0.

    ``1 - load beta^2 E cosh^-4 / (1 - beta (1 - q))^2``, which is that of the glass of
    Ising spins in :func:`split_pressure`.

    Args:
        load: (), patterns a spin, at least 0.
        beta: (), the inverse temperature, above 0 and finite.
        overlap: (), m of a solution.
        order: (), q of it.
        nodes: of the grid on [-9, 9].

    Raises:
        ValueError: for a load or beta out of range.
    """
    load, beta = checks.check_load(load), checks.check_beta(beta)
    m, q = jnp.asarray(overlap), jnp.asarray(order)
    z, weight = normal_grid(nodes, 9.0)
    t = jnp.tanh(beta * (m + safe_sqrt(load * _noise(beta, q)) * z))
    width = weight @ jnp.square(1 - jnp.square(t))
    return 1 - load * jnp.square(beta / (1 - beta * (1 - q))) * width


def regime(load: ArrayLike, beta: ArrayLike, *, max_steps: int = 500) -> Regime:
    """Say what the memory does: whether a state of recall exists, and is the deepest.

    There is a glass below the temperature ``1 + sqrt(load)``. States of recall appear
    below it, first with less pressure than the glass.

    Args:
        load: (), patterns a spin, above 0.
        beta: (), the inverse temperature, above 0 and finite.
        max_steps: the most steps of the search for a state of recall.

    Works under jit and vmap.

    Raises:
        ValueError: for a negative load, or a beta that is not positive.
    """
    load, beta = checks.check_load(load), checks.check_beta(beta)
    recall = replica_symmetric(load, beta, max_steps=max_steps)
    frozen = glass(load, beta)
    depths = [pressure(load, beta, *state[:3]) for state in (recall, frozen)]
    # Overlaps of states of recall jump, but where there is hardly a load.
    recalls = recall.overlap > 0.02
    deepest = jnp.where(depths[0] > depths[1], 3, 2)
    code = jnp.where(recalls, deepest, frozen.order > 0)
    return Regime(
        code.astype(jnp.int32),
        recall.overlap,
        replicon(load, beta, recall.overlap, recall.order),
        recall.converged & frozen.converged,
        jnp.maximum(recall.residual, frozen.residual),
    )


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
        load: (), patterns a spin, at least 0.
        beta: (), the inverse temperature, above 0 and finite.
        overlap: (), m.
        order: (), q, with ``beta (1 - q)`` below 1.
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
        stiffness: (), l, which opposes the Gaussian.
        beta: (), b, the inverse temperature of the couplings.
        overlap: (), p.
    """
    b, p = jnp.asarray(beta), jnp.asarray(overlap)
    width = 1 - jnp.asarray(stiffness) + b**2 * p
    return -jnp.log(width) / 2 + b**2 * p / (2 * width) + b**2 * p**2 / 4


def _noise(beta: Array, q: Array) -> Array:
    return q / jnp.square(1 - beta * (1 - q))
