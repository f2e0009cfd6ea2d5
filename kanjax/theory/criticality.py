"""Kernels of deep perceptrons at one input, layer by layer, and when they stay.

Roberts, Yaida, Hanin 2021, "The Principles of Deep Learning Theory", arXiv 2106.10165,
chapters 3 and 5. A network is ``z^1 = b + W x``, ``z^(l+1) = b + W s(z^l) + g z^l``
with biases of variance C_b and weights of variance C_W over the fan-in; ``K^l`` is the
variance of a preactivation of layer l at infinite width, and ``<F>`` the mean of F(z)
for ``z ~ N(0, K)``.
"""

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import checks, gaussian, nn, pytrees
from kanjax.theory.moments import (
    Activation,
    Profile,
    check_activation,
    moments,
    moments_of_profile,
    moments_of_profile_at,
    profile,
    value_and_slope,
)

Universality = Literal["scale-invariant", "K*=0", "half-stable", "none"]

# Variances among which fixed points are looked for, and where slopes at 0 are taken.
_SEARCHED = np.logspace(-3, 3, 61)
_NEAR_ZERO = 1e-15


class Scales(NamedTuple):
    """How a layer is drawn, ``z' = b + W s(z) + residual z``.

    Attributes:
        bias: C_b, the variance of a bias.
        weight: C_W, the variance of a weight times the fan-in.
        residual: g, the share of z that goes around the layer; the first layer has
            none.
    """

    bias: Any
    weight: Any
    residual: Any = 0.0


class Susceptibilities(NamedTuple):
    """What a layer makes of a small difference.

    Attributes:
        parallel: of two variances K, the factor on their difference.
        perpendicular: of two inputs of one variance, the factor on the squared
            distance; of gradients, on the squared norm.
    """

    parallel: Array
    perpendicular: Array


class Criticality(NamedTuple):
    """Where neither variances nor gradients grow or shrink exponentially.

    Attributes:
        scales: C_b, C_W and the residual share that was asked for.
        kernel: K*, the variance that stays; NaN where every one does, and 0 where a
            variance falls like a power of the depth.
        universality: how variances behave beside K*:

            - "scale-invariant": every variance stays;
            - "K*=0": they fall, for smooth activations as 1 / depth;
            - "half-stable": they stay at K*, which attracts from one side.
        parallel: the parallel susceptibility at K*, 1 up to round-off.
        perpendicular: the perpendicular one.
    """

    scales: Scales
    kernel: float
    universality: Universality
    parallel: float
    perpendicular: float

    @property
    def start(self) -> float:
        """The variance that stays, 1 where there is none or every one does."""
        return self.kernel if self.kernel > 0 else 1.0


def kernel_map(activation: Activation, kernel: Array | float, scales: Scales) -> Array:
    """Return the kernel of the next layer, ``C_b + C_W <s s> + g^2 K``.

    Args:
        activation: of each value.
        kernel: K of one input, (), or of many, (inputs, inputs).
        scales: of the layer.

    Returns:
        The shape of kernel.

    Raises:
        ValueError: for a kernel of another shape, or one that is not positive.
    """
    check_scales(scales)
    kernel = checks.as_floating(kernel)
    if kernel.ndim == 0:
        square = moments(activation, kernel).square
    else:
        _check_gram(kernel)
        check_activation(activation)
        square = _dual_square(gaussian.dual(activation), kernel)
    return _next_kernel(square, kernel, scales)


def _dual_square(dual: Any, kernel: Array) -> Array:
    variances = jnp.diagonal(kernel)
    return dual(variances[:, None], kernel, variances[None, :]).value


def _next_kernel(square: Array, kernel: Array, scales: Scales) -> Array:
    return scales.bias + scales.weight * square + scales.residual**2 * kernel


def susceptibilities(
    activation: Activation, kernel: Array | float, scales: Scales
) -> Susceptibilities:
    """Return what a layer makes of small differences of its inputs.

    ``parallel = g^2 + C_W d<s s>/dK`` and ``perpendicular = g^2 + C_W <s' s'>``.

    Args:
        activation: of each value.
        kernel: K (...) of one input.
        scales: of the layer.
    """
    check_scales(scales)
    of = moments(activation, kernel)
    around = scales.residual**2
    return Susceptibilities(
        around + scales.weight * of.growth, around + scales.weight * of.slope
    )


def kernel_flow(
    activation: Activation, kernel: Array | float, depth: int, scales: Scales
) -> Array:
    """Return the kernels of all layers at infinite width.

    Args:
        activation: of each value.
        kernel: of the first layer, ``C_b + C_W x x^T / inputs``: () or (inputs,
            inputs).
        depth: the number of layers with weights, L.
        scales: of every layer but the first.

    Returns:
        (depth, *kernel.shape), the first layer's first.

    Examples:
        >>> import jax
        >>> kernel_flow(jax.nn.relu, 1.0, 3, Scales(0.0, 2.0)).round(5).tolist()
        [1.0, 1.0, 1.0]
    """
    checks.check_count("depth", depth, 1)
    check_scales(scales)
    first = checks.as_floating(kernel)
    if first.ndim == 0:
        checks.check_positive("kernel", kernel)
        of = profile(activation)

        def square(k: Array) -> Array:
            return moments_of_profile(of, k).square
    else:
        _check_gram(first)
        check_activation(activation)
        dual = gaussian.dual(activation)

        def square(k: Array) -> Array:
            return _dual_square(dual, k)

    def step(k: Array, _: None) -> tuple[Array, Array]:
        return _next_kernel(square(k), k, scales).astype(k.dtype), k

    return jax.lax.scan(step, first, length=depth)[1]


def critical_initialization(
    activation: Activation, *, residual: float = 0.0
) -> Criticality:
    """Return how to draw layers so that depth neither amplifies nor damps.

    Solves ``K* = G(K*)`` with both susceptibilities 1, in double precision whatever the
    default is. The order in which classes are tried: every variance stays; the variance
    0 attracts; variances between 1e-3 and 1e3 that stay.

    Args:
        activation: any function of each value, of jax, flax, equinox or your own, not
            traced.
        residual: the share g of a layer's input that goes around it, from 0 to less
            than 1; both variances are ``1 - g^2`` times those without.

    Raises:
        TypeError: if activation cannot be called.
        ValueError: if the activation jumps, is not finite at 0, or has no critical
            point (sigmoid, softplus, cos); or for a residual out of range.

    Examples:
        >>> import jax
        >>> critical_initialization(jax.nn.relu).scales.weight
        2.0
        >>> critical_initialization(jnp.tanh).universality
        'K*=0'
    """
    check_activation(activation)
    _check_residual(residual)
    base = _critical(pytrees.hashable(activation))
    if base is None:
        raise ValueError(
            f"activation {activation!r} has no critical point: nowhere are both "
            "susceptibilities 1 with a bias variance of at least 0. Shift it to 0 at 0 "
            "(sigmoid to tanh), or use a normalization layer."
        )
    through = 1 - residual**2
    scales = Scales(
        float(through * base.scales.bias), through * base.scales.weight, residual
    )
    return base._replace(scales=scales)


def universality_class(activation: Activation) -> Universality:
    """Return how variances behave at criticality, "none" where there is none.

    Args:
        activation: of each value; see :class:`Criticality` for the classes.

    Examples:
        >>> import jax
        >>> universality_class(jax.nn.silu), universality_class(jax.nn.sigmoid)
        ('half-stable', 'none')
    """
    check_activation(activation)
    base = _critical(pytrees.hashable(activation))
    return "none" if base is None else base.universality


def critical_mlp(widths: tuple[int, ...], activation: Activation) -> nn.MLP:
    """Return a perceptron whose ``init`` draws at criticality.

    Args:
        widths: the number of inputs, of each layer's hidden units, and of outputs.
        activation: of each value.

    Examples:
        >>> import jax
        >>> params = critical_mlp((4, 16, 16, 1), jnp.tanh).init(jax.random.key(0))
    """
    scales = critical_initialization(activation).scales
    return nn.MLP(
        widths,
        activation,
        kernel_scale=math.sqrt(scales.weight),
        bias_scale=math.sqrt(scales.bias),
    )


@functools.lru_cache(maxsize=128)
def _critical(activation: Activation) -> Criticality | None:
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        of = profile(activation)
        _check_continuous(activation, of)

        def at(kernels: np.ndarray) -> Any:
            return jax.tree.map(np.asarray, moments_of_profile_at(of, kernels))

        second = _slope_at_zero(activation)
        over = at(_SEARCHED)
        if _is_homogeneous(activation):
            slopes = over.growth[0], over.slope[0]
            return _result(0.0, 1 / second, math.nan, "scale-invariant", *slopes)
        if _falls_to_zero(of, second, over.square):
            return _result(0.0, 1 / second, 0.0, "K*=0", second, second)
        for i in _sign_changes(over):
            # Every look is at as many points, by one program.
            kernels, means = _SEARCHED, over
            for _ in range(9):
                kernels = np.linspace(kernels[i], kernels[i + 1], len(_SEARCHED))
                means = at(kernels)
                i = next(iter(_sign_changes(means)), 0)
            bias = kernels[i] - means.square[i] / means.slope[i]
            if bias >= 0:
                slopes = means.growth[i], means.slope[i]
                weight = 1 / means.slope[i]
                return _result(bias, weight, kernels[i], "half-stable", *slopes)
    return None


def _sign_changes(at: Any) -> np.ndarray:
    gap = at.growth - at.slope
    return np.flatnonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) == -1)


def _result(
    bias: float,
    weight: float,
    kernel: float,
    universality: Universality,
    growth: float,
    slope: float,
) -> Criticality:
    return Criticality(
        Scales(float(bias), float(weight)),
        float(kernel),
        universality,
        float(weight * growth),
        float(weight * slope),
    )


def _slope_at_zero(activation: Activation) -> float:
    """Return A_2, the mean over both sides of 0 of the squared slope."""
    near = jnp.array([-_NEAR_ZERO, _NEAR_ZERO])
    slopes = np.asarray(value_and_slope(activation, near)[1], np.float64)
    return float(np.mean(slopes**2))


def _is_homogeneous(activation: Activation) -> bool:
    """Whether the function is a line on either side of 0."""
    x = np.logspace(-3, 3, 25)
    for sign in (-1, 1):
        ratios = np.asarray(activation(jnp.asarray(sign * x))) / x
        if np.ptp(ratios) > 1e-6 * np.max(np.abs(ratios), initial=1e-30):
            return False
    return True


def _falls_to_zero(of: Profile, second: float, square: np.ndarray) -> bool:
    """Whether ``<s s> / A_2`` is below K where it first leaves it."""
    if abs(float(of.origin[0])) > 1e-12 or second < 1e-12:
        return False
    off = square / (second * _SEARCHED) - 1
    leaves = np.flatnonzero(np.abs(off) > 1e-7)
    return bool(leaves.size and off[leaves[0]] < 0)


def _check_continuous(activation: Activation, of: Profile) -> None:
    """Hold Stein's lemma, ``E (x - m) s(x) = E s'(x)``, against a jump's delta."""
    off = np.asarray(of.x) - 0.3
    density = np.asarray(of.weight) * np.exp(-(off**2) / 2) / math.sqrt(2 * math.pi)
    near = density > 0
    slope = float(np.sum((density * of.slope)[near]))
    by_parts = float(np.sum((density * off * of.value)[near]))
    if not abs(by_parts - slope) <= 1e-5 * (1 + abs(slope)):
        raise ValueError(
            f"activation {activation!r} jumps, or jax's derivative of it is not its "
            f"slope: the mean slope is {slope:.6g} and should be {by_parts:.6g}. No "
            "gradient passes a jump; give a continuous one."
        )


def check_scales(scales: Scales) -> None:
    """Raise ``ValueError`` for a variance or share that cannot be; traced it passes.

    Args:
        scales: of weights, biases and the residual branch.
    """
    checks.check_positive("scales.weight", scales.weight)
    for name, value in (("bias", scales.bias), ("residual", scales.residual)):
        if not isinstance(value, jax.core.Tracer) and not 0 <= float(value) < math.inf:
            raise ValueError(
                f"scales.{name} must be at least 0 and finite; got {value!r}."
            )


def _check_residual(residual: float) -> None:
    if not 0 <= residual < 1:
        raise ValueError(f"residual must be from 0 to less than 1; got {residual!r}.")


def _check_gram(kernel: Array) -> None:
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(
            f"kernel has shape {kernel.shape}; it must be () for one input or "
            "(inputs, inputs)."
        )
    checks.check_positive("the diagonal of kernel", jnp.diagonal(kernel))
