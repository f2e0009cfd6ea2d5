"""Problems of waves with solutions to compare with: see :mod:`kanjax.pinn.library`."""

import math

import jax.numpy as jnp
from jax import Array

from kanjax import systems
from kanjax.pinn import constraints, domains
from kanjax.pinn.derivatives import Field, gradient, partial
from kanjax.pinn.library import spectral_reference
from kanjax.pinn.problems import Problem, Residual, dirichlet


def wave(speed: float = 2.0) -> Problem:
    """``u_tt = c^2 u_xx`` on [0, 1] from rest, 0 at both ends, until t = 1.

    It starts at ``sin(pi x) + sin(4 pi x) / 2``; Wang, Yu, Perdikaris (2022), "When and
    why PINNs fail to train: A neural tangent kernel perspective", arXiv 2007.14527.

    Args:
        speed: c.
    """
    domain = domains.TimeSpace(0.0, 1.0, domains.interval(0, 1))

    def exact(z: Array) -> Array:
        t, x = jnp.pi * speed * z[..., 0], jnp.pi * z[..., 1]
        return jnp.cos(t) * jnp.sin(x) + jnp.cos(4 * t) * jnp.sin(4 * x) / 2

    def residual(u: Field, z: Array) -> Array:
        return partial(u, 0, 2)(z) - speed**2 * partial(u, 1, 2)(z)

    def constrain(net: Field) -> Field:
        # The square of t keeps the velocity at 0, too.
        return lambda z: exact(z.at[0].set(0)) + z[0] ** 2 * domain.factor(z) * net(z)

    return Problem(domain, residual, constrain=constrain, reference=exact)


def korteweg_de_vries(
    nonlinearity: float = 1.0, dispersion: float = 0.022**2
) -> Problem:
    """``u_t + a u u_x + b u_xxx = 0`` from ``cos(pi x)``, periodic, until t = 1.

    It is for networks on a :class:`kanjax.nn.PeriodicEmbedding` with periods ``(None,
    2.0)``.

    Args:
        nonlinearity: a.
        dispersion: b.
    """
    equation = systems.korteweg_de_vries(nonlinearity, dispersion)

    def residual(u: Field, z: Array) -> Array:
        u_t, u_x = gradient(u)(z)
        return u_t + nonlinearity * u(z) * u_x + dispersion * partial(u, 1, 3)(z)

    return _periodic(equation, residual, points=256, steps=8000)


def kuramoto_sivashinsky(
    nonlinearity: float = 5.0, diffusion: float = 0.5, hyperdiffusion: float = 0.005
) -> Problem:
    """``u_t + a u u_x + b u_xx + c u_xxxx = 0`` from ``-sin(pi x)``, until t = 1.

    Periodic on [-1, 1], as :func:`korteweg_de_vries`.

    Args:
        nonlinearity: a.
        diffusion: b.
        hyperdiffusion: c.
    """
    equation = systems.kuramoto_sivashinsky(nonlinearity, diffusion, hyperdiffusion)

    def residual(u: Field, z: Array) -> Array:
        u_t, u_x = gradient(u)(z)
        second, fourth = partial(u, 1, 2)(z), partial(u, 1, 4)(z)
        linear = diffusion * second + hyperdiffusion * fourth
        return u_t + nonlinearity * u(z) * u_x + linear

    return _periodic(equation, residual, points=64, steps=4000)


def chaotic_kuramoto_sivashinsky(duration: float = 0.5) -> Problem:
    """``u_t + a u u_x + b u_xx + c u_xxxx = 0`` until chaos, periodic on [0, 2 pi].

    With a = 100/16, b = 100/16^2, c = 100/16^4 from ``cos(x) (1 + sin(x))``; Wang,
    Sankaran, Perdikaris (2022), arXiv 2203.07404. It wants windows of time, see
    :mod:`kanjax.pinn.windows`.

    Args:
        duration: until when; at most 1, up to which the reference has digits.
    """
    equation = systems.chaotic_kuramoto_sivashinsky()
    _, _, b, _, c = equation.linear

    def residual(u: Field, z: Array) -> Array:
        u_t, u_x = gradient(u)(z)
        linear = b * partial(u, 1, 2)(z) + c * partial(u, 1, 4)(z)
        return u_t + 100 / 16 * u(z) * u_x - linear

    return Problem(
        domains.TimeSpace(0.0, duration, domains.interval(0, 2 * math.pi)),
        residual,
        constrain=constraints.initial(lambda x: equation.initial(x[0])),
        reference=spectral_reference(
            equation, points=256, steps=4000, duration=duration, save_every=4
        ),
    )


def schroedinger() -> Problem:
    """``i h_t + h_xx / 2 + |h|^2 h = 0`` from ``2 sech(x)``, until t = pi / 2.

    On [-5, 5], as the real and imaginary parts. The solution is two solitons bound to
    each other, of period pi / 2 in size: Satsuma, Yajima (1974), Prog. Theor. Phys.
    Suppl. 55, 284.
    """
    domain = domains.TimeSpace(0.0, math.pi / 2, domains.interval(-5, 5))

    def exact(z: Array) -> Array:
        t, x = z[..., 0], z[..., 1]
        top = jnp.cosh(3 * x) + 3 * jnp.exp(4j * t) * jnp.cosh(x)
        bottom = jnp.cosh(4 * x) + 4 * jnp.cosh(2 * x) + 3 * jnp.cos(4 * t)
        h = 4 * jnp.exp(0.5j * t) * top / bottom
        return jnp.stack([h.real, h.imag], axis=-1)

    def residual(h: Field, z: Array) -> Array:
        u, v = h(z)
        u_t, v_t = partial(h, 0)(z)
        u_xx, v_xx = partial(h, 1, 2)(z)
        size = u**2 + v**2
        return jnp.stack([u_t + v_xx / 2 + size * v, v_t - u_xx / 2 - size * u])

    walls = domains.TimeSpace(0.0, math.pi / 2, domain.space.boundary)
    return Problem(
        domain,
        residual,
        {"walls": dirichlet(walls, exact)},
        constrain=constraints.initial(
            lambda x: jnp.stack([2 / jnp.cosh(x[0]), jnp.zeros_like(x[0])])
        ),
        outputs=2,
        reference=exact,
    )


def _periodic(
    equation: systems.Semilinear, residual: Residual, *, points: int, steps: int
) -> Problem:
    return Problem(
        domains.TimeSpace(0.0, 1.0, domains.interval(-1, 1)),
        residual,
        constrain=constraints.initial(lambda x: equation.initial(x[0])),
        reference=spectral_reference(
            equation, points=points, steps=steps, save_every=steps // 1000
        ),
    )
