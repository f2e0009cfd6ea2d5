"""Fits of ``c f(a x + b) + d`` to samples of many curves by many functions at once.

Sources: Liu et al. (2024), arXiv 2404.19756, section 2.5.1: (a, b) by a grid that zooms
in, (c, d) by linear regression; the choice between functions weighs fit against
complexity as in KAN 2.0, arXiv 2408.10205.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, compiling
from kanjax.kan.library import LIBRARY
from kanjax.scales import safe_scale

_COARSE, _FINE, _ZOOMS = 41, 11, 5
_RANGE = 10.0
_LEAST_MISFIT = 1e-5
# What the mean of some hundred equal numbers may be off by, in units of eps.
_ROUNDING = 10


class Fit(NamedTuple):
    """``c f(a x + b) + d``, the best of one function.

    Attributes:
        name: the function's name in the library.
        coefficients: (a, b, c, d).
        r2: the squared correlation with the samples.
    """

    name: str
    coefficients: tuple[float, float, float, float]
    r2: float

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Return its values at x; not finite outside of the function's domain."""
        a, b, c, d = self.coefficients
        with np.errstate(all="ignore"):
            return c * LIBRARY[self.name].evaluate(np, a * x + b) + d

    def implausibility(self, weight: float) -> float:
        """As :func:`implausibility` of its complexity and misfit."""
        misfit = 1 + _LEAST_MISFIT - self.r2
        return implausibility(LIBRARY[self.name].complexity, misfit, weight)


def implausibility(complexity: float, misfit: float, weight: float) -> float:
    """``weight * complexity + (1 - weight) * log2(misfit)``.

    Args:
        complexity: of a function, or of several together.
        misfit: a squared error over the variance of what is fitted.
        weight: 0 asks for fit alone, 1 for simplicity alone.
    """
    return weight * complexity + (1 - weight) * math.log2(misfit)


def fit_all(
    names: tuple[str, ...],
    x: Float[ArrayLike, "edges points"],
    y: Float[ArrayLike, "edges points"],
    complexity_weight: float,
) -> list[list[Fit]]:
    """Every function's fit on every edge, the most plausible first."""
    ranked = []
    # Edge by edge, so that one program serves any number of them.
    curves = (np.asarray(checks.as_floating(v)) for v in (x, y))
    for pair in zip(*curves, strict=True):
        fits_ = jax.device_get(_fit(names, *pair)).tolist()
        fits = [
            Fit(name, (a, b, c, d), r2)
            for name, (a, b, c, d, r2) in zip(names, fits_, strict=True)
        ]
        ranked.append(sorted(fits, key=lambda f: f.implausibility(complexity_weight)))
    return ranked


@functools.partial(compiling.jit_balanced, static_argnames="names")
def _fit(
    names: tuple[str, ...], x: Float[Array, " points"], y: Float[Array, " points"]
) -> Float[Array, "functions 5"]:
    """Every function on one edge.

    (a, b) are searched on a grid that zooms in, and (c, d) follow by linear regression.
    The functions are branches of one program, so that it compiles once, not once a
    function.
    """
    branches = [functools.partial(LIBRARY[name].evaluate, jnp) for name in names]
    offsets, widths = (jnp.asarray(v, x.dtype) for v in _search_plan())
    blocks = len(offsets) - _ZOOMS
    low, high = jnp.min(x), jnp.max(x)
    middle = (low + high) / 2
    varies = jnp.any(deviation(x) != 0)
    half = jnp.where(varies, (high - low) / 2, 1)
    unit = jnp.where(varies, (x - middle) / half, 0)
    size = jnp.max(jnp.abs(deviation(y)))
    aim = deviation(y) / jnp.where(size > 0, size, 1)

    def fit_at(index: Array) -> Array:
        def search(i: Array, best: Any) -> Any:
            center, _, r2 = best
            is_zoom = i >= blocks
            start = jnp.where(is_zoom, center, 0)
            pairs = start[None] + widths[i] * offsets[i]
            places = pairs[:, :1] * unit[None] + pairs[:, 1:]
            z = jax.lax.switch(index, branches, places)
            scores = _squared_correlation(z, aim)
            first = jnp.argmax(scores)
            # The blocks of the coarse grid compete; each zoom starts anew.
            better = is_zoom | (scores[first] > r2)
            return jax.tree.map(
                functools.partial(jnp.where, better),
                (pairs[first], z[first], scores[first]),
                best,
            )

        start = jnp.zeros(2, x.dtype), jnp.zeros_like(x), -jnp.ones((), x.dtype)
        (a, b), z, r2 = jax.lax.fori_loop(0, len(offsets), search, start)
        z = jnp.where(jnp.all(jnp.isfinite(z)), z, 0)
        moved = deviation(z)
        scale = safe_scale(moved)
        moved = moved / scale
        power = jnp.sum(moved**2) * scale
        c = size * jnp.sum(moved * aim) / jnp.where(power > 0, power, 1)
        d = jnp.mean(y) - c * jnp.mean(z)
        return jnp.stack([a / half, b - a * middle / half, c, d, r2])

    return jax.lax.map(fit_at, jnp.arange(len(names)))


def _search_plan() -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (a, b) that are tried together, and what they are scaled by.

    The coarse grid comes in blocks as large as the fine one, so that functions are
    compiled for one shape: (blocks + zooms, fine grid, 2) and (blocks + zooms,).
    """

    def grid(points: int) -> np.ndarray:
        line = np.linspace(-1, 1, points)
        return np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)

    fine, coarse = grid(_FINE), grid(_COARSE)
    # The last pair fills up the last block; it wins nothing by being there twice.
    filled = np.pad(coarse, ((0, -len(coarse) % len(fine)), (0, 0)), mode="edge")
    blocks = filled.reshape(-1, len(fine), 2)
    steps = 2 * _RANGE / (_COARSE - 1) * (2 / (_FINE - 1)) ** np.arange(_ZOOMS)
    zooms = np.broadcast_to(fine, (_ZOOMS, *fine.shape))
    widths = np.concatenate([np.full(len(blocks), _RANGE), steps])
    return np.concatenate([blocks, zooms]), widths


def deviation(values: Float[Array, "*batch points"]) -> Float[Array, "*batch points"]:
    """Return the values less their mean; exactly zero where they differ by round-off
    alone.
    """
    size = jnp.max(jnp.abs(values), axis=-1, keepdims=True)
    moved = values - jnp.mean(values, axis=-1, keepdims=True)
    noise = _ROUNDING * jnp.finfo(values.dtype).eps * size
    differ = jnp.max(jnp.abs(moved), axis=-1, keepdims=True) > noise
    return jnp.where(differ, moved, 0)


def _squared_correlation(
    z: Float[Array, "*batch points"], y: Float[Array, " points"]
) -> Float[Array, "*batch"]:
    """R2 of the best affine map from z to y; 0 where z is not finite or constant.

    y has mean 0 and a largest magnitude of 1, or is 0.
    """
    finite = jnp.all(jnp.isfinite(z), axis=-1, keepdims=True)
    z = deviation(jnp.where(finite, z, 0))
    # Scaled first: x^4 on [-20, 20] squares to what float32 cannot hold apart.
    z = z / safe_scale(z, axis=-1)
    power = jnp.sum(z**2, axis=-1) * jnp.sum(y**2)
    product = jnp.sum(z * jnp.broadcast_to(y, z.shape), axis=-1)
    r2 = product**2 / jnp.where(power > 0, power, 1)
    return jnp.minimum(jnp.where(power > 0, r2, 0), 1)
