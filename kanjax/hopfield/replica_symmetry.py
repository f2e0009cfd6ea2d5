"""Dense memories with infinitely many spins, as long as replicas are alike.

Sources: Albanese, Alemanno, Alessandrelli, Barra (2021), Replica symmetry breaking in
dense neural networks, arXiv 2111.12997; Gardner (1987), J. Phys. A 20; de Almeida,
Thouless (1978), J. Phys. A 11.

Sums are over sets of P distinct spins, P is the ``order``, as in
:class:`kanjax.hopfield.PSpin`. Everything here takes the paper's variables: the inverse
temperature of that memory is :func:`scale_beta`'s argument, ``scaled_beta = 2 beta /
P!``, and ``2 load / P! spins^(P - 1)`` patterns are stored, see
:func:`stored_patterns`. Crosstalk is then a P-spin glass of covariance ``scaled_beta^2
load / 2 q^P``. At order 2 the equations are those of the model of Sherrington and
Kirkpatrick with a ferromagnetic bias, and not of Hopfield's memory, whose noise has a
soft component, see :mod:`kanjax.hopfield.mean_field`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from kanjax.hopfield import checks
from kanjax.hopfield.mean_field import Capacity
from kanjax.hopfield.quadrature import normal_grid
from kanjax.hopfield.self_consistency import fixed_point
from kanjax.square_root import safe_sqrt

NODES = 1001
"""Points of a Gaussian mean: enough for noise up to about 20 times the temperature."""


class Symmetric(NamedTuple):
    """A solution of the replica-symmetric equations.

    Attributes:
        overlap: m, with the pattern that is recalled.
        replica_overlap: q, of two replicas.
        residual: the largest change of m and q that the equations still ask for.
        converged: whether that is within the tolerance.
    """

    overlap: Float[Array, ""]
    replica_overlap: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class GlassLine(NamedTuple):
    """Where a glass in a field of load 1 breaks the symmetry of replicas.

    Attributes:
        field: (...).
        temperature: (...), 1 / scaled_beta.
        replica_overlap: (...), q.
    """

    field: Float[Array, "..."]
    temperature: Float[Array, "..."]
    replica_overlap: Float[Array, "..."]


class RecallLine(NamedTuple):
    """Where states of recall break the symmetry of replicas.

    Attributes:
        load: (...), gamma.
        temperature: (...), 1 / scaled_beta.
        overlap: (...), m.
        replica_overlap: (...), q.
    """

    load: Float[Array, "..."]
    temperature: Float[Array, "..."]
    overlap: Float[Array, "..."]
    replica_overlap: Float[Array, "..."]


def scale_beta(beta: ArrayLike, order: int) -> Array:
    """``2 beta / P!``, the paper's beta'.

    Args:
        beta: (...), the inverse temperature of :class:`kanjax.hopfield.PSpin`.
        order: P, at least 2.

    Raises:
        ValueError: for a beta that is not positive, or an order below 2.
    """
    checks.check_count("order", order, 2)
    return checks.check_beta(beta) * 2 / math.factorial(order)


def stored_patterns(load: ArrayLike, spins: int, order: int) -> Array:
    """``2 load / P! spins^(P - 1)``, the number of patterns of a load.

    Args:
        load: (...), the paper's gamma; of :func:`capacity`, say.
        spins: of the memory.
        order: P, at least 2.

    Raises:
        ValueError: for a negative load, or an order below 2.
    """
    checks.check_count("order", order, 2)
    load = checks.check_load(load)
    return load * (2 / math.factorial(order)) * float(spins) ** (order - 1)


def pressure(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    overlap: ArrayLike,
    replica_overlap: ArrayLike,
    order: int,
    *,
    nodes: int = NODES,
) -> Float[Array, ""]:
    """Minus beta times the free energy of a spin, as a function of m and q.

    ``log 2 + E log cosh g - b/2 (P - 1) m^P + b^2 load / 4 (1 - P q^(P-1) + (P - 1)
    q^P)`` with ``g = b P/2 m^(P-1) + z b sqrt(load P/2 q^(P-1))``. Its
    stationary points are the solutions of :func:`solve`.

    Args:
        scaled_beta: (), b, above 0.
        load: (), gamma, at least 0.
        overlap: (), m.
        replica_overlap: (), q, in [0, 1].
        order: P, at least 2.
        nodes: of the Gaussian mean.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load = checks.check_point(scaled_beta, load, order)
    m, q = jnp.asarray(overlap), jnp.asarray(replica_overlap)
    g, weight = _local_fields(b, load, m, q, order, nodes)
    signal = b / 2 * (order - 1) * m**order
    crosstalk = crosstalk_pressure(b, load, q, order)
    return weight @ jnp.logaddexp(g, -g) - signal + crosstalk


def solve(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    order: int,
    *,
    start: tuple[ArrayLike, ArrayLike] = (1.0, 1.0),
    nodes: int = NODES,
    tolerance: float | None = None,
    max_steps: int = 2_000,
) -> Symmetric:
    """Solve ``m = E tanh g``, ``q = E tanh^2 g`` from a start.

    Args:
        scaled_beta: b, above 0 and finite.
        load: gamma, at least 0.
        order: P, at least 2.
        start: of m and q: (1, 1) finds a recalled pattern, (0, 1) the glass.
        nodes: of the Gaussian mean.
        tolerance: the largest change at which it ends, see :func:`fixed_point`.
        max_steps: the most updates.

    Works under jit, vmap and grad; derivatives are those of the implicit function.

    Raises:
        ValueError: for arguments out of range.

    Examples:
        >>> state = solve(5.0, 0.1, 4)
        >>> round(float(state.overlap), 4), bool(state.converged)
        (1.0, True)
    """
    b, load = checks.check_point(scaled_beta, load, order)

    def update(x: tuple[Array, Array]) -> tuple[Array, Array]:
        m, q = x
        g, weight = _local_fields(b, load, m, q, order, nodes)
        t = jnp.tanh(g)
        return weight @ t, weight @ jnp.square(t)

    dtype = jnp.result_type(float)
    begin = jnp.asarray(start[0], dtype), jnp.asarray(start[1], dtype)
    end = fixed_point(
        update, begin, tolerance=tolerance, max_steps=max_steps, accelerate=True
    )
    m, q = end.value
    return Symmetric(m, q, end.residual, end.converged)


def replicon(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    overlap: ArrayLike,
    replica_overlap: ArrayLike,
    order: int,
    *,
    nodes: int = NODES,
) -> Float[Array, ""]:
    """Return the eigenvalue that decides on stability: replicas are alike above 0.

    ``1 - b^2 load P (P - 1) / 2 q^(P-2) E cosh^-4 g``.

    Args:
        scaled_beta: (), b, above 0.
        load: (), gamma, at least 0.
        overlap: (), m of a solution.
        replica_overlap: (), q of it.
        order: P, at least 2.
        nodes: of the Gaussian mean.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load = checks.check_point(scaled_beta, load, order)
    m, q = jnp.asarray(overlap), jnp.asarray(replica_overlap)
    g, weight = _local_fields(b, load, m, q, order, nodes)
    return replicon_of_fields(b, load, q, order, g, weight)


def entropy(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    overlap: ArrayLike,
    replica_overlap: ArrayLike,
    order: int,
    *,
    nodes: int = NODES,
) -> Float[Array, ""]:
    """Return the entropy of a spin, ``A - b dA/db``; below 0 the solution is wrong.

    Args:
        scaled_beta: (), b, above 0.
        load: (), gamma, at least 0.
        overlap: (), m of a solution, at which the pressure A is stationary.
        replica_overlap: (), q of it.
        order: P, at least 2.
        nodes: of the Gaussian mean.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load = checks.check_point(scaled_beta, load, order)
    m, q = jnp.asarray(overlap), jnp.asarray(replica_overlap)

    def at(b: Array) -> Array:
        return pressure(b, load, m, q, order, nodes=nodes)

    value, slope = jax.value_and_grad(at)(b)
    return value - b * slope


def free_energy(pressure: ArrayLike, scaled_beta: ArrayLike, order: int) -> Array:
    """Return ``-A / beta`` of a spin, for the beta of :class:`kanjax.hopfield.PSpin`.

    Args:
        pressure: (...), A.
        scaled_beta: (...), b, above 0.
        order: P, at least 2.

    Raises:
        ValueError: for arguments out of range.
    """
    checks.check_count("order", order, 2)
    b = checks.check_beta(scaled_beta)
    return -jnp.asarray(pressure) / (b * math.factorial(order) / 2)


def glass_line(noise: ArrayLike, order: int, *, nodes: int = NODES) -> GlassLine:
    """Trace the line in (field, temperature) below which a glass of load 1 breaks up.

    De Almeida and Thouless' line, by the noise of the local fields along it: the
    replicon vanishes. For other loads both go with ``sqrt(load)``.

    Args:
        noise: (...), standard deviations of the local field over the temperature.
        order: P, at least 2, which is Sherrington and Kirkpatrick's model.
        nodes: of the Gaussian means.

    Works under jit, vmap and grad.

    Raises:
        ValueError: for an order below 2.

    Examples:
        >>> line = glass_line(0.5, 2)
        >>> round(float(line.field), 2), round(float(line.temperature), 2)
        (0.08, 0.84)
    """
    noise, signal, _, q = _marginal(noise, order, nodes)
    b = noise / jnp.sqrt(order / 2 * q ** (order - 1))
    return GlassLine(signal / b, 1 / b, q)


def recall_line(noise: ArrayLike, order: int, *, nodes: int = NODES) -> RecallLine:
    """Trace the line in (load, temperature) below which states of recall break up.

    Args:
        noise: (...), standard deviations of the local field over the temperature.
        order: P, at least 3.
        nodes: of the Gaussian means.

    Works under jit, vmap and grad.

    Raises:
        ValueError: for an order below 3; order 2 is no memory here.
    """
    checks.check_count("order", order, 3)
    noise, signal, m, q = _marginal(noise, order, nodes)
    b = signal / (order / 2 * m ** (order - 1))
    load = jnp.square(noise / b) / (order / 2 * q ** (order - 1))
    return RecallLine(load, 1 / b, m, q)


def zero_temperature(signal: ArrayLike, order: int) -> tuple[Array, Array]:
    """Return load and overlap of recall without temperature, by signal over noise.

    ``m = erf(signal / sqrt(2))`` and ``load = P/2 m^(2P - 2) / signal^2``: all
    solutions of ``m = erf(sqrt(P / load) m^(P-1) / 2)``. Where the load falls with
    the signal they are states of recall, elsewhere they are unstable.

    Args:
        signal: (...), above 0.
        order: P, at least 2.

    Raises:
        ValueError: for an order below 2.
    """
    checks.check_count("order", order, 2)
    signal = jnp.asarray(signal, jnp.result_type(float))
    m = jax.scipy.special.erf(signal / math.sqrt(2))
    return order / 2 * m ** (2 * order - 2) / jnp.square(signal), m


def capacity(order: int) -> Capacity:
    """Return the largest load with recall at zero temperature, and its overlap.

    ``max_x P/4 erf(x)^(2P - 2) / x^2``.

    Args:
        order: P, at least 3.

    Raises:
        ValueError: for an order below 3.

    Examples:
        >>> round(capacity(4).load, 6)
        0.39572
    """
    from scipy import optimize

    checks.check_count("order", order, 3)

    def load(x: float) -> float:
        return order / 4 * math.erf(x) ** (2 * order - 2) / x**2

    best: Any = optimize.minimize_scalar(
        lambda x: -load(x), bounds=(0.3, 5), method="bounded", options={"xatol": 1e-12}
    )
    return Capacity(load(float(best.x)), math.erf(best.x))


def crosstalk_pressure(b: Array, load: Array, q: Array, order: int) -> Array:
    """``b^2 load / 4 (1 - P q^(P-1) + (P - 1) q^P)``, of what is not recalled.

    Args:
        b: (), the scaled beta.
        load: (), gamma.
        q: (), the overlap of two replicas.
        order: P.
    """
    power = q ** (order - 1)
    return b**2 * load / 4 * (1 - order * power + (order - 1) * q * power)


def replicon_of_fields(
    b: Array, load: Array, q: Array, order: int, g: Array, weight: Array
) -> Float[Array, ""]:
    """``1 - b^2 load P (P - 1) / 2 q^(P-2) E cosh^-4 g`` for any local fields.

    Args:
        b: the scaled beta.
        load: gamma.
        q: the overlap of two replicas.
        order: P.
        g: (nodes,), local fields over the temperature.
        weight: (nodes,), their weights.
    """
    curvature = b**2 * load * order * (order - 1) / 2 * q ** (order - 2)
    return 1 - curvature * (weight @ jnp.square(1 - jnp.square(jnp.tanh(g))))


def _local_fields(
    b: Array,
    load: Array,
    m: Array,
    q: Array,
    order: int,
    nodes: int,
) -> tuple[Array, Array]:
    """Local fields over the temperature on a grid, and the weights of its points."""
    z, weight = normal_grid(nodes)
    signal = b * order / 2 * m ** (order - 1)
    noise = b * safe_sqrt(load * order / 2 * q ** (order - 1))
    return signal + noise * z, weight


def _marginal(noise: ArrayLike, order: int, nodes: int) -> tuple[Array, ...]:
    """Solve ``(P - 1) noise^2 E cosh^-4 g = E tanh^2 g`` for the mean of g."""
    import optimistix

    checks.check_count("order", order, 2)
    noise = jnp.asarray(noise, jnp.result_type(float))
    z, weight = normal_grid(nodes)

    def excess(signal: Array, noise: Array) -> Array:
        t = jnp.square(jnp.tanh(signal + noise * z))
        return weight @ t - (order - 1) * noise**2 * (weight @ jnp.square(1 - t))

    def point(noise: Array) -> tuple[Array, ...]:
        rounding = 10 * float(jnp.finfo(noise.dtype).eps)
        # Ten standard deviations and more away, no field is near zero any longer.
        most = 20 + 10 * jax.lax.stop_gradient(noise)
        root = optimistix.root_find(
            excess,
            optimistix.Bisection(rtol=rounding, atol=rounding),
            most / 2,
            noise,
            options={"lower": jnp.zeros_like(noise), "upper": most},
            max_steps=200,
            throw=False,
        ).value
        t = jnp.tanh(root + noise * z)
        return noise, root, weight @ t, weight @ jnp.square(t)

    for _ in range(noise.ndim):
        point = jax.vmap(point)
    return point(noise)
