"""Ridgelet transforms: a function as an integral over all units of a hidden layer.

Li, Sonoda, Cao, Wang, Liang 2023, "How Powerful are Shallow Neural Networks with
Bandlimited Random Weights?", arXiv 2008.08427. With ``R f(a, b) = int f(x) ridgelet(a .
x - b) dx`` and ``S g(x) = int g(a, b) activation(a . x - b) da db``, ``S R f`` is f
times a constant, the :func:`admissibility` of the pair. Transforms are ``f^(xi) = int
f(x) exp(-i xi . x) dx`` throughout.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

Function = Callable[[Array], Array]
"""A function of each value."""


class Profile(NamedTuple):
    """A function of one variable and its Fourier transform.

    Attributes:
        function: of each value; a profile can be called as well.
        transform: of each frequency but 0, complex.
        band: the transform is 0 or round-off at frequencies beyond.
        parity: 0 for a transform that is even, 1 for an odd one.
        pole: the transform goes as ``1 / frequency^pole`` towards the frequency 0.
    """

    function: Function
    transform: Function
    band: float = math.inf
    parity: int = 0
    pole: int = 0

    def __call__(self, z: Array) -> Array:
        """Return the function's values."""
        return self.function(z)


def gaussian_derivative(order: int) -> Profile:
    """Return a derivative of ``exp(-z^2 / 2)``, with as many vanishing moments.

    Args:
        order: of the derivative, at least 0.

    Raises:
        ValueError: if order is negative.
    """
    if order < 0:
        raise ValueError(f"order is {order}; it must be at least 0.")
    coefficients = np.polynomial.hermite_e.herme2poly([0] * order + [1])
    falling = tuple(float(c) * (-1) ** order for c in coefficients[::-1])
    turn = math.sqrt(2 * math.pi) * 1j**order

    def function(z: Array) -> Array:
        return jnp.polyval(jnp.asarray(falling, z.dtype), z) * jnp.exp(-(z**2) / 2)

    def transform(w: Array) -> Array:
        return turn * w**order * jnp.exp(-(w**2) / 2)

    return Profile(function, transform, 12.0 + order, order % 2, -order)


GAUSSIAN = gaussian_derivative(0)
"""``exp(-z^2 / 2)``."""

SINC = Profile(
    lambda z: jnp.sinc(z / math.pi),
    lambda w: jnp.where(jnp.abs(w) <= 1, math.pi, 0.0) + 0j,
    1.0,
)
"""``sin(z) / z``, whose band ends at 1."""

TANH = Profile(jnp.tanh, lambda w: -1j * math.pi / jnp.sinh(math.pi * w / 2), 20, 1, 1)
"""The hyperbolic tangent."""

RELU = Profile(jax.nn.relu, lambda w: -1 / w**2 + 0j, pole=2)
"""``max(z, 0)``; its transform leaves out what sits at the frequency 0."""


def ridgelet_for(activation: Profile, m: int) -> Profile:
    """Return the lowest derivative of a Gaussian that is admissible with an activation.

    Its order has the activation's parity, without which the integral of the
    admissibility vanishes, and makes up for the pole and the dimension, without which
    it diverges.

    Args:
        activation: with its parity and pole.
        m: dimension of inputs.
    """
    order = m + activation.pole
    return gaussian_derivative(order + (order - activation.parity) % 2)


def admissibility(
    activation: Profile, ridgelet: Profile, m: int, *, nodes: int = 200
) -> Float[Array, ""]:
    """Return ``(2 pi)^(m-1) int activation^(w) conj(ridgelet^(w)) |w|^-m dw``.

    Args:
        activation: of the network.
        ridgelet: of the transform.
        m: dimension of inputs.
        nodes: of the Gauss-Legendre quadrature up to the smaller band.

    Raises:
        ValueError: if neither band ends, or the integral vanishes or diverges by parity
            or pole.
    """
    reach = min(activation.band, ridgelet.band)
    if not reach < math.inf or activation.parity != ridgelet.parity:
        raise ValueError(
            f"bands {activation.band} and {ridgelet.band} must not both be infinite, "
            f"and parities {activation.parity} and {ridgelet.parity} must be equal. "
            "ridgelet_for gives a ridgelet that fits."
        )
    if activation.pole + ridgelet.pole + m > 0:
        raise ValueError(
            f"poles {activation.pole} and {ridgelet.pole} in dimension {m} leave an "
            "integral that diverges. ridgelet_for gives a ridgelet that fits."
        )
    at, weights = np.polynomial.legendre.leggauss(nodes)
    w, weights = jnp.asarray((at + 1) * reach / 2), jnp.asarray(weights * reach / 2)
    product = activation.transform(w) * jnp.conj(ridgelet.transform(w))
    # Real functions: the other half of the line adds the conjugate.
    half = jnp.sum(weights * product.real / w**m)
    return 2 * (2 * math.pi) ** (m - 1) * half


def ridgelet_transform(
    samples: Float[Array, " points"],
    x: Float[Array, "points m"],
    ridgelet: Function,
    a: Float[Array, "p m"],
    b: Float[Array, " q"],
    measure: ArrayLike,
) -> Float[Array, "p q"]:
    """Return ``int f(x) ridgelet(a . x - b) dx`` on a grid, direction by direction.

    Args:
        samples: f (points,).
        x: (points, m).
        ridgelet: of each value, real.
        a: directions (p, m).
        b: offsets (q,).
        measure: of the points, (points,) or a number.
    """
    weighted = samples * measure

    def at(direction: Array) -> Array:
        return weighted @ ridgelet(jnp.subtract.outer(x @ direction, b))

    return jax.lax.map(at, a)


def dual_ridgelet(
    coefficients: Float[Array, "p q"],
    a: Float[Array, "p m"],
    b: Float[Array, " q"],
    activation: Function,
    x: Float[Array, "points m"],
    measure: ArrayLike,
) -> Float[Array, " points"]:
    """Return ``int g(a, b) activation(a . x - b) da db``, the network of a continuum.

    Args:
        coefficients: g (p, q).
        a: directions (p, m).
        b: offsets (q,).
        activation: of each value.
        x: (points, m).
        measure: of the grid, of a shape that broadcasts to (p, q).
    """
    weighted = coefficients * jnp.broadcast_to(measure, coefficients.shape)

    def add(total: Array, unit: tuple[Array, Array]) -> tuple[Array, None]:
        direction, row = unit
        return total + activation(jnp.subtract.outer(x @ direction, b)) @ row, None

    start = jnp.zeros(len(x), jnp.result_type(weighted, x))
    return jax.lax.scan(add, start, (a, weighted))[0]
