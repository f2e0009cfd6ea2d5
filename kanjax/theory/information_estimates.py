"""Information and Wasserstein distances from samples, which are biased.

Miller 1955, "Note on the bias of information estimates" (counts); Kraskov, Stoegbauer,
Grassberger 2004, arXiv cond-mat/0305641 (nearest neighbors);
Bonneel et al. 2015, "Sliced and Radon Wasserstein Barycenters". For bounds that hold
give divergences in closed form, see :mod:`kanjax.theory.information_bounds`: neighbors
miss information in many dimensions, and distances of finite samples are too large.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, linalg
from kanjax.scales import safe_scale


class CountedInformation(NamedTuple):
    """Mutual information of counts, in nats.

    Attributes:
        estimate: that of the frequencies, which is too large on average.
        bias: how much, to first order in 1 / samples.
        error: the standard error of the estimate.
    """

    estimate: Float[Array, ""]
    bias: Float[Array, ""]
    error: Float[Array, ""]


def counted_information(counts: checks.Numbers) -> CountedInformation:
    """Estimate mutual information of two discrete variables from counts.

    Args:
        counts: (a, b), how often each pair of values was seen.

    Raises:
        ValueError: if counts are negative, all 0, or not (a, b).

    Examples:
        >>> seen = counted_information([[30, 20], [20, 30]])
        >>> print(f"{seen.estimate:.4f}, {seen.bias:.4f}, {seen.error:.4f}")
        0.0201, 0.0050, 0.0199
    """
    table = checks.as_floating(counts)
    if table.ndim != 2:
        raise ValueError(f"counts have shape {table.shape}; they must be (a, b).")
    if not isinstance(table, jax.core.Tracer) and not (
        bool(jnp.all(table >= 0)) and bool(jnp.sum(table) > 0)
    ):
        raise ValueError("counts must be at least 0, and some above it.")
    samples = jnp.sum(table)
    joint = table / samples
    rows, columns = jnp.sum(joint, axis=1), jnp.sum(joint, axis=0)
    seen = joint > 0
    product = jnp.where(seen, jnp.outer(rows, columns), 1.0)
    logs = jnp.log(jnp.where(seen, joint, 1.0) / product)
    logs = jnp.where(seen, logs, 0.0)
    estimate = jnp.sum(joint * logs)
    cells = jnp.sum(seen) - jnp.sum(rows > 0) - jnp.sum(columns > 0) + 1
    spread = jnp.sum(joint * (logs - estimate) ** 2)
    return CountedInformation(
        estimate, cells / (2 * samples), jnp.sqrt(spread / samples)
    )


class GaussianTwin(NamedTuple):
    """What nearest neighbors make of Gaussian samples whose information is known.

    Attributes:
        exact: the information of the Gaussian law.
        mean: of estimates from as many samples of it.
        error: the standard error of that mean.
    """

    exact: Float[Array, ""]
    mean: Float[Array, ""]
    error: Float[Array, ""]

    @property
    def bias(self) -> Float[Array, ""]:
        """How much estimates are too large, on average."""
        return self.mean - self.exact


def gaussian_twin(
    key: Array,
    x: ArrayLike,
    y: ArrayLike,
    *,
    draws: int = 10,
    neighbors: int = 3,
    rows_at_once: int = 256,
) -> GaussianTwin:
    """Show the bias of :func:`neighbor_information` where the truth is known.

    On Gaussian samples with the covariance of these, but for correlations of chance, as
    many, drawn several times. The bias on other laws differs, but where it is large
    here no estimate can be trusted.

    Args:
        key: of the draws.
        x: (samples, p), or (samples,).
        y: (samples, q), or (samples,), on the same samples.
        draws: how often, 2 or more.
        neighbors: as for the estimate.
        rows_at_once: as for the estimate.

    Raises:
        ValueError: as :func:`neighbor_information` does, or for no more samples than
            features.
    """
    checks.check_count("draws", draws, 2)
    x, y = _pair(x, y)
    p, count = x.shape[1], len(x)
    if count <= p + y.shape[1]:
        raise ValueError(
            f"there are {count} samples of {p + y.shape[1]} features; a covariance "
            "needs more samples."
        )
    both = jnp.concatenate([_in_deviations(x), _in_deviations(y)], axis=1)
    covariance = jnp.cov(both.T)
    deviations = jnp.sqrt(jnp.diagonal(covariance))
    correlation = covariance / jnp.outer(deviations, deviations)
    across = jnp.zeros_like(correlation).at[:p, p:].set(correlation[:p, p:])
    across = across + across.T
    inside = correlation - across

    def information(matrix: Array) -> Array:
        return (jnp.linalg.slogdet(inside)[1] - jnp.linalg.slogdet(matrix)[1]) / 2

    # A covariance of samples has correlations of chance, pq / 2 samples of information.
    most = information(correlation)
    share = jnp.maximum(1 - p * y.shape[1] / (2 * count * most), 0.0)
    correlation = inside + jnp.sqrt(share) * across
    root = jnp.linalg.cholesky(correlation)

    def draw(key: Array) -> Array:
        z = jax.random.normal(key, both.shape, both.dtype) @ root.T
        options = {"neighbors": neighbors, "rows_at_once": rows_at_once}
        return neighbor_information(z[:, :p], z[:, p:], **options)

    each = jax.lax.map(draw, jax.random.split(key, draws))
    return GaussianTwin(
        information(correlation),
        jnp.mean(each),
        jnp.std(each, ddof=1) / draws**0.5,
    )


def neighbor_information(
    x: ArrayLike, y: ArrayLike, *, neighbors: int = 3, rows_at_once: int = 256
) -> Float[Array, ""]:
    """Estimate mutual information from nearest neighbors, in nats.

    The first estimator of Kraskov et al., of maximum norms, with each feature divided
    by its deviation. It may be below 0.

    Args:
        x: (samples, p), or (samples,).
        y: (samples, q), or (samples,), on the same samples.
        neighbors: k.
        rows_at_once: samples whose distances to all others are in memory.

    Raises:
        ValueError: if samples differ in number or are not finite, or for no neighbor.
    """
    x, y = _pair(x, y)
    count = len(x)
    if not isinstance(neighbors, int) or not 1 <= neighbors < count:
        raise ValueError(
            f"neighbors must be an integer from 1 to samples - 1 = {count - 1}; got "
            f"{neighbors!r}."
        )

    # Information knows no scale; neighbors do.
    x, y = _in_deviations(x), _in_deviations(y)

    def row(index: Array) -> Array:
        others = jnp.arange(count) != index
        near_x, near_y = (
            jnp.where(others, jnp.max(jnp.abs(v - v[index][None]), axis=1), jnp.inf)
            for v in (x, y)
        )
        least = -jax.lax.top_k(-jnp.maximum(near_x, near_y), neighbors)[0]
        inside = [jnp.sum(near < least[-1]) for near in (near_x, near_y)]
        digamma = jax.scipy.special.digamma
        return sum((digamma(n + 1.0) for n in inside), jnp.zeros(()))

    local = jax.lax.map(row, jnp.arange(count), batch_size=min(rows_at_once, count))
    digamma = jax.scipy.special.digamma(jnp.array([neighbors, count], x.dtype))
    return jnp.sum(digamma) - jnp.mean(local)


def line_wasserstein(x: ArrayLike, y: ArrayLike) -> Float[Array, "..."]:
    """Return the Wasserstein distance of order 1 between samples on the line.

    Args:
        x: (samples, ...).
        y: (samples, ...), as many.

    Returns:
        (...).

    Raises:
        ValueError: if samples differ in number or are not finite.
    """
    x, y = _same(x, y)
    return jnp.mean(jnp.abs(jnp.sort(x, axis=0) - jnp.sort(y, axis=0)), axis=0)


def sliced_wasserstein(
    key: Array, x: ArrayLike, y: ArrayLike, *, slices: int = 128
) -> Float[Array, ""]:
    """Return the mean distance of order 1 over random lines, at most that in space.

    Args:
        key: of the lines.
        x: (samples, d).
        y: (samples, d), as many.
        slices: how many lines.

    Raises:
        ValueError: if samples differ in number or are not finite, or for no slice.
    """
    x, y = _same(x, y)
    checks.check_count("slices", slices)
    lines = jax.random.normal(key, (x.shape[1], slices))
    lines = lines / jnp.linalg.norm(lines, axis=0, keepdims=True)
    return jnp.mean(line_wasserstein(x @ lines, y @ lines))


@functools.partial(jax.jit, static_argnames="solver")
def _matched(x: Array, y: Array, solver: Any) -> Array:
    gaps = x[:, None] - y[None]
    unit = safe_scale(gaps)
    costs = jnp.linalg.norm(gaps / unit, axis=-1)
    columns = linalg.linear_assignment(costs, solver=solver)
    return unit * jnp.mean(costs[jnp.arange(len(x)), columns])


def matched_wasserstein(
    x: ArrayLike, y: ArrayLike, *, solver: Any = "host"
) -> Float[Array, ""]:
    """Return the Wasserstein distance of order 1 between samples, by assignment.

    Args:
        x: (samples, d).
        y: (samples, d), as many; a label may be one of the d.
        solver: of :func:`kanjax.linalg.linear_assignment`.

    Raises:
        ValueError: if samples differ in number or are not finite.
    """
    return _matched(*_same(x, y), solver)


def _in_deviations(v: Array) -> Array:
    """Return features of mean 0 and deviation 1; 0 for one that is constant."""
    moved = v - jnp.mean(v, axis=0, keepdims=True)
    moved = moved / safe_scale(moved, axis=0)
    deviation = jnp.std(moved, axis=0, keepdims=True)
    return moved / jnp.where(deviation > 0, deviation, 1.0)


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = checks.as_floating(x), checks.as_floating(y)
    if x.ndim not in (1, 2) or y.ndim not in (1, 2) or len(x) != len(y):
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}; they must be (samples, "
            "features) on the same samples."
        )
    checks.check_finite(x, "x")
    checks.check_finite(y, "y")
    return x.reshape(len(x), -1), y.reshape(len(y), -1)


def _same(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = checks.as_floating(x), checks.as_floating(y)
    if x.ndim < 1 or x.shape != y.shape:
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}; they must be equal: take as "
            "many samples of each."
        )
    checks.check_finite(x, "x")
    checks.check_finite(y, "y")
    return x, y
