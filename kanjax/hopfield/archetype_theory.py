"""Dense memories that learn from examples, with infinitely many spins.

Source: Agliari et al. (2022), Dense Hebbian neural networks: a replica symmetric
picture of supervised learning, arXiv 2212.00606.

Variables are those of :mod:`kanjax.hopfield.replica_symmetry`; ``entropy`` is that of
the data set, :func:`kanjax.hopfield.diluted.dataset_entropy`. Means of examples count
as Gaussian, for many of them. The theory is for even orders from 4 on; at order 2
crosstalk has a soft component, see :mod:`kanjax.hopfield.mean_field`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from kanjax.hopfield import checks
from kanjax.hopfield.quadrature import normal_grid
from kanjax.hopfield.replica_breaking import critical_beta
from kanjax.hopfield.replica_symmetry import (
    NODES,
    crosstalk_pressure,
    replicon_of_fields,
)
from kanjax.hopfield.self_consistency import fixed_point
from kanjax.linalg import bisect
from kanjax.square_root import safe_sqrt

REGIMES = ("paramagnet", "glass", "recall", "broken recall")
"""Names of the codes 0 to 3 that :func:`regime` gives."""


class State(NamedTuple):
    """A solution of the replica-symmetric equations.

    Attributes:
        overlap: m, with the archetype.
        example_overlap: n, with the mean of its examples.
        replica_overlap: q, of two replicas.
        residual: the largest change of n and q that the equations still ask for.
        converged: whether that is within the tolerance.
    """

    overlap: Float[Array, ""]
    example_overlap: Float[Array, ""]
    replica_overlap: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class Regime(NamedTuple):
    """What the memory does at one point of its phase diagram.

    Attributes:
        code: the place in ``REGIMES``: there is a state of recall, with replicas alike
            or not, or none, and crosstalk is frozen or not.
        overlap: m of the state of recall, or about 0.
        replicon: of that state, above 0 where replicas are alike.
        converged: whether the search did.
        residual: the largest change that its equations still ask for.
    """

    code: Int[Array, ""]
    overlap: Float[Array, ""]
    replicon: Float[Array, ""]
    converged: Bool[Array, ""]
    residual: Float[Array, ""]


def solve(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    entropy: ArrayLike,
    order: int,
    *,
    simplified: bool = False,
    start: ArrayLike = 1.0,
    nodes: int = NODES,
    tolerance: float | None = None,
    max_steps: int = 2_000,
) -> State:
    """Solve for the state of recall, or what a start leads to.

    ``m = E tanh g``, ``q = E tanh^2 g``, ``n = (m + entropy signal (1 - q)) / (1 +
    entropy)`` for g of mean ``signal = b P/2 n^(P-1) (1 + entropy)^(P/2 - 1)`` and
    variance ``entropy signal^2 + b^2 load P/2 q^(P-1)``.

    Args:
        scaled_beta: (), b, above 0 and finite.
        load: (), gamma, at least 0.
        entropy: (), of the data set, at least 0.
        order: P, even and at least 4.
        simplified: whether to leave the second term of n out, as is often done.
        start: (), of n; 0 finds no recall.
        nodes: of the Gaussian mean.
        tolerance: the largest change at which it ends, see :func:`fixed_point`.
        max_steps: the most updates.

    Works under jit, vmap and grad; derivatives are those of the implicit function.

    Raises:
        ValueError: for arguments out of range.

    Examples:
        >>> found = solve(5.0, 0.1, 0.1, 4)
        >>> round(float(found.overlap), 4), round(float(found.example_overlap), 4)
        (0.9796, 0.9019)
    """
    b, load, rho = _check(scaled_beta, load, entropy, order)

    def update(x: tuple[Array, Array]) -> tuple[Array, Array]:
        n, q = x
        m, q = _moments(b, load, rho, n, q, order, nodes)
        more = 0.0 if simplified else rho * _signal(b, rho, n, order) * (1 - q)
        return (m + more) / (1 + rho), q

    unity = jnp.ones((), jnp.result_type(float))
    begin = jnp.asarray(start, unity.dtype), unity
    end = fixed_point(
        update, begin, tolerance=tolerance, max_steps=max_steps, accelerate=True
    )
    n, q = end.value
    m, _ = _moments(b, load, rho, n, q, order, nodes)
    return State(m, n, q, end.residual, end.converged)


def zero_temperature(
    load: ArrayLike, entropy: ArrayLike, order: int, *, max_steps: int = 2_000
) -> State:
    """Solve for the state of recall without temperature, where q is 1.

    ``m = erf(k / sqrt(2))`` with k the mean of g over its standard deviation, and
    ``signal (1 - q)`` tends to ``sqrt(2 / pi) k exp(-k^2 / 2)``.

    Args:
        load: (), gamma, at least 0; above 0 if the entropy is 0.
        entropy: (), of the data set, at least 0.
        order: P, even and at least 4.
        max_steps: the most updates.

    Works under jit, vmap and grad; derivatives are those of the implicit function.

    Raises:
        ValueError: for arguments out of range.
    """
    unity, load, rho = _check(1.0, load, entropy, order)

    def ratio(n: Array) -> Array:
        signal = _signal(unity, rho, n, order)
        return signal / safe_sqrt(rho * signal**2 + load * order / 2)

    def update(n: Array) -> Array:
        k = ratio(n)
        more = rho * jnp.sqrt(2 / jnp.pi) * k * jnp.exp(-(k**2) / 2)
        return (jax.scipy.special.erf(k / jnp.sqrt(2.0)) + more) / (1 + rho)

    end = fixed_point(update, unity, max_steps=max_steps, accelerate=True)
    m = jax.scipy.special.erf(ratio(end.value) / jnp.sqrt(2.0))
    return State(m, end.value, jnp.ones_like(m), end.residual, end.converged)


def pressure(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    entropy: ArrayLike,
    example_overlap: ArrayLike,
    replica_overlap: ArrayLike,
    order: int,
    *,
    nodes: int = NODES,
) -> Float[Array, ""]:
    """Minus beta times the free energy of a spin, as a function of n and q.

    ``log 2 + E log cosh g - b/2 (P - 1) (1 + entropy)^(P/2) n^P + b^2 load / 4 (1 - P
    q^(P-1) + (P - 1) q^P)``; its stationary points are the solutions of :func:`solve`.

    Args:
        scaled_beta: (), b, above 0.
        load: (), gamma, at least 0.
        entropy: (), of the data set, at least 0.
        example_overlap: (), n.
        replica_overlap: (), q, in [0, 1].
        order: P, even and at least 4.
        nodes: of the Gaussian mean.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load, rho = _check(scaled_beta, load, entropy, order)
    n, q = jnp.asarray(example_overlap), jnp.asarray(replica_overlap)
    g, weight = _local_fields(b, load, rho, n, q, order, nodes)
    signal = b / 2 * (order - 1) * (1 + rho) ** (order / 2) * n**order
    crosstalk = crosstalk_pressure(b, load, q, order)
    return weight @ jnp.logaddexp(g, -g) - signal + crosstalk


def replicon(
    scaled_beta: ArrayLike,
    load: ArrayLike,
    entropy: ArrayLike,
    example_overlap: ArrayLike,
    replica_overlap: ArrayLike,
    order: int,
    *,
    nodes: int = NODES,
) -> Float[Array, ""]:
    """Return ``1 - b^2 load P (P - 1) / 2 q^(P-2) E cosh^-4 g``: stable above 0.

    Args:
        scaled_beta: (), b, above 0.
        load: (), gamma, at least 0.
        entropy: (), of the data set, at least 0.
        example_overlap: (), n of a solution.
        replica_overlap: (), q of it.
        order: P, even and at least 4.
        nodes: of the Gaussian mean.

    Raises:
        ValueError: for arguments out of range.
    """
    b, load, rho = _check(scaled_beta, load, entropy, order)
    n, q = jnp.asarray(example_overlap), jnp.asarray(replica_overlap)
    g, weight = _local_fields(b, load, rho, n, q, order, nodes)
    return replicon_of_fields(b, load, q, order, g, weight)


def regime(
    scaled_beta: ArrayLike, load: ArrayLike, entropy: ArrayLike, order: int
) -> Regime:
    """Say what the memory does: whether there is a state of recall, and a stable one.

    Args:
        scaled_beta: (), b, above 0 and finite.
        load: (), gamma, above 0.
        entropy: (), of the data set, at least 0.
        order: P, even and at least 4.

    Works under jit and vmap.

    Raises:
        ValueError: for arguments out of range.
    """
    state = solve(scaled_beta, load, entropy, order, max_steps=200)
    n, q = state.example_overlap, state.replica_overlap
    stability = replicon(scaled_beta, load, entropy, n, q, order)
    frozen = jnp.asarray(scaled_beta) > critical_beta(order, load)
    # Overlaps of states of recall jump: there are none in between.
    recalls = state.overlap > 0.1
    code = jnp.where(recalls, jnp.where(stability > 0, 2, 3), frozen)
    code = code.astype(jnp.int32)
    return Regime(code, state.overlap, stability, state.converged, state.residual)


def one_step_overlap(load: ArrayLike, entropy: ArrayLike, order: int) -> Array:
    """``erf(1 / sqrt(2 (entropy + 2 load / P (1 + entropy)^P)))``: after one update.

    Of all spins at once, from the archetype, without temperature.

    Args:
        load: (...), gamma, at least 0.
        entropy: (...), of the data set, at least 0.
        order: P, even and at least 4.

    Raises:
        ValueError: for arguments out of range.
    """
    _, load, rho = _check(1.0, load, entropy, order)
    variance = rho + 2 * load / order * (1 + rho) ** order
    clean = variance == 0
    safe = jnp.where(clean, 1.0, variance)
    return jnp.where(clean, 1.0, jax.scipy.special.erf(1 / jnp.sqrt(2 * safe)))


def learning_threshold(
    load: ArrayLike, quality: ArrayLike, order: int, threshold: float = 0.5**0.5
) -> Array:
    """Return the examples of each archetype from which on it is recalled.

    Where :func:`one_step_overlap` is ``erf(threshold)``: ``entropy + 2 load / P (1 +
    entropy)^P = 1 / (2 threshold^2)``. Infinite where the load alone is too much.

    Args:
        load: (), gamma, at least 0.
        quality: (), in (0, 1].
        order: P, even and at least 4.
        threshold: the paper's Theta, above 0.

    Works under jit and vmap.

    Raises:
        ValueError: for arguments out of range.
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be positive; got {threshold!r}.")
    _, load, _ = _check(1.0, load, 0.0, order)
    quality, most = checks.check_quality(quality), 1 / (2 * threshold**2)

    def too_noisy(rho: Array) -> Array:
        return rho + 2 * load / order * (1 + rho) ** order > most

    rho = bisect(too_noisy, 0.0, most, steps=60)
    count = (1 - quality**2) / (rho * quality**2)
    return jnp.where(2 * load / order < most, count, jnp.inf)


def _check(
    scaled_beta: ArrayLike, load: ArrayLike, entropy: ArrayLike, order: int
) -> tuple[Array, Array, Array]:
    b, load = checks.check_point(scaled_beta, load, order)
    if order < 4 or order % 2:
        raise ValueError(f"order must be even and at least 4; got {order!r}.")
    return b, load, checks.check_entropy(entropy)


def _signal(b: Array, rho: Array, n: Array, order: int) -> Array:
    return b * order / 2 * n ** (order - 1) * (1 + rho) ** (order / 2 - 1)


def _local_fields(
    b: Array, load: Array, rho: Array, n: Array, q: Array, order: int, nodes: int
) -> tuple[Array, Array]:
    """Local fields over the temperature on a grid, and the weights of its points."""
    z, weight = normal_grid(nodes)
    signal = _signal(b, rho, n, order)
    crosstalk = b**2 * load * order / 2 * q ** (order - 1)
    return signal + safe_sqrt(rho * signal**2 + crosstalk) * z, weight


def _moments(
    b: Array, load: Array, rho: Array, n: Array, q: Array, order: int, nodes: int
) -> tuple[Array, Array]:
    g, weight = _local_fields(b, load, rho, n, q, order, nodes)
    t = jnp.tanh(g)
    return weight @ t, weight @ jnp.square(t)
