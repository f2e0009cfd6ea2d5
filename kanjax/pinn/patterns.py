"""Problems of fronts and patterns that form: see :mod:`kanjax.pinn.library`.

All are periodic on [-1, 1], for networks on a :class:`kanjax.nn.PeriodicEmbedding` with
periods ``(None, 2.0)``, and have several outputs. Allen-Cahn's equation is
:func:`kanjax.pinn.library.allen_cahn`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import systems
from kanjax.pinn import constraints, domains
from kanjax.pinn.derivatives import Field, partial
from kanjax.pinn.library import spectral_reference
from kanjax.pinn.problems import Problem, Residual


def cahn_hilliard(
    mobility: float = 0.01, width: float = 0.01, *, split: bool = True
) -> Problem:
    """``u_t = m q_xx, q = u^3 - u - w^2 u_xx`` from ``-cos(2 pi x)``, until t = 1.

    The split form, with the potential q as the second output, has second derivatives
    where u alone has fourth ones. Wight, Zhao (2020), arXiv 2007.04542.

    Args:
        mobility: m.
        width: w, of the fronts between the phases.
        split: whether q is an output; else u is the only one, and its fourth derivative
            enters: with windows of time, whose ends q would have to meet as well.
    """
    equation = systems.cahn_hilliard(mobility, width)

    def potential(u: Field) -> Field:
        return lambda z: u(z) ** 3 - u(z) - width**2 * partial(u, 1, 2)(z)

    def residual(w: Field, z: Array) -> dict[str, Array]:
        u, q = w(z)
        u_t, _ = partial(w, 0)(z)
        u_xx, q_xx = partial(w, 1, 2)(z)
        return {
            "conservation": u_t - mobility * q_xx,
            "potential": q - (u**3 - u - width**2 * u_xx),
        }

    def start(z: Array) -> Array:
        return equation.initial(z[1])

    # Its second derivatives enter the potential: finer than u needs.
    known = spectral_reference(equation, points=1024, steps=4000, save_every=4)

    def reference(z: Array) -> Array:
        at = jax.vmap(potential(lambda y: known(y[None])[0]))
        return jnp.stack([known(z), at(z)], axis=-1)

    def fourth_order(u: Field, z: Array) -> Array:
        local = partial(lambda y: u(y) ** 3 - u(y), 1, 2)(z)
        bent = width**2 * partial(u, 1, 4)(z)
        return partial(u, 0)(z) - mobility * (local - bent)

    if not split:
        return Problem(
            _domain(1.0),
            fourth_order,
            constrain=constraints.initial(lambda x: equation.initial(x[0])),
            reference=known,
        )

    # Both outputs start right; the potential's initial values follow from u's.
    constrain = constraints.initial(
        lambda x: jnp.stack([start(y := jnp.append(0.0, x)), potential(start)(y)])
    )
    return Problem(
        _domain(1.0), residual, constrain=constrain, outputs=2, reference=reference
    )


def gray_scott(
    diffusion: tuple[float, float] = (0.2, 0.1),
    feed: float = 40.0,
    decay: float = 100.0,
    rate: float = 1000.0,
) -> Problem:
    """``u_t = a u_xx + F (1 - u) - r u v^2, v_t = b v_xx - d v + r u v^2``, to t = 0.2.

    Args:
        diffusion: a and b.
        feed: F.
        decay: d.
        rate: r.
    """
    equation = systems.gray_scott(diffusion, feed, decay, rate)

    def residual(w: Field, z: Array) -> Array:
        u, v = w(z)
        u_t, v_t = partial(w, 0)(z)
        u_xx, v_xx = partial(w, 1, 2)(z)
        reaction = rate * u * v**2
        return jnp.stack(
            [
                u_t - diffusion[0] * u_xx - feed * (1 - u) + reaction,
                v_t - diffusion[1] * v_xx + decay * v - reaction,
            ]
        )

    reference = spectral_reference(equation, points=128, steps=1000, duration=0.2)
    return _started(equation, residual, 0.2, lambda w: w, reference)


def ginzburg_landau(
    dispersion: float = 0.0, rotation: float = 1.5, diffusion: float = 0.004
) -> Problem:
    """``A_t = d (1 + i a) A_xx + 10 (A - (1 + i b) |A|^2 A)``, complex, until t = 1.

    As the real and imaginary parts of A.

    Args:
        dispersion: a.
        rotation: b.
        diffusion: d.
    """
    equation = systems.ginzburg_landau(dispersion, rotation, diffusion)
    known = spectral_reference(equation, points=256, steps=2000, save_every=2)

    def residual(w: Field, z: Array) -> Array:
        amplitude, rate, curvature = (
            v[0] + 1j * v[1] for v in (w(z), partial(w, 0)(z), partial(w, 1, 2)(z))
        )
        saturated = (1 + 1j * rotation) * jnp.abs(amplitude) ** 2 * amplitude
        spread = diffusion * (1 + 1j * dispersion) * curvature
        return rate - spread - 10 * (amplitude - saturated)

    return _started(equation, residual, 1.0, _parts, lambda z: _parts(known(z)))


def _started(
    equation: systems.Coupled,
    residual: Residual,
    duration: float,
    outputs: Callable[[Array], Array],
    reference: Callable[[Array], Array],
) -> Problem:
    def start(x: Array) -> Array:
        return outputs(equation.initial(x)[:, 0])

    return Problem(
        _domain(duration),
        residual,
        constrain=constraints.initial(start),
        outputs=2,
        reference=reference,
    )


def _domain(duration: float) -> domains.TimeSpace:
    return domains.TimeSpace(0.0, duration, domains.interval(-1, 1))


def _parts(values: Array) -> Array:
    """Return real and imaginary parts of a complex component (..., 1): (..., 2)."""
    return jnp.concatenate([values.real, values.imag], axis=-1)
