"""Dense memories with infinitely many spins, after one step of broken symmetry.

Sources: Albanese, Alemanno, Alessandrelli, Barra (2021), Replica symmetry breaking in
dense neural networks, arXiv 2111.12997; Gardner (1985), Nucl. Phys. B 257.

Variables are those of :mod:`kanjax.hopfield.replica_symmetry`. Replicas in the same
state overlap by ``self_overlap``, those in different ones by ``mutual_overlap``;
``breaking`` is Parisi's parameter in (0, 1]. The equations are nearly degenerate in it:
everything that solves them needs double precision.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from kanjax.hopfield import checks
from kanjax.hopfield.quadrature import normal_grid
from kanjax.hopfield.self_consistency import fixed_point
from kanjax.linalg import bisect
from kanjax.square_root import safe_sqrt

# Overlaps that differ by less are one: replicas are alike.
_SAME = 1e-7


class Broken(NamedTuple):
    """A solution of the equations with one step of broken replica symmetry.

    Attributes:
        overlap: m, with the pattern that is recalled.
        mutual_overlap: q1, of replicas in different states.
        self_overlap: q2, of replicas in the same state.
        breaking: theta; 1 where the states are not broken, or not frozen.
        residual: the largest change of these that the equations still ask for.
        converged: whether that is within the tolerance.
    """

    overlap: Float[Array, ""]
    mutual_overlap: Float[Array, ""]
    self_overlap: Float[Array, ""]
    breaking: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def annealed_pressure(scaled_beta: ArrayLike, load: ArrayLike) -> Array:
    """``log 2 + b^2 load / 4``: that of the paramagnet, which bounds all glasses.

    Args:
        scaled_beta: (...), b, above 0.
        load: (...), gamma, at least 0.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load = checks.check_point(scaled_beta, load, 2)
    return math.log(2) + b**2 * load / 4


def random_energy_pressure(scaled_beta: ArrayLike, load: ArrayLike) -> Array:
    """Return the pressure of Derrida's random energy model, the limit of large orders.

    The annealed one up to ``b = 2 sqrt(log 2 / load)``, then ``b sqrt(load log 2)``.

    Args:
        scaled_beta: (...), b, above 0.
        load: (...), gamma, above 0.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load = checks.check_point(scaled_beta, load, 2)
    frozen = b * safe_sqrt(load * math.log(2))
    hot = b**2 * load < 4 * math.log(2)
    return jnp.where(hot, annealed_pressure(scaled_beta, load), frozen)


def pressure(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    overlap: ArrayLike,
    mutual_overlap: ArrayLike,
    self_overlap: ArrayLike,
    breaking: ArrayLike,
    order: int,
    *,
    outer_nodes: int = 401,
    inner_nodes: int = 201,
) -> Float[Array, ""]:
    """Minus beta times the free energy of a spin, as a function of m, q1, q2, theta.

    ``log 2 + E1 log E2 cosh^theta g / theta - b/2 (P - 1) m^P + b^2 load / 4 (1 - P
    q2^(P-1) + (P - 1) (q2^P + theta (q1^P - q2^P)))``, where the standard normals of E1
    and E2 have variances ``b^2 load P/2 q1^(P-1)`` and ``... (q2^(P-1) - q1^(P-1))``
    in g. It is least in q1, q2 and theta: any of them bound a glass from above.

    Args:
        scaled_beta: (), b, above 0.
        load: (), gamma, at least 0.
        overlap: (), m.
        mutual_overlap: (), q1, in [0, q2].
        self_overlap: (), q2, in [0, 1].
        breaking: (), theta, in (0, 1].
        order: P, at least 2.
        outer_nodes: of the mean E1.
        inner_nodes: of the mean E2.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load = checks.check_point(scaled_beta, load, order)
    m, q1, q2, theta = (
        jnp.asarray(v, jnp.result_type(float))
        for v in (overlap, mutual_overlap, self_overlap, breaking)
    )
    nodes = outer_nodes, inner_nodes
    means = _means(b, load, m, q1, q2, theta, order, nodes)
    glass = 1 - order * q2 ** (order - 1) + (order - 1) * q2**order
    split = theta * (order - 1) * (q1**order - q2**order)
    return (
        math.log(2)
        + means.free / theta
        - b / 2 * (order - 1) * m**order
        + b**2 * load / 4 * (glass + split)
    )


def entropy(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    overlap: ArrayLike,
    mutual_overlap: ArrayLike,
    self_overlap: ArrayLike,
    breaking: ArrayLike,
    order: int,
) -> Float[Array, ""]:
    """Return the entropy of a spin in a solution, ``A - b dA/db``.

    Args:
        scaled_beta: (), b, above 0.
        load: (), gamma, at least 0.
        overlap: (), m of a solution, at which the pressure A is stationary.
        mutual_overlap: (), q1 of it.
        self_overlap: (), q2 of it.
        breaking: (), theta of it.
        order: P, at least 2.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load = checks.check_point(scaled_beta, load, order)

    def at(b: Array) -> Array:
        return pressure(b, load, overlap, mutual_overlap, self_overlap, breaking, order)

    value, slope = jax.value_and_grad(at)(b)
    return value - b * slope


def solve(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    order: int,
    *,
    breaking: ArrayLike | None = None,
    start: tuple[ArrayLike, ArrayLike, ArrayLike] = (0.0, 0.0, 0.99),
    outer_nodes: int | None = None,
    inner_nodes: int | None = None,
    max_steps: int = 500,
) -> Broken:
    """Solve for m, q1 and q2, and for the theta of least pressure.

    ``m = E1 <tanh g>``, ``q1 = E1 <tanh g>^2`` and ``q2 = E1 <tanh^2 g>`` with ``<f> =
    E2 cosh^theta(g) f / E2 cosh^theta(g)``. The derivative of the pressure in theta is
    first bracketed along solutions for theta, then all is solved at once. Above the
    transition of :func:`critical_beta` theta is 1, and q2 a metastable state's.

    Args:
        scaled_beta: b, above 0 and finite.
        load: gamma, above 0.
        order: P, at least 2.
        breaking: theta in (0, 1], if it is to be fixed.
        start: of m, q1 and q2: (0, 0, 0.99) finds the glass, (1, 0.9, 0.99) a recalled
            pattern. From small q2 the iteration falls to 0, where replicas are alike.
        outer_nodes: of the mean E1; if None 401, or 1 for a start of m = q1 = 0, which
            stay so.
        inner_nodes: of the mean E2; if None 201, or 2001 for such a start. The lower
            the temperature, the more are needed.
        max_steps: the most updates of each iteration.

    Compiled once for each order, number of nodes and kind of start. Works under jit,
    vmap and grad; derivatives are those of the implicit function.

    Raises:
        ValueError: for arguments out of range, or without double precision.

    Examples:
        >>> import jax
        >>> with jax.enable_x64(True):
        ...     broken = solve(2.0, 1.0, 4)
        >>> round(float(broken.self_overlap), 7), round(float(broken.breaking), 6)
        (0.9663437, 0.791117)
    """
    checks.check_double("one step of broken symmetry")
    b, load = checks.check_point(scaled_beta, load, order)
    dtype = jnp.result_type(float)
    # As it came: under jit even the array of a number is traced.
    known = not any(isinstance(value, jax.core.Tracer) for value in start[:2])
    defaults = (1, 2001) if known and not np.any(np.asarray(start[:2])) else (401, 201)
    nodes = outer_nodes or defaults[0], inner_nodes or defaults[1]

    begin = tuple(jnp.asarray(value, dtype) for value in start)
    fixed = None if breaking is None else jnp.asarray(breaking, dtype)
    return _solve(b, load, begin, fixed, order, nodes, max_steps)


@functools.partial(jax.jit, static_argnames=("order", "nodes", "max_steps"))
def _solve(
    b: Array,
    load: Array,
    begin: tuple[Array, ...],
    breaking: Array | None,
    order: int,
    nodes: tuple[int, int],
    max_steps: int,
) -> Broken:
    def means(x: tuple[Array, ...], theta: Array) -> "_Means":
        m, q1, q2 = x
        return _means(b, load, m, q1, q2, theta, order, nodes)

    def overlaps(x: tuple[Array, ...], theta: Array) -> tuple[Array, ...]:
        return means(x, theta)[:3]

    def ratio(x: tuple[Array, ...], theta: Array) -> Array:
        """Above 1 where theta is too large for the least pressure."""
        now = means(x, theta)
        gain = theta * now.logarithm - now.free
        cost = b**2 * load / 4 * (order - 1) * (x[2] ** order - x[1] ** order)
        split = x[2] - x[1] > _SAME
        cost = jnp.where(split, jnp.square(theta) * cost, 1.0)
        return jnp.where(split, gain / cost, 0.0)

    if breaking is not None:
        end = fixed_point(
            lambda x: overlaps(x, breaking), begin, max_steps=max_steps, accelerate=True
        )
        m, q1, q2 = end.value
        return Broken(m, q1, q2, breaking, end.residual, end.converged)

    def at(log_theta: Array) -> tuple[Array, ...]:
        # Never from collapsed overlaps, which would stay so.
        theta = jnp.exp(log_theta)
        return fixed_point(
            lambda x: overlaps(x, theta), begin, damping=0.0, max_steps=100
        ).value

    def too_large(log_theta: Array) -> Array:
        return ratio(at(log_theta), jnp.exp(log_theta)) > 1

    log_theta = bisect(too_large, math.log(1e-3), 0.0, steps=10)

    def update(x: tuple[Array, ...]) -> tuple[Array, ...]:
        m, q1, q2, theta = x
        r = ratio((m, q1, q2), theta)
        # Alike replicas have no theta of their own: 1 by convention.
        new = jnp.where(r > 0, theta / jnp.where(r > 0, r, 1.0), 1.0)
        return *overlaps((m, q1, q2), theta), jnp.minimum(new, 1.0)

    end = fixed_point(
        update,
        (*at(log_theta), jnp.exp(log_theta)),
        max_steps=max_steps,
        accelerate=True,
    )
    m, q1, q2, theta = end.value
    return Broken(m, q1, q2, theta, end.residual, end.converged)


def critical_beta(order: int, load: ArrayLike = 1.0) -> Array:
    """Return the scaled beta at which the paramagnet freezes into a broken glass.

    Where theta is 1 with q2 above 0: ``D(s) = (P - 1) s^2 Q(s) / (2 P)`` for the
    standard deviation s of g, ``Q = E tanh(s^2 + s z)`` and ``D = E log cosh(s^2 + s z)
    - s^2 / 2``. The limit of large orders is ``2 sqrt(log 2 / load)``.

    Args:
        order: P, at least 3; for 2 the transition is continuous, at 1 / sqrt(load).
        load: (...), gamma, above 0.

    Raises:
        ValueError: for arguments out of range.

    Examples:
        >>> round(float(critical_beta(4)), 4)
        1.6211
    """
    return _critical(order) / jnp.sqrt(checks.check_load(load))


def _critical(order: int) -> float:
    from scipy import optimize

    checks.check_count("order", order, 3)
    z = np.linspace(-10, 10, 4001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()

    def frozen(s: float) -> float:
        return float(weight @ np.tanh(s * s + s * z))

    def gap(s: float) -> float:
        g = s * s + s * z
        gain = weight @ (np.logaddexp(g, -g) - math.log(2)) - s * s / 2
        return float(gain - (order - 1) / (2 * order) * s * s * frozen(s))

    # The root at 0 is the paramagnet's; below the other one the gap is negative.
    s: Any = optimize.brentq(gap, 0.5, 4 * math.sqrt(order), xtol=1e-14)
    return s / math.sqrt(order / 2 * frozen(s) ** (order - 1))


class _Means(NamedTuple):
    """Means over local fields: E1 <tanh>, E1 <tanh>^2, E1 <tanh^2>, and two more."""

    m: Array
    mutual_overlap: Array
    self_overlap: Array
    free: Array  # E1 log E2 cosh^theta
    logarithm: Array  # E1 <log cosh>


def _means(
    b: Array,
    load: Array,
    m: Array,
    q1: Array,
    q2: Array,
    theta: Array,
    order: int,
    nodes: tuple[int, int],
) -> _Means:
    power = order - 1
    scale = b**2 * load * order / 2
    outer = safe_sqrt(scale * q1**power)
    inner = safe_sqrt(scale * (q2**power - q1**power))
    z, weight = normal_grid(nodes[0])
    signal = b * order / 2 * m**power + outer * z
    # cosh^theta moves the mass by up to theta inner to either side.
    reach = 8.5 + theta * inner
    u = reach * jnp.linspace(-1, 1, nodes[1], dtype=z.dtype)
    log_weight = jax.nn.log_softmax(-jnp.square(u) / 2)
    g = jnp.add.outer(signal, inner * u)
    log_cosh = jnp.logaddexp(g, -g) - math.log(2)
    exponent = log_weight[None] + theta * log_cosh
    free = jax.nn.logsumexp(exponent, axis=1)
    tilted = jnp.exp(exponent - free[:, None])
    t = jnp.tanh(g)
    first = jnp.sum(tilted * t, axis=1)
    second = jnp.sum(tilted * jnp.square(t), axis=1)
    logarithm = jnp.sum(tilted * log_cosh, axis=1)
    each = (first, jnp.square(first), second, free, logarithm)
    return _Means(*(weight @ values for values in each))
