"""What memories recall, and how many patterns attention heads use."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax.hopfield import HeadStatistics, PhaseDiagram

_COLORS = (style.BLUE, style.AMBER, style.ORANGE)


@style.styled
def head_statistics(
    statistics: "HeadStatistics",
    *,
    order: Literal["median", "head"] = "median",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """How many patterns each head uses, as the distribution over states.

    A bar marks the median, and colours tell the regime that it is in.

    Args:
        statistics: of :func:`kanjax.hopfield.head_statistics`.
        order: of the heads, by their median or their number.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: for an unknown order, or where no state looks at anything.
    """
    if order not in ("median", "head"):
        raise ValueError(f"order must be 'median' or 'head'; got {order!r}.")
    in_use = style.array(statistics.in_use, "statistics.in_use", 2)
    median = np.asarray(statistics.median, float)
    regime = np.asarray(statistics.regime)
    if not np.all(np.isfinite(median)):
        raise ValueError("the states of some head look at nothing; leave it out.")
    heads = np.arange(len(in_use))
    if order == "median":
        heads = np.argsort(-median, kind="stable")
    figure, axes = style.on_axes(axes, (max(5.0, 1.6 + 0.42 * len(heads)), 3.6))
    for place, head in enumerate(heads):
        _distribution(axes, place, in_use[head], median[head], _COLORS[regime[head]])
    available = np.asarray(statistics.available, float)[heads]
    axes.step(
        np.arange(-0.5, len(heads) + 0.5),
        np.append(available, available[-1]) / 2,
        where="post",
        color=style.GRAY,
        linestyle=":",
    )
    for code, label in sorted(
        set(zip(regime.tolist(), statistics.regimes, strict=True))
    ):
        axes.plot([], [], color=_COLORS[code], linewidth=6, label=label)
    axes.plot([], [], color=style.GRAY, linestyle=":", label="half of all patterns")
    axes.set_xticks(range(len(heads)), [str(head + 1) for head in heads])
    axes.set_xlabel("head, by its median" if order == "median" else "head")
    axes.set_ylabel("patterns in use")
    axes.set_ylim(bottom=0)
    style.light_grid(axes, "y")
    style.add_title(axes, title)
    lost = int(np.sum(~np.isfinite(in_use)))
    style.add_note(axes, f"{lost} states look at nothing" if lost else "")
    axes.legend(loc="best")
    return figure


@style.styled
def recall_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    xlabel: str = "stored patterns",
    ylabel: str = "share recalled",
    log: bool = True,
    log_y: bool = False,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return what is recalled against how much is stored.

    Args:
        curves: by name, positions (n,) and values (n,).
        xlabel: what the positions are.
        ylabel: what the values are.
        log: whether the horizontal axis is logarithmic.
        log_y: whether the vertical axis is logarithmic.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if there is no curve, or one whose two arrays differ in length.
    """
    if not curves:
        raise ValueError("curves is empty; give (positions, values) by name.")
    figure, axes = style.on_axes(axes)
    lost = 0
    for k, (name, (positions, values)) in enumerate(curves.items()):
        x = style.array(positions, f"the positions of {name!r}", 1)
        y = style.array(values, f"the values of {name!r}", 1)
        if x.shape != y.shape:
            raise ValueError(
                f"{name!r} has {len(x)} positions and {len(y)} values; give one value "
                "for each position."
            )
        drawable = np.isfinite(y) & ((y > 0) | (not log_y))
        lost += int(np.sum(~drawable))
        axes.plot(
            x,
            np.where(drawable, y, np.nan),
            color=style.PALETTE[k % len(style.PALETTE)],
            linestyle=style.DASHES[k % len(style.DASHES)],
            marker=style.MARKERS[k % len(style.MARKERS)],
            label=style.shorten(name, 32),
        )
    if log:
        style.log_scale(axes, "x")
    if log_y:
        style.log_scale(axes, "y")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    style.light_grid(axes)
    style.add_title(axes, title)
    what = "value that is not finite" + (" and positive" if log_y else "")
    style.add_note(axes, f"{lost} {what}, not shown" if lost else "")
    axes.legend(loc="best")
    return figure


@style.styled
def recalled_images(
    rows: Mapping[str, ArrayLike], *, title: str | None = None
) -> Figure:
    """Rows of pictures under each other, such as cues and what they recall.

    Args:
        rows: by name, pictures (n, height, width), as many in each row.
        title: above all.

    Raises:
        ValueError: if there is no row, or rows differ in their number of pictures.
    """
    if not rows:
        raise ValueError("rows is empty; give pictures by name.")
    arrays: dict[str, Any] = {
        name: style.array(images, f"rows[{name!r}]", 3) for name, images in rows.items()
    }
    counts = {name: len(pictures) for name, pictures in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"rows must have as many pictures each; got {counts}.")
    columns = next(iter(counts.values()))
    figure = style.new_figure((0.6 * columns + 1.6, 0.66 * len(arrays) + 0.3))
    grid = figure.subplots(len(arrays), columns, squeeze=False)
    for line, (name, pictures) in zip(grid, arrays.items(), strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.set_facecolor("0.85")
            axes.imshow(np.ma.masked_invalid(picture), cmap="gray_r")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(
            style.shorten(name, 24), rotation=0, ha="right", va="center", labelpad=6
        )
    if title is not None:
        figure.suptitle(style.escape(title))
    return figure


@style.styled
def phase_diagram(
    diagram: "PhaseDiagram", *, title: str | None = None, axes: Axes | None = None
) -> Figure:
    """Regions of a plane of two controls with their names, and lines with theirs.

    Points that did not converge stay white, and a note says how many they are.

    Args:
        diagram: of :func:`kanjax.hopfield.phase_diagram`.
        title: above the axes.
        axes: where to draw; a new figure if None.
    """
    x = style.array(diagram.columns, "diagram.columns", 1)
    y = style.array(diagram.rows, "diagram.rows", 1)
    codes = style.array(diagram.codes, "diagram.codes", 2)
    codes[~np.asarray(diagram.converged, bool)] = np.nan
    figure, axes = style.on_axes(axes)
    last = len(diagram.names) - 1
    axes.pcolormesh(x, y, codes, cmap="Blues", vmin=-0.5, vmax=last + 1.5)
    taken = []
    for code, name in enumerate(diagram.names):
        if np.any(codes == code):
            row, column = _inmost(codes == code)
            along, up = float(x[column]), float(y[row])
            taken.append((along, up))
            color = "white" if code == last else "black"
            axes.text(along, up, name, ha="center", va="center", color=color)
    for k, (name, curve) in enumerate(diagram.lines.items()):
        dashes = style.DASHES[k % len(style.DASHES)]
        axes.plot(*curve, color=style.ORANGE, linestyle=dashes)
        _label_line(axes, curve, name, taken)
    axes.set(xlabel=diagram.axes[0], ylabel=diagram.axes[1])
    style.add_title(axes, title)
    lost = int(np.sum(np.isnan(codes)))
    style.add_note(axes, f"white: {lost} not converged" if lost else "")
    return figure


def _label_line(
    axes: Axes, curve: tuple[np.ndarray, np.ndarray], name: str, taken: Any
) -> None:
    """Write along a curve, where it is farthest from the texts at points ``taken``."""
    even = np.linspace(0, 1, 101)
    line = np.stack([np.interp(even, np.linspace(0, 1, len(v)), v) for v in curve], 1)
    size = np.ptp(np.array([axes.get_xlim(), axes.get_ylim()]), axis=1)
    gaps = np.linalg.norm((line[20:81, None] - taken) / size, axis=-1)
    at = 20 + int(np.argmax(gaps.min(axis=1)))
    dx, dy = line[at + 10] - line[at - 10]
    axes.text(
        float(line[at, 0]),
        float(line[at, 1]),
        name,
        color=style.ORANGE,
        size=9,
        ha="center",
        va="bottom",
        rotation=np.degrees(np.arctan2(dy, dx)),
        rotation_mode="anchor",
        transform_rotates_text=True,
        path_effects=style.halo(),
    )


def _inmost(mask: np.ndarray) -> tuple[int, int]:
    """Where a region is widest; words need more room along rows than across."""
    from scipy import ndimage

    depth: Any = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=(1.0, 0.25))
    row, column = np.unravel_index(np.argmax(depth[1:-1, 1:-1]), mask.shape)
    return int(row), int(column)


def _distribution(
    axes: Axes, place: int, values: np.ndarray, median: float, color: str
) -> None:
    values = values[np.isfinite(values)]
    if np.ptp(values) > 0:
        parts: Any = axes.violinplot([values], [place], widths=0.8, showextrema=False)
        for body in parts["bodies"]:
            body.set(facecolor=color, edgecolor=color, alpha=0.6)
    axes.plot([place - 0.3, place + 0.3], [median] * 2, color=color, linewidth=2.5)
