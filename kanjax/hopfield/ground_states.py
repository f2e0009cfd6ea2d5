"""Dense memories without temperature, after one step of broken replica symmetry.

Sources: Albanese, Alemanno, Alessandrelli, Barra (2021), Replica symmetry breaking in
dense neural networks, arXiv 2111.12997; Gardner (1985), Nucl. Phys. B 257.

The limit of :mod:`kanjax.hopfield.replica_breaking` in which ``breaking * scaled_beta``
stays finite. Inner means are closed forms of the normal distribution, so that nothing
has to resolve a step. States of recall are traced by the ratio of signal to noise of
the local fields: given it, the other equations do not contain the load. The search is
compiled once for each order.
"""

import functools
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
from kanjax.hopfield.self_consistency import FixedPoint, fixed_point
from kanjax.linalg import bisect
from kanjax.square_root import safe_sqrt

NODES = 1001
"""Points of the outer mean: enough up to a ratio of signal to noise of about 3."""


class GroundState(NamedTuple):
    """A solution at zero temperature.

    Attributes:
        load: gamma.
        overlap: m, with the pattern that is recalled.
        mutual_overlap: q1, of different states; within a state replicas are the same.
        breaking: the limit of theta times the scaled beta.
        energy: of a spin, that is minus the limit of the pressure over scaled beta.
        residual: the largest change that the equations still ask for.
        converged: whether that is within the tolerance.
    """

    load: Float[Array, ""]
    overlap: Float[Array, ""]
    mutual_overlap: Float[Array, ""]
    breaking: Float[Array, ""]
    energy: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def glass(
    order: int, load: ArrayLike = 1.0, *, nodes: int = NODES, max_steps: int = 500
) -> GroundState:
    """Solve for the ground states of a glass, which recall nothing.

    Replica symmetry has the energy ``-sqrt(load P / pi)``, which is too low.

    Args:
        order: P, at least 3.
        load: (), gamma, at least 0.
        nodes: of the outer mean.
        max_steps: the most updates of each iteration.

    Works under jit, vmap and grad.

    Raises:
        ValueError: for arguments out of range, or without double precision.

    Examples:
        >>> import jax
        >>> with jax.enable_x64(True):
        ...     round(float(glass(4).energy), 6)
        -0.825471
    """
    checks.check_count("order", order, 3)
    checks.check_double("the glass of zero temperature")
    load, zero = checks.check_load(load), jnp.zeros(())
    return _state(load, zero, order, _search(zero, zero, order, nodes, max_steps))


def recall(
    signal: ArrayLike, order: int, *, nodes: int = NODES, max_steps: int = 500
) -> GroundState:
    """Solve for states of recall, by the signal over the noise of the local fields.

    The load, ``P/2 m^(2P - 2) / signal^2``, comes out: it rises as the signal falls, up
    to the capacity. Beyond that, states are unstable.

    Args:
        signal: (), mean of the local field over its standard deviation, above 0.
        order: P, at least 3.
        nodes: of the outer mean.
        max_steps: the most updates of each iteration.

    Works under jit, vmap and grad, over signals: a whole branch is one call.

    Raises:
        ValueError: for arguments out of range, or without double precision.
    """
    checks.check_count("order", order, 3)
    checks.check_double("recall at zero temperature")
    signal = jnp.asarray(signal, jnp.result_type(float))
    start = jnp.asarray(0.9, signal.dtype)
    solution = _search(signal, start, order, nodes, max_steps)
    m = solution[2].m
    load = order / 2 * m ** (2 * order - 2) / jnp.square(signal)
    return _state(load, m, order, solution)


def capacity(order: int) -> Capacity:
    """Return the largest load with recall, and its overlap.

    It is above that of :func:`kanjax.hopfield.replica_symmetry.capacity`.

    Args:
        order: P, at least 3.

    Raises:
        ValueError: for an order below 3, or without double precision.

    Examples:
        >>> import jax
        >>> with jax.enable_x64(True):
        ...     round(capacity(4).load, 3)
        0.458
    """
    from scipy import optimize

    checks.check_double("the capacity")
    # The load is flat there: a signal to five digits gives it to ten.
    best: Any = optimize.minimize_scalar(
        lambda signal: -float(recall(signal, order).load),
        bounds=(0.7, 3.0),
        method="bounded",
        options={"xatol": 1e-5},
    )
    state = recall(best.x, order)
    return Capacity(float(state.load), float(state.overlap))


class _Means(NamedTuple):
    m: Array
    mutual_overlap: Array
    free: Array  # E1 log E2 exp(D |x|)
    magnitude: Array  # E1 <|x|>


def _means(signal: Array, q1: Array, D: Array, order: int, nodes: int) -> _Means:
    """Means over local fields ``x`` of unit variance; D is the breaking for them."""
    z, weight = normal_grid(nodes)
    a = signal + safe_sqrt(q1 ** (order - 1)) * z
    s = safe_sqrt(1 - q1 ** (order - 1))
    s = jnp.where(s > 0, s, 1.0)

    def halves(D: Array) -> tuple[Array, Array]:
        """Logarithms of the masses that exp(D |x|) gives to either sign."""
        up = D * a + jax.scipy.special.log_ndtr(a / s + D * s)
        down = -D * a + jax.scipy.special.log_ndtr(-a / s + D * s)
        return up + jnp.square(D * s) / 2, down + jnp.square(D * s) / 2

    def log_mass(D: Array) -> Array:
        return jnp.logaddexp(*halves(D))

    up, down = halves(D)
    sign = jnp.tanh((up - down) / 2)
    free, magnitude = jax.jvp(log_mass, (D,), (jnp.ones_like(D),))
    each = (sign, jnp.square(sign), free, magnitude)
    return _Means(*(weight @ values for values in each))


@functools.partial(jax.jit, static_argnames=("order", "nodes", "max_steps"))
def _search(
    signal: Array, start: Array, order: int, nodes: int, max_steps: int
) -> tuple[Array, Array, _Means, FixedPoint]:
    """Solve for q1, from a start, and D, for fields of unit variance."""

    def ratio(means: _Means, q1: Array, D: Array) -> Array:
        """Above 1 where D is too large for the least pressure."""
        cost = (order - 1) / (2 * order) * (1 - q1**order)
        return (D * means.magnitude - means.free) / (jnp.square(D) * cost)

    def at(log_D: Array) -> Array:
        def update(q1: Array) -> Array:
            return _means(signal, q1, jnp.exp(log_D), order, nodes).mutual_overlap

        return fixed_point(update, start, damping=0.0, max_steps=100).value

    def too_large(log_D: Array) -> Array:
        q1, D = at(log_D), jnp.exp(log_D)
        return ratio(_means(signal, q1, D, order, nodes), q1, D) > 1

    def update(x: tuple[Array, Array]) -> tuple[Array, Array]:
        q1, D = x
        means = _means(signal, q1, D, order, nodes)
        return means.mutual_overlap, D / ratio(means, q1, D)

    log_D = bisect(too_large, math.log(0.05), math.log(50.0), steps=10)
    end = fixed_point(
        update, (at(log_D), jnp.exp(log_D)), max_steps=max_steps, accelerate=True
    )
    q1, D = end.value
    return q1, D, _means(signal, q1, D, order, nodes), end


def _state(
    load: Array, m: Array, order: int, solution: tuple[Array, Array, _Means, FixedPoint]
) -> GroundState:
    q1, D, means, end = solution
    noise = safe_sqrt(load * order / 2)
    energy = (
        (order - 1) / 2 * m**order
        - noise * means.free / D
        + noise * D * (order - 1) / (2 * order) * (1 - q1**order)
    )
    breaking = D / jnp.where(noise > 0, noise, 1.0)
    return GroundState(load, m, q1, breaking, energy, end.residual, end.converged)
