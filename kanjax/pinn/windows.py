"""Problems in windows of time, each from where the last one ended.

Krishnapriyan, Gholami, Zhe, Kirby, Mahoney (2021), "Characterizing possible failure
modes in physics-informed neural networks", arXiv 2109.01050, section 5; the loop is
:func:`kanjax.pinn.march`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.pinn import causal, constraints, domains, optimization, problems
from kanjax.pinn.derivatives import Field
from kanjax.pinn.library import ordinary
from kanjax.systems import spectral


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """An equation that does not know the time, and how a window begins the next.

    Attributes:
        problem: makes a window's problem, from time 0 to ``duration``, of the state
            that it starts from.
        start: the state at the start of the first window.
        end: takes the state at the end of a window from its field.
        duration: of a window.
        reference: the solution at all times, a function of points; None if unknown.
    """

    problem: Callable[[Any], problems.Problem]
    start: Any
    end: Callable[[Field], Any]
    duration: float
    reference: Callable[[Array], Array] | None = None


def ordinary_windows(
    rates: Callable[[Array], Array], initial: tuple[float, ...], duration: float
) -> Windows:
    """Cut ``s' = rates(s)`` in windows; the state is s.

    Args:
        rates: the right-hand side, of a state (outputs,), at least two entries.
        initial: the state at time 0.
        duration: of a window.
    """
    return Windows(
        lambda start: ordinary(rates, start, duration),
        jnp.asarray(initial, float),
        lambda s: s(jnp.array([duration])),
        duration,
        ordinary(rates, initial, duration).reference,
    )


def periodic_windows(
    problem: problems.Problem, grid: spectral.Grid, duration: float
) -> Windows:
    """Cut a problem on a periodic line in windows; the state is u on a grid.

    A window starts from the trigonometric interpolant of the values at the nodes, so
    the grid has to resolve the solution.

    Args:
        problem: on time and a period, whose ``constrain`` gives its initial values at
            time 0 whatever the network.
        grid: points of the period.
        duration: of a window.

    Raises:
        ValueError: if the problem has no such ``constrain``, or no time.
    """
    domain = problem.domain
    if problem.constrain is None or not isinstance(domain, domains.TimeSpace):
        raise ValueError(
            "windows need a problem on TimeSpace with its initial values built in: "
            "constrain=constraints.initial(u0)."
        )
    shape = () if problem.outputs == 1 else (problem.outputs,)

    def on_grid(u: Field, time: float) -> Array:
        z = jnp.stack([jnp.full(grid.points, time), grid.nodes], axis=1)
        return jnp.moveaxis(jax.vmap(u)(z), 0, -1)

    def window(values: Array) -> problems.Problem:
        return dataclasses.replace(
            problem,
            domain=domains.TimeSpace(0.0, duration, domain.space),
            constrain=constraints.initial(
                lambda x: spectral.evaluate(grid, values, x)[..., 0]
            ),
        )

    return Windows(
        window,
        on_grid(problem.constrain(lambda z: jnp.zeros(shape)), 0.0),
        lambda u: on_grid(u, duration),
        duration,
        problem.reference,
    )


class Relay(NamedTuple):
    """The result of :func:`solve_windows`.

    Attributes:
        field: the solution at all times, a function of one point.
        starts: the state at the start of each window, with a leading axis (windows,).
        params: of each window's network, with a leading axis (windows,).
        losses: before each step, (windows, steps).
    """

    field: Field
    starts: Any
    params: problems.Parameters
    losses: Float[Array, "windows steps"]


def solve_windows(
    windows: Windows,
    net: model.Model,
    *,
    count: int,
    key: Array,
    steps: int,
    points: int,
    **options: Any,
) -> Relay:
    """Train a network in each window, from the parameters of the window before.

    Pure and one program for all windows: jit it.

    Args:
        windows: the equation.
        net: a model from its coordinates to its outputs; all windows have one of it.
        count: how many windows.
        key: of the first parameters and of the points.
        steps: of training in each window.
        points: inside of each window.
        options: others of :func:`kanjax.pinn.train`.

    Raises:
        ValueError: as in :func:`kanjax.pinn.train`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn
        >>> turn = lambda s: jnp.stack([s[1], -s[0]])
        >>> windows = ordinary_windows(turn, (1.0, 0.0), 1.0)
        >>> net = nn.MLP((1, 8, 2), jnp.tanh, kernel_scale=1.0)
        >>> with jax.enable_x64(True):
        ...     relay = solve_windows(
        ...         windows, net, count=3, key=jax.random.key(0), steps=50, points=30
        ...     )
        ...     error = float(relay.field(jnp.array([3.0]))[0] - jnp.cos(3.0))
        >>> abs(error) < 1e-4
        True
    """
    first, keys = jax.random.split(key)
    # In today's precision, which need not be that of the problem's making.
    begin = jax.tree.map(lambda v: jnp.asarray(v, float), windows.start)
    params = problems.initialize(windows.problem(begin), net, key=first)

    def fit(carry: Any, key: Array) -> Any:
        start, params = carry
        problem = windows.problem(start)
        trained = optimization.train(
            problem, net, params, key=key, steps=steps, points=points, **options
        )
        u = problems.field(problem, net, trained.params)
        kept = (start, trained.params, trained.losses)
        return (windows.end(u), trained.params), kept

    _, (starts, trained, losses) = causal.march(fit, (begin, params), count, key=keys)
    solution = functools.partial(evaluate, windows, net, starts, trained)
    return Relay(solution, starts, trained, losses)


def evaluate(
    windows: Windows, net: model.Model, starts: Any, params: Any, z: Array
) -> Array:
    """Return the solution of the window that a point lies in.

    Args:
        windows: the equation.
        net: its model.
        starts: of each window, (windows, ...).
        params: of each window's network, likewise.
        z: a point, whose time counts from the first window's start, (coordinates,).
    """
    count = jax.tree.leaves(params)[0].shape[0]
    index = jnp.clip((z[0] // windows.duration).astype(int), 0, count - 1)
    start, network = jax.tree.map(lambda rows: rows[index], (starts, params))
    u = problems.field(windows.problem(start), net, network)
    return u(z.at[0].add(-index * windows.duration))
