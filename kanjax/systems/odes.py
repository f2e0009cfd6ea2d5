"""Systems of ordinary differential equations, and their reference solutions."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Rates = Callable[[Float[Array, " state"]], Float[Array, " state"]]
"""The time derivative of a state."""


def pendulum(state: Float[Array, " 2"]) -> Float[Array, " 2"]:
    """Return the rates of an angle and its velocity: ``(omega, -sin(theta))``.

    Args:
        state: the angle from rest and its velocity, (2,).
    """
    return jnp.stack([state[1], -jnp.sin(state[0])])


def lorenz(
    state: Float[Array, " 3"],
    *,
    sigma: float | Array = 10.0,
    rho: float | Array = 28.0,
    beta: float | Array = 8 / 3,
) -> Float[Array, " 3"]:
    """Return the rates of Lorenz' (1963) convection model.

    Args:
        state: x, y and z, (3,).
        sigma: the Prandtl number.
        rho: the Rayleigh number, as a multiple of the critical one.
        beta: the aspect of the rolls.
    """
    x, y, z = state
    return jnp.stack([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def integrate(
    rates: Rates,
    initial: Float[Array, " state"],
    times: Float[Array, " times"],
    *,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 100_000,
) -> Float[Array, "times state"]:
    """Solve ``s' = rates(s)`` to a tolerance, by diffrax' ``Dopri8``.

    Args:
        rates: the right-hand side.
        initial: the state at ``times[0]``, (state,).
        times: increasing, (times,).
        rtol: relative tolerance of a step; below 1e-6 it needs double precision.
        atol: absolute tolerance of a step.
        max_steps: how many steps may be taken.

    Raises:
        RuntimeError: if that many steps do not suffice (from diffrax).
    """
    import diffrax

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: rates(y)),
        diffrax.Dopri8(),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=initial,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=max_steps,
    )
    assert solution.ys is not None
    return solution.ys
