"""Where two training runs stand, seen from where they set out.

Singh, Adilova, Kamp, Fischer, Schoelkopf, Hofmann 2024, "Landscaping Linear Mode
Connectivity", arXiv 2406.16300: runs that part at the top have a ridge between them,
runs that first walk down together stay on one side of the mountain. Spawning: Frankle
et al. 2020, arXiv 1912.05671; Fort et al. 2020, arXiv 2010.15110.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import linalg, pytrees
from kanjax.landscape import barrier_estimates, paths

Params = pytrees.Params
State = Any
Train = Callable[[State, Array, Any], State]
"""``train(state, key, steps)``: the state after so many steps; the key orders data."""


class Mountainside(NamedTuple):
    """Two solutions seen from a base.

    Attributes:
        angle: between the two displacements from the base, in radians.
        from_base: (2,), how far a and b are from it.
        distance: between a and b.
        losses: (3,), at a, in the middle of the segment, and at b.
        curvatures: (3,), ``D^T H D / |D|^2`` there, with D = b - a.
    """

    angle: Float[Array, ""]
    from_base: Float[Array, "2"]
    distance: Float[Array, ""]
    losses: Float[Array, "3"]
    curvatures: Float[Array, "3"]


class Spawned(NamedTuple):
    """Runs that went together and then apart.

    Attributes:
        branch: the state where they parted.
        ends: the final states, with a leading axis over the runs.
    """

    branch: State
    ends: State


def displacement_angle(a: Params, b: Params, base: Params) -> Float[Array, ""]:
    """Return the angle in radians between ``a - base`` and ``b - base``.

    Accurate for small angles, where an arccosine is not. NaN if either displacement is
    zero, as there is no angle then.

    Raises:
        ValueError: if the three pytrees do not match.
    """
    pytrees.check_same(a, b, "a", "b")
    pytrees.check_same(a, base, "a", "base")
    units = []
    for end in (a, b):
        step = pytrees.combine((1.0, -1.0), (end, base))
        units.append(pytrees.combine((1 / pytrees.norm(step),), (step,)))
    u, v = units
    distance = pytrees.norm(pytrees.combine((1.0, -1.0), (u, v)))
    along = pytrees.norm(pytrees.combine((1.0, 1.0), (u, v)))
    return 2 * jnp.arctan2(distance, along)


def mountainside(
    loss: barrier_estimates.ScalarLoss, a: Params, b: Params, base: Params
) -> Mountainside:
    """Angle, distances, losses and curvatures of two solutions seen from a base.

    Args:
        loss: ``loss(params)``, a scalar, twice differentiable.
        a: the first solution.
        b: the second solution.
        base: the initialisation, or where the two runs parted.

    Works under jit and vmap, so that whole trajectories are one call.

    Raises:
        ValueError: if the three pytrees do not match.
    """
    angle = displacement_angle(a, b, base)
    step = pytrees.combine((1.0, -1.0), (b, a))
    distance = pytrees.norm(step)
    from_base = [
        pytrees.norm(pytrees.combine((1.0, -1.0), (end, base))) for end in (a, b)
    ]
    derivatives = [
        linalg.directional_derivatives(loss, point, step)
        for point in (a, paths.interpolate(a, b, 0.5), b)
    ]
    return Mountainside(
        angle,
        jnp.stack(from_base),
        distance,
        jnp.stack([derivative.value for derivative in derivatives]),
        jnp.stack([derivative.curvature for derivative in derivatives]) / distance**2,
    )


def spawn(
    train: Train,
    start: State,
    key: Array,
    *,
    common: int | Array,
    separate: int | Array,
    runs: int = 2,
) -> Spawned:
    """Train together for some steps, then apart, each run with its own randomness.

    Args:
        train: ``train(state, key, steps) -> state``, pure; the state may be parameters
            alone or hold the optimiser's state as well.
        start: the state to begin with.
        key: of the common steps and of every run.
        common: steps before the runs part; 0 lets them part at the start.
        separate: steps of each run after that.
        runs: how many.

    The runs are trained together under vmap. If train takes traced step counts (by
    ``lax.fori_loop``), so does spawn, and several ``common`` are one program.

    Raises:
        ValueError: if runs is less than 2 or a number of steps is negative.
    """
    if runs < 2:
        raise ValueError(f"runs is {runs}; at least 2 part from one another.")
    for name, steps in (("common", common), ("separate", separate)):
        if isinstance(steps, int) and steps < 0:
            raise ValueError(f"{name} is {steps}; it must not be negative.")
    first, rest = jax.random.split(key)
    branch = train(start, first, common)
    ends = jax.vmap(lambda k: train(branch, k, separate))(jax.random.split(rest, runs))
    return Spawned(branch, ends)
