"""Memories of diluted patterns with infinitely many spins: what they recall.

Source: Agliari, Alessandrelli, Barra, Ricci-Tersenghi (2023), Parallel learning by
multitasking neural networks, arXiv 2308.04106. The patterns are few, so that a site is
one of some weighted cases, and the overlaps solve self-consistent equations.
"""

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from kanjax.hopfield import checks, diluted
from kanjax.hopfield.self_consistency import fixed_point

Start = Literal["hierarchical", "symmetric"]

REGIMES = ("ergodic", "pure", "hierarchical", "parallel")
"""Names of the codes 0 to 3 that :func:`regime` gives."""

_MOST_CASES = 2**24


class Sites(NamedTuple):
    """The law of what a site knows of the patterns, as weighted cases.

    Attributes:
        archetypes: (cases, patterns), the patterns' entries at a site.
        averages: (cases, patterns), those of the examples' means over the quality.
        weights: (cases,), which sum to 1.
        dilution: the probability of a blank entry.
        entropy: of the data set, see :func:`kanjax.hopfield.diluted.dataset_entropy`.
    """

    archetypes: Float[Array, "cases patterns"]
    averages: Float[Array, "cases patterns"]
    weights: Float[Array, " cases"]
    dilution: Array
    entropy: Array


class State(NamedTuple):
    """A solution of the self-consistent equations.

    Attributes:
        overlaps: (patterns,), m, with the patterns; at most 1 - dilution.
        example_overlaps: (patterns,), n, with the means of the examples.
        residual: the largest change of n that the equations still ask for.
        converged: whether that is within the tolerance.
    """

    overlaps: Float[Array, " patterns"]
    example_overlaps: Float[Array, " patterns"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class Regime(NamedTuple):
    """What the memory does at one point of its phase diagram.

    Attributes:
        code: the place in ``REGIMES``: nothing recalled, the first pattern alone, all
            with amplitudes that fall, or all with comparable ones.
        overlaps: (patterns,), of the state of larger pressure, largest first.
        stable: whether that state is a maximum of the pressure.
        converged: whether both searches for states did.
        residual: the largest change that their equations still ask for.
    """

    code: Int[Array, ""]
    overlaps: Float[Array, " patterns"]
    stable: Bool[Array, ""]
    converged: Bool[Array, ""]
    residual: Float[Array, ""]


def enumerate_sites(
    patterns: int,
    dilution: ArrayLike,
    *,
    entropy: ArrayLike = 0.0,
    nodes: int | None = None,
) -> Sites:
    """All cases of a site for many examples, whose means are Gaussian.

    The mean of the examples is ``xi (1 + sqrt(entropy) z)``, with an independent
    standard normal z for each pattern, which is taken on an even grid.

    Args:
        patterns: how many; there are ``(2 nodes + 1)^patterns`` cases.
        dilution: (), in [0, 1).
        entropy: (), at least 0, which are patterns stored themselves.
        nodes: of the grid on [-6, 6]; 1 for an entropy known to be 0, else 31, if None.

    Raises:
        ValueError: for arguments out of range, or more than 2^24 cases, for which
            there is :func:`sample_sites`.
    """
    if nodes is None:
        # As it came: under jit even the array of a number is traced.
        exact = not isinstance(entropy, jax.core.Tracer) and np.all(entropy == 0)
        nodes = 1 if exact else 31
    entropy = checks.check_entropy(entropy)
    checks.check_count("nodes", nodes, 1)
    grid = np.linspace(-6, 6, nodes) if nodes > 1 else np.zeros(1)
    density = np.exp(-(grid**2) / 2)
    means = 1 + jnp.sqrt(entropy) * jnp.asarray(grid)
    return _product(patterns, dilution, means, density / density.sum(), entropy)


def binomial_sites(
    patterns: int, dilution: ArrayLike, examples: int, quality: float
) -> Sites:
    """All cases of a site for a number of examples, exactly.

    The mean of the examples is ``xi (2 B / examples - 1) / quality``, with B binomial.

    Args:
        patterns: how many; there are ``(2 (examples + 1) + 1)^patterns`` cases.
        dilution: (), in [0, 1).
        examples: of each pattern.
        quality: in (0, 1].

    Raises:
        ValueError: for arguments out of range, or more than 2^24 cases.
    """
    from scipy import stats

    checks.check_count("examples", examples, 1)
    entropy = diluted.dataset_entropy(examples, quality)
    counts = np.arange(examples + 1)
    weights = stats.binom.pmf(counts, examples, (1 + quality) / 2)
    means = jnp.asarray((2 * counts / examples - 1) / quality)
    return _product(patterns, dilution, means, weights, entropy)


def sample_sites(
    key: Array,
    patterns: int,
    dilution: ArrayLike,
    sites: int,
    *,
    entropy: ArrayLike = 0.0,
) -> Sites:
    """Draw sites at random, for patterns too many to enumerate their cases.

    Args:
        key: drives the draws.
        patterns: how many.
        dilution: (), in [0, 1).
        sites: how many, equally weighted.
        entropy: (), at least 0; means of examples are Gaussian, as in
            :func:`enumerate_sites`.

    Raises:
        ValueError: for arguments out of range.
    """
    dilution, entropy = checks.check_dilution(dilution), checks.check_entropy(entropy)
    key_patterns, key_noise = jax.random.split(key)
    archetypes = diluted.diluted_patterns(key_patterns, patterns, sites, dilution).T
    noise = jax.random.normal(key_noise, archetypes.shape)
    averages = archetypes * (1 + jnp.sqrt(entropy) * noise)
    weights = jnp.full(sites, 1 / sites)
    return Sites(archetypes, averages, weights, dilution, entropy)


def solve(
    sites: Sites,
    beta: ArrayLike,
    *,
    start: Start | Array = "hierarchical",
    damping: float = 0.5,
    tolerance: float | None = None,
    max_steps: int = 5_000,
) -> State:
    """Solve for the overlaps of a memory of few patterns and infinitely many spins.

    ``n = E[e tanh(beta n . e / (1 - dilution))] / (1 + entropy)`` and ``m = E[xi
    tanh(...)]``, with e the means of the examples, for learning with a teacher and, of
    many examples, without. At infinite beta tanh is the sign, 0 of 0.

    Args:
        sites: of :func:`enumerate_sites`, :func:`binomial_sites` or
            :func:`sample_sites`.
        beta: the inverse temperature, above 0; infinity is allowed.
        start: "hierarchical" amplitudes, "symmetric" ones, or n itself, (patterns,).
        damping: of the iteration, see
            :func:`kanjax.hopfield.self_consistency.fixed_point`.
        tolerance: at which the iteration ends, see there.
        max_steps: of the iteration.

    Works under jit, vmap and grad, by the implicit function theorem.

    Raises:
        ValueError: for a beta that is not positive, an unknown start, or a start whose
            shape does not fit.

    Examples:
        >>> solve(enumerate_sites(3, 0.5), 20.0).overlaps.round(3)
        Array([0.5  , 0.25 , 0.125], dtype=float32)
    """
    beta = checks.check_beta(beta)
    response = functools.partial(_response, sites, beta)

    def update(n: Array) -> Array:
        return (sites.weights * response(n)) @ sites.averages / (1 + sites.entropy)

    solution = fixed_point(
        update,
        _start(sites, start),
        damping=damping,
        tolerance=tolerance,
        max_steps=max_steps,
    )
    n = solution.value
    m = (sites.weights * response(n)) @ sites.archetypes
    return State(m, n, solution.residual, solution.converged)


def pressure(sites: Sites, beta: ArrayLike, example_overlaps: Any) -> Float[Array, ""]:
    """Minus beta times the free energy of a spin, as a function of n.

    ``log 2 + E log cosh(beta n . e / (1 - dilution)) - beta (1 + entropy) / (2 (1 -
    dilution)) sum_mu n_mu^2``, with e the means of the examples at a site. Its
    stationary points are the solutions of :func:`solve`, and of several the
    one of largest pressure is that of equilibrium.

    Args:
        sites: as there.
        beta: the inverse temperature, above 0 and finite.
        example_overlaps: (patterns,), n.

    Raises:
        ValueError: for a beta that is not positive.
    """
    beta, n = checks.check_beta(beta), jnp.asarray(example_overlaps)
    field = beta * (sites.averages @ n) / (1 - sites.dilution)
    # log(2 cosh x), without overflow.
    free = sites.weights @ jnp.logaddexp(field, -field)
    cost = beta * (1 + sites.entropy) / (2 * (1 - sites.dilution))
    return free - cost * jnp.sum(jnp.square(n))


def regime(
    sites: Sites,
    beta: ArrayLike,
    *,
    comparable: float = 2.0,
    smallest: float = 1e-2,
    max_steps: int = 5_000,
) -> Regime:
    """Say what the memory does: of two states, the one of larger pressure.

    Both the hierarchical and the symmetric start are followed to a solution.

    Args:
        sites: of :func:`enumerate_sites` and its like.
        beta: (), the inverse temperature, above 0 and finite.
        comparable: amplitudes are parallel when the largest is less than so many times
            the smallest.
        smallest: the share of 1 - dilution below which an amplitude counts as zero.
        max_steps: of each iteration.

    Works under jit and vmap.

    Raises:
        ValueError: for a beta that is not positive.
    """
    first, second = (
        solve(sites, beta, start=start, max_steps=max_steps)
        for start in ("hierarchical", "symmetric")
    )
    values = [
        pressure(sites, beta, state.example_overlaps) for state in (first, second)
    ]
    best = jax.tree.map(
        functools.partial(jnp.where, values[0] >= values[1]), first, second
    )
    curvature = jax.hessian(pressure, argnums=2)(sites, beta, best.example_overlaps)
    m = -jnp.sort(-jnp.abs(best.overlaps))
    recalled = m > smallest * (1 - sites.dilution)
    code = jnp.where(
        recalled[-1] & (m[0] < comparable * m[-1]),
        3,
        jnp.where(jnp.sum(recalled) > 1, 2, recalled[0]),
    )
    code = jnp.where((m.size == 1) & recalled[0], 1, code).astype(jnp.int32)
    stable = jnp.max(jnp.linalg.eigvalsh(curvature)) < 0
    residual = jnp.maximum(first.residual, second.residual)
    return Regime(code, m, stable, first.converged & second.converged, residual)


def hierarchical_amplitudes(
    patterns: int, dilution: ArrayLike
) -> Float[Array, " patterns"]:
    """``(1 - dilution) dilution^k``: each pattern gets what those before leave blank.

    Args:
        patterns: how many.
        dilution: (), in [0, 1].

    Raises:
        ValueError: for arguments out of range.
    """
    checks.check_count("patterns", patterns, 1)
    dilution = checks.check_share("dilution", dilution)
    return (1 - dilution) * dilution ** jnp.arange(patterns)


def critical_dilution(patterns: float) -> float:
    """Return the dilution up to which hierarchical amplitudes are stable without noise.

    The first is then above the sum of the others: the smallest root in (0, 1) of ``1 -
    2 d + d^patterns``. It is 1 for two patterns or a single one, and 1/2 for infinitely
    many, ``math.inf``.

    Raises:
        ValueError: for a number of patterns that is neither an integer of at least 1
            nor infinite.

    Examples:
        >>> round(critical_dilution(3), 9)
        0.618033989
    """
    from scipy import optimize

    if patterns == math.inf:
        return 0.5
    checks.check_count("patterns", patterns, 1)
    if patterns <= 2:
        return 1.0
    # The root at 1 is another; between them lies the minimum.
    least = (2 / patterns) ** (1 / (patterns - 1))
    root: Any = optimize.brentq(
        lambda d: 1 - 2 * d + d**patterns, 0.5, least, xtol=1e-15
    )
    return float(root)


def learning_curve(entropy: ArrayLike) -> Array:
    """``erf(1 / sqrt(2 entropy))``: the first overlap over 1 - dilution, without noise.

    By signal to noise of one step from the pattern, for little crosstalk.

    Args:
        entropy: (...), of the data set.

    Raises:
        ValueError: for a negative entropy.
    """
    entropy = checks.check_entropy(entropy)
    zero = entropy == 0
    safe = jnp.where(zero, 1.0, entropy)
    return jnp.where(zero, 1.0, jax.scipy.special.erf(1 / jnp.sqrt(2 * safe)))


def learning_threshold(quality: ArrayLike, threshold: ArrayLike = 0.5**0.5) -> Array:
    """Return the examples of each pattern from which on it is recalled, with a
    teacher or not.

    ``2 threshold^2 (1 - quality^2) / quality^2``, where :func:`learning_curve` is
    ``erf(threshold)``.

    Args:
        quality: (...), in (0, 1].
        threshold: the paper's Theta, above 0.

    Raises:
        ValueError: for a quality or threshold out of range.
    """
    quality, threshold = checks.check_quality(quality), jnp.asarray(threshold)
    known = checks.known_values(threshold)
    if known is not None and not np.all(known > 0):
        raise ValueError(f"threshold must be positive; got {known!s}.")
    return 2 * threshold**2 * (1 - quality**2) / quality**2


def _response(sites: Sites, beta: Array, n: Array) -> Float[Array, " cases"]:
    field = sites.averages @ n / (1 - sites.dilution)
    frozen = jnp.isinf(beta)
    return jnp.where(
        frozen, jnp.sign(field), jnp.tanh(jnp.where(frozen, 1.0, beta) * field)
    )


def _start(sites: Sites, start: Start | Array) -> Array:
    patterns = sites.archetypes.shape[1]
    if isinstance(start, str):
        if start == "hierarchical":
            return hierarchical_amplitudes(patterns, sites.dilution)
        if start == "symmetric":
            return jnp.full(patterns, (1 - sites.dilution) / math.sqrt(patterns))
        raise ValueError(
            f"start must be 'hierarchical', 'symmetric' or an array; got {start!r}."
        )
    start = jnp.asarray(start)
    if start.shape != (patterns,):
        raise ValueError(f"start must have shape ({patterns},); got {start.shape}.")
    return start.astype(sites.averages.dtype)


def _product(
    patterns: int, dilution: ArrayLike, means: Array, weights: Any, entropy: Array
) -> Sites:
    """All combinations of a pattern's entry and its mean, for independent patterns."""
    checks.check_count("patterns", patterns, 1)
    dilution = checks.check_dilution(dilution)
    each = 2 * means.size + 1
    if each**patterns > _MOST_CASES:
        raise ValueError(
            f"patterns is {patterns}, which makes {each}^{patterns} cases; use "
            "sample_sites."
        )
    ones, half = np.ones(means.size), jnp.asarray(weights) * (1 - dilution) / 2
    archetype = jnp.asarray(np.concatenate([[0.0], ones, -ones]))
    average = jnp.concatenate([jnp.zeros(1), means, -means])
    weight = jnp.concatenate([dilution[None], half, half])

    def combine(values: Array) -> Array:
        axes = jnp.meshgrid(*[values] * patterns, indexing="ij")
        return jnp.stack([axis.ravel() for axis in axes], axis=1)

    product = jnp.prod(combine(weight), axis=1)
    return Sites(combine(archetype), combine(average), product, dilution, entropy)
