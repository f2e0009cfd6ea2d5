"""Moving and refining the knots of a trained KAN, keeping its function.

Source: Liu et al. (2024), arXiv 2404.19756, section 2.4 and appendix.
"""

import dataclasses
import functools
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import bases, checks
from kanjax.kan import layers, multiplication
from kanjax.kan.networks import KAN, Params

Rule = Literal["quantiles", "order statistics"]


def update_grid(
    model: KAN,
    params: Params,
    x: Array,
    *,
    uniform_share: float = 0.1,
    intervals: int | None = None,
    rule: Rule = "quantiles",
) -> tuple[KAN, Params]:
    """Move every layer's knots to where its inputs lie, then refit the coefficients.

    Each input gets knots of its own, ``uniform_share * uniform + (1 - uniform_share) *
    quantiles`` of its samples. The paper's code uses a share of 0.02; here it is
    larger, since tied samples (a categorical column) else make nearly equal knots and
    exploding coefficients.

    Quantiles are interpolated between samples, and so lie evenly for any number of
    them. The paper's code takes order statistics, which is another rule unless the
    number of rows less one is a multiple of the intervals: of n sorted samples those
    number ``floor(n i / intervals)`` and the last.

    Args:
        model: a KAN whose bases are all B-splines.
        params: its parameters.
        x: (batch, in), the samples.
        uniform_share: between 0 and 1.
        intervals: of the new grids; None for as many as before.
        rule: "quantiles", or "order statistics" for the knots of the paper's code.

    Works under jit. Linear algebra and knots are in float32 at least.

    Returns:
        The model with the new knots, and parameters for it. The function changes as
        far as the old splines do not lie in the new space.

    Raises:
        TypeError: if a layer's basis is not a B-spline.
        ValueError: if x is not (batch, in) or not finite, uniform_share not in [0, 1],
            or for another rule.
    """
    if rule not in get_args(Rule):
        raise ValueError(
            f"rule must be one of {', '.join(get_args(Rule))}; got {rule!r}."
        )
    checks.check_finite(x, "x")
    if not 0 <= uniform_share <= 1:
        raise ValueError(f"uniform_share must be in [0, 1]; got {uniform_share}.")

    if intervals is not None and intervals < 1:
        raise ValueError(f"intervals must be at least 1; got {intervals}.")
    return _regrid(model, params, x, _adapted, (uniform_share, intervals, rule))


def refine(model: KAN, params: Params, x: Array, intervals: int) -> tuple[KAN, Params]:
    """Give every layer a finer grid over the same range, then refit the coefficients.

    Within the grid the function is unchanged up to rounding where the new knots include
    the old ones, as on a uniform grid when ``intervals`` is a multiple of the old
    number. Outside the grid the splines fall to zero over shorter intervals.

    Args:
        model: a KAN whose bases are all B-splines.
        params: its parameters.
        x: (batch, in), samples; half of the points of the fit follow them.
        intervals: the new number of intervals, at least the old one.

    Returns:
        The refined model, and parameters for it.

    Raises:
        TypeError: if a layer's basis is not a B-spline.
        ValueError: if there would be fewer intervals than before, or x is not finite.
    """
    checks.check_finite(x, "x")
    return _regrid(model, params, x, _finer, intervals)


def _adapted(
    basis: bases.BSpline, values: Array, setting: tuple[float, int | None, Rule]
) -> bases.BSpline:
    uniform_share, intervals, rule = setting
    number = intervals or basis.intervals
    fractions = jnp.linspace(0, 1, number + 1, dtype=values.dtype)
    if rule == "quantiles":
        quantiles = jnp.quantile(values, fractions, axis=0).T
    else:
        rows = [len(values) * i // number for i in range(number)]
        quantiles = jnp.sort(values, axis=0)[np.array([*rows, -1])].T
    low, high = quantiles[:, :1], quantiles[:, -1:]
    # An input that never changes, but for round-off, still needs a grid of some length.
    size = jnp.maximum(jnp.abs(low), jnp.abs(high))
    varies = high - low > 10 * jnp.finfo(values.dtype).eps * size
    width = jnp.where(varies, high - low, 1.0)
    uniform = low + fractions[None] * width
    interior = uniform_share * uniform + (1 - uniform_share) * quantiles
    interior = jnp.where(varies, interior, uniform)
    knots = _extend(interior, basis.degree)
    return dataclasses.replace(basis, intervals=number, knots=knots)


def _finer(basis: bases.BSpline, values: Array, intervals: int) -> bases.BSpline:
    if intervals < basis.intervals:
        raise ValueError(
            f"intervals={intervals} is fewer than the {basis.intervals} that the "
            "grid has; refinement only adds."
        )
    if basis.knots is None:
        return dataclasses.replace(basis, intervals=intervals)
    interior = _interior(basis)
    old = jnp.linspace(0, 1, interior.shape[-1])
    new = jnp.linspace(0, 1, intervals + 1)
    interpolated = (
        jnp.interp(new, old, interior)
        if interior.ndim == 1
        else (jax.vmap(lambda row: jnp.interp(new, old, row))(interior))
    )
    knots = _extend(interpolated, basis.degree)
    return dataclasses.replace(basis, intervals=intervals, knots=knots)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _regrid(
    model: KAN, params: Params, x: Array, change: Any, setting: Any
) -> tuple[KAN, Params]:
    """Change each layer's basis, given its inputs, and refit its coefficients."""
    if jnp.ndim(x) != 2:
        raise ValueError(f"x must be (batch, in); got shape {jnp.shape(x)}.")
    regridded, fitted = [], []
    inputs = model.activations(params, x)
    for i, (layer, p) in enumerate(zip(model.layers, params, strict=True)):
        inner = multiplication.learned(layer)
        if inner is None:
            regridded.append(layer)
            fitted.append(p)
            continue
        if not isinstance(inner, layers.KANLayer) or not isinstance(
            inner.basis, bases.BSpline
        ):
            raise TypeError(
                f"layer {i} has the basis {inner.basis!r}; grids belong to B-splines."
            )
        samples, coef = _wide(inputs[i]), p["coef"]
        basis = change(inner.basis, samples, setting)
        points = _fit_points(basis, samples)
        values = jnp.einsum(
            "pgi,gio->pio",
            inner.basis(points, axis=-2),
            _wide(coef),
            precision="highest",
        )
        regridded.append(
            multiplication.with_learned(layer, dataclasses.replace(inner, basis=basis))
        )
        new = fit_coefficients(basis, points, values).astype(coef.dtype)
        fitted.append({**p, "coef": new})
    return model.with_layers(regridded), tuple(fitted)


@jax.jit
def fit_coefficients(
    basis: bases.Basis,
    x: Float[Array, "points in"],
    y: Float[Array, "points in out"],
    *,
    ridge: float = 1e-10,
) -> Float[Array, "size in out"]:
    """Return the least-squares coefficients of given edge functions, input by input.

    Solved by QR with a ridge relative to the mean square of the design's columns,
    which only matters where a spline has no point on its support. In float32 at least.
    """
    x, y = _wide(x), _wide(y)
    design = jnp.swapaxes(basis(x, axis=-2), 0, 2)  # (in, size, points)

    def solve(system: tuple[Array, Array]) -> Array:
        a, targets = system
        size = a.shape[0]
        scale = jnp.sqrt(ridge * jnp.sum(a**2) / size)
        augmented = jnp.concatenate([a.T, scale * jnp.eye(size, dtype=a.dtype)])
        q, r = jnp.linalg.qr(augmented)
        projected = jnp.matmul(q[: a.shape[1]].T, targets, precision="highest")
        return jax.scipy.linalg.solve_triangular(r, projected)

    # One input after the other: on two cores jaxlib's decompositions of whole batches
    # wait for each other without end where two layers' run at once.
    return jnp.swapaxes(jax.lax.map(solve, (design, jnp.swapaxes(y, 0, 1))), 0, 1)


@jax.jit
def _fit_points(
    basis: bases.BSpline, samples: Float[Array, "batch in"]
) -> Float[Array, "points in"]:
    """Points of the fit: half evenly over the grid, half at the samples' quantiles.

    The even half keeps every spline supported, the other half weighs the fit by the
    data; their number does not grow with the data.
    """
    in_features = samples.shape[1]
    number = 8 * basis.size
    interior = jnp.broadcast_to(_interior(basis), (in_features, basis.intervals + 1)).T
    low, high = interior[:1], interior[-1:]
    even = low + (jnp.arange(number)[:, None] + 0.5) / number * (high - low)
    quantiles = jnp.quantile(samples, jnp.linspace(0, 1, number), axis=0)
    return jnp.concatenate([even, jnp.clip(quantiles, low, high)]).astype(samples.dtype)


def _wide(x: ArrayLike) -> Array:
    """In float32 at least: linear algebra has no half precision."""
    x = checks.as_floating(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _interior(basis: bases.BSpline) -> Array:
    knots = basis.extended_knots()
    return knots[..., basis.degree : knots.shape[-1] - basis.degree]


def _extend(interior: Array, degree: int) -> Array:
    """Add ``degree`` knots on each side, at the mean distance of the interior ones."""
    step = (interior[..., -1:] - interior[..., :1]) / (interior.shape[-1] - 1)
    steps = jnp.arange(1, degree + 1)
    offsets = step * jnp.broadcast_to(steps, (*step.shape[:-1], degree))
    return jnp.concatenate(
        [
            interior[..., :1] - offsets[..., ::-1],
            interior,
            interior[..., -1:] + offsets,
        ],
        axis=-1,
    )
