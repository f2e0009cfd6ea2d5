"""Reading a trained KAN's edges as formulas, and putting formulas in their place.

Each edge's samples are fitted by ``c f(a x + b) + d`` for every f of a library, and the
layers' formulas are composed with sympy. Source: Liu et al. (2024), arXiv 2404.19756,
section 2.5.1; the choice between functions weighs fit against complexity as in KAN 2.0,
arXiv 2408.10205.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import checks, compiling, pytrees, training
from kanjax.kan import affine_fit, attribution, formula_search, multiplication
from kanjax.kan.affine_fit import Fit
from kanjax.kan.formula_tidying import tidy
from kanjax.kan.freezing import Edge, freeze, frozen_edges
from kanjax.kan.library import LIBRARY, Function, check_names
from kanjax.kan.networks import KAN, Params
from kanjax.training import losses

__all__ = [
    "LIBRARY",
    "Edge",
    "Fit",
    "Function",
    "Symbolic",
    "auto_symbolic",
    "fit_edges",
    "formula",
    "freeze",
    "latex",
    "suggest",
    "tidy",
]


_NOTHING = Fit("0", (0.0, 0.0, 0.0, 0.0), 0.0)


class Symbolic(NamedTuple):
    """A network whose edges have become formulas.

    Attributes:
        model: the network; its learned edges are those that no function fits.
        params: its parameters, trained again.
        edges: what was found for every edge, with the fits to its own samples.
        r2: how much of the targets' variance the network explains on the samples, of
            the worst output.
    """

    model: KAN
    params: Params
    edges: list[Edge]
    r2: float

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr

    @property
    def exact(self) -> bool:
        """Whether all is formulas, and their errors 0.1 % of the targets' deviation.

        Combinations of functions may come as near without being the formula that made
        the targets: values beyond the samples tell.
        """
        layers = self.model.layers
        is_formula = all(multiplication.learned(layer) is None for layer in layers)
        return is_formula and self.r2 >= 1 - 1e-6


def suggest(
    x: Float[Array, " points"],
    y: Float[Array, " points"],
    *,
    library: Sequence[str] | None = None,
    complexity_weight: float = 0.8,
) -> list[Fit]:
    """Return the library's functions fitted to samples of one curve, most plausible
    first.

    The order is by ``complexity_weight * complexity + (1 - complexity_weight) *
    log2(1 + 1e-5 - r2)``. A curve that is constant but for round-off fits every
    function with r2 = 0, and "0" with its mean comes first.

    Args:
        x: the points.
        y: the curve's values there.
        library: names from ``LIBRARY``; None for all but redundant ones.
        complexity_weight: 0 orders by fit alone, 1 by simplicity alone.

    Raises:
        ValueError: for an unknown name, an empty library, or shapes that differ.
    """
    names = check_names(library)
    if jnp.ndim(x) != 1 or jnp.shape(x) != jnp.shape(y):
        raise ValueError(
            "x and y must be samples of one curve, of one shape (points,); got "
            f"{jnp.shape(x)} and {jnp.shape(y)}."
        )
    checks.check_finite(x, "x")
    checks.check_finite(y, "y")
    both = jnp.asarray(x)[None], jnp.asarray(y)[None]
    (ranked,) = affine_fit.fit_all(names, *both, complexity_weight)
    return ranked


def fit_edges(
    model: KAN,
    params: Sequence[Any],
    x: Float[Array, "batch in"],
    *,
    library: Sequence[str] | None = None,
    points: int = 100,
    minimum_r2: float = 0.99,
    complexity_weight: float = 0.8,
) -> list[Edge]:
    """Return the simplest adequate function for every edge that is not masked.

    Each edge is sampled at quantiles of its input's values. Of the functions whose r2
    is at least ``minimum_r2`` the most plausible is taken; where none is, the best.
    Edges that are formulas already are listed with those, and r2 = 1, as are constant
    edges with the function "0" and their value.

    Args:
        model: a KAN, usually pruned.
        params: its parameters.
        x: (batch, in), samples.
        library: names from ``LIBRARY``; None for all but redundant ones.
        points: number of samples an edge.
        minimum_r2: what counts as adequate.
        complexity_weight: as for :func:`suggest`.
    """
    names = check_names(library)
    ranked = _candidates(model, params, x, names, points, complexity_weight)
    edges = []
    for place, fits in ranked.items():
        adequate = [fit for fit in fits if fit.r2 >= minimum_r2]
        edges.append(Edge(*place, adequate[0] if adequate else _best(fits)))
    return edges


def _best(fits: Sequence[Fit]) -> Fit:
    return max(fits, key=lambda fit: fit.r2)


def _candidates(
    model: KAN,
    params: Sequence[Any],
    x: Array,
    names: tuple[str, ...],
    points: int,
    complexity_weight: float,
) -> dict[tuple[int, int, int], list[Fit]]:
    """All functions for every edge (layer, source, target), most plausible first.

    The one of an edge that is a formula is that formula.
    """
    checks.check_finite(x, "x")
    sampled = _sampled(model, params, x, points)
    places: list[tuple[int, int, int]] = []
    known = {edge[:3]: [edge.fit] for edge in _all_frozen(model, params)}
    points_of, values_of = [], []
    for i, layer in enumerate(model.layers):
        is_open = multiplication.alive(layer)
        for edge in multiplication.formulas(layer):
            is_open[edge.source, edge.target] = False
        sources, targets = np.nonzero(is_open)
        samples, values = sampled[i]
        places += [(i, int(s), int(t)) for s, t in zip(sources, targets, strict=True)]
        points_of.append(samples[:, sources].T)
        values_of.append(values[:, sources, targets].T)
    both = np.concatenate(points_of), np.concatenate(values_of)
    fits = affine_fit.fit_all(names, *both, complexity_weight)
    for i, values in enumerate(both[1]):
        # No function explains a constant, not even in part; it is one.
        if all(fit.r2 == 0 for fit in fits[i]):
            fits[i] = [Fit("0", (0.0, 0.0, 0.0, float(np.mean(values))), 1.0)]
    return dict(sorted((known | dict(zip(places, fits, strict=True))).items()))


def _sampled(
    model: KAN, params: Sequence[Any], x: Array, points: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each layer's inputs at their quantiles, and the values of its edges there."""
    return jax.device_get(_every_edge(model, params, x, points=points))


@functools.partial(compiling.jit_soon, static_argnames="points")
def _every_edge(model: KAN, params: Sequence[Any], x: Array, *, points: int) -> Any:
    edges = []
    inputs = model.activations(params, x)[:-1]
    for layer, p, values in zip(model.layers, params, inputs, strict=True):
        samples = jnp.quantile(values, jnp.linspace(0, 1, points), axis=0)
        edges.append((samples, attribution.layer_edges(layer, p, samples)))
    return edges


def auto_symbolic(
    model: KAN,
    params: Sequence[Any],
    x: Float[Array, "batch in"],
    y: Array | None = None,
    *,
    library: Sequence[str] | None = None,
    minimum_r2: float = 0.9,
    complexity_weight: float = 0.8,
    points: int = 100,
    patience: int = 100,
    steps: int = 1000,
    loss: Callable[..., losses.Loss] = training.regression,
) -> Symbolic:
    """Give every edge a formula, then train all that is left to train.

    Where each edge has an adequate function, functions are chosen together, see
    :mod:`kanjax.kan.formula_search`, by their squared error: from y where the loss is
    ``training.regression``, else from what the network gave before. One of them may be
    "0", which drops an edge.

    Args:
        model: a KAN, usually pruned.
        params: its parameters.
        x: (batch, in), samples.
        y: what the network should give there; None for what it gave before.
        library: names from ``LIBRARY``; None for all but redundant ones.
        minimum_r2: what an edge's best function must reach; other edges stay learned.
        complexity_weight: as for :func:`suggest`.
        points: number of samples an edge.
        patience: how many combinations of functions in a row may be no better before
            the search ends; 0 gives each edge the one that is most plausible there.
        steps: of L-BFGS on all of x, if the squared error was not minimised already.
        loss: makes the loss from ``model.apply``.

    Raises:
        ValueError: for an unknown name, an empty library, or y that the loss does not
            take.
    """
    names = check_names(library)
    outputs = jax.jit(model.apply)(params, x)
    targets = outputs if y is None else y
    jax.eval_shape(lambda p: loss(model.apply)(p, (x, targets), None), params)
    ranked = _candidates(model, params, x, names, points, complexity_weight)
    adequate = {
        place: [fit for fit in fits if fit.r2 >= minimum_r2]
        for place, fits in ranked.items()
    }
    new = [Edge(*place, fits[0]) for place, fits in adequate.items() if fits]
    frozen, start = freeze(model, params, new)
    together = None
    if (
        patience
        and new
        and all(multiplication.learned(layer) is None for layer in frozen.layers)
    ):
        known = [e[:3] for e in _all_frozen(model, params)]
        choices = {
            place: fits if place in known else [*fits, _NOTHING]
            for place, fits in adequate.items()
        }
        aims = targets if loss is training.regression else outputs
        together = _chosen_together(
            frozen, start, x, aims, choices, patience, complexity_weight
        )
    if together is not None:
        new, start = together
        frozen, _ = freeze(model, params, new)
    if together is None or loss is not training.regression:
        start = training.minimize(loss(frozen.apply), start, (x, targets), steps=steps)
    unfit = [Edge(*p, _best(f)) for p, f in ranked.items() if not adequate[p]]
    edges = sorted(new + unfit, key=lambda edge: edge[:3])
    reached = jax.jit(frozen.apply)(start, x)
    r2 = float("nan")
    # Another loss than regression's may compare other things than values.
    if reached.shape == targets.shape:
        of_outputs = jax.vmap(training.metrics.r2_score, in_axes=-1)
        r2 = float(jnp.min(of_outputs(targets, reached)))
    return Symbolic(frozen, start, edges, r2)


def _chosen_together(
    model: KAN,
    params: Params,
    x: Array,
    y: Array,
    choices: dict[tuple[int, int, int], list[Fit]],
    patience: int,
    complexity_weight: float,
) -> tuple[list[Edge], Params] | None:
    """Return the formulas of all edges, and the parameters; None if nothing can be
    fitted.
    """
    places = [edge[:3] for edge in _all_frozen(model, params)]
    best = formula_search.search(
        cast(Sequence[multiplication.UnitLayer], model.layers),
        params,
        x,
        y,
        [choices[place] for place in places],
        patience=patience,
        complexity_weight=complexity_weight,
    )
    if best is None:
        return None
    choice, fitted = best
    edges = [Edge(*p, choices[p][i]) for p, i in zip(places, choice, strict=True)]
    # The search gives every layer an array of formulas, also one without an edge.
    kept = tuple(
        {name: fit[name] for name in p} for fit, p in zip(fitted, params, strict=True)
    )
    return edges, jax.tree.map(lambda v, like: jnp.asarray(v, like.dtype), kept, params)


def _all_frozen(model: KAN, params: Sequence[Any]) -> list[Edge]:
    both = enumerate(zip(model.layers, params, strict=True))
    return [edge for i, (layer, p) in both for edge in frozen_edges(i, layer, p)]


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
    """Return the outputs as sympy expressions of the inputs.

    Args:
        model: a KAN, usually pruned.
        params: its parameters.
        x: (batch, in), samples.
        names: the inputs' names; None for x1, x2, ...
        edges: fits from :func:`fit_edges`; None fits them here.
        minimum_r2: what every edge must reach.
        digits: significant digits of the constants. What changes the values at x by
            less than the last but one of them is left out, and constants so near to
            multiples of 1/2 or pi/2 are these: see ``formula_tidying.tidy``.

    Raises:
        ValueError: if an edge's best function fits worse than ``minimum_r2``; the
            message names the worst edge.
    """
    import sympy

    if edges is None and all(
        multiplication.learned(layer) is None for layer in model.layers
    ):
        edges = _all_frozen(model, params)
    elif edges is None:
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
    symbols = [sympy.Symbol(name) for name in names]
    values: list[Any] = symbols
    for i, layer in enumerate(model.layers):
        sums = _constants(
            params[i].get("bias", np.zeros(multiplication.sums(layer))), digits
        )
        for edge in edges:
            if edge.layer != i:
                continue
            a, b, c, d = _constants(edge.fit.coefficients, digits)
            inner = a * values[edge.source] + b
            outer = LIBRARY[edge.fit.name].evaluate(sympy, inner)
            sums[edge.target] += c * outer + d
        values = _units_of(layer, params[i], sums, digits)
    tolerance = 10.0 ** (1 - digits)
    return [tidy(sympy.S(v), x, symbols, tolerance=tolerance) for v in values]


def latex(expressions: Sequence[Any]) -> list[str]:
    """Formulas from :func:`formula` as LaTeX, without dollar signs.

    Args:
        expressions: of sympy.
    """
    import sympy

    return [sympy.latex(expression) for expression in expressions]


def _units_of(
    layer: multiplication.Layer, params: Any, sums: list[Any], digits: int
) -> list[Any]:
    """Return the units as expressions, from those of the sums."""
    if not isinstance(layer, multiplication.UnitLayer):
        return sums

    def moved(values: list[Any], name: str) -> list[Any]:
        if not layer.affine:
            return values
        scale, shift = (
            _constants(params[f"{name}_{end}"], digits) for end in ("scale", "shift")
        )
        return [s * v + t for s, v, t in zip(scale, values, shift, strict=True)]

    units: list[Any] = [1] * layer.out_features
    targets = multiplication.unit_of_sum(layer)
    for target, value in zip(targets, moved(sums, "sum"), strict=True):
        units[target] = units[target] * value
    return moved(units, "unit")


def _constants(values: Any, digits: int) -> list[Any]:
    import sympy

    return [sympy.Float(v, digits) if v else sympy.S.Zero for v in map(float, values)]
