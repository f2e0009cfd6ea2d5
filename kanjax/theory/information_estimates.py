"""Information and Wasserstein distances from samples, which are biased.

Kraskov, Stoegbauer, Grassberger 2004, arXiv cond-mat/0305641 (nearest neighbors);
Bonneel et al. 2015, "Sliced and Radon Wasserstein Barycenters". For bounds that hold
give divergences in closed form, see :mod:`kanjax.theory.information_bounds`: neighbors
miss information in many dimensions, and distances of finite samples are too large.
"""

import functools
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, linalg


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
    x, y = (v / jnp.where(jnp.std(v, 0) > 0, jnp.std(v, 0), 1.0) for v in (x, y))

    def row(index: Array) -> Array:
        others = jnp.arange(count) != index
        near_x, near_y = (
            jnp.where(others, jnp.max(jnp.abs(v - v[index]), axis=1), jnp.inf)
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
    lines = lines / jnp.linalg.norm(lines, axis=0)
    return jnp.mean(line_wasserstein(x @ lines, y @ lines))


@functools.partial(jax.jit, static_argnames="solver")
def _matched(x: Array, y: Array, solver: Any) -> Array:
    costs = jnp.linalg.norm(x[:, None] - y[None], axis=-1)
    columns = linalg.linear_assignment(costs, solver=solver)
    return jnp.mean(costs[jnp.arange(len(x)), columns])


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
