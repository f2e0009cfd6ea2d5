"""Random perceptrons of finite width at several inputs, beside what theory says.

Roberts, Yaida, Hanin 2021, arXiv 2106.10165: what
:func:`kanjax.theory.several_inputs.flow` predicts, each a mean over networks with its
standard error.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, linalg, pytrees
from kanjax.theory import ensembles, several_inputs
from kanjax.theory.criticality import Scales
from kanjax.theory.ensembles import Measurement
from kanjax.theory.finite_width import Rates
from kanjax.theory.moments import Activation


class Sample(NamedTuple):
    """What :class:`kanjax.theory.several_inputs.Flow` predicts, measured over networks.

    Attributes:
        kernel: beside ``kernel + kernel_correction``.
        four_point: as there, and so are the others.
        ntk: beside ``ntk + ntk_correction``.
        covariance: of two diagonal entries of the tangent kernel.
        variance: of the entries off it.
        cross_covariance: of the one and the other kernel.
        exchange: through the entries off the diagonal.
    """

    kernel: Measurement
    four_point: Measurement
    ntk: Measurement
    covariance: Measurement
    variance: Measurement
    cross_covariance: Measurement
    exchange: Measurement


def sample(
    key: Array,
    activation: Activation,
    kernel: Float[Array, "n n"],
    scales: Scales,
    rates: Rates,
    *,
    width: int,
    depth: int,
    networks: int,
    batch_size: int = 16,
) -> Sample:
    """Measure kernels and tangent kernels of all layers over random networks.

    A network costs ``depth n^2 width^3``.

    Args:
        key: of all draws.
        activation: of each value.
        kernel: (n, n), of the first layer, whose preactivations are exactly Gaussian.
        scales: of every layer, without a residual share.
        rates: of every layer, () or (depth,).
        width: of every layer, 2 or more.
        depth: the number of layers.
        networks: how many are drawn, 2 or more.
        batch_size: how many at once, or a divisor of it.

    Returns:
        Arrays as in :class:`kanjax.theory.several_inputs.Flow`, each a mean with its
        standard error.

    Raises:
        TypeError: if activation cannot be called.
        ValueError: as :func:`kanjax.theory.several_inputs.flow` does, or for sizes that
            are too small.
    """
    gram = several_inputs.check_inputs(activation, kernel, scales)
    for name, value, least in (
        ("width", width, 2),
        ("depth", depth, 1),
        ("networks", networks, 2),
    ):
        checks.check_count(name, value, least)
    dtype = jnp.result_type(float)
    return _sample(
        jax.random.split(key, networks),
        pytrees.hashable(activation),
        jnp.asarray(gram, dtype),
        scales,
        several_inputs.rates_of_layers(rates, depth, dtype),
        width,
        math.gcd(networks, batch_size),
    )


@functools.partial(jax.jit, static_argnums=(1, 5, 6))
def _sample(
    keys: Array,
    activation: Activation,
    kernel: Array,
    scales: Scales,
    rates: Rates,
    width: int,
    batch_size: int,
) -> Sample:
    n, depth = len(kernel), len(rates.bias)
    input_products = (kernel - scales.bias) / scales.weight
    first = rates.bias[0] + rates.weight[0] * input_products
    later = jax.tree.map(lambda r: r[1:], rates)
    system = linalg.decompose(kernel)
    root = system.vectors * jnp.sqrt(system.values)[None]
    eye = jnp.eye(width)

    def off_diagonal(total: Array, diagonal: Array) -> Array:
        return (total - diagonal) / (width * (width - 1))

    def over_pairs(u: Array, v: Array) -> Array:
        """Return the mean product of different neurons, of (width, n, n)."""
        total = jnp.multiply.outer(jnp.sum(u, axis=0), jnp.sum(v, axis=0))
        return off_diagonal(total, jnp.einsum("iab,icd->abcd", u, v))

    def statistics(z: Array, h: Array) -> tuple[Array, ...]:
        """Of z (n, width) and h (n, n, width, width)."""
        products = jnp.einsum("ai,bi->iab", z, z)
        diagonal = jnp.einsum("abii->iab", h)
        squared = jnp.einsum("iab,icd->abcd", diagonal, diagonal)
        swapped = jnp.einsum("ci,di,iab->cdab", z, z, diagonal)
        return (
            jnp.mean(products, axis=0),
            over_pairs(products, products),
            jnp.mean(diagonal, axis=0),
            over_pairs(diagonal, diagonal),
            off_diagonal(jnp.einsum("abij,cdij->abcd", h, h), squared),
            over_pairs(products, diagonal),
            off_diagonal(jnp.einsum("ci,dj,abij->cdab", z, z, h), swapped),
        )

    def network(key: Array) -> tuple[Array, ...]:
        drawn = jax.random.normal(key, (depth, width, width + n))
        weights = jnp.sqrt(scales.weight / width) * drawn[1:, :, n:]
        bias = jnp.sqrt(scales.bias) * drawn[1:, :, 0]

        def step(state: tuple[Array, Array], layer: tuple[Array, Array, Rates]):
            (z, h), (w, b, rate) = state, layer
            s, slope = jax.jvp(activation, (z,), (jnp.ones_like(z),))
            jacobian = w[None] * slope[:, None, :]
            direct = rate.bias + rate.weight * (s @ s.T) / width
            h = jnp.einsum("aik,abkm,bjm->abij", jacobian, h, jacobian)
            state = (b[None] + s @ w.T, jnp.multiply.outer(direct, eye) + h)
            return state, statistics(*state)

        state = (root @ drawn[0, :, :n].T, jnp.multiply.outer(first, eye))
        rest = jax.lax.scan(step, state, (weights, bias, later))[1]
        return jax.tree.map(
            lambda a, b: jnp.append(a[None], b, 0), statistics(*state), rest
        )

    square, pair, trace, traces, offs, mixed, exchange = jax.lax.map(
        network, keys, batch_size=batch_size
    )
    left, right = (..., None, None), (..., None, None, slice(None), slice(None))
    return Sample(
        ensembles.measure(square),
        ensembles.covariance(pair, square[left], square[right]),
        ensembles.measure(trace),
        ensembles.covariance(traces, trace[left], trace[right]),
        ensembles.measure(offs),
        ensembles.covariance(mixed, square[left], trace[right]),
        ensembles.measure(exchange),
    )
