"""Problems of incompressible flow, free and through a porous medium.

Outputs are the velocity's components and the pressure; in a medium the pressure alone.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import systems
from kanjax.pinn import constraints, domains
from kanjax.pinn.derivatives import Field, expansion, gradient, laplacian, partial
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


def lid_driven_cavity(
    reynolds: float = 100.0, *, cells: int = 64, stream: bool = False
) -> Problem:
    """``w . grad w + grad p = lap w / Re, div w = 0`` under a lid that moves.

    The lid has the speed ``1 - cosh(50 (x - 1/2)) / cosh(25)``, which falls to 0 at its
    ends, so that velocities are continuous (Wang, Li, Chen, Perdikaris 2024, arXiv
    2402.00326). The pressure is told in a lower corner. The reference is of finite
    differences on two grids, extrapolated. Those of cells=64 and 128 differ by 5e-3 in
    the velocity and 4e-2 in the pressure at Re = 100, where the lid falls within two
    cells, and by 3e-2 and 5e-2 at Re = 3200: take cells=128 there.

    Args:
        reynolds: Re.
        cells: of the coarser grid, along each axis.
        stream: whether the network gives the stream function psi and the pressure, from
            which ``u = psi_y`` and ``v = -psi_x`` have no divergence. Where it has to
            be small in the mean alone, a network loses mass, and at Re = 400 already a
            third of the velocity. Within 0.2 of the lid's ends, at which the slope of
            its speed meets a wall at rest, the momentum counts less.
    """
    square = domains.Box((0.0, 0.0), (1.0, 1.0))

    def lid(x: Array) -> Array:
        # Of exponentials of negative numbers alone, which hold in single precision.
        gaps = jnp.stack([50 * x - 50, -50 * x])
        return 1 - jnp.sum(jnp.exp(gaps), axis=0) / (1 + math.exp(-50))

    def known(z: Array) -> Array:
        speed = jnp.where(z[1] == 1, lid(z[0]), 0.0)
        return jnp.stack([speed, jnp.zeros_like(speed)])

    def residual(w: Field, z: Array) -> dict[str, Array]:
        terms = _balance(w, z, reynolds, axes=(0, 1), rates=jnp.zeros(2, z.dtype))
        if not stream:
            return terms
        end = jnp.minimum(z[0], 1 - z[0])
        share = jnp.minimum(1, jnp.hypot(end, 1 - z[1]) / 0.2)
        return {"momentum": share * terms["momentum"]}

    @functools.cache
    def on_grid() -> tuple[Array, Array]:
        with jax.ensure_compile_time_eval():
            coarse, fine = (
                systems.cavity.solve_cavity(
                    reynolds, lambda x: np.asarray(lid(jnp.asarray(x))), n
                )
                for n in (cells, 2 * cells)
            )
            velocity = (4 * fine.velocity[:, ::2, ::2] - coarse.velocity) / 3
            pressure = (4 * fine.pressure[1::2, 1::2] - coarse.pressure) / 3
            return jnp.asarray(velocity), jnp.asarray(pressure)

    def reference(z: Array) -> Array:
        (u, v), p = on_grid()
        # The pressure is known inside, and goes on by its polynomials to the walls.
        h = 1 / cells
        low, high = (h, h), (1 - h, 1 - h)
        at = functools.partial(systems.stencils.interpolate, nodes=4)
        inside = at(p, z, lower=low, upper=high)
        corner = at(p, jnp.zeros((1, 2), z.dtype), lower=low, upper=high)
        return jnp.stack([at(u, z), at(v, z), inside - corner], axis=-1)

    corner = domains.Box((0.0, 0.0), (0.0, 0.0))
    return Problem(
        square,
        residual,
        {
            "walls": Condition(square.boundary, lambda w, z: w(z)[:2] - known(z)),
            "pressure": Condition(corner, lambda w, z: w(z)[2:]),
        },
        constrain=_by_stream_function if stream else None,
        outputs=2 if stream else 3,
        reference=reference,
    )


def darcy(seed: int = 0, *, modes: int = 4, cells: int = 96) -> Problem:
    """``-div(a grad u) = 1`` on the unit square, 0 on its boundary, in a random medium.

    The logarithm of a is a draw of :class:`kanjax.systems.CosineField`, so that a is
    smooth and varies by factors of some ten. The residual is divided by a. The
    reference is of finite differences on two grids, extrapolated.

    Args:
        seed: of the medium.
        modes: of its waves, along each axis.
        cells: of the coarser grid, along each axis.
    """
    square = domains.Box((0.0, 0.0), (1.0, 1.0))
    medium = systems.CosineField(modes, scale=12.0)
    draw = medium.draw(jax.random.key(seed))

    def logarithm(z: Array) -> Array:
        return medium.evaluate(draw.astype(z.dtype), z)

    def residual(u: Field, z: Array) -> Array:
        drift = jnp.dot(gradient(logarithm)(z), gradient(u)(z))
        return laplacian(u)(z) + drift + jnp.exp(-logarithm(z))

    @functools.cache
    def on_grid() -> Array:
        # Errors of second order cancel: what is left is of fourth.
        coarse, fine = (
            systems.stencils.solve_elliptic(
                lambda z: jnp.exp(logarithm(z)), lambda z: jnp.ones(len(z)), n
            )
            for n in (cells, 2 * cells)
        )
        return (4 * fine[::2, ::2] - coarse) / 3

    return Problem(
        square,
        residual,
        constrain=constraints.boundary(square),
        reference=lambda z: systems.stencils.interpolate(on_grid(), z),
    )


def _balance(
    w: Field, z: Array, reynolds: float, *, axes: tuple[int, int], rates: Array
) -> dict[str, Array]:
    """Return the momenta's balance, with rates of change, and the divergence."""
    (u, v, _), slopes, curvatures = expansion(w, axes=axes)(z)
    w_x, w_y = (slopes[:, axis] for axis in axes)
    carried = u * w_x[:2] + v * w_y[:2]
    pushed = jnp.stack([w_x[2], w_y[2]])
    return {
        "momentum": rates + carried + pushed - curvatures[:2] / reynolds,
        "continuity": w_x[0] + w_y[1],
    }


def _by_stream_function(net: Field) -> Field:
    """Make a velocity without divergence of ``(psi, p)``."""

    def flow(z: Array) -> Array:
        (psi_x, psi_y), _ = gradient(net)(z)
        return jnp.stack([psi_y, -psi_x, net(z)[1]])

    return flow


def _known(place: domains.Domain, exact: Field, outputs: slice) -> Condition:
    return Condition(place, lambda w, z: (w(z) - exact(z))[outputs])
