"""Which functions the edges of a network are, judged by the whole network's fit.

Several functions often fit an edge's samples nearly equally well, and what is between
two edges may be measured on any scale that the second undoes. So functions are chosen
together: the combinations that look most plausible edge by edge are fitted to the
targets, and the best compromise between fit and simplicity is taken.
"""

import dataclasses
import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax.kan import affine_fit, multiplication
from kanjax.kan.library import LIBRARY
from kanjax.training import lbfgs

_MOST_ROWS = 300
_ITERATIONS = 60
_SMALLEST_GAIN = 1e-6
_EXACT = 1e-12
_STEP = 1e-7

Layers = Sequence[multiplication.UnitLayer]


def search(
    layers: Layers,
    params: Sequence[Any],
    x: Float[Array, "batch in"],
    y: Float[Array, "batch out"],
    candidates: Sequence[Sequence[affine_fit.Fit]],
    *,
    patience: int,
    complexity_weight: float,
) -> tuple[tuple[int, ...], Any] | None:
    """Return the best combination of functions, and the parameters fitted with it.

    A combination's implausibility is that of ``affine_fit.implausibility``, with the
    mean of the edges' complexities and the squared error over the targets' variance.
    Combinations come in turn by two sums over the edges' own implausibilities: the one
    weighs complexity as asked, the other a quarter as much, so that an exact but less
    simple function has its turn early. The search ends at an exact fit.

    Args:
        layers: of a network all of whose edges are formulas.
        params: its parameters.
        x: (batch, in), samples; combinations are compared on at most 300 of them, and
            the best one is fitted to all.
        y: (batch, out), the targets.
        candidates: for every edge, layer by layer, what it may be.
        patience: after how many combinations in a row that are no better it ends.
        complexity_weight: as for ``affine_fit.implausibility``.

    Returns:
        Each edge's index in its candidates, and the parameters, as numpy arrays; None
        if no combination could be fitted, as with fewer samples than parameters.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), _MOST_ROWS)).astype(int)
    inputs, targets = (np.asarray(v, float) for v in (x, y))
    few = inputs[rows], targets[rows]
    power = np.sum((few[1] - np.mean(few[1], axis=0)) ** 2) or 1.0
    best, least, left = None, np.inf, patience
    order = _interleaved(candidates, (complexity_weight, complexity_weight / 4))
    for choice in order:
        picked = [each[i] for each, i in zip(candidates, choice, strict=True)]
        changed, start = _with(layers, params, picked)
        fitted, error = _fitted(changed, start, *few)
        misfit = error / power
        complexity = float(np.mean([LIBRARY[fit.name].complexity for fit in picked]))
        value = affine_fit.implausibility(
            complexity, misfit + _EXACT, complexity_weight
        )
        if value < least:
            best, least, left = (choice, changed, fitted), value, patience
        else:
            left -= 1
        if misfit < _EXACT or not left:
            break
    if best is None:
        return None
    choice, changed, fitted = best
    if len(rows) < len(inputs):
        fitted, _ = _fitted(changed, fitted, inputs, targets)
    return choice, fitted


def _interleaved(
    candidates: Sequence[Sequence[affine_fit.Fit]], weights: Sequence[float]
) -> Iterator[tuple[int, ...]]:
    """Every combination once, in turn by one and the other weight of complexity."""
    costs = [
        [[fit.implausibility(w) for fit in each] for each in candidates]
        for w in weights
    ]
    seen = set()
    for choice in itertools.chain.from_iterable(
        zip(*map(_choices, costs), strict=True)
    ):
        if choice not in seen:
            seen.add(choice)
            yield choice


def _choices(costs: Sequence[Sequence[float]]) -> Iterator[tuple[int, ...]]:
    """One index into every list, by the sum of what they point at, lowest first."""
    orders = [np.argsort(each, kind="stable") for each in costs]
    sorted_costs = [np.sort(each) for each in costs]
    first = tuple(0 for _ in costs)
    heap = [(sum(float(each[0]) for each in sorted_costs), first)]
    seen = {first}
    while heap:
        total, ranks = heapq.heappop(heap)
        yield tuple(int(o[r]) for o, r in zip(orders, ranks, strict=True))
        for e, rank in enumerate(ranks):
            other = (*ranks[:e], rank + 1, *ranks[e + 1 :])
            if rank + 1 < len(costs[e]) and other not in seen:
                seen.add(other)
                more = sorted_costs[e][rank + 1] - sorted_costs[e][rank]
                heapq.heappush(heap, (total + more, other))


def _with(
    layers: Layers, params: Sequence[Any], picked: Sequence[affine_fit.Fit]
) -> tuple[list[multiplication.UnitLayer], tuple[Any, ...]]:
    """Return the layers with other functions, which start as they fit their own
    edges.
    """
    rest = iter(picked)
    changed, start = [], []
    for layer, p in zip(layers, params, strict=True):
        old = multiplication.formulas(layer)
        fits = list(itertools.islice(rest, len(old)))
        new = (e._replace(function=f.name) for e, f in zip(old, fits, strict=True))
        changed.append(dataclasses.replace(layer, formulas=tuple(new)))
        constants = np.array([fit.coefficients for fit in fits]).reshape(-1, 4)
        start.append({**p, "formulas": constants})
    return changed, tuple(start)


def _fitted(
    layers: Layers, start: Sequence[Any], x: np.ndarray, y: np.ndarray
) -> tuple[Any, float]:
    """Levenberg and Marquardt's least squares: the parameters, the squared error."""
    import scipy.optimize

    flat, unravel = lbfgs.to_vector(start)

    def residuals(flat: np.ndarray) -> np.ndarray:
        errors = _apply(layers, unravel(flat), x) - y
        return errors.reshape(*flat.shape[:-1], y.size)

    def jacobian(flat: np.ndarray) -> np.ndarray:
        steps = _STEP * np.maximum(1, np.abs(flat))
        moved = residuals(flat + np.diag(steps))
        return (moved - residuals(flat)).T / steps

    with np.errstate(all="ignore"):
        if not np.all(np.isfinite(residuals(flat))) or y.size < flat.size:
            return start, np.inf
        solution = scipy.optimize.least_squares(
            residuals,
            flat,
            jac=jacobian,  # pyright: ignore[reportArgumentType]
            method="lm",
            ftol=_SMALLEST_GAIN,
            max_nfev=_ITERATIONS,
        )
    return unravel(solution.x), 2 * solution.cost if np.isfinite(
        solution.cost
    ) else np.inf


def _apply(layers: Layers, params: Sequence[Any], x: np.ndarray) -> np.ndarray:
    """Return the outputs, by numpy: to compile every combination would take far longer.

    Leading axes of the parameters are leading axes of the outputs.
    """
    for layer, p in zip(layers, params, strict=True):
        sums = np.zeros((*p["formulas"].shape[:-2], x.shape[-2], layer.sums))
        coefficients = np.moveaxis(p["formulas"], -1, 0)[..., None]
        for e, edge in enumerate(multiplication.formulas(layer)):
            a, b, c, d = coefficients[..., e, :]
            value = LIBRARY[edge.function].finite(np, a * x[..., edge.source] + b)
            sums[..., edge.target] += c * value + d
        rest = {name: v[..., None, :] for name, v in p.items() if name != "formulas"}
        x = layer.units(rest, sums)
    return x
