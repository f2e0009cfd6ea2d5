"""Several seeds of the same thing: each through time, or their mean against a size."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax.theory import sample_complexity


@style.styled
def seed_curves(
    times: ArrayLike,
    curves: ArrayLike,
    *,
    label: str | None = None,
    place: int = 0,
    dashes: Any = "-",
    axes: Axes | None = None,
) -> Figure:
    """Return a thin line for each seed, all alike.

    Args:
        times: (times,).
        curves: (seeds, times); what is not finite is left out.
        label: of all of them together.
        place: in the palette of colors.
        dashes: of the lines, as for matplotlib.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the lengths differ.
    """
    t, lines = style.array(times, "times", 1), style.array(curves, "curves", 2)
    _check_lengths("curves", lines.shape[1], "times", len(t))
    figure, axes = style.on_axes(axes)
    looks: dict[str, Any] = {"color": _color(place), "linewidth": 0.9}
    looks["linestyle"] = dashes
    axes.plot(t, np.where(np.isfinite(lines), lines, np.nan).T, **looks)
    axes.plot([], [], label=None if label is None else style.escape(label), **looks)
    return figure


@style.styled
def seed_means(
    sizes: ArrayLike,
    values: ArrayLike,
    *,
    law: "sample_complexity.PowerLaw | None" = None,
    label: str | None = None,
    place: int = 0,
    dashes: Any = "-",
    axes: Axes | None = None,
) -> Figure:
    """Return a mark for each seed, with their mean or a power law as a line.

    Args:
        sizes: (sizes,).
        values: (sizes, seeds); the mean is drawn where all of them are finite.
        law: draws this line and its exponent instead, on logarithmic axes.
        label: of all of them together.
        place: in the palette of colors and in the marks.
        dashes: of the line, as for matplotlib.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the lengths differ.
    """
    x, y = style.array(sizes, "sizes", 1), style.array(values, "values", 2)
    _check_lengths("values", len(y), "sizes", len(x))
    figure, axes = style.on_axes(axes)
    y = np.where(np.isfinite(y), y, np.nan)
    looks: dict[str, Any] = {"color": _color(place)}
    looks["marker"] = style.MARKERS[place % len(style.MARKERS)]
    axes.plot(x, y, linestyle="none", markersize=3, alpha=0.5, **looks)
    mean, text = y.mean(axis=1), "" if label is None else style.escape(label)
    if law is None:
        axes.plot(x, mean, linestyle=dashes, label=text or None, **looks)
        return figure
    axes.plot(x, mean, linestyle="none", **looks)
    axes.plot(
        x,
        law.factor * x**law.exponent,
        color=_color(place),
        linestyle=dashes,
        label=f"{text}, exponent {exponent(law)}".removeprefix(", "),
    )
    style.log_scale(axes, "both")
    return figure


def exponent(law: "sample_complexity.PowerLaw") -> str:
    """Write an exponent with half of its interval, where that is finite.

    Args:
        law: such as :func:`kanjax.theory.sample_complexity.fit_power_law` gives.
    """
    half = (law.interval[1] - law.interval[0]) / 2
    return f"{law.exponent:.2f}" + (f" ± {half:.2f}" if np.isfinite(half) else "")


def _color(place: int) -> str:
    return style.PALETTE[place % len(style.PALETTE)]


def _check_lengths(name: str, count: int, other: str, expected: int) -> None:
    if count != expected:
        raise ValueError(f"{name} has {count} for {expected} {other}; give as many.")
