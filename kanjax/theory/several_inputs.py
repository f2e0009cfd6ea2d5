"""Perceptrons of finite width at several inputs: their kernels and what these share.

Roberts, Yaida, Hanin 2021, "The Principles of Deep Learning Theory", arXiv 2106.10165,
chapters 4 and 8: recursions to first order in 1 / width, without residual shares, to
hold beside :mod:`kanjax.theory.several_input_ensembles`. At one input
:mod:`kanjax.theory.finite_width` is more exact. Letters a, b, c, d are inputs, i and j
different neurons of a layer.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy import special
from scipy.stats import qmc

from kanjax import checks, gaussian, linalg, pytrees
from kanjax.theory import criticality, moments
from kanjax.theory.criticality import Scales
from kanjax.theory.finite_width import Rates
from kanjax.theory.moments import Activation

# Points of Sobol's sequence, each with its negative.
_POINTS = 2**15


class Flow(NamedTuple):
    """What the layers of wide networks do, to first order in 1 / width.

    Attributes:
        kernel: (depth, n, n), of z_a and z_b at infinite width.
        kernel_correction: (depth, n, n), what is added to it.
        four_point: (depth, n, n, n, n), the covariance of ``z_i,a z_i,b`` and ``z_j,c
            z_j,d``.
        ntk: (depth, n, n), ``H_ii,ab`` at infinite width.
        ntk_correction: (depth, n, n), what is added to its mean.
        covariance: (depth, n, n, n, n), of ``H_ii,ab`` and ``H_jj,cd``.
        variance: (depth, n, n, n, n), the mean of ``H_ij,ab H_ij,cd``.
        cross_covariance: (depth, n, n, n, n), of ``z_i,c z_i,d`` and ``H_jj,ab``, c
            and d first.
        exchange: (depth, n, n, n, n), the mean of ``z_i,c z_j,d H_ij,ab``, c and d
            first.
    """

    kernel: Array
    kernel_correction: Array
    four_point: Array
    ntk: Array
    ntk_correction: Array
    covariance: Array
    variance: Array
    cross_covariance: Array
    exchange: Array


def flow(
    activation: Activation,
    kernel: Float[Array, "n n"],
    widths: Sequence[int],
    scales: Scales,
    rates: Rates,
) -> Flow:
    """Return kernels, their corrections and their fluctuations in all layers.

    Kernels at infinite width are exact; what has a width below it is by Sobol's points,
    to about 1e-3 of its size. It takes ``n^4`` numbers a layer.

    Args:
        activation: of each value.
        kernel: (n, n), of the first layer, ``C_b + C_W x x^T / inputs``.
        widths: (depth - 1,), of the hidden layers.
        scales: of every layer, without a residual share.
        rates: of every layer, () or (depth,).

    Raises:
        TypeError: if activation cannot be called.
        ValueError: for a width below 2, a residual share, a kernel that no inputs have,
            or an activation that is not finite at 0.

    Examples:
        >>> import jax
        >>> x = jnp.array([[1.0, 1.0], [1.0, 0.0]])
        >>> seen = flow(jax.nn.relu, x @ x.T, (100,), Scales(0.0, 2.0), Rates(1.0, 1.0))
        >>> seen.ntk.shape, seen.four_point.shape
        ((2, 2, 2), (2, 2, 2, 2, 2))
    """
    gram = check_inputs(activation, kernel, scales)
    for width in widths:
        checks.check_count("widths", width, 2)
    depth, dtype = len(widths) + 1, jnp.result_type(float)
    return _flow(
        pytrees.hashable(activation),
        jnp.asarray(gram, dtype),
        jnp.asarray(_normal_points(len(gram)), dtype),
        jnp.asarray(widths, dtype),
        Scales(*(jnp.asarray(s, dtype) for s in scales)),
        rates_of_layers(rates, depth, dtype),
    )


def rates_of_layers(rates: Rates, depth: int, dtype: Any) -> Rates:
    """Return rates of (depth,).

    Args:
        rates: () or (depth,).
        depth: the number of layers.
        dtype: of both.
    """
    return Rates(*(jnp.broadcast_to(jnp.asarray(r, dtype), (depth,)) for r in rates))


@functools.lru_cache(maxsize=8)
def _normal_points(dimension: int) -> np.ndarray:
    """(points, dimension), normal, with mean 0 and covariance the identity exactly."""
    sobol = qmc.Sobol(dimension, rng=np.random.default_rng(0))
    half = special.ndtri(sobol.random(_POINTS // 2))
    points = np.concatenate([half, -half])
    root = np.linalg.cholesky(points.T @ points / len(points))
    return np.linalg.solve(root, points.T).T


# What has four inputs.
_FOURS = ("four_point", "covariance", "variance", "cross_covariance", "exchange")


class _State(NamedTuple):
    """What is known of a layer; pairs of inputs are one axis."""

    kernel: Array  # (n, n)
    kernel_correction: Array  # (p,)
    four_point: Array  # (p, p)
    ntk: Array  # (n, n)
    ntk_correction: Array  # (p,)
    covariance: Array  # (p, p)
    variance: Array  # (p, p)
    cross_covariance: Array  # (p, p), z first
    exchange: Array  # (p, p), z first


@functools.partial(jax.jit, static_argnums=0)
def _flow(
    activation: Activation,
    kernel: Array,
    points: Array,
    widths: Array,
    scales: Scales,
    rates: Rates,
) -> Flow:
    n = len(kernel)
    input_products = (kernel - scales.bias) / scales.weight
    ntk = rates.bias[0] + rates.weight[0] * input_products
    vector, square = (
        jnp.zeros(n**2, kernel.dtype),
        jnp.zeros((n**2, n**2), kernel.dtype),
    )
    first = _State(kernel, vector, square, ntk, vector, square, square, square, square)

    def step(state: _State, layer: tuple[Array, Rates]):
        new = _next(activation, points, state, *layer, scales)
        return new, new

    later = (widths, jax.tree.map(lambda r: r[1:], rates))
    rest = jax.lax.scan(step, first, later)[1]
    every = jax.tree.map(lambda a, b: jnp.append(a[None], b, 0), first, rest)
    return Flow(
        **{
            name: v.reshape(len(v), *(n,) * (4 if name in _FOURS else 2))
            for name, v in every._asdict().items()
        }
    )


def _next(
    activation: Activation,
    points: Array,
    now: _State,
    width: Array,
    rates: Rates,
    scales: Scales,
) -> _State:
    """Of ``z' = b + W s(z)`` and ``H' = Y + J H J^T`` with ``J = W s'``.

    Given the layer before, neurons are independent and normal, with the covariance ``G
    = C_b + C_W / n sum s s`` that they share; H_ii adds to what it shares a quadratic
    form in the weights that make z_i. A mean ``<f>`` moves with the covariance by ``<f
    (y y - K^-1)> / 2``, ``y = K^-1 z``, so that kinks need no second derivative.
    """
    n, weight = len(now.kernel), scales.weight
    # Inputs may depend on each other: along what is 0 nothing moves.
    system = linalg.decompose(
        now.kernel, cut=10 * n * float(jnp.finfo(points.dtype).eps)
    )
    root = jnp.sqrt(system.values)
    inverse_root = jnp.where(system.positive, 1 / jnp.where(root > 0, root, 1.0), 0.0)
    z = (points * root[None]) @ system.vectors.T
    y = (points * inverse_root[None]) @ system.vectors.T
    inverse = (system.vectors * inverse_root[None] ** 2) @ system.vectors.T
    s, slope = jax.jvp(activation, (z,), (jnp.ones_like(z),))

    def pairs(u: Array, v: Array) -> Array:
        return (u[:, :, None] * v[:, None, :]).reshape(len(u), n**2)

    def mean(u: Array, v: Array) -> Array:
        return u.T @ v / len(points)

    def center(u: Array) -> Array:
        return u - jnp.mean(u, axis=0, keepdims=True)

    ss, tt = pairs(s, s), pairs(slope, slope)
    variances = jnp.diagonal(now.kernel)[None]
    dual = gaussian.dual(activation)(variances.T, now.kernel, variances)
    theta, perpendicular = now.ntk.reshape(1, n**2), weight * dual.slope.ravel()
    q = rates.weight * ss + weight * theta * tt

    # (p, p): how the mean of each column moves with the covariance.
    second = (pairs(y, y) - inverse.reshape(1, n**2)) / 2
    move_ss, move_tt = mean(second, ss), mean(second, tt)
    move_q = rates.weight * move_ss + weight * theta * move_tt
    spread = now.four_point
    # Hermite's fourth polynomials of y, contracted with the spread of the covariance.
    yy = pairs(y, y)
    table = spread.reshape((n,) * 4)
    once = 2 * jnp.einsum("abcd,cd->ab", table, inverse)
    once += 4 * jnp.einsum("acbd,cd->ab", table, inverse)
    none = jnp.einsum("abcd,ab,cd->", table, inverse, inverse)
    none += 2 * jnp.einsum("abcd,ac,bd->", table, inverse, inverse)
    fourth = (jnp.sum((yy @ spread) * yy, axis=1) - yy @ once.ravel() + none) / 8

    def correct(moved: Array, f: Array) -> Array:
        """Return what the kernel's correction and spread add to the mean of f."""
        return moved.T @ now.kernel_correction + fourth @ center(f) / len(points)

    # Of z_i,c s'_i,a by a shift of z_i,e: (e, c, a).
    shift = mean(y, pairs(s, slope)).reshape((n,) * 3)
    exchanged = jnp.einsum(
        "eca,fdb,efab->cdab", shift, shift, now.exchange.reshape((n,) * 4)
    ).reshape(n**2, n**2)
    # H_ii moves with its own z_i by what all share, and by their common weights.
    swapped = now.exchange.reshape(n, n, n**2)
    itself = now.cross_covariance + now.exchange
    itself += jnp.swapaxes(swapped, 0, 1).reshape(n**2, n**2)
    kept = dual.slope[:, None, :, None] * dual.slope[None, :, None, :]
    return _State(
        kernel=scales.bias + weight * dual.value,
        kernel_correction=weight * correct(move_ss, ss),
        four_point=weight**2
        * (mean(center(ss), center(ss)) / width + move_ss.T @ spread @ move_ss),
        ntk=rates.bias + rates.weight * dual.value + weight * dual.slope * now.ntk,
        ntk_correction=correct(move_q, q)
        + perpendicular * now.ntk_correction
        + weight * jnp.sum(move_tt * itself, axis=0),
        covariance=mean(center(q), center(q)) / width
        + move_q.T @ spread @ move_q
        + perpendicular[:, None] * (now.cross_covariance.T @ move_q)
        + (move_q.T @ now.cross_covariance) * perpendicular[None]
        + perpendicular[:, None] * now.covariance * perpendicular[None],
        variance=weight**2
        * (
            theta.T * mean(tt, tt) * theta / width
            + kept.reshape(n**2, n**2) * now.variance
        ),
        cross_covariance=weight
        * (
            mean(center(ss), center(q)) / width
            + move_ss.T @ spread @ move_q
            + (move_ss.T @ now.cross_covariance) * perpendicular[None]
        ),
        exchange=weight**2 * (mean(ss, tt) * theta / width + exchanged),
    )


def check_inputs(activation: Any, kernel: Any, scales: Scales) -> Array:
    """Return a kernel as floating-point numbers, or raise what is wrong with it.

    Args:
        activation: of each value.
        kernel: (n, n).
        scales: of every layer.
    """
    moments.check_activation(activation)
    criticality.check_scales(scales)
    gram = checks.as_floating(kernel)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ValueError(
            f"kernel has shape {gram.shape}; it must be (inputs, inputs). Of one input "
            "kanjax.theory.finite_width is more exact."
        )
    if float(scales.residual) != 0:
        raise ValueError(
            f"scales.residual must be 0 at several inputs; got {scales.residual!r}. At "
            "one input kanjax.theory.finite_width has residual shares."
        )
    if isinstance(gram, jax.core.Tracer):
        return gram
    known = np.asarray(gram, np.float64)
    checks.check_positive("the diagonal of kernel", np.diagonal(known))
    least = np.linalg.eigvalsh(known)[0] if np.allclose(known, known.T) else -np.inf
    if least < -1e-5 * np.trace(known):
        raise ValueError(
            "kernel must be symmetric without eigenvalues below 0, as C_b + C_W x x^T "
            f"/ inputs is; its least is {least:.3g}."
        )
    return gram
