"""Reading a trained KAN's edges as formulas.

Each edge's samples are fitted by ``c f(a x + b) + d`` for every f of a library, and the
layers' formulas are composed with sympy. Source: Liu et al. (2024), arXiv 2404.19756,
section 2.5.1; the choice between functions weighs fit against complexity as in KAN 2.0,
arXiv 2408.10205.
"""

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax.kan import attribution
from kanjax.kan.network import KAN

_COARSE, _FINE, _ZOOMS = 41, 11, 5
_RANGE = 10.0


class Function(NamedTuple):
    """An entry of the library.

    Attributes:
        evaluate: (namespace, u) -> f(u), with jax.numpy or sympy as the namespace, so
            that the fit and the formula are one definition.
        complexity: what choosing this function costs.
    """

    evaluate: Callable[[Any, Any], Any]
    complexity: int


LIBRARY: dict[str, Function] = {
    "x": Function(lambda m, u: u, 1),
    "x^2": Function(lambda m, u: u**2, 2),
    "x^3": Function(lambda m, u: u**3, 3),
    "x^4": Function(lambda m, u: u**4, 3),
    "1/x": Function(lambda m, u: 1 / u, 2),
    "1/x^2": Function(lambda m, u: 1 / u**2, 2),
    "sqrt": Function(lambda m, u: m.sqrt(u), 2),
    "1/sqrt": Function(lambda m, u: 1 / m.sqrt(u), 2),
    "exp": Function(lambda m, u: m.exp(u), 2),
    "log": Function(lambda m, u: m.log(u), 2),
    "sin": Function(lambda m, u: m.sin(u), 2),
    "abs": Function(lambda m, u: abs(u), 3),
    "tan": Function(lambda m, u: m.tan(u), 3),
    "tanh": Function(lambda m, u: m.tanh(u), 3),
    "gaussian": Function(lambda m, u: m.exp(-(u**2)), 3),
    "arctan": Function(lambda m, u: m.atan(u), 4),
    "arcsin": Function(lambda m, u: m.asin(u), 4),
}
"""Functions by name. cos is sin with another b, so it is not listed again."""


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


class Edge(NamedTuple):
    """One edge of a network and what it looks like."""

    layer: int
    source: int
    target: int
    fit: Fit


def suggest(
    x: Float[Array, " points"],
    y: Float[Array, " points"],
    *,
    library: Sequence[str] | None = None,
    complexity_weight: float = 0.8,
) -> list[Fit]:
    """The library's functions fitted to samples of one curve, most plausible first.

    The order is by ``complexity_weight * complexity + (1 - complexity_weight) *
    log2(1 + 1e-5 - r2)``. A constant curve fits every function with r2 = 0.

    Args:
        x: the points.
        y: the curve's values there.
        library: names from ``LIBRARY``; None for all.
        complexity_weight: 0 orders by fit alone, 1 by simplicity alone.

    Raises:
        ValueError: for an unknown name, an empty library, or shapes that differ.
    """
    names = _names(library)
    if jnp.ndim(x) != 1 or jnp.shape(x) != jnp.shape(y):
        raise ValueError(
            "x and y must be samples of one curve, of one shape (points,); got "
            f"{jnp.shape(x)} and {jnp.shape(y)}."
        )
    found = _fit_all(names, jnp.asarray(x)[None], jnp.asarray(y)[None])
    return _ranked(names, found, 0, complexity_weight)


def fit_edges(
    model: KAN,
    params: Sequence[Any],
    x: Float[Array, "batch in"],
    *,
    library: Sequence[str] | None = None,
    points: int = 100,
    minimum_r2: float = 0.99,
) -> list[Edge]:
    """The simplest adequate function for every edge that is not masked.

    Each edge is sampled at quantiles of its input's values. Of the functions whose r2
    is at least ``minimum_r2`` the most plausible is taken; where none is, the best.

    Args:
        model: a KAN, usually pruned.
        params: its parameters.
        x: (batch, in), samples.
        library: names from ``LIBRARY``; None for all.
        points: number of samples an edge.
        minimum_r2: what counts as adequate.
    """
    names = _names(library)
    inputs = model.activations(params, x)
    places: list[tuple[int, int, int]] = []
    points_of, values_of = [], []
    for i, one in enumerate(model.layers):
        samples = jnp.quantile(inputs[i], jnp.linspace(0, 1, points), axis=0)
        values = attribution.layer_edges(one, params[i], samples)
        mask = np.ones(values.shape[1:]) if one.mask is None else np.asarray(one.mask)
        sources, targets = np.nonzero(mask)
        places += [(i, int(s), int(t)) for s, t in zip(sources, targets, strict=True)]
        points_of.append(samples.T[sources])
        values_of.append(values[:, sources, targets].T)
    if not places:
        return []
    found = _fit_all(names, jnp.concatenate(points_of), jnp.concatenate(values_of))
    edges = []
    for e, place in enumerate(places):
        ranked = _ranked(names, found, e, 0.8)
        adequate = [fit for fit in ranked if fit.r2 >= minimum_r2]
        best = adequate[0] if adequate else max(ranked, key=lambda fit: fit.r2)
        edges.append(Edge(place[0], place[1], place[2], best))
    return edges


def formula(
    model: KAN,
    params: Sequence[Any],
    x: Float[Array, "batch in"],
    *,
    names: Sequence[str] | None = None,
    edges: Sequence[Edge] | None = None,
    minimum_r2: float = 0.99,
    digits: int = 4,
) -> list[Any]:
    """The outputs as sympy expressions of the inputs.

    Args:
        model: a KAN, usually pruned.
        params: its parameters.
        x: (batch, in), samples.
        names: the inputs' names; None for x1, x2, ...
        edges: fits from :func:`fit_edges`; None fits them here.
        minimum_r2: what every edge must reach.
        digits: significant digits of the constants.

    Raises:
        ValueError: if an edge's best function fits worse than ``minimum_r2``; the
            message names the worst edge.
    """
    import sympy

    if edges is None:
        edges = fit_edges(model, params, x, minimum_r2=minimum_r2)
    worst = min(edges, key=lambda edge: edge.fit.r2, default=None)
    if worst is not None and worst.fit.r2 < minimum_r2:
        raise ValueError(
            f"no function of the library fits edge ({worst.source}, {worst.target}) of "
            f"layer {worst.layer}: {worst.fit.name} is best with R2 = "
            f"{worst.fit.r2:.3f}, below minimum_r2 = {minimum_r2}. Prune further, "
            "train longer or lower minimum_r2."
        )
    names = names or [f"x{i + 1}" for i in range(model.widths[0])]
    values: list[Any] = [sympy.Symbol(name) for name in names]
    for i, one in enumerate(model.layers):
        bias = params[i].get("bias", jnp.zeros(one.out_features))
        outputs = [sympy.Float(float(b), digits) if b else sympy.S.Zero for b in bias]
        for edge in edges:
            if edge.layer != i:
                continue
            a, b, c, d = (sympy.Float(v, digits) for v in edge.fit.coefficients)
            inner = a * values[edge.source] + b
            outputs[edge.target] += (
                c * LIBRARY[edge.fit.name].evaluate(sympy, inner) + d
            )
        values = outputs
    return values


def _names(library: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(LIBRARY if library is None else library)
    if not names:
        raise ValueError("library is empty; name at least one function.")
    for name in names:
        if name not in LIBRARY:
            near = difflib.get_close_matches(name, LIBRARY, n=1, cutoff=0)[0]
            raise ValueError(f"no function {name!r} in the library; nearest: {near!r}.")
    return names


def _ranked(
    names: Sequence[str], found: Array, edge: int, complexity_weight: float
) -> list[Fit]:
    """One edge's fits, most plausible first. found: (functions, edges, 5)."""
    fits = [
        Fit(name, (float(a), float(b), float(c), float(d)), float(r2))
        for name, (a, b, c, d, r2) in zip(
            names, np.asarray(found)[:, edge], strict=True
        )
    ]

    def implausibility(fit: Fit) -> float:
        misfit = np.log2(1 + 1e-5 - fit.r2)
        complexity = LIBRARY[fit.name].complexity
        return complexity_weight * complexity + (1 - complexity_weight) * misfit

    return sorted(fits, key=implausibility)


@functools.partial(jax.jit, static_argnames="names")
def _fit_all(
    names: tuple[str, ...],
    x: Float[Array, "edges points"],
    y: Float[Array, "edges points"],
) -> Float[Array, "functions edges 5"]:
    """(a, b, c, d, r2) of every function on every edge.

    For each pair, (a, b) are searched on a grid that zooms in, and (c, d) follow by
    linear regression. The functions are branches of one program, so that it compiles
    once, not once a function.
    """
    branches = [functools.partial(LIBRARY[name].evaluate, jnp) for name in names]
    coarse = jnp.linspace(-1, 1, _COARSE, dtype=x.dtype)
    fine = jnp.linspace(-1, 1, _FINE, dtype=x.dtype)

    def one(pair: tuple[Array, Array]) -> Array:
        index, edge = pair
        points, values = x[edge], y[edge]
        low, high = jnp.min(points), jnp.max(points)
        half = jnp.where(high > low, (high - low) / 2, 1)
        middle = (low + high) / 2
        unit = (points - middle) / half

        def search(center: Array, width: Any, offsets: Array) -> Array:
            a, b = center[:, None] + width * offsets
            inner = a[:, None, None] * unit + b[:, None]
            z = jax.lax.switch(index, branches, inner)
            best = jnp.argmax(_squared_correlation(z, values))
            return jnp.stack([a[best // len(b)], b[best % len(b)]])

        def zoom(i: Any, center: Array) -> Array:
            step = 2 * _RANGE / (_COARSE - 1)
            return search(center, step * (2 / (_FINE - 1)) ** i, fine)

        center = search(jnp.zeros(2, x.dtype), _RANGE, coarse)
        a, b = jax.lax.fori_loop(0, _ZOOMS, zoom, center)
        z = jax.lax.switch(index, branches, a * unit + b)
        r2 = _squared_correlation(z, values)
        z = jnp.where(jnp.all(jnp.isfinite(z)), z, 0)
        deviation = z - jnp.mean(z)
        power = jnp.sum(deviation**2)
        c = jnp.sum(deviation * values) / jnp.where(power > 0, power, 1)
        d = jnp.mean(values) - c * jnp.mean(z)
        return jnp.stack([a / half, b - a * middle / half, c, d, r2])

    functions, edges = jnp.meshgrid(
        jnp.arange(len(names)), jnp.arange(len(x)), indexing="ij"
    )
    found = jax.lax.map(one, (functions.ravel(), edges.ravel()))
    return found.reshape(len(names), len(x), 5)


def _squared_correlation(
    z: Float[Array, "*batch points"], y: Float[Array, " points"]
) -> Float[Array, "*batch"]:
    """R2 of the best affine map from z to y; 0 where z is not finite or constant."""
    finite = jnp.all(jnp.isfinite(z), axis=-1, keepdims=True)
    z = jnp.where(finite, z, 0)
    z = z - jnp.mean(z, axis=-1, keepdims=True)
    # Scaled first: x^4 on [-20, 20] squares to what float32 cannot hold apart.
    largest = jnp.max(jnp.abs(z), axis=-1, keepdims=True)
    z = z / jnp.where(largest > 0, largest, 1)
    y = y - jnp.mean(y)
    power = jnp.sum(z**2, axis=-1) * jnp.sum(y**2)
    r2 = jnp.sum(z * y, axis=-1) ** 2 / jnp.where(power > 0, power, 1)
    return jnp.minimum(jnp.where(power > 0, r2, 0), 1)
