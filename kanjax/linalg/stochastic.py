"""Traces and spectral densities of symmetric maps from random probes.

Hutchinson 1990 (traces); Ubaru, Chen, Saad 2017, "Fast Estimation of tr(f(A)) via
Stochastic Lanczos Quadrature"; Ghorbani, Krishnan, Xiao 2019, arXiv 1901.10159
(densities of Hessians).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.linalg import products
from kanjax.linalg.krylov import lanczos_on_vectors

Params = Any


class Estimate(NamedTuple):
    """A mean over random probes.

    Attributes:
        value: the mean.
        error: its standard error, from the probes' spread; NaN for one probe.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]


class Quadrature(NamedTuple):
    """A spectrum as nodes with weights, one Gauss rule for each probe.

    Attributes:
        nodes: (probes, steps), where the eigenvalues are, ascending and within the
            range of the spectrum. A rule of fewer nodes repeats one of them.
        weights: (probes, steps), what share of them is there; each probe's sum to 1.
            Exactly 0 for nodes that the rule does not have: those beyond a breakdown,
            and those whose weight is round-off.
        dimension: the size of the matrix.
    """

    nodes: Float[Array, "probes steps"]
    weights: Float[Array, "probes steps"]
    dimension: int | Array


def hutchinson_trace(
    product: products.Product, like: Params, key: Array, *, probes: int = 32
) -> Estimate:
    """Return the trace of a map, ``mean v^T A v`` over random signs v.

    Exact for a diagonal map with a single probe. Probes run one after the other.

    Args:
        product: ``v -> A v`` on pytrees like ``like``.
        like: a pytree with the shapes of the vectors.
        key: of the signs.
        probes: how many.

    Raises:
        ValueError: if probes is less than 1.
    """
    flat, start, _ = products.on_vectors(product, like)
    _check_probes(probes)

    def estimate(k: Array) -> Array:
        v = jax.random.rademacher(k, start.shape, start.dtype)
        return jnp.vdot(v, flat(v))

    values = jax.lax.map(estimate, jax.random.split(key, probes))
    return _estimate(values)


def lanczos_quadrature(
    product: products.Product,
    like: Params,
    key: Array,
    *,
    steps: int = 64,
    probes: int = 8,
) -> Quadrature:
    """Stochastic Lanczos quadrature: a spectrum from a few products.

    Each probe runs Lanczos' method with full re-orthogonalisation, up to its breakdown;
    the eigenvalues of its tridiagonal matrix are the nodes and the squares of its
    eigenvectors' first entries the weights. With one probe, moments up to ``2 steps -
    1`` are those of the probe's own spectral measure.

    Args:
        product: ``v -> A v`` on pytrees like ``like``; A is symmetric.
        like: a pytree with the shapes of the vectors.
        key: of the starting vectors.
        steps: products for each probe, at most the dimension. Memory is as many copies
            of ``like``.
        probes: how many, one after the other.

    Raises:
        ValueError: if steps or probes is out of range.
    """
    flat, start, _ = products.on_vectors(product, like)
    _check_probes(probes)
    if not 1 <= steps <= start.size:
        raise ValueError(
            f"steps is {steps}; it must be from 1 to the dimension, {start.size}."
        )

    def rule(k: Array) -> tuple[Array, Array]:
        probe = jax.random.normal(k, start.shape, start.dtype)
        return _gauss_rule(*lanczos_on_vectors(flat, probe, steps))

    nodes, weights = jax.lax.map(rule, jax.random.split(key, probes))
    return Quadrature(nodes, weights, start.size)


def _gauss_rule(
    diagonal: Array, offdiagonal: Array, _: Any, __: Array, rank: Array
) -> tuple[Array, Array]:
    """Nodes and weights of a tridiagonal matrix of that rank."""
    place = jnp.arange(diagonal.size)
    beyond = place >= rank
    # Rows beyond the rank become eigenvalues above all others and apart from each
    # other: sorted, they come last, and derivatives stay finite.
    beside = jnp.zeros_like(diagonal).at[1:].set(offdiagonal)
    bound = 2 * jnp.max(jnp.abs(diagonal)) + 2 * jnp.max(beside) + 1
    diagonal = jnp.where(beyond, bound * (1 + place), diagonal)
    matrix = jnp.diag(diagonal) + jnp.diag(offdiagonal, 1) + jnp.diag(offdiagonal, -1)
    nodes, vectors = jnp.linalg.eigh(matrix)
    weights = jnp.square(vectors[0])
    present = ~beyond & (weights > jnp.finfo(weights.dtype).eps)
    # NaN is never hidden: it counts as present.
    present = present | ~jnp.isfinite(weights)
    weights = jnp.where(present, weights, 0.0)
    nodes = jnp.where(present, nodes, nodes[jnp.argmax(weights)])
    return nodes, weights / jnp.sum(weights)


def density(
    quadrature: Quadrature, x: Float[Array, " points"], *, width: float | Array
) -> Float[Array, " points"]:
    """Return the spectral density at x: every node a Gaussian bell of its weight.

    Args:
        quadrature: of :func:`lanczos_quadrature`.
        x: (points,), where the density is wanted.
        width: the standard deviation of the bells, in the units of eigenvalues.

    Raises:
        ValueError: if width is a number that is not positive.
    """
    if isinstance(width, int | float) and not width > 0:
        raise ValueError(f"width is {width}; it must be positive.")
    distance = (x[:, None, None] - quadrature.nodes[None]) / width
    bells = jnp.exp(-0.5 * jnp.square(distance)) / (width * jnp.sqrt(2 * jnp.pi))
    return jnp.mean(jnp.sum(quadrature.weights[None] * bells, axis=2), axis=1)


def trace_of(function: Callable[[Array], Array], quadrature: Quadrature) -> Estimate:
    """``tr f(A)`` from a quadrature, f given elementwise.

    Args:
        function: of eigenvalues, elementwise.
        quadrature: of the matrix A.

    Example: ``trace_of(jnp.square, q)`` is the squared Frobenius norm.
    """
    values = function(quadrature.nodes)
    there = quadrature.weights != 0
    each = jnp.sum(jnp.where(there, quadrature.weights * values, 0.0), axis=1)
    return _estimate(quadrature.dimension * each)


def _estimate(values: Float[Array, " probes"]) -> Estimate:
    count = values.size
    if count == 1:
        return Estimate(values[0], jnp.full((), jnp.nan, values.dtype))
    return Estimate(jnp.mean(values), jnp.std(values, ddof=1) / count**0.5)


def _check_probes(probes: int) -> None:
    if probes < 1:
        raise ValueError(f"probes is {probes}; it must be at least 1.")
