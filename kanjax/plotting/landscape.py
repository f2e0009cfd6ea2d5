"""Losses on planes, along lines and between the members of an ensemble."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax import landscape

    LossLine = tuple[ArrayLike, ArrayLike] | landscape.Line | landscape.Barrier

_LEVELS = 20
_RATIO_FOR_LOG = 20.0
_MOST_NUMBERS = 10
_SIDE_BY_SIDE = 5
# More marks than this are a training run.
_MOST_MEMBERS = 3


@style.styled
def loss_plane(
    plane: "landscape.Plane",
    *,
    title: str | None = None,
    mark_names: Sequence[str] | None = None,
    log: bool | Literal["auto"] = "auto",
    accuracy: bool = False,
    value: str | int | None = None,
    label: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return the loss on a plane: filled contours, contour lines and the marked points.

    Args:
        plane: of kanjax.landscape's plane (a star marks the origin), plane_through
            (the three members are marked) or trajectory_plane (the run is a path).
        title: above the axes.
        mark_names: one a mark; "trained", member numbers, or "start" and "end" if None.
        log: whether levels are spaced on a log scale; "auto" does so for positive
            values whose largest is over 20 times the smallest. Not of accuracies.
        accuracy: whether the values are accuracies, so that dark is high.
        value: which entry of the losses to draw, where they are a dictionary or tuple.
        label: the colour bar's, with the unit if there is one.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the losses do not fit the grid, the value must be chosen, or log
            is True for values that are not positive.
    """
    x, y = style.array(plane.x, "plane.x", 1), style.array(plane.y, "plane.y", 1)
    z = entry(plane.losses, value, "plane.losses", 2)
    if z.shape != (y.size, x.size):
        raise ValueError(
            f"plane.losses has shape {z.shape}; for y ({y.size},) and x ({x.size},) it "
            f"must be ({y.size}, {x.size})."
        )
    finite = np.isfinite(z)
    ratio = float(np.ptp(y) / np.ptp(x))
    equal = 1 / 3 <= ratio <= 3
    height = 0.9 + 3.3 * min(ratio, 1.0) if equal else 4.2
    figure, axes = style.on_axes(axes, (5.0, height))
    axes.patch.set(facecolor="0.9", hatch="///", edgecolor="0.65")
    if finite.any():
        name = label or ("accuracy" if accuracy else "loss")
        _contours(figure, axes, x, y, z, accuracy, _is_log(z, log, accuracy), name)
    else:
        style.say_empty(axes)
    _marks(axes, np.array(plane.marks, dtype=float), mark_names)
    if len(plane.marks) == 1:
        axes.set_xlabel("steps along direction 1")
        axes.set_ylabel("steps along direction 2")
    else:
        axes.set_xlabel("distance in parameter space")
        axes.set_ylabel("distance in parameter space")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(5))
    if equal:
        axes.set_aspect("equal")
    axes.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    style.add_title(axes, title)
    lost = int(np.sum(~finite))
    style.add_note(
        axes, f"{lost} of {z.size} points not finite: hatched" if lost else ""
    )
    return figure


@style.styled
def barrier_curves(
    lines: "Mapping[str, LossLine]",
    *,
    value: str | int | None = None,
    label: str = "loss",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return the loss on straight segments between two members each.

    Args:
        lines: by name, (alphas, losses) of shape (points,) each, or a Line or Barrier.
        value: which entry of the losses to draw, where they are a dictionary or tuple.
        label: the vertical axis', with the unit if there is one.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if there is no line, the shapes of one differ, or the value must be
            chosen.
    """
    if not lines:
        raise ValueError("lines is empty; give (alphas, losses) by name.")
    figure, axes = style.on_axes(axes)
    lost = 0
    for k, (name, line) in enumerate(lines.items()):
        places, losses = _positions(line)
        alphas = style.array(places, f"the alphas of {name!r}", 1)
        heights = entry(losses, value, f"the losses of {name!r}", 1)
        if alphas.shape != heights.shape:
            raise ValueError(
                f"the alphas of {name!r} have shape {alphas.shape} and its losses "
                f"{heights.shape}; they must be equal."
            )
        finite = np.isfinite(heights)
        lost += int(np.sum(~finite))
        axes.plot(
            alphas,
            np.where(finite, heights, np.nan),
            color=style.PALETTE[k % len(style.PALETTE)],
            linestyle=style.DASHES[k % len(style.DASHES)],
            marker=style.MARKERS[k % len(style.MARKERS)],
            markevery=max(1, alphas.size // 8),
            label=style.shorten(name, 28),
        )
    axes.set_xlabel("position α on the segment (0 and 1: the two members)")
    axes.set_ylabel(label)
    axes.margins(y=0.12)
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(lost))
    axes.legend()
    return figure


def _positions(line: Any) -> tuple[Any, Any]:
    """Return alphas and losses, of a Line or Barrier by the fields' names."""
    return (line.alphas, line.losses) if hasattr(line, "alphas") else line[:2]


@style.styled
def barrier_matrix(
    before: ArrayLike,
    after: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    titles: tuple[str, str] = ("before alignment", "after alignment"),
    label: str = "barrier (loss)",
    title: str | None = None,
) -> Figure:
    """Barriers between members before and after, on one colour scale.

    Side by side for up to 5 members, one above the other for more, so that the numbers
    (for up to 10 members) stay readable.

    Args:
        before: (members, members).
        after: of the same shape.
        names: one a member; numbers from 1 if None.
        titles: of the two pictures; each gets the mean over pairs.
        label: the colour bar's, with the unit.
        title: above both.

    Raises:
        ValueError: if the shapes differ or are not square.
    """
    both = [style.array(before, "before", 2), style.array(after, "after", 2)]
    members = len(both[0])
    if both[0].shape != (members, members) or both[1].shape != both[0].shape:
        raise ValueError(
            f"before has shape {both[0].shape} and after {both[1].shape}; both must be "
            "(members, members)."
        )
    ticks = style.labels(names, members, "names", "", 10)
    off = ~np.eye(members, dtype=bool)
    shown = np.stack(both)[:, off]
    finite = shown[np.isfinite(shown)]
    factor, decimals, power = _scale(float(finite.max()) if finite.size else 0.0)
    top = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    bottom = min(0.0, float(finite.min())) if finite.size else 0.0
    beside = members <= _SIDE_BY_SIDE
    figure = style.new_figure((5.6, 3.0) if beside else (4.8, 8.0))
    panels = figure.subplots(*((1, 2) if beside else (2, 1)), squeeze=False).ravel()
    image: Any = None
    for axes, matrix, name in zip(panels, both, titles, strict=True):
        axes.set_facecolor("0.9")
        image = axes.imshow(
            np.ma.masked_where(~np.isfinite(matrix) | ~off, matrix * factor),
            cmap="viridis",
            vmin=bottom * factor,
            vmax=top * factor,
        )
        _numbers(axes, image, matrix * factor, off, decimals)
        each = -(-members // 16)
        turned = max(len(tick) for tick in ticks) * members > 20
        axes.set_yticks(range(0, members, each), ticks[::each])
        axes.set_xticks(
            range(0, members, each), ticks[::each], rotation=90 if turned else 0
        )
        axes.set_xlabel("member")
        pairs = matrix[off & np.isfinite(matrix)]
        mean = f"{pairs.mean():.2g}" if pairs.size else "none"
        # Nothing is in its way; to find that, all ticks would be placed again.
        axes.set_title(f"{style.escape(name)}\n(mean of pairs {mean})", y=1.0)
        style.add_note(axes, style.not_finite(int(np.sum(~np.isfinite(matrix)))))
    panels[0].set_ylabel("member")
    if not beside:
        panels[1].set_ylabel("member")
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8, pad=0.03)
    bar.set_label(style.escape(label) + power)
    if title is not None:
        figure.suptitle(style.escape(title))
    return figure


def entry(losses: Any, value: str | int | None, name: str, ndim: int) -> np.ndarray:
    """Return the array to draw out of losses that may hold several."""
    if value is not None:
        try:
            losses = losses[value]
        except (KeyError, IndexError, TypeError):
            raise ValueError(
                f"value is {value!r}, which {name} does not have; {_choices(losses)}."
            ) from None
    elif isinstance(losses, Mapping | tuple):
        raise ValueError(f"{name} holds several values; {_choices(losses)}.")
    return style.array(losses, name, ndim)


def _choices(losses: Any) -> str:
    if isinstance(losses, Mapping):
        return f"value= must be one of {sorted(losses)}"
    if isinstance(losses, tuple):
        return f"value= must be an index below {len(losses)}"
    return "it is one array, so leave value out"


def _is_log(z: np.ndarray, log: bool | str, accuracy: bool) -> bool:
    shown = z[np.isfinite(z)]
    positive = bool(shown.min() > 0)
    if log == "auto":
        return positive and not accuracy and shown.max() > _RATIO_FOR_LOG * shown.min()
    if log and not positive:
        raise ValueError(
            f"log is True, but the smallest value is {shown.min():.3g}; give "
            'log=False or "auto".'
        )
    return bool(log)


def _contours(
    figure: Figure,
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    accuracy: bool,
    is_log: bool,
    label: str,
) -> None:
    shown = z[np.isfinite(z)]
    low, high = float(shown.min()), float(shown.max())
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-30):
        pad = max(abs(low), 1.0) * 1e-3
        low, high = low - pad, high + pad
        is_log = False
    masked = np.ma.masked_invalid(z)
    if is_log:
        levels = np.geomspace(low, high, _LEVELS + 1)
        norm: colors.Normalize = colors.LogNorm(low, high)
    else:
        levels = np.linspace(low, high, _LEVELS + 1)
        norm = colors.Normalize(low, high)
    # The outermost levels are the extremes themselves, which round-off may cut off.
    levels[0], levels[-1] = low, high
    cmap = "viridis_r" if accuracy else "viridis"
    filled = axes.contourf(x, y, masked, levels=levels, norm=norm, cmap=cmap)
    # Thin seams between the levels in a vector file are filled by their own edges.
    filled.set_edgecolor("face")
    axes.contour(
        x, y, masked, levels=levels[2:-1:2], colors="white", linewidths=0.5, alpha=0.7
    )
    bar = figure.colorbar(filled, cax=style.beside(axes))
    bar.set_label(style.escape(label) + (" (log scale)" if is_log else ""))
    if is_log:
        _log_ticks(bar, low, high)
    else:
        bar.locator = ticker.MaxNLocator(6)
        bar.update_ticks()


def _log_ticks(bar: Any, low: float, high: float) -> None:
    """Round numbers inside the range: decades if there are enough, else 1-2-5."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [m * 10.0**d for d in decades for m in mantissas]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    ticks = ticks[:: -(-len(ticks) // 8)]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(ticker.NullLocator())


def _marks(axes: Axes, marks: np.ndarray, names: Sequence[str] | None) -> None:
    if marks.ndim != 2 or marks.shape[1] != 2:
        raise ValueError(f"plane.marks has shape {marks.shape}; it must be (marks, 2).")
    if names is None and len(marks) > _MOST_MEMBERS:
        _path(axes, marks)
        return
    if names is None and len(marks) == 1:
        names = ["trained"]
    texts = style.labels(names, len(marks), "mark_names", "member ", 16)
    shapes = ("*",) if len(marks) == 1 else style.MARKERS
    middle = marks[:, 0].mean()
    for k, ((x, y), text) in enumerate(zip(marks, texts, strict=True)):
        axes.plot(
            x,
            y,
            linestyle="none",
            marker=shapes[k % len(shapes)],
            markersize=13 if len(marks) == 1 else 8,
            color="white",
            markeredgecolor="black",
            label=text,
            zorder=5,
        )
        _name(axes, x, y, text, leftwards=len(marks) > 1 and x > middle)


def _path(axes: Axes, marks: np.ndarray) -> None:
    """Draw a training run, with names for its two ends only."""
    axes.plot(
        marks[:, 0],
        marks[:, 1],
        color=style.ORANGE,
        marker="o",
        markersize=3.5,
        linewidth=1.2,
        path_effects=style.halo(),
        zorder=5,
    )
    middle = marks[:, 0].mean()
    for (x, y), text in ((marks[0], "start"), (marks[-1], "end")):
        _name(axes, x, y, text, leftwards=x > middle)


def _name(axes: Axes, x: float, y: float, text: str, *, leftwards: bool) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(-8 if leftwards else 8, 7),
        textcoords="offset points",
        ha="right" if leftwards else "left",
        path_effects=style.halo(),
        zorder=6,
    )


def _scale(largest: float) -> tuple[float, int, str]:
    """Return a factor, decimals and the unit's text that make numbers of few digits."""
    if largest <= 0:
        return 1.0, 2, ""
    exponent = math.floor(math.log10(largest))
    if -1 <= exponent <= 2:
        return 1.0, max(0, 2 - max(exponent, 0)), ""
    return 10.0**-exponent, 2, rf" / $10^{{{exponent}}}$"


def _numbers(
    axes: Axes, image: Any, matrix: np.ndarray, off: np.ndarray, decimals: int
) -> None:
    if len(matrix) > _MOST_NUMBERS:
        return
    for i, j in np.argwhere(off):
        number = matrix[i, j]
        finite = np.isfinite(number)
        axes.text(
            j,
            i,
            f"{number:.{decimals}f}" if finite else "n/a",
            ha="center",
            va="center",
            size=9,
            color=style.text_color(image.to_rgba(number)) if finite else "black",
            # Inside of its cell: a layout need not measure it.
            clip_on=True,
        )
