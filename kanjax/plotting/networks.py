"""A Kolmogorov-Arnold network drawn with the function on each edge.

The picture follows Liu et al. (2024), arXiv 2404.19756, figures 2.4 and 4.1: an edge is
as dark as ``tanh(3 score)``, with the attribution score of KAN 2.0, arXiv 2408.10205.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax import kan

_MOST_CURVES = 30
_MOST_LINES = 200
_LABEL_INCHES = 0.2
_NUMBER_INCHES = 0.3
_WIDTH, _LAYER_INCHES = 5.4, 1.7


class _Shown(NamedTuple):
    """An edge in the picture: into the sum ``column`` of the unit ``target``."""

    layer: int
    source: int
    target: int
    score: float
    column: int
    formula: str


class _Box(NamedTuple):
    """Where the curve of an edge is drawn: the middle, and the size."""

    x: float
    y: float
    width: float
    height: float


@style.styled
def network(
    diagram: "kan.Diagram",
    *,
    names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    threshold: float = 0.03,
    title: str | None = None,
) -> Figure:
    """Units as dots, inputs below; an edge is as dark and wide as it matters.

    The strongest 30 edges carry a box with their learned curve, each on its own scale;
    up to 170 more are lines only. The figure says how many are not shown.
    Edges that are formulas have another colour and the function's name; units that
    multiply are crosses.

    Args:
        diagram: of ``kan.diagram(model, params, x)``.
        names: one an input; x1, x2, ... if None.
        output_names: one an output; y1, y2, ... if None.
        threshold: edges of at most this score are not shown.
        title: above the network.

    Raises:
        ValueError: if the names do not fit the network, or threshold is negative.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0; got {threshold}.")
    widths = diagram.widths
    below = style.labels(names, widths[0], "names", "x", 14)
    above = style.labels(output_names, widths[-1], "output_names", "y", 14)
    shown = _shown_edges(diagram, threshold)
    total = sum(int(np.sum(edges)) for edges in diagram.edges)
    lost = sum(int(np.sum(~np.isfinite(scores))) for scores in diagram.scores)

    depth = len(widths) - 1
    width, places = _WIDTH, [_spread(n, _WIDTH) for n in widths]
    names_height = _room(places[0], below) + _room(places[-1], above)
    figure = style.new_figure((width, 0.6 + names_height + _LAYER_INCHES * depth))
    axes = figure.add_subplot()
    axes.set(xlim=(0, width), ylim=(-0.06, depth + 0.06), yticks=[])
    axes.spines[:].set_visible(False)
    boxes = _boxes(shown[-_MOST_CURVES:], places, width)
    _draw_edges(axes, shown, boxes, places)
    _draw_curves(axes, diagram, boxes)
    _draw_units(axes, diagram, places, shown)
    _number_hidden_units(axes, places)
    strengths = _unit_strengths(shown, widths)
    _name_units(axes.xaxis, places[0], below, strengths[0])
    top = axes.secondary_xaxis("top")
    top.spines[:].set_visible(False)
    _name_units(top.xaxis, places[-1], above, strengths[-1])
    style.add_title(axes, title)
    hidden = total - len(shown)
    notes = ["darker and wider: higher score"]
    if hidden:
        notes.append(f"{hidden} of {total} edges not shown")
    if lost:
        notes.append(f"{lost} with a non-finite score")
    axes.set_xlabel("\n".join(f"({note})" for note in notes))
    if not shown:
        style.say_empty(axes, f"no edge has a score above {threshold:g}")
    return figure


def _shown_edges(diagram: "kan.Diagram", threshold: float) -> list[_Shown]:
    """Return the edges above the threshold, weakest first so that strong ones lie on
    top.
    """
    shown = []
    for k, scores in enumerate(diagram.scores):
        for i, o in np.argwhere(np.isfinite(scores) & (scores > threshold)).tolist():
            unit = int(diagram.unit_of_sum[k][o])
            name = diagram.formulas[k].get((i, o), "")
            shown.append(_Shown(k, i, unit, float(scores[i, o]), o, name))
    return sorted(shown, key=lambda edge: edge.score)[-_MOST_LINES:]


def _spread(count: int, width: float) -> np.ndarray:
    """Positions of units across the picture, no wider apart than they need."""
    step = min(width / count, 1.8)
    return width / 2 + step * (np.arange(count) - (count - 1) / 2)


def _boxes(
    shown: list[_Shown], places: list[np.ndarray], width: float
) -> dict[_Shown, _Box]:
    """Return a box for each edge, those of a layer in a row or in two."""
    boxes = {}
    for k in sorted({edge.layer for edge in shown}):
        row = sorted(
            (edge for edge in shown if edge.layer == k),
            key=lambda e: (places[k][e.source] + places[k + 1][e.target], e.source),
        )
        staggered = len(row) > 8
        side = min(0.44, width / len(row) * (1.6 if staggered else 0.85))
        step = min((width - side) / max(len(row) - 1, 1), 1.1)
        for j, edge in enumerate(row):
            middle = width / 2 + step * (j - (len(row) - 1) / 2)
            level = k + 0.5 + (0.16 * (-1) ** j if staggered else 0.0)
            boxes[edge] = _Box(middle, level, side, side / _LAYER_INCHES)
    return boxes


def _draw_edges(
    axes: Axes,
    shown: list[_Shown],
    boxes: dict[_Shown, _Box],
    places: list[np.ndarray],
) -> None:
    """Draw a line from unit to unit, by way of the edge's box if it has one."""
    lines, colors, widths = [], [], []
    for edge in shown:
        via = [boxes[edge][:2]] if edge in boxes else []
        start = (places[edge.layer][edge.source], edge.layer)
        end = (places[edge.layer + 1][edge.target], edge.layer + 1)
        lines.append([start, *via, end])
        strength = float(np.tanh(3 * edge.score))
        colors.append((0.0, 0.0, 0.0, max(strength, 0.06)))
        widths.append((1.0 if via else 0.6) * (0.4 + 1.4 * strength))
    drawn = LineCollection(
        lines,
        colors=colors,
        linewidths=widths,
        capstyle="round",
        zorder=1,
        label="_edges",
    )
    axes.add_collection(drawn, autolim=False)


def _draw_curves(axes: Axes, diagram: "kan.Diagram", boxes: dict[_Shown, _Box]) -> None:
    """Draw the function of each edge in its box, on a scale of its own.

    In the axes of the picture: axes for each would take most of its time.
    """
    corners, curves, colors = [], [], []
    for edge, box in boxes.items():
        x = diagram.inputs[edge.layer][:, edge.source]
        y = diagram.curves[edge.layer][:, edge.source, edge.column]
        order = np.argsort(x, kind="stable")
        across = box.x + box.width * _centered(x[order])
        upwards = box.y + box.height * _centered(y[order])
        curves.append(np.stack([across, upwards], axis=1))
        colors.append(style.ORANGE if edge.formula else style.BLUE)
        left, right = box.x - box.width / 2, box.x + box.width / 2
        low, high = box.y - box.height / 2, box.y + box.height / 2
        corners.append([(left, low), (left, high), (right, high), (right, low)])
        if edge.formula:
            name = axes.annotate(
                edge.formula,
                (box.x, high),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                size=8,
                color=style.ORANGE,
                # The edge's line runs behind it.
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                zorder=3,
            )
            # Inside of the picture: a layout need not measure it.
            name.set_in_layout(False)
    frames = PolyCollection(
        corners,
        facecolors="white",
        edgecolors="0.35",
        linewidths=0.7,
        # The outermost lie on the edge of the axes.
        clip_on=False,
        zorder=2,
        label="_boxes",
    )
    functions = LineCollection(
        curves, colors=colors, linewidths=1.3, zorder=3, label="_curves"
    )
    for drawn in (frames, functions):
        axes.add_collection(drawn, autolim=False)


def _centered(values: np.ndarray) -> np.ndarray:
    """Move and scale values into a unit's length around 0, with a margin.

    What is not finite becomes NaN, and equal values 0.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return values
    low, high = finite.min(), finite.max()
    return (values - (low + high) / 2) / (1.24 * ((high - low) or 1.0))


def _draw_units(
    axes: Axes, diagram: "kan.Diagram", places: list[np.ndarray], shown: list[_Shown]
) -> None:
    """Dots, or crosses where units multiply; without a shown edge they are hollow."""
    used = {(e.layer, e.source) for e in shown} | {
        (e.layer + 1, e.target) for e in shown
    }
    for k, row in enumerate(places):
        size = float(np.clip(40 * np.diff(row, prepend=row[0] - 1).min(), 1.5, 6.5))
        products = diagram.products[k - 1] if k else 0
        multiplies = np.arange(len(row)) >= len(row) - products
        is_used = np.array([(k, i) in used for i in range(len(row))])
        for full, marker in itertools.product((True, False), "oX"):
            kept = (is_used == full) & (multiplies == (marker == "X"))
            if kept.any():
                axes.plot(
                    row[kept],
                    np.full(kept.sum(), float(k)),
                    linestyle="none",
                    marker=marker,
                    markersize=size if marker == "o" else 1.6 * size,
                    color="black" if full else "white",
                    markeredgecolor="black" if full else "0.6",
                    markeredgewidth=0.7,
                    label="_units",
                    clip_on=False,
                    zorder=4,
                )


def _number_hidden_units(axes: Axes, places: list[np.ndarray]) -> None:
    """Write the number of each hidden unit, from the left, where there is room."""
    for k, row in enumerate(places[1:-1], start=1):
        if len(row) > 1 and np.diff(row).min() < _NUMBER_INCHES:
            continue
        for i, place in enumerate(row):
            axes.annotate(
                str(i + 1),
                (place, k),
                xytext=(6, 3),
                textcoords="offset points",
                size=8,
                color=style.GRAY,
                path_effects=style.halo(),
                zorder=5,
            )


def _unit_strengths(shown: list[_Shown], widths: tuple[int, ...]) -> list[np.ndarray]:
    """How strong the strongest shown edge at each unit is; 0 without one."""
    strengths = [np.zeros(width) for width in widths]
    for e in shown:
        for level, unit in ((e.layer, e.source), (e.layer + 1, e.target)):
            strengths[level][unit] = max(strengths[level][unit], e.score)
    return strengths


def _name_units(
    axis: Any, row: np.ndarray, texts: list[str], strength: np.ndarray
) -> None:
    """Name the units, strongest first, leaving out names that would overlap."""
    is_flat = _fits(row, texts)
    free = 0.0 if is_flat else _LABEL_INCHES
    taken: list[int] = []
    for i in np.argsort(-strength, kind="stable"):
        if all(abs(row[i] - row[other]) >= free for other in taken):
            taken.append(int(i))
    axis.set_ticks(row[taken], [texts[i] for i in taken], rotation=0 if is_flat else 90)
    axis.set_tick_params(length=0, pad=3)
    for i, label in zip(taken, axis.get_ticklabels(), strict=True):
        label.set_color("black" if strength[i] > 0 else style.GRAY)


def _fits(row: np.ndarray, texts: list[str]) -> bool:
    """Whether names fit beside each other when written horizontally."""
    gap = float(np.diff(row).min()) if len(row) > 1 else np.inf
    return max(len(text) for text in texts) * 0.085 < gap


def _room(row: np.ndarray, texts: list[str]) -> float:
    """Return the height, in inches, that names take."""
    return 0.25 if _fits(row, texts) else 0.15 + 0.085 * max(map(len, texts))
