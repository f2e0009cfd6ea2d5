"""How to draw and to train a deep perceptron, and how far from Gaussian it will be.

Roberts, Yaida, Hanin 2021, "The Principles of Deep Learning Theory", arXiv 2106.10165,
chapters 5, 9 and appendix A.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import checks
from kanjax.theory import criticality, finite_width, moments
from kanjax.theory.criticality import Criticality, Scales
from kanjax.theory.finite_width import Rates, VertexFlow
from kanjax.theory.moments import Activation


class Prescription(NamedTuple):
    """How to draw and train a perceptron, and how far from Gaussian it will be.

    Attributes:
        criticality: the variances C_b and C_W, the class, and the kernel that stays.
        input_square: the mean square of an input's entries at which the first layer
            has the variance of ``flow.kernel[0]``.
        flow: what preactivations of every layer do.
        excess: (depth,), ``E z^4 / (3 (E z^2)^2) - 1`` of a neuron of each layer: 0 for
            a Gaussian.
        rates: with which the biases and the weights of each layer have equal shares in
            the tangent kernel of the output, which is 1.
        ntk_deviation: the standard deviation of that kernel over draws, relative to
            its mean.
        aspect_ratio: depth / width.
        optimal_aspect_ratio: :func:`optimal_aspect_ratio`.
    """

    criticality: Criticality
    input_square: float
    flow: VertexFlow
    excess: np.ndarray
    rates: Rates
    ntk_deviation: float
    aspect_ratio: float
    optimal_aspect_ratio: float


def output_information(excess: float, outputs: tuple[int, int]) -> float:
    """Return the mutual information of two groups of outputs at one input, in nats.

    Of outputs that are Gaussian with a common, random variance of relative variance v,
    to third order in v: ``n1 n2 / 8 (v^2 - (20 + 3 (n1 + n2)) v^3 / 6)``; the third
    cumulant of the variance enters at the fourth order.

    Args:
        excess: v, ``V / (n K^2)``.
        outputs: n1 and n2, how many are in each group.

    Examples:
        >>> round(output_information(0.1, (1, 1)), 8)
        0.00070833
    """
    if not excess >= 0:
        raise ValueError(f"excess must be at least 0; got {excess!r}.")
    for count in outputs:
        checks.check_count("outputs", count, 1)
    total = outputs[0] + outputs[1]
    return math.prod(outputs) / 8 * (excess**2 - (20 + 3 * total) * excess**3 / 6)


def optimal_aspect_ratio(
    activation: Activation, *, outputs: int = 1, residual: float = 0.0
) -> float:
    """Return depth / width where outputs inform of each other most: ``4 / ((20 + 3
    n_L) nu)``.

    The maximum of :func:`output_information`, cut at the third order, over the excess
    ``nu L / n``: an order of magnitude rather than a law.

    Args:
        activation: of each value.
        outputs: n_L.
        residual: g, from 0 to less than 1.

    Examples:
        >>> import jax
        >>> round(optimal_aspect_ratio(jax.nn.relu), 4)
        0.0348
    """
    checks.check_count("outputs", outputs, 1)
    return 4 / (
        (20 + 3 * outputs) * finite_width.vertex_slope(activation, residual=residual)
    )


def equal_rates(
    activation: Activation, kernel: Array | float, depth: int, scales: Scales
) -> Rates:
    """Return rates with which all layers have equal shares in the output's NTK.

    The share of layer l is what it adds, ``lambda_b`` or ``lambda_W <s s>``, times the
    perpendicular susceptibilities of the layers after it. Biases and weights of each
    layer get 1 / (2 depth). For ReLU all rates are as 1 / depth; for tanh and sin those
    of biases approach 1 / l and those of weights a constant.

    Args:
        activation: of each value.
        kernel: the variance of the first layer's preactivations.
        depth: the number of layers, L.
        scales: of every layer.

    Returns:
        Rates of (depth,).

    Raises:
        ValueError: if kernel is not above the variance of biases, or as
            :func:`kanjax.theory.criticality.kernel_flow` does.
    """
    checks.check_positive("kernel - scales.bias", kernel - scales.bias)
    kernels = criticality.kernel_flow(activation, kernel, depth, scales)
    at = moments.moments(activation, kernels)
    perpendicular = scales.residual**2 + scales.weight * at.slope[:-1]
    # The product over the layers from l to L - 1.
    products = jnp.cumprod(jnp.append(perpendicular, 1.0)[::-1])[::-1]
    inputs = (kernels[:1] - scales.bias) / scales.weight
    squares = jnp.concatenate([inputs, at.square[:-1]])
    share = 1 / (2 * depth)
    return Rates(share / products, share / (products * squares))


def prescribe(
    activation: Activation,
    depth: int,
    width: int,
    *,
    outputs: int = 1,
    residual: float = 0.0,
) -> Prescription:
    """Say how to draw a network, and how far from Gaussian it will be.

    Weights are drawn from ``N(0, C_W / fan_in)`` and biases from ``N(0, C_b)``, by any
    library. In double precision whatever the default is.

    Args:
        activation: any function of each value, of jax, flax, equinox or your own.
        depth: the number of layers with weights, 2 or more.
        width: of every hidden layer, 2 or more.
        outputs: the number of outputs.
        residual: the share g of a layer's input that goes around it.

    Raises:
        TypeError: if activation cannot be called.
        ValueError: for sizes that are too small, a residual out of range, or an
            activation without a critical point.

    Examples:
        >>> import jax
        >>> plan = prescribe(jax.nn.relu, depth=11, width=100)
        >>> plan.criticality.scales.weight, round(float(plan.excess[-1]), 3)
        (2.0, 0.5)
    """
    checks.check_count("depth", depth, 2)
    checks.check_count("width", width, 2)
    critical = criticality.critical_initialization(activation, residual=residual)
    scales = critical.scales
    kernel = critical.start
    with jax.enable_x64(True):
        rates = equal_rates(activation, kernel, depth, scales)
        widths = (width,) * (depth - 1)
        vertices = finite_width.vertex_flow(activation, kernel, widths, scales)
        tangents = finite_width.ntk_flow(activation, kernel, widths, scales, rates)
        vertices, tangents = jax.tree.map(np.asarray, (vertices, tangents))
        rates = Rates(*(np.asarray(r) for r in rates))
    variance = tangents.covariance[-1] + 2 * tangents.variance[-1]
    return Prescription(
        criticality=critical,
        input_square=(kernel - float(scales.bias)) / float(scales.weight),
        flow=vertices,
        excess=vertices.four_point / vertices.kernel**2,
        rates=rates,
        ntk_deviation=float(np.sqrt(variance) / tangents.ntk[-1]),
        aspect_ratio=depth / width,
        optimal_aspect_ratio=optimal_aspect_ratio(
            activation, outputs=outputs, residual=residual
        ),
    )
