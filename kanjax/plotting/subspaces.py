"""Scores of training in random subspaces."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax import landscape


@style.styled
def intrinsic_dimension(
    measured: "Mapping[str, landscape.IntrinsicDimension]",
    *,
    label: str = "score / full network's",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Scores against the dimension of the subspace, each relative to its baseline.

    Lines are means over seeds, dots single runs; a dotted line is the threshold and a
    tick on it the crossing.

    Args:
        measured: by name, what kanjax.landscape's intrinsic_dimension gave.
        label: the vertical axis'.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if nothing is given, or a baseline is not positive.
    """
    if not measured:
        raise ValueError("measured is empty; give results by name.")
    figure, axes = style.on_axes(axes)
    lost = 0
    for k, (name, result) in enumerate(measured.items()):
        if not result.baseline > 0:
            raise ValueError(
                f"the baseline of {name!r} is {result.baseline}; scores are drawn as "
                "shares of a positive one."
            )
        scores = (
            style.array(result.scores, f"the scores of {name!r}", 2) / result.baseline
        )
        dims = style.array(result.dims, f"the dims of {name!r}", 1)
        lost += int(np.sum(~np.isfinite(scores)))
        color = style.PALETTE[k % len(style.PALETTE)]
        marker = style.MARKERS[k % len(style.MARKERS)]
        dimension = (
            f"{result.dimension:.0f}" if np.isfinite(result.dimension) else "none"
        )
        axes.plot(
            dims,
            scores.mean(axis=1),
            color=color,
            linestyle=style.DASHES[k % len(style.DASHES)],
            marker=marker,
            label=f"{style.shorten(name, 28)}: {dimension}",
        )
        if scores.shape[1] > 1:
            for column in scores.T:
                axes.plot(
                    dims, column, linestyle="none", marker=".", color=color, alpha=0.4
                )
        level = result.threshold / result.baseline
        axes.axhline(level, color=style.GRAY, linestyle=":", linewidth=1, zorder=0)
        if np.isfinite(result.dimension):
            axes.plot(result.dimension, level, marker="|", markersize=12, color=color)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:.0f}"))
    axes.set_xlabel("dimension of the subspace")
    axes.set_ylabel(label)
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(lost))
    axes.legend(title="network: where it crosses", loc="lower right")
    return figure
