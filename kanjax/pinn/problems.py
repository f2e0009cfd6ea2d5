"""What a problem is: a domain, residuals, named conditions, and what is known of u."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import checks, model, pytrees
from kanjax.pinn import domains, samplers
from kanjax.pinn.constraints import Constraint
from kanjax.pinn.derivatives import Field, partial

Residual = Callable[..., Any]
"""``r(u, z)`` of a field and a point, an array or a dict of named arrays; with unknown
coefficients ``r(u, z, coefficients)``."""

INTERIOR = "residual"
CLOSE = 1e-5
"""What may lie outside of the domain, as a share of its extent: rounding."""


class Condition(NamedTuple):
    """What a field has to satisfy besides the equation.

    Attributes:
        place: the part of the domain where it holds, or rows of data (rows, columns)
            that start with a point of it.
        residual: ``r(u, z)``, 0 where the condition holds; of rows, z is a row.
    """

    place: domains.Domain | Float[Array, "rows columns"]
    residual: Residual


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A differential equation with its conditions; equal to itself alone.

    Attributes:
        domain: where it holds.
        residual: ``r(u, z)``: u is a function of a point, z a point (coordinates,). A
            number, an array of one entry an equation, or a dict of either by name.
        conditions: by name.
        constrain: what makes a field of the network, so that conditions hold exactly;
            see :mod:`kanjax.pinn.constraints`.
        outputs: the network's outputs; with 1 the field is scalar.
        coefficients: first guesses of unknown coefficients, by name; they are trained
            beside the network, and residuals take them as a third argument.
        reference: the solution, a function of points (points, coordinates).

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax import pinn
        >>> def decay(u, z):
        ...     return pinn.partial(u, 0)(z) + u(z)
        >>> problem = Problem(
        ...     pinn.interval(0, 1),
        ...     decay,
        ...     constrain=pinn.constraints.initial(lambda _: 1.0),
        ...     reference=lambda z: jnp.exp(-z[:, 0]),
        ... )
        >>> problem.domain.measure
        1.0
    """

    domain: domains.Domain
    residual: Residual
    conditions: Mapping[str, Condition] = dataclasses.field(default_factory=dict)
    constrain: Constraint | None = None
    outputs: int = 1
    coefficients: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: Callable[[Array], Array] | None = None


class Parameters(NamedTuple):
    """What is trained.

    Attributes:
        network: the model's parameters.
        coefficients: the problem's unknown coefficients, by name.
    """

    network: Any
    coefficients: dict[str, Array]


Residuals = dict[str, Callable[[Parameters, Float[Array, " coordinates"]], Array]]
"""Flat residuals (equations,) of parameters and a point, by name."""


def dirichlet(place: domains.Domain, values: Field | float = 0.0) -> Condition:
    """Ask for values of u.

    Args:
        place: where.
        values: a function of a point, or a number.
    """
    if callable(values):
        return Condition(place, lambda u, z, *_: u(z) - values(z))
    return Condition(place, lambda u, z, *_: u(z) - values)


def periodic(domain: domains.Domain, axis: int, *, order: int = 0) -> Condition:
    """Ask for the same values, and derivatives, at both ends of an axis.

    Args:
        domain: a box, or time and a box.
        axis: the coordinate, counted in space.
        order: up to which derivative.

    Raises:
        ValueError: if the domain has no two opposite faces.
    """
    space = domain.space if isinstance(domain, domains.TimeSpace) else domain
    if not isinstance(space, domains.Box):
        raise ValueError(
            "a periodic condition needs a box, whose faces are opposite; got "
            f"{space!r}."
        )
    place: domains.Domain = space.face(axis, "lower")
    shift = axis
    if isinstance(domain, domains.TimeSpace):
        place, shift = domains.TimeSpace(domain.start, domain.end, place), axis + 1

    def residual(u: Field, z: Array, *_: Any) -> Array:
        other = z.at[shift].add(space.widths[axis])
        fields = [u] + [partial(u, shift, k) for k in range(1, order + 1)]
        return jnp.stack([jnp.ravel(v(z) - v(other)) for v in fields])

    return Condition(place, residual)


def observations(points: Array, values: Array) -> Condition:
    """Ask for measured values of u.

    Args:
        points: where they were measured, (rows, coordinates).
        values: what was, (rows,) or (rows, outputs).

    Raises:
        ValueError: if there are none, not as many of both, or one is not finite.
    """
    points, values = checks.as_floating(points), checks.as_floating(values)
    columns = values[:, None] if values.ndim == 1 else values
    if points.ndim != 2 or len(points) == 0 or len(points) != len(columns):
        raise ValueError(
            "points must be (rows, coordinates) and values (rows,) or (rows, outputs), "
            f"at least one row; got {points.shape} and {values.shape}."
        )
    if not bool(jnp.all(jnp.isfinite(columns)) & jnp.all(jnp.isfinite(points))):
        raise ValueError("observations must be finite; drop rows that are not.")
    size = points.shape[1]
    rows = jnp.concatenate([points, columns], axis=1)
    return Condition(rows, lambda u, row, *_: jnp.ravel(u(row[:size])) - row[size:])


def initialize(problem: Problem, net: model.Model, *, key: Array) -> Parameters:
    """Draw the network's parameters, beside the first guesses of coefficients.

    Args:
        problem: the problem.
        net: a model from its coordinates to its outputs.
        key: of the draw.
    """
    guesses = {k: jnp.asarray(v, float) for k, v in problem.coefficients.items()}
    return Parameters(net.init(key), guesses)


def field(problem: Problem, net: model.Model, params: Parameters) -> Field:
    """Return the function of a point that the network stands for, constraints included.

    Args:
        problem: the problem.
        net: the model.
        params: its parameters.
    """

    def raw(z: Array) -> Array:
        y = net.apply(params.network, z)
        return y[0] if problem.outputs == 1 else y

    return raw if problem.constrain is None else problem.constrain(raw)


def residuals(problem: Problem, net: model.Model) -> Residuals:
    """Return the residuals of the equation and of all conditions, as functions of
    parameters.

    Complex residuals become real and imaginary parts. The equation's are named
    "residual", or by the keys of what the problem's residual gives.

    Args:
        problem: the problem.
        net: the model.

    Raises:
        ValueError: if the model does not take points of the domain or has another
            number of outputs, if a residual is not of one point, or if an initial
            condition is missing, or if data lie outside of the domain.
    """
    names = check(problem, net)

    def of(function: Residual, name: str | None) -> Callable[..., Array]:
        def flat(params: Parameters, z: Array) -> Array:
            u = field(problem, net, params)
            extra = (params.coefficients,) if problem.coefficients else ()
            r = function(u, z, *extra)
            r = jnp.ravel(r if name is None else r[name])
            return jnp.concatenate([r.real, r.imag]) if jnp.iscomplexobj(r) else r

        return flat

    residuals = {name or INTERIOR: of(problem.residual, name) for name in names}
    conditions = problem.conditions.items()
    return residuals | {name: of(c.residual, None) for name, c in conditions}


def check(problem: Problem, net: model.Model) -> tuple[str | None, ...]:
    """Check that a problem and a model fit, without computing anything.

    Args:
        problem: the problem.
        net: the model.

    Returns:
        The names of the residual's entries, or None for a single array.

    Raises:
        ValueError: as in :func:`residuals`.
    """
    size = problem.domain.coordinates
    z = jax.ShapeDtypeStruct((size,), jnp.zeros(()).dtype)
    key = jax.random.key(0)
    params = jax.eval_shape(lambda: initialize(problem, net, key=key))
    shape = jax.eval_shape(net.apply, params.network, z).shape
    if shape != (problem.outputs,):
        raise ValueError(
            f"the problem has {size} coordinates and outputs={problem.outputs}; the "
            f"model gives shape {shape} at a point. Change the model's widths."
        )
    _check_initial(problem)
    _check_data(problem)

    def at_point(params: Parameters, z: Array) -> Any:
        extra = (params.coefficients,) if problem.coefficients else ()
        return problem.residual(field(problem, net, params), z, *extra)

    result = jax.eval_shape(at_point, params, z)
    named = isinstance(result, Mapping)
    for name, entry in (result if named else {INTERIOR: result}).items():
        if len(entry.shape) > 1 or 0 in entry.shape:
            raise ValueError(
                f"{name} must be a number or (equations,) at one point; got shape "
                f"{entry.shape}. Points are mapped over outside of it."
            )
        if named and name in problem.conditions:
            raise ValueError(f"{name!r} names an equation and a condition.")
    return tuple(result) if named else (None,)


def sample(
    problem: Problem,
    points: int,
    *,
    key: Array,
    sampler: samplers.Sampler = samplers.uniform,
    condition_points: int | None = None,
) -> dict[str, Float[Array, "points coordinates"]]:
    """Draw points for the equation and for each condition.

    Args:
        problem: the problem.
        points: how many inside of the domain.
        key: of the draws.
        sampler: of :mod:`kanjax.pinn.samplers`.
        condition_points: how many for each condition; an eighth of points by default.
            Rows of data are all taken.

    Raises:
        ValueError: unless both are positive.
    """
    few = max(1, points // 8) if condition_points is None else condition_points
    keys = jax.random.split(key, 1 + len(problem.conditions))
    drawn = {INTERIOR: sampler(problem.domain, points, key=keys[0])}
    for k, (name, c) in zip(keys[1:], problem.conditions.items(), strict=True):
        if isinstance(c.place, jax.Array):
            drawn[name] = c.place
        else:
            drawn[name] = sampler(c.place, few, key=k)
    return drawn


@functools.lru_cache(maxsize=64)
def _check_data(problem: Problem) -> None:
    size = problem.domain.coordinates
    for name, c in problem.conditions.items():
        if not isinstance(c.place, jax.Array) or not pytrees.concrete(c.place):
            continue
        # The check may be called while a program is traced.
        with jax.ensure_compile_time_eval():
            z = c.place[:, :size]
            distances = np.asarray(jax.vmap(problem.domain.distance)(z))
        lower, upper = problem.domain.bounds
        extent = max(b - a for a, b in zip(lower, upper, strict=True))
        row = int(np.argmax(distances))
        if distances[row] > CLOSE * extent:
            raise ValueError(
                f"{name!r} has a point outside of the domain, row {row}: "
                f"{np.asarray(z[row]).tolist()}. Drop it, or enlarge the domain."
            )


def _check_initial(problem: Problem) -> None:
    domain = problem.domain
    if not isinstance(domain, domains.TimeSpace):
        return
    places = [c.place for c in problem.conditions.values()]
    starts = [
        p for p in places if isinstance(p, domains.TimeSpace) and p.start == p.end
    ]
    data = [p for p in places if isinstance(p, jax.Array)]
    if problem.constrain is None and not starts and not data:
        raise ValueError(
            "the domain has time, but there is no initial condition: add one at "
            "domain.initial, or constrain=constraints.initial(u0)."
        )
