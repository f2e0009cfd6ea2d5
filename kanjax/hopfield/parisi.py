"""Parisi's equation: glasses of Ising spins at any number of steps of broken symmetry.

Sources: Parisi (1980), J. Phys. A 13; Guerra (2003), Broken replica symmetry bounds in
the mean field spin glass model, arXiv cond-mat/0205123; the finite steps are the
transport equation of Albanese, Alemanno, Alessandrelli, Barra (2021), arXiv 2111.12997.

A glass is given by its ``covariance`` xi: energies over the temperature of two states
with overlap q have covariance ``spins xi(q)``. That of Sherrington and Kirkpatrick is
``beta^2 q^2 / 2``, that of a dense memory ``scaled_beta^2 load / 2 q^P``. Without
temperature, xi is that of the energies themselves. The order parameter is x(q), 0 below
``overlaps[0]`` and ``breaking[i]`` from ``overlaps[i]`` to the next; every one of them
bounds the pressure from above, and the least is the glass's.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from kanjax.hopfield import checks
from kanjax.hopfield.quadrature import normal_grid
from kanjax.square_root import safe_sqrt

Covariance = Callable[[Array], Array]

# Standard deviations that the grid of fields reaches, and nodes of the mean outside.
_REACH = 10
_OUTER = 201


class Minimum(NamedTuple):
    """The order parameter of least pressure among those of some steps.

    Attributes:
        value: the pressure of a spin; minus the energy at zero temperature.
        overlaps: rising, where x(q) jumps.
        breaking: (steps,), rising, x(q) after each of the jumps.
        slope: the largest derivative of the pressure in its search parameters.
        converged: whether the search did.
    """

    value: Float[Array, ""]
    overlaps: Float[Array, " jumps"]
    breaking: Float[Array, " steps"]
    slope: Float[Array, ""]
    converged: Bool[Array, ""]


def pressure(
    covariance: Covariance,
    overlaps: Any,
    breaking: Any,
    *,
    field: ArrayLike = 0.0,
    points: int = 401,
) -> Float[Array, ""]:
    """``log 2 + Phi(0, field) - int_0^1 x(q) q xi''(q) dq / 2``.

    Phi solves ``Phi_q + xi''/2 (Phi_hh + x Phi_h^2) = 0`` with ``Phi(1, h) = log cosh
    h``. Where x is constant that is a Gaussian mean of ``exp(x Phi)``, taken on an
    even grid of fields.

    Args:
        covariance: xi, a differentiable function of an overlap.
        overlaps: (steps + 1,), rising in [0, 1]; x is 1 after the last.
        breaking: (steps,), rising in (0, 1]; none are needed for replica symmetry.
        field: on all spins, over the temperature.
        points: of the grid, the more the lower the temperature: 401 for ``xi'(1)`` up
            to 100.

    Works under jit, vmap and grad.

    Raises:
        ValueError: for shapes that do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> value = pressure(lambda q: q**2 / 8, jnp.zeros(1), jnp.zeros(0))
        >>> round(float(value), 6)
        0.755647
    """
    q, x = _as_steps(overlaps, breaking, extra=1)
    slope = jax.grad(covariance)
    end = jnp.ones((), q.dtype)

    def log_cosh(h: Array) -> Array:
        # With x = 1, the mean of cosh is a cosh.
        rest = (slope(end) - slope(q[-1])) / 2
        return jnp.logaddexp(h, -h) - math.log(2) + rest

    free = _transport(covariance, q, x, log_cosh, field, points)
    cost = _cost(covariance, jnp.append(q, end), jnp.append(x, 1))
    return math.log(2) + free - cost


def zero_temperature_pressure(
    covariance: Covariance,
    overlaps: Any,
    breaking: Any,
    *,
    field: ArrayLike = 0.0,
    points: int = 401,
) -> Float[Array, ""]:
    """Return the limit of the pressure over beta: minus a bound of the energy.

    There x(q) over the temperature stays finite, and ``Phi(1, h) = |h|``.

    Args:
        covariance: xi of the energies.
        overlaps: (steps,), rising in [0, 1).
        breaking: (steps,), rising and above 0, the limits of x over the temperature.
        field: on all spins.
        points: of the grid.

    Works under jit, vmap and grad.

    Raises:
        ValueError: for shapes that do not fit, or no step.
    """
    q, x = _as_steps(overlaps, breaking, extra=0)
    slope = jax.grad(covariance)
    end = jnp.ones((), q.dtype)
    last, s = x[-1], safe_sqrt(slope(end) - slope(q[-1]))
    s = jnp.where(s > 0, s, 1.0)

    def folded(h: Array) -> Array:
        """``log E exp(x |h + s z|) / x``, of the last step."""
        up = last * h + jax.scipy.special.log_ndtr(h / s + last * s)
        down = -last * h + jax.scipy.special.log_ndtr(-h / s + last * s)
        return jnp.logaddexp(up, down) / last + last * s**2 / 2

    free = _transport(covariance, q, x[:-1], folded, field, points)
    return free - _cost(covariance, jnp.append(q, end), x)


def minimize(
    covariance: Covariance,
    steps: int,
    *,
    zero_temperature: bool = False,
    field: ArrayLike = 0.0,
    start: tuple[Any, Any] | None = None,
    points: int = 401,
    max_steps: int = 500,
) -> Minimum:
    """Search for the steps of least pressure.

    Args:
        covariance: xi.
        steps: of broken symmetry; 1 at least without temperature.
        zero_temperature: whether xi is that of energies, and the value minus one.
        field: (), on all spins.
        start: overlaps and breaking, as in :func:`pressure`; evenly spread if None.
            A glass that freezes at once, such as any of order 3 and more, needs an
            overlap near 1.
        points: of the grid of fields.
        max_steps: of the search.

    Works under jit, vmap and grad: derivatives of the value go to what the covariance
    closes over, and to the field.

    Raises:
        ValueError: for too few steps, a start that does not fit, or without double
            precision.

    Examples:
        >>> import jax
        >>> with jax.enable_x64(True):
        ...     sk = minimize(lambda q: q**2 / 2, 1, zero_temperature=True)
        >>> round(float(sk.value), 4)
        0.7653
    """
    import optimistix

    checks.check_count("steps", steps, 1 if zero_temperature else 0)
    checks.check_double("Parisi's equation")
    evaluate = zero_temperature_pressure if zero_temperature else pressure
    extra = 0 if zero_temperature else 1
    if start is None:
        jumps = steps + extra
        even = jnp.arange(1, steps + 1) / (steps + 1)
        start = jnp.arange(1, jumps + 1) / (jumps + 1), even
        if zero_temperature:
            end = jax.grad(covariance)(jnp.ones((), jnp.result_type(float)))
            start = start[0], 2 * steps * even / jnp.sqrt(end)
    q, x = jax.lax.stop_gradient(_as_steps(*start, extra=extra))

    # Steps are squares, over their sum where they end at 1, so that they may vanish.
    def share(raw: Array) -> Array:
        total = jnp.cumsum(jnp.square(raw))
        return total[:-1] / total[-1]

    def order_parameter(raw: tuple[Array, Array]) -> tuple[Array, Array]:
        if zero_temperature:
            return share(raw[0]), jnp.cumsum(jnp.square(raw[1]))
        return share(raw[0]), share(raw[1])

    def loss(raw: tuple[Array, Array], _: None) -> Array:
        return evaluate(covariance, *order_parameter(raw), field=field, points=points)

    def roots(values: Array, closed: bool) -> Array:
        last = jnp.ones(int(closed), values.dtype)
        return safe_sqrt(jnp.diff(jnp.concatenate([values, last]), prepend=0.0))

    search = optimistix.minimise(
        loss,
        optimistix.BFGS(rtol=1e-9, atol=1e-9),
        (roots(q, True), roots(x, not zero_temperature)),
        max_steps=max_steps,
        throw=False,
    )
    raw = jax.lax.stop_gradient(search.value)
    slopes = jax.tree.leaves(jax.grad(loss)(raw, None))
    slope = jnp.max(jnp.abs(jnp.concatenate(slopes)))
    # At a minimum derivatives are those at fixed steps.
    value = loss(raw, None)
    converged = search.result == optimistix.RESULTS.successful
    slope = jax.lax.stop_gradient(slope)
    return Minimum(value, *order_parameter(raw), slope, converged)


def _as_steps(overlaps: Any, breaking: Any, *, extra: int) -> tuple[Array, Array]:
    dtype = jnp.result_type(float)
    q, x = jnp.asarray(overlaps, dtype), jnp.asarray(breaking, dtype)
    least = 1 - extra
    if x.ndim != 1 or len(x) < least or q.shape != (len(x) + extra,):
        raise ValueError(
            f"overlaps and breaking must have shapes (steps{' + 1' * extra},) and "
            f"(steps,) with at least {least} steps; got {q.shape} and {x.shape}."
        )
    return q, x


def _cost(covariance: Covariance, q: Array, x: Array) -> Array:
    """``int x q xi'' dq / 2``, by parts."""
    each = q * jax.vmap(jax.grad(covariance))(q) - jax.vmap(covariance)(q)
    return x @ (each[1:] - each[:-1]) / 2


def _transport(
    covariance: Covariance,
    q: Array,
    x: Array,
    final: Callable[[Array], Array],
    field: ArrayLike,
    points: int,
) -> Array:
    """Phi at overlap 0 and the field, from what it is after the last of the steps x."""
    slope = jax.vmap(jax.grad(covariance))
    variance = slope(q)
    spread = safe_sqrt(slope(jnp.ones(1, q.dtype))[0])
    field = jnp.abs(jnp.asarray(field, q.dtype))
    z, weight = normal_grid(_OUTER)
    # Phi is even in h: half of the axis is enough.
    targets = jnp.abs(field + safe_sqrt(variance[0]) * z)
    grid = jnp.linspace(0, 1, points, dtype=q.dtype) * (field + _REACH * spread)
    steps = len(x)
    if steps == 0:
        return weight @ final(targets)
    phi = final(grid)
    for i in reversed(range(steps)):
        to = grid if i else targets
        phi = _mean(phi, grid, to, variance[i + 1] - variance[i], x[i])
    return weight @ phi


def _mean(phi: Array, grid: Array, to: Array, variance: Array, x: Array) -> Array:
    """``log E exp(x phi(h + s z)) / x`` at the fields h of ``to``, for an even phi."""
    # Weights of few points tend to those of the nearest as the variance vanishes.
    width = 2 * jnp.maximum(variance, 1e-12)
    near = -jnp.square(jnp.subtract.outer(to, grid)) / width
    mirrored = -jnp.square(jnp.add.outer(to, grid)) / width
    mirrored = mirrored.at[:, 0].set(-jnp.inf)
    weight = jax.nn.log_softmax(jnp.logaddexp(near, mirrored), axis=1)
    return jax.nn.logsumexp(weight + x * phi[None], axis=1) / x
