"""Kernels of wide networks as their depth grows, and which rule they become.

Radhakrishnan, Belkin, Uhler 2023, "Wide and Deep Neural Networks Achieve Optimality for
Classification", arXiv 2204.14126. Regression by the tangent kernel of an infinitely
wide, fully connected network tends with depth to one of three rules: the nearest
neighbor, the vote of the majority, or an average with weights that are singular at the
examples; the last is consistent where its exponent is the dimension of the data. The
rules are in :mod:`kanjax.ntk.limit_classifiers`.

Inputs are unit vectors whose inner products ``xi`` lie in [0, 1], labels are -1 and 1.
An activation phi counts as ``phi / sqrt(E phi(z)^2)``, z standard normal, so that its
dual ``D(xi) = sum_n a_n^2 xi^n`` has ``D(1) = 1``. Kernels are kept by their
logarithms: their values leave the range of floating point after some hundred layers.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import gaussian

Activation = Callable[[Array], Array]
"""A function of each value, as :func:`kanjax.gaussian.dual` takes it."""

# Below the first the dual is taken by its power series, whose error is then 1e-16:
# quadrature has an absolute error, and what is needed is D(xi) / xi.
_SMALL, _TERMS = 0.01, 10
_VANISHES = 1e-5
# Deviations from 0, where quadrature ends; and how far round-off takes xi above 1.
_FAR, _ABOVE = 8.0, 1e-4


class Moments(NamedTuple):
    """What decides the limit of depth, of an activation with ``E phi^2 = 1``.

    Attributes:
        mean: ``A = E phi``; ``D(0) = A^2``.
        slope: ``A' = E phi'``; ``D'(0) = A'^2``.
        growth: ``B' = E phi'^2 = D'(1)``, above 1 unless phi is homogeneous.
    """

    mean: Float[Array, ""]
    slope: Float[Array, ""]
    growth: Float[Array, ""]


class Regime(NamedTuple):
    """The rule that a deep network becomes.

    Attributes:
        rule: "nearest neighbor", "singular kernel" or "majority vote".
        exponent: alpha of the weights ``|x - x_i|^-alpha`` near an example: infinite
            for the nearest neighbor, 0 for the majority.
    """

    rule: Literal["nearest neighbor", "singular kernel", "majority vote"]
    exponent: float


def dual_at_zero(activation: Activation) -> Moments:
    """Compute the moments of an activation that decide the limit of depth.

    Args:
        activation: of each value; it is normalised here.

    Raises:
        ValueError: if ``E phi^2`` or ``E phi'^2`` is not finite, or phi is 0.
    """
    unit = jnp.ones(())
    size, growth = gaussian.dual(activation)(unit, unit, unit)
    first = gaussian.hermite_coefficients(activation, 2) / jnp.sqrt(size)
    moments = Moments(first[0], first[1], growth / size)
    _check_moments(activation, size, moments)
    return moments


def _check_moments(activation: Activation, size: Array, moments: Moments) -> None:
    if isinstance(size, jax.core.Tracer):
        return
    mean, slope, growth = (float(v) for v in moments)
    second = float(size)
    if not (0 < second < math.inf and math.isfinite(mean + slope + growth)):
        raise ValueError(
            f"activation must be finite, not 0, and of finite E phi^2 and E phi'^2; "
            f"got {activation!r}, with E phi^2 = {second:.3g} and, at E phi^2 = 1, "
            f"E phi'^2 = {growth:.3g}."
        )
    if not callable(getattr(activation, "dual", None)):
        # What is left at the end of the range of quadrature.
        ends = jnp.asarray([-_FAR, _FAR], size.dtype)
        most = float(jnp.max(activation(ends) ** 2)) * math.exp(-(_FAR**2) / 2)
        if not most < 1e-3 * second:
            raise ValueError(
                f"activation must grow slower than exp(z^2 / 4), for E phi^2 to be "
                f"finite; got {activation!r}, with phi^2 = {most:.3g} times its "
                f"normal density at z = {_FAR} and E phi^2 = {second:.3g} up to there."
            )
    # Where phi is continuous E phi'^2 is a sum with the square of E phi' in it.
    if growth < slope**2 - 1e-4:
        raise ValueError(
            f"activation must be continuous; got {activation!r}, whose jumps make "
            "E phi'^2 infinite. Smooth them, as gaussian.Erf does."
        )


def classify_regime(activation: Activation) -> Regime:
    """Tell which rule a deep network becomes, and how singular its weights are.

    With ``A = E phi`` not 0 it is the majority vote; else with ``A' = E phi'`` equal to
    0 the nearest neighbor, and in between weights ``|x - x_i|^-alpha`` near an example,
    ``alpha = -4 log|A'| / log B'``. A value below 1e-5 counts as 0.

    Args:
        activation: a function of each value, not traced.

    Raises:
        ValueError: if activation is linear, whose kernel does not change with depth, or
            lacks a moment that :func:`dual_at_zero` takes.

    Examples:
        >>> classify_regime(optimal_activation(3)).rule
        'singular kernel'
    """
    with jax.ensure_compile_time_eval():
        mean, slope, growth = (float(v) for v in dual_at_zero(activation))
    if abs(slope) > 1 - _VANISHES:
        raise ValueError(
            f"activation must not be linear; got {activation!r}, with "
            f"E phi' = {slope} at E phi^2 = 1. Give one with a curve or a kink."
        )
    if abs(mean) > _VANISHES:
        return Regime("majority vote", 0.0)
    if abs(slope) <= _VANISHES:
        return Regime("nearest neighbor", math.inf)
    return Regime("singular kernel", -4 * math.log(abs(slope)) / math.log(growth))


def optimal_activation(dimension: int) -> gaussian.Polynomial:
    """Make the activation whose deep limit is consistent on data of a dimension.

    From dimension 2 on ``2^(-d/4) (h_1 + h_3) + sqrt(1 - 2^(1 - d/2)) h_2`` of
    normalised Hermite polynomials, with ``A' = 2^(-d/4)`` and ``B' = 2``; in dimension
    1, where the weight of ``h_2`` would be imaginary, ``(h_1 + h_7) / sqrt 2``, with
    ``A'^2 = 1/2`` and ``B' = 4``. The exponent of :func:`classify_regime` is d.

    Args:
        dimension: d of the manifold of the data: that of the sphere S^d.

    Raises:
        ValueError: if dimension is not a positive integer.
    """
    if not isinstance(dimension, int) or dimension < 1:
        raise ValueError(
            f"dimension must be an integer of at least 1; got {dimension!r}. Give d "
            "for data on the sphere S^d of d + 1 coordinates."
        )
    if dimension == 1:
        weights = {1: math.sqrt(0.5), 7: math.sqrt(0.5)}
    else:
        side = 2.0 ** (-dimension / 4)
        weights = {1: side, 2: math.sqrt(max(1 - 2 * side**2, 0.0)), 3: side}
    series = np.zeros(max(weights) + 1)
    for degree, weight in weights.items():
        series[degree] = weight / math.sqrt(math.factorial(degree))
    powers = np.polynomial.hermite_e.herme2poly(series)
    return gaussian.Polynomial(tuple(float(c) for c in powers))


def deep_ntk(
    activation: Activation, xi: Float[ArrayLike, "..."], depth: int
) -> Float[Array, "..."]:
    """Compute the logarithm of the tangent kernel of a deep network.

    ``S_l = D(S_(l-1))`` and ``K_l = S_l + K_(l-1) D'(S_(l-1))`` from
    ``S_0 = K_0 = xi``. In the singular regime ``K_L / ((L + 1) A'^(2L))`` tends to
    :func:`koenigs`, with an error of order 1 / L that grows towards ``xi = 1``.

    Args:
        activation: of each value.
        xi: (...), inner products in [0, 1]; others give NaN.
        depth: L, the number of hidden layers.

    Returns:
        (...), ``log K_L``.
    """
    step = _log_dual(activation)
    log_xi = _log(xi)

    def layer(
        kernels: tuple[Array, Array], _: None
    ) -> tuple[tuple[Array, Array], None]:
        log_nngp, log_ntk = kernels
        value, slope, _excess = step(log_nngp)
        return (value, jnp.logaddexp(value, log_ntk + slope)), None

    return jax.lax.scan(layer, (log_xi, log_xi), length=depth)[0][1]


def log_koenigs(
    activation: Activation, xi: Float[ArrayLike, "..."], *, steps: int = 200
) -> Float[Array, "..."]:
    """Compute the logarithm of :func:`koenigs`.

    ``log g(xi) = log xi + sum_l log(D(x_l) / (a x_l))`` with ``x_(l+1) = D(x_l)``,
    whose terms vanish geometrically once x_l is small.

    Args:
        activation: of the singular regime.
        xi: (...), inner products in [0, 1]; others give NaN.
        steps: terms of the sum; a slope A' near 1 takes more.

    Raises:
        ValueError: if activation is of another regime.
    """
    start = _log(xi)
    total = start + _koenigs_excess(activation, start, steps)
    return jnp.where(start < 0, total, jnp.where(start >= 0, jnp.inf, jnp.nan))


def tabulate_koenigs(
    activation: Activation, *, steps: int = 200, nodes: int = 4096
) -> Callable[[Float[Array, "..."]], Float[Array, "..."]]:
    """Return :func:`log_koenigs` as cubics through a table, for millions of pairs.

    ``log(g(xi) / xi)`` is smooth in ``w = -log(1 - xi)``, where the nodes are even up
    to the last xi below 1. With as many as by default the error is below 1e-8 in
    double precision.

    Args:
        activation: of the singular regime.
        steps: as in :func:`log_koenigs`.
        nodes: of the table, at least 4.

    Returns:
        A function of inner products (...) in [0, 1], in the precision of today.

    Raises:
        ValueError: if activation is of another regime, or for fewer nodes.
    """
    if nodes < 4:
        raise ValueError(f"nodes must be at least 4, for a cubic; got {nodes}.")
    with jax.ensure_compile_time_eval():
        dtype = jnp.result_type(1.0)
        width = -math.log(jnp.finfo(dtype).epsneg) / (nodes - 1)
        w = width * jnp.arange(nodes + 2, dtype=dtype)
        below_1 = -jnp.expm1(-w)
        log_xi = jnp.where(w < 1, jnp.log(below_1), jnp.log1p(-jnp.exp(-w)))
        y = _koenigs_excess(activation, log_xi, steps)
        # The first cell has the cubic of the second.
        before = 4 * y[0] - 6 * y[1] + 4 * y[2] - y[3]
        a, b, c, d = (
            jnp.concatenate([before[None], y])[k : k + nodes] for k in range(4)
        )
        # Through the nodes at -1, 0, 1 and 2, from the constant term on.
        terms = [b, c - b / 2 - a / 3 - d / 6, (a + c) / 2 - b, (d - a) / 6]
        terms[3] += (b - c) / 2
        cubics = jnp.stack(terms, axis=1)

    def log_g(xi: Float[Array, "..."]) -> Float[Array, "..."]:
        place = -jnp.log1p(-jnp.asarray(xi, dtype)) / width
        cell = jnp.clip(jnp.nan_to_num(jnp.floor(place)), 0, nodes - 1)
        t = jnp.where(jnp.isfinite(place), place - cell, 0)
        k = cubics[cell.astype(int)]
        excess = ((k[..., 3] * t + k[..., 2]) * t + k[..., 1]) * t + k[..., 0]
        log_xi = _log(xi)
        return jnp.where(log_xi >= 0, jnp.inf, log_xi + excess)

    return log_g


def _koenigs_excess(activation: Activation, log_xi: Array, steps: int) -> Array:
    """Return ``log(g(xi) / xi)``."""
    regime = classify_regime(activation)
    if regime.rule != "singular kernel":
        raise ValueError(
            f"activation must be of the singular regime; got {activation!r}, whose "
            f"limit is the {regime.rule}. See nearest_neighbor and majority_vote of "
            "limit_classifiers."
        )
    step = _log_dual(activation)

    def layer(
        carry: tuple[Array, Array], _: object
    ) -> tuple[tuple[Array, Array], None]:
        log_x, total = carry
        value, _slope, excess = step(log_x)
        return (value, total + excess), None

    start = (log_xi, jnp.zeros_like(log_xi))
    return jax.lax.scan(layer, start, length=steps)[0][1]


def koenigs(
    activation: Activation, xi: Float[ArrayLike, "..."], *, steps: int = 200
) -> Float[Array, "..."]:
    """Compute the kernel that a deep network of the singular regime tends to.

    The Koenigs function of the dual, ``g(D(xi)) = A'^2 g(xi)`` and ``g'(0) = 1``; like
    ``|x - x'|^-alpha`` near ``xi = 1``, where it is infinite.

    Args:
        activation: of the singular regime, as :func:`optimal_activation`.
        xi: (...), inner products in [0, 1]; others give NaN.
        steps: as in :func:`log_koenigs`.

    Raises:
        ValueError: if activation is of another regime.
    """
    return jnp.exp(log_koenigs(activation, xi, steps=steps))


def _log_dual(
    activation: Activation,
) -> Callable[[Array], tuple[Array, Array, Array]]:
    """``log x`` to ``log D(x)``, ``log D'(x)`` and ``log(D(x) / (c x^n))``.

    ``c x^n`` is the leading term of D, taken as 1 where D(0) is not 0.
    """
    dual = gaussian.dual(activation)
    with jax.ensure_compile_time_eval():
        unit = jnp.ones(())
        size, growth = (float(v) for v in dual(unit, unit, unit))
        dual_at_zero(activation)
        squares = np.square(gaussian.hermite_coefficients(activation, _TERMS)) / size
    order = int(np.argmax(squares > _VANISHES**2))
    tail = squares[order:] / squares[order]
    slopes = tail * (1 + np.arange(len(tail)) / max(order, 1))
    lead = math.log(squares[order]) if order else 0.0

    def of(log_x: Array) -> tuple[Array, Array, Array]:
        x = jnp.exp(log_x)
        # An unstable fixed point: what rounds away from 1 would leave it.
        top = log_x >= 0
        small = (x < _SMALL) & (order > 0)
        inside = jnp.where(small | top, 0.5, x)
        unit = jnp.ones_like(inside)
        value, slope = (jnp.log(v / size) for v in dual(unit, inside, unit))
        finite = jnp.where(small, 0.0, log_x)
        excess = value - lead - order * finite
        near = jnp.where(small, x, 0.0)
        excess = jnp.where(small, jnp.log(_series(tail, near)), excess)
        excess = jnp.where(top, -lead, excess)
        if not order:
            return jnp.where(top, 0.0, value), _at(top, growth / size, slope), excess
        value = jnp.where(top, 0.0, lead + order * log_x + excess)
        start = lead + math.log(order) + jnp.log(_series(slopes, near))
        if order > 1:
            start = start + (order - 1) * log_x
        slope = jnp.where(small, start, slope)
        return value, _at(top, growth / size, slope), excess

    return of


def _at(top: Array, growth: float, slope: Array) -> Array:
    return jnp.where(top, math.log(growth), slope)


def _series(coefficients: np.ndarray, x: Array) -> Array:
    return jnp.polyval(jnp.asarray(coefficients[::-1], x.dtype), x)


def _log(xi: ArrayLike) -> Array:
    xi = jnp.asarray(xi, jnp.result_type(xi, 1.0))
    return jnp.log(jnp.where(xi > 1 + _ABOVE, jnp.nan, jnp.minimum(xi, 1.0)))
