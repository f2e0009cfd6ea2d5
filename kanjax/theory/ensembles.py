"""Random perceptrons of finite width, to hold beside what theory says of them.

Roberts, Yaida, Hanin 2021, arXiv 2106.10165. A mean over the neurons of one network
hides what they share; every mean here is over networks as well, with its standard
error.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import checks, pytrees
from kanjax.theory import criticality, moments
from kanjax.theory.criticality import Scales
from kanjax.theory.finite_width import Rates
from kanjax.theory.moments import Activation


class Measurement(NamedTuple):
    """A mean over networks.

    Attributes:
        mean: (...), in this file (depth,), of each layer.
        error: (...), its standard error.
    """

    mean: Array
    error: Array


class SampledVertices(NamedTuple):
    """What :class:`kanjax.theory.finite_width.VertexFlow` predicts, measured.

    Attributes:
        kernel: the mean of z^2.
        four_point: the covariance of the squares of two neurons, ``V / n``.
    """

    kernel: Measurement
    four_point: Measurement


class SampledNTK(NamedTuple):
    """What :class:`kanjax.theory.finite_width.NTKFlow` predicts, measured.

    Attributes:
        four_point: as in :class:`SampledVertices`.
        ntk: the mean of H_ii.
        covariance: of H_ii and H_jj.
        variance: the mean of H_ij^2.
        cross_covariance: of z_i^2 and H_jj.
    """

    four_point: Measurement
    ntk: Measurement
    covariance: Measurement
    variance: Measurement
    cross_covariance: Measurement


def sample_vertices(
    key: Array,
    activation: Activation,
    kernel: Array | float,
    scales: Scales,
    *,
    width: int,
    depth: int,
    networks: int,
    batch_size: int = 64,
) -> SampledVertices:
    """Measure preactivations of all layers over random networks at one input.

    Given a layer, the next is normal exactly, with the variance ``C_b + C_W / n sum
    s^2``: preactivations are drawn by that, ``depth width`` numbers a network, and no
    weights. :func:`sample_ntk` draws weights.

    Args:
        key: of all draws.
        activation: of each value.
        kernel: the variance of the first layer's preactivations, which are exactly
            Gaussian.
        scales: of every layer but the first.
        width: of every layer, 2 or more.
        depth: the number of layers.
        networks: how many are drawn, 2 or more.
        batch_size: how many at once, or a divisor of it.

    Raises:
        TypeError: if activation cannot be called.
        ValueError: for sizes that are too small, or scales that are not positive.

    Examples:
        >>> import jax
        >>> measured = sample_vertices(jax.random.key(0), jax.nn.relu, 1.0,
        ...     Scales(0.0, 2.0), width=16, depth=2, networks=100)
        >>> measured.four_point.mean.shape
        (2,)
    """
    _check(activation, kernel, scales, width, depth, networks)
    keys = jax.random.split(key, networks)
    # A remainder would be a second program.
    at_once = math.gcd(networks, batch_size)
    return _sample_vertices(
        keys, kernel, scales, pytrees.hashable(activation), width, depth, at_once
    )


def sample_ntk(
    key: Array,
    activation: Activation,
    kernel: Array | float,
    scales: Scales,
    rates: Rates,
    *,
    width: int,
    depth: int,
    networks: int,
    batch_size: int = 64,
) -> SampledNTK:
    """Measure tangent kernels between neurons of all layers over random networks.

    Each is exact, by ``H' = lambda_b + lambda_W <s s> + J H J^T`` with the layer's
    derivative J: a network costs ``depth width^3``.

    Args:
        key: of all draws.
        activation: of each value.
        kernel: the variance of the first layer's preactivations.
        scales: of every layer; the first has no residual share.
        rates: of every layer, () or (depth,).
        width: of every layer, 2 or more.
        depth: the number of layers.
        networks: how many are drawn, 2 or more.
        batch_size: how many at once, or a divisor of it.

    Raises:
        TypeError: if activation cannot be called.
        ValueError: for sizes that are too small, or scales that are not positive.
    """
    _check(activation, kernel, scales, width, depth, networks)
    every = Rates(*(jnp.broadcast_to(jnp.asarray(r, float), (depth,)) for r in rates))
    keys = jax.random.split(key, networks)
    at_once = math.gcd(networks, batch_size)
    return _sample_ntk(
        keys, kernel, scales, every, pytrees.hashable(activation), width, at_once
    )


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _sample_vertices(
    keys: Array,
    kernel: Array,
    scales: Scales,
    activation: Activation,
    width: int,
    depth: int,
    batch_size: int,
) -> SampledVertices:
    def network(key: Array) -> tuple[Array, Array]:
        drawn = jax.random.normal(key, (depth, width))
        start = jnp.sqrt(kernel) * drawn[0]

        def step(z: Array, noise: Array) -> tuple[Array, tuple[Array, Array]]:
            variance = scales.bias + scales.weight * jnp.mean(activation(z) ** 2)
            new = scales.residual * z + jnp.sqrt(variance) * noise
            return new, _squares(new)

        return _with_first(_squares(start), jax.lax.scan(step, start, drawn[1:])[1])

    square, pair = jax.lax.map(network, keys, batch_size=batch_size)
    return SampledVertices(measure(square), covariance(pair, square, square))


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _sample_ntk(
    keys: Array,
    kernel: Array,
    scales: Scales,
    rates: Rates,
    activation: Activation,
    width: int,
    batch_size: int,
) -> SampledNTK:
    input_square = (kernel - scales.bias) / scales.weight
    first = rates.bias[0] + rates.weight[0] * input_square
    later = jax.tree.map(lambda r: r[1:], rates)
    eye = jnp.eye(width)

    def statistics(z: Array, h: Array) -> tuple[Array, ...]:
        diagonal, squares = jnp.diagonal(h), z**2
        total, mixed = jnp.sum(diagonal), squares @ diagonal
        on_diagonal = jnp.sum(diagonal**2)
        return (
            *_squares(z),
            total / width,
            _off_diagonal(total**2, on_diagonal, width),
            _off_diagonal(jnp.sum(h**2), on_diagonal, width),
            _off_diagonal(jnp.sum(squares) * total, mixed, width),
        )

    def network(key: Array) -> tuple[Array, ...]:
        start, drawn = _draw(key, kernel, scales, width, len(rates.bias))

        def step(state: tuple[Array, Array], layers: tuple[Layer, Rates]):
            (z, h), (layer, rate) = state, layers
            s, slope = jax.jvp(activation, (z,), (jnp.ones_like(z),))
            new = layer.bias + layer.weights @ s + scales.residual * z
            jacobian = layer.weights * slope[None] + scales.residual * eye
            direct = rate.bias + rate.weight * jnp.mean(s**2)
            h = direct * eye + jacobian @ h @ jacobian.T
            return (new, h), statistics(new, h)

        state = (start, first * eye)
        rest = jax.lax.scan(step, state, (drawn, later))[1]
        return _with_first(statistics(*state), rest)

    square, pair, trace, traces, pairs, mixed = jax.lax.map(
        network, keys, batch_size=batch_size
    )
    return SampledNTK(
        covariance(pair, square, square),
        measure(trace),
        covariance(traces, trace, trace),
        measure(pairs),
        covariance(mixed, square, trace),
    )


class Layer(NamedTuple):
    """What a layer draws."""

    weights: Array
    bias: Array


def _draw(
    key: Array, kernel: Array, scales: Scales, width: int, depth: int
) -> tuple[Array, Layer]:
    """Draw the first preactivations and all layers by one call, which compiles fast."""
    drawn = jax.random.normal(key, (depth, width, width + 1))
    weights = jnp.sqrt(scales.weight / width) * drawn[1:, :, 1:]
    bias = jnp.sqrt(scales.bias) * drawn[1:, :, 0]
    return jnp.sqrt(kernel) * drawn[0, :, 0], Layer(weights, bias)


def _squares(z: Array) -> tuple[Array, Array]:
    """Return the means of z_i^2, and of z_i^2 z_j^2 over pairs."""
    squares = z**2
    pairs = _off_diagonal(jnp.sum(squares) ** 2, jnp.sum(squares**2), len(z))
    return jnp.mean(squares), pairs


def _with_first(first: Any, rest: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.append(a[None], b), first, rest)


def _off_diagonal(total: Array, diagonal: Array, width: int) -> Array:
    """Return the mean over pairs of different neurons."""
    return (total - diagonal) / (width * (width - 1))


def measure(values: Array) -> Measurement:
    """Return the mean over networks and its standard error.

    Args:
        values: (networks, ...).
    """
    error = jnp.std(values, axis=0, ddof=1) / values.shape[0] ** 0.5
    return Measurement(jnp.mean(values, axis=0), error)


def covariance(product: Array, a: Array, b: Array) -> Measurement:
    """Return a mean product less the product of means, with its error to first order.

    Args:
        product: (networks, ...), of each network's neurons.
        a: what broadcasts with it, the mean of the first factor.
        b: the mean of the second.
    """
    mean_a, mean_b = (jnp.mean(v, axis=0, keepdims=True) for v in (a, b))
    # Each network's linear share: of product - a b about the means.
    shares = product - a * mean_b - mean_a * b + mean_a * mean_b
    return measure(shares)


def _check(
    activation: Activation,
    kernel: Array | float,
    scales: Scales,
    width: int,
    depth: int,
    networks: int,
) -> None:
    moments.check_activation(activation)
    checks.check_positive("kernel", kernel)
    criticality.check_scales(scales)
    for name, value, least in (
        ("width", width, 2),
        ("depth", depth, 1),
        ("networks", networks, 2),
    ):
        checks.check_count(name, value, least)
