"""Problems of incompressible flow with closed solutions to compare with.

Outputs are the velocity's components and the pressure.
"""

import math

import jax.numpy as jnp
from jax import Array

from kanjax.pinn import domains
from kanjax.pinn.derivatives import Field, partial
from kanjax.pinn.problems import Condition, Problem


def kovasznay(reynolds: float = 40.0) -> Problem:
    """``w . grad w + grad p = lap w / Re, div w = 0`` behind a row of cylinders.

    On [-0.5, 1] x [-0.5, 1.5]; velocities are told on the boundary, the pressure at the
    outflow. Kovasznay (1948), Math. Proc. Camb. Phil. Soc. 44, 58.

    Args:
        reynolds: Re.
    """
    domain = domains.Box((-0.5, -0.5), (1.0, 1.5))
    rate = reynolds / 2 - math.sqrt(reynolds**2 / 4 + 4 * math.pi**2)

    def exact(z: Array) -> Array:
        x, y = z[..., 0], 2 * jnp.pi * z[..., 1]
        decay = jnp.exp(rate * x)
        u = 1 - decay * jnp.cos(y)
        v = rate / (2 * jnp.pi) * decay * jnp.sin(y)
        return jnp.stack([u, v, (1 - decay**2) / 2], axis=-1)

    def residual(w: Field, z: Array) -> dict[str, Array]:
        return _balance(w, z, reynolds, axes=(0, 1), rates=jnp.zeros(2, z.dtype))

    return Problem(
        domain,
        residual,
        {
            "boundary": _known(domain.boundary, exact, slice(2)),
            "outflow": _known(domain.face(0, "upper"), exact, slice(2, 3)),
        },
        outputs=3,
        reference=exact,
    )


def taylor_green(reynolds: float = 100.0, duration: float = 1.0) -> Problem:
    """``w_t + w . grad w + grad p = lap w / Re, div w = 0``: vortices that decay.

    On [0, 2 pi]^2, for networks on a :class:`kanjax.nn.PeriodicEmbedding` with periods
    ``(None, 2 pi, 2 pi)``; the pressure is told at one corner. Taylor, Green (1937),
    Proc. R. Soc. A 158, 499.

    Args:
        reynolds: Re.
        duration: the time until which they decay.
    """
    square = domains.Box((0.0, 0.0), (2 * math.pi, 2 * math.pi))
    domain = domains.TimeSpace(0.0, duration, square)

    def exact(z: Array) -> Array:
        x, y = z[..., 1], z[..., 2]
        decay = jnp.exp(-2 * z[..., 0] / reynolds)
        u = -jnp.cos(x) * jnp.sin(y) * decay
        v = jnp.sin(x) * jnp.cos(y) * decay
        p = -(jnp.cos(2 * x) + jnp.cos(2 * y)) / 4 * decay**2
        return jnp.stack([u, v, p], axis=-1)

    def residual(w: Field, z: Array) -> dict[str, Array]:
        return _balance(w, z, reynolds, axes=(1, 2), rates=partial(w, 0)(z)[:2])

    corner = domains.TimeSpace(0.0, duration, domains.Box((0.0, 0.0), (0.0, 0.0)))
    return Problem(
        domain,
        residual,
        {
            "initial": _known(domain.initial, exact, slice(2)),
            "pressure": _known(corner, exact, slice(2, 3)),
        },
        outputs=3,
        reference=exact,
    )


def _balance(
    w: Field, z: Array, reynolds: float, *, axes: tuple[int, int], rates: Array
) -> dict[str, Array]:
    """Return the momenta's balance, with rates of change, and the divergence."""
    x, y = axes
    u, v, _ = w(z)
    w_x, w_y = partial(w, x)(z), partial(w, y)(z)
    diffused = (partial(w, x, 2)(z) + partial(w, y, 2)(z))[:2] / reynolds
    carried = u * w_x[:2] + v * w_y[:2]
    pushed = jnp.stack([w_x[2], w_y[2]])
    return {
        "momentum": rates + carried + pushed - diffused,
        "continuity": w_x[0] + w_y[1],
    }


def _known(place: domains.Domain, exact: Field, outputs: slice) -> Condition:
    return Condition(place, lambda w, z: (w(z) - exact(z))[outputs])
