"""How many examples a learner needs, and how that number grows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike


def first_size(
    sizes: ArrayLike, scores: ArrayLike, target: float
) -> np.ndarray | np.floating:
    """Return the smallest size from which on all scores reach the target.

    Args:
        sizes: (sizes,), increasing, such as numbers of training examples.
        scores: (..., sizes), the larger the better.
        target: what a score has to reach.

    Returns:
        (...), infinity where the score at the largest size is below the target.

    Raises:
        ValueError: if sizes do not increase, or scores have another last axis.

    Examples:
        >>> float(first_size([10, 20, 40, 80], [0.2, 0.7, 0.6, 0.9], 0.65))
        80.0
    """
    sizes, scores = np.asarray(sizes), np.asarray(scores)
    if sizes.ndim != 1 or np.any(np.diff(sizes) <= 0):
        raise ValueError(f"sizes must be increasing numbers; got {sizes}.")
    if scores.shape[-1:] != sizes.shape:
        raise ValueError(
            f"scores must have shape (..., {len(sizes)}), one for each size; got "
            f"{scores.shape}."
        )
    # The last failure decides; NaN is one.
    passes = np.cumprod(scores[..., ::-1] >= target, axis=-1).sum(axis=-1)
    padded = np.append(sizes, np.inf).astype(float)
    return padded[len(sizes) - passes]


def search_size(
    score: Callable[[int], float],
    target: float,
    *,
    low: int,
    high: int,
    factor: float = 1.2,
) -> float:
    """Find the size at which a score comes to reach a target, by bisection.

    The score is taken to grow with the size; each is computed once, for about the
    logarithm of the number of sizes.

    Args:
        score: of a size, the larger the better.
        target: what it has to reach.
        low: the first size of a geometric grid.
        high: the grid goes up to here.
        factor: between sizes of the grid, above 1.

    Returns:
        A size of the grid that reaches the target, while the one before does not;
        infinity if the largest does not.

    Raises:
        ValueError: if the grid is empty or its factor is not above 1.

    Examples:
        >>> search_size(lambda n: 1 - 10 / n, 0.9, low=8, high=1000, factor=2)
        128.0
    """
    sizes = geometric_sizes(low, high, factor)
    first, last = 0, len(sizes)
    while first < last:
        middle = (first + last) // 2
        if score(int(sizes[middle])) >= target:
            last = middle
        else:
            first = middle + 1
    return float(sizes[first]) if first < len(sizes) else np.inf


def geometric_sizes(low: int, high: int, factor: float = 1.2) -> np.ndarray:
    """Return whole numbers from low to high, each about ``factor`` times the last.

    Args:
        low: the first, at least 1.
        high: none is above this.
        factor: above 1.

    Raises:
        ValueError: if low is less than 1, high below low, or the factor not above 1.
    """
    if low < 1 or high < low:
        raise ValueError(f"sizes must run from 1 or more upwards; got {low} to {high}.")
    if not factor > 1:
        raise ValueError(f"factor must be above 1; got {factor}.")
    count = int(np.log(high / low) / np.log(factor) + 1e-9) + 1
    return np.unique(np.round(low * factor ** np.arange(count)).astype(int))


class PowerLaw(NamedTuple):
    """A line through logarithms.

    Attributes:
        exponent: its slope.
        interval: (low, high), the confidence interval of the exponent; wide, or
            infinite, for few points.
        factor: what multiplies ``x ** exponent``.
    """

    exponent: float
    interval: tuple[float, float]
    factor: float


def fit_power_law(x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95) -> PowerLaw:
    """Fit ``y = factor * x ** exponent`` by least squares of logarithms.

    Args:
        x: (points,), above 0, two different ones at least.
        y: (points,), above 0 and finite.
        confidence: of the interval, by Student's t: it holds for independent errors of
            log y with one variance.

    Raises:
        ValueError: if a number is not positive and finite, or there are too few.

    Examples:
        >>> fit = fit_power_law([1, 2, 4, 8], [3, 12, 48, 192])
        >>> round(fit.exponent, 6), round(fit.factor, 6)
        (2.0, 3.0)
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or len(np.unique(x)) < 2:
        raise ValueError(
            "x and y must be as many numbers, x of two values at least; got shapes "
            f"{x.shape} and {y.shape}."
        )
    for name, values in (("x", x), ("y", y)):
        wrong = ~(np.isfinite(values) & (values > 0))
        if wrong.any():
            raise ValueError(
                f"{name} must be positive and finite to have a logarithm; got "
                f"{values[wrong][0]} at place {int(np.argmax(wrong))}."
            )
    line: Any = scipy.stats.linregress(np.log(x), np.log(y))
    reach = np.inf
    if len(x) > 2:
        reach = line.stderr * scipy.stats.t.ppf((1 + confidence) / 2, len(x) - 2)
    interval = float(line.slope - reach), float(line.slope + reach)
    return PowerLaw(float(line.slope), interval, float(np.exp(line.intercept)))
