"""How far from Gaussian a deep perceptron of finite width is, and its tangent kernel.

Roberts, Yaida, Hanin 2021, "The Principles of Deep Learning Theory", arXiv 2106.10165,
chapters 4, 5, 8 and 9 and appendix A: recursions at one input to first order in 1 /
width. What a layer's width divides is here the correlator itself: ``V / n``, not V.
The terms with a residual share were derived for this file; the book's four-point vertex
alone does not close there.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import checks
from kanjax.theory import criticality, moments
from kanjax.theory.criticality import Scales
from kanjax.theory.moments import Activation, Moments, Profile

# Of memories along a residual share; and a variance as good as 0.
_MODES = 32
_NEAR_ZERO = 1e-12


class VertexFlow(NamedTuple):
    """Preactivations of every layer, at one input.

    Attributes:
        kernel: (depth,), the variance at infinite width, K.
        correction: (depth,), what is added to it to first order in 1 / width.
        four_point: (depth,), ``V / n``, the covariance of the squares of two
            preactivations, and a third of the fourth cumulant of each. Over K^2 it is
            the excess ``E z^4 / (3 K^2) - 1``.
    """

    kernel: Array
    correction: Array
    four_point: Array


class Rates(NamedTuple):
    """Learning rates of a layer's parameters, relative to the global one.

    Attributes:
        bias: lambda_b, () or (depth,).
        weight: lambda_W times the fan-in, () or (depth,).
    """

    bias: Any
    weight: Any


class NTKFlow(NamedTuple):
    """The neural tangent kernel ``H_ij`` between neurons of every layer, at one input.

    To first order in 1 / width; indices i and j differ.

    Attributes:
        ntk: (depth,), the mean of H_ii at infinite width.
        covariance: (depth,), of H_ii and H_jj (A / n of the book).
        variance: (depth,), of H_ij (B / n). That of H_ii is ``covariance + 2
            variance``.
        cross_covariance: (depth,), of z_i^2 and H_jj (D / n).
    """

    ntk: Array
    covariance: Array
    variance: Array
    cross_covariance: Array


def vertex_flow(
    activation: Activation, kernel: Array | float, widths: Sequence[int], scales: Scales
) -> VertexFlow:
    """Return the variance and the four-point vertex of all layers.

    Args:
        activation: of each value.
        kernel: the variance of the first layer's preactivations.
        widths: (depth - 1,), of the hidden layers.
        scales: of every layer but the first.

    Raises:
        TypeError: if activation cannot be called.
        ValueError: for a width below 2, widths that differ along a residual share, a
            kernel or scale that is not positive, or an activation that is not finite at
            0.

    Examples:
        >>> import jax
        >>> flow = vertex_flow(jax.nn.relu, 1.0, (100, 100), Scales(0.0, 2.0))
        >>> print(np.asarray(flow.four_point).round(3))
        [0.   0.05 0.1 ]
    """
    return _flow(activation, kernel, widths, scales, Rates(0.0, 0.0))[0]


def ntk_flow(
    activation: Activation,
    kernel: Array | float,
    widths: Sequence[int],
    scales: Scales,
    rates: Rates,
) -> NTKFlow:
    """Return the mean and the fluctuations of the tangent kernel of all layers.

    Args:
        activation: of each value.
        kernel: the variance of the first layer's preactivations; ``|x|^2 / inputs`` is
            then ``(kernel - C_b) / C_W``.
        widths: (depth - 1,), of the hidden layers.
        scales: of every layer; the first has no residual share.
        rates: of every layer.

    Raises:
        TypeError: if activation cannot be called.
        ValueError: as :func:`vertex_flow` does.

    Examples:
        >>> import jax
        >>> scales, rates = Scales(0.0, 2.0), Rates(1.0, 1.0)
        >>> flow = ntk_flow(jax.nn.relu, 1.0, (100, 100), scales, rates)
        >>> print(np.asarray(flow.ntk).round(3))
        [1.5 3.  4.5]
    """
    return _flow(activation, kernel, widths, scales, rates)[1]


def _flow(
    activation: Activation,
    kernel: Array | float,
    widths: Sequence[int],
    scales: Scales,
    rates: Rates,
) -> tuple[VertexFlow, NTKFlow]:
    criticality.check_scales(scales)
    checks.check_positive("kernel", kernel)
    _check_widths(widths, scales)
    depth = len(widths) + 1
    dtype = jnp.result_type(float)
    every = Rates(*(jnp.broadcast_to(jnp.asarray(r, dtype), (depth,)) for r in rates))
    return _compute_flow(
        moments.profile(activation),
        jnp.asarray(kernel, dtype),
        jnp.asarray(widths, dtype),
        Scales(*(jnp.asarray(s, dtype) for s in scales)),
        every,
        # Without a residual share h_2 and h_4 are all that layers remember.
        modes=4 if _is_zero(scales.residual) else _MODES,
    )


class _State(NamedTuple):
    """What two neurons i and j of a layer share to first order in 1 / width.

    With h_q the normalized Hermite polynomials of z / sqrt(K). A neuron that goes
    around a layer remembers every h_q of itself by the factor ``rho^q``, and the layer
    adds to h_2 alone: of covariances of h_p(z_i) and h_q(z_j) only those with p or q =
    2 are not 0. Without a residual share rho is 0, and h_2 is all.
    """

    kernel: Array
    means: Array  # (modes,), of h_q(z_i)
    pairs: Array  # (modes,), of h_2(z_i) and h_q(z_j)
    ntk: Array
    covariance: Array  # of H_ii and H_jj
    mixed: Array  # (modes,), of h_q(z_i) and H_jj
    variance: Array  # the mean of H_ij^2
    skew: Array  # (modes,), the mean of h_q(z_i) H_ij^2


@functools.partial(jax.jit, static_argnames="modes")
def _compute_flow(
    of: Profile,
    kernel: Array,
    widths: Array,
    scales: Scales,
    rates: Rates,
    *,
    modes: int,
) -> tuple[VertexFlow, NTKFlow]:
    zero, zeros = jnp.zeros_like(kernel), jnp.zeros(modes, kernel.dtype)
    input_square = (kernel - scales.bias) / scales.weight
    ntk = rates.bias[0] + rates.weight[0] * input_square
    first = _State(kernel, zeros, zeros, ntk, zero, zeros, zero, zeros)

    def step(state: _State, layer: tuple[Array, Rates]):
        at = moments.moments_of_profile(of, state.kernel, modes)
        new = _next(at, state, *layer, scales)
        return new, new

    later = (widths, jax.tree.map(lambda r: r[1:], rates))
    rest = jax.lax.scan(step, first, later)[1]
    every: _State = jax.tree.map(lambda a, b: jnp.append(a[None], b, 0), first, rest)
    square = math.sqrt(2) * every.kernel
    return (
        VertexFlow(
            every.kernel, square * every.means[:, 1], square**2 * every.pairs[:, 1]
        ),
        NTKFlow(
            every.ntk, every.covariance, every.variance, square * every.mixed[:, 1]
        ),
    )


def _next(
    at: Moments, now: _State, width: Array, rates: Rates, scales: Scales
) -> _State:
    """Of ``z' = g z + sqrt(S) x`` and ``H' = Y + J H J^T`` with ``J = W s' + g``.

    Given the layer before, neurons differ in a standard normal x only, and share ``S =
    C_b + C_W / n sum s^2`` and the mean over W of H'_ii, ``lambda_b + 1 / n sum q + g^2
    H_ii`` with ``q = lambda_W s^2 + C_W s'^2 H``.
    """
    weight, around = scales.weight, scales.residual**2
    kernel = scales.bias + weight * at.square + around * now.kernel
    rho = scales.residual * jnp.sqrt(now.kernel / kernel)
    order = jnp.arange(1, now.means.size + 1, dtype=kernel.dtype)
    second, fourth = jnp.asarray(order == 2), jnp.asarray(order == 4)
    kept = rho**order
    # d h_2 / dS, and of h_4 the half of the second derivative.
    slope2, slope4 = 1 / (math.sqrt(2) * kernel), math.sqrt(24) / (8 * kernel**2)
    squares, pairs = at.square_modes, now.pairs

    def with_modes(f: Array) -> Array:
        """Of f(z_i) and h_q(z_j)."""
        return f[1] * pairs + second * (pairs @ f - pairs[1] * f[1])

    def two_neurons(f: Array, h: Array) -> Array:
        """Of f(z_i) and h(z_j)."""
        return f @ with_modes(h)

    # Of S and h_q(z_j), and of S by itself.
    shared = weight * (squares / width + with_modes(squares))
    fluctuation = weight**2 * (
        at.square_variance / width + two_neurons(squares, squares)
    )
    # S and the neuron's memory of itself move the law of one neuron.
    moved = jnp.append(jnp.zeros(2, kernel.dtype), (kept * shared)[:-2])
    moved *= jnp.sqrt(order * (order - 1)) / (2 * kernel)

    perpendicular = around + weight * at.slope
    a, b = rates.weight, weight * now.ntk
    q = a * squares + b * at.slope_modes
    q_variance = (
        a**2 * at.square_variance + b**2 * at.slope_variance + 2 * a * b * at.covariance
    )
    squares_with_q = a * at.square_variance + b * at.covariance
    slope_fourth = at.slope_variance + at.slope**2
    return _State(
        kernel=kernel,
        means=kept * now.means
        + moved
        + second * slope2 * weight * (squares @ now.means)
        + fourth * slope4 * fluctuation,
        pairs=rho**2 * kept * pairs
        + slope2 * kept * shared
        + second * slope2 * (rho**2 * shared[1] + slope2 * fluctuation),
        ntk=rates.bias + a * at.square + perpendicular * now.ntk,
        covariance=q_variance / width
        + two_neurons(q, q)
        + 2 * perpendicular * (q @ now.mixed)
        + perpendicular**2 * now.covariance,
        mixed=kept * (q / width + with_modes(q) + perpendicular * now.mixed)
        + second
        * slope2
        * weight
        * (
            squares_with_q / width
            + two_neurons(squares, q)
            + perpendicular * (squares @ now.mixed)
        ),
        variance=perpendicular**2 * now.variance
        + (weight * slope_fourth + 2 * around * at.slope) * weight * now.ntk**2 / width
        + 2 * weight * perpendicular * (at.slope_modes @ now.skew),
        skew=around
        * kept
        * (perpendicular * now.skew + weight * now.ntk**2 * at.slope_modes / width),
    )


def vertex_slope(activation: Activation, *, residual: float = 0.0) -> float:
    """Return nu, the growth of ``V / (n K^2)`` with depth / width at criticality.

    ``nu = (C_W / K)^2 sum_q <s^2 h_q>^2 (1 + g^q) / (1 - g^q)``, at K*, and a third of
    it in the limit K to 0 where variances fall to 0: each layer adds the fluctuation of
    s^2, and along a residual share layers fluctuate alike. Without it 5 for ReLU, 2 for
    a linear network, 2/3 for tanh.

    Args:
        activation: of each value.
        residual: g, from 0 to less than 1.

    Raises:
        ValueError: if there is no critical point.

    Examples:
        >>> import jax
        >>> round(vertex_slope(jax.nn.relu), 6), round(vertex_slope(jnp.tanh), 6)
        (5.0, 0.666667)
    """
    critical = criticality.critical_initialization(activation, residual=residual)
    falls = critical.universality == "K*=0"
    kernel = _NEAR_ZERO if falls else critical.start
    with jax.enable_x64(True):
        at = moments.moments(activation, kernel, modes=_MODES)
        kept = residual ** np.arange(1, _MODES + 1)
        memory = np.sum(np.asarray(at.square_modes) ** 2 * 2 * kept / (1 - kept))
        added = float(at.square_variance) + float(memory)
    return (critical.scales.weight / kernel) ** 2 * added / (3 if falls else 1)


def _check_widths(widths: Sequence[int], scales: Scales) -> None:
    for width in widths:
        checks.check_count("widths", width, 2)
    if len(set(widths)) > 1 and not _is_zero(scales.residual):
        raise ValueError(
            f"widths differ, {tuple(widths)!r}: a residual share needs equal ones. "
            "Give scales.residual=0.0, or one width."
        )


def _is_zero(residual: Array | float) -> bool:
    return not isinstance(residual, jax.core.Tracer) and float(residual) == 0
