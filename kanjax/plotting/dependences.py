"""Predictions as functions of one column at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax.study.explanations import Dependence

MOST_LINES = 4


@style.styled
def partial_dependence(
    dependences: "Sequence[Dependence]",
    output_names: Sequence[str],
    *,
    ylabel: str,
) -> Figure:
    """Draw the mean prediction over values of each column, with the members' band.

    Of two classes the second is drawn, of many the four that vary most.

    Args:
        dependences: panels, in their order; at least one.
        output_names: targets or classes.
        ylabel: what the outputs are.

    Raises:
        ValueError: if there is none.
    """
    if not dependences:
        raise ValueError("dependences is empty; there is nothing to draw.")
    columns = min(len(dependences), 2)
    rows = -(-len(dependences) // columns)
    figure = style.new_figure((5.4, 0.9 + 1.75 * rows))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    swings = sum(np.ptp(d.outputs.mean(axis=0), axis=0) for d in dependences)
    lines = np.argsort(-np.asarray(swings), kind="stable")[:MOST_LINES]
    if len(output_names) == 2:
        lines = np.array([1])
    names = style.labels(output_names, len(output_names), "output_names", "", 20)
    for axes, dependence in zip(panels, dependences, strict=False):
        for rank, line in enumerate(lines):
            _draw(axes, dependence, int(line), rank, names[line])
        axes.set_xlabel(style.shorten(dependence.column, 24))
    for axes in panels[len(dependences) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel(ylabel)
    if len(output_names) > 1:
        panels[0].legend(fontsize=8)
    return figure


def _draw(
    axes: Axes, dependence: "Dependence", line: int, rank: int, name: str
) -> None:
    each = dependence.outputs[..., line]
    mean, low, high = each.mean(axis=0), each.min(axis=0), each.max(axis=0)
    color = style.PALETTE[rank]
    if isinstance(dependence.values[0], str):
        places = np.arange(len(mean)) + 0.12 * rank
        axes.errorbar(
            places,
            mean,
            yerr=[mean - low, high - mean],
            fmt=style.MARKERS[rank],
            color=color,
            label=name,
        )
        axes.set_xticks(
            np.arange(len(mean)),
            [style.shorten(value, 10) for value in dependence.values],
            rotation=45 if len(mean) > 3 else 0,
        )
        return
    axes.fill_between(dependence.values, low, high, color=color, alpha=0.2, lw=0)
    axes.plot(
        dependence.values, mean, color=color, linestyle=style.DASHES[rank], label=name
    )
