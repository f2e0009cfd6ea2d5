"""Solutions of differential equations: fields, their errors and their training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kanjax.plotting import style

_DECADES = 4


@style.styled
def field_maps(
    x: ArrayLike,
    y: ArrayLike,
    fields: Mapping[str, ArrayLike],
    *,
    xlabel: str = "x",
    ylabel: str = "y",
    log: bool = False,
    title: str | None = None,
) -> Figure:
    """Return fields of two coordinates as colors, side by side.

    Args:
        x: (columns,), the horizontal coordinate.
        y: (rows,), the vertical coordinate.
        fields: by name, each (columns, rows); where one is not finite is outside of the
            domain, and stays white.
        xlabel: under the panels.
        ylabel: beside the first panel.
        log: whether colors are of sizes on a logarithmic scale, for errors and
            residuals, down to 1e-4 of the largest; else zero is white where a field
            has both signs.
        title: above all panels.

    Raises:
        ValueError: if there is none, or one does not fit the coordinates.
    """
    columns, rows = style.array(x, "x", 1), style.array(y, "y", 1)
    if not fields:
        raise ValueError("fields is empty; give at least one field by name.")
    figure = style.new_figure((0.6 + 3.6 * len(fields), 3.2))
    panels = figure.subplots(1, len(fields), sharey=True, squeeze=False).ravel()
    for axes, (name, field) in zip(panels, fields.items(), strict=True):
        values = style.array(field, f"fields[{name!r}]", 2)
        if values.shape != (columns.size, rows.size):
            raise ValueError(
                f"fields[{name!r}] has shape {values.shape}; for x ({columns.size},) "
                f"and y ({rows.size},) it must be ({columns.size}, {rows.size})."
            )
        finite = np.isfinite(values)
        shown = np.abs(values) if log else values
        axes.set(xlabel=style.escape(xlabel), title=style.shorten(name, 30))
        if not finite.any():
            style.say_empty(axes)
            continue
        picture = axes.pcolormesh(
            columns,
            rows,
            np.ma.masked_invalid(shown).T,
            shading="nearest",
            rasterized=True,
            **scale(shown[finite], log),
        )
        figure.colorbar(picture, ax=axes, pad=0.03)
    panels[0].set_ylabel(style.escape(ylabel))
    if title is not None:
        figure.suptitle(style.escape(title))
    return figure


@style.styled
def field_curves(
    x: ArrayLike,
    fields: Mapping[str, ArrayLike],
    references: Mapping[str, ArrayLike] | None = None,
    *,
    xlabel: str = "t",
    ylabel: str = "value",
    log: bool = False,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return fields of one coordinate as lines, with references dotted over them.

    Args:
        x: (points,).
        fields: by name, each (points,).
        references: by the same names, or some of them; each (points,).
        xlabel: under the axes.
        ylabel: beside the axes.
        log: whether sizes are drawn on a logarithmic scale.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if there is no field, or a length does not fit.
    """
    points = style.array(x, "x", 1)
    if not fields:
        raise ValueError("fields is empty; give at least one field by name.")

    def line(values: ArrayLike, argument: str) -> np.ndarray:
        result = style.array(values, argument, 1)
        if result.shape != points.shape:
            raise ValueError(
                f"{argument} has {len(result)} values for {len(points)} points."
            )
        return np.abs(result) if log else result

    figure, axes = style.on_axes(axes)
    lost = 0
    first = next((name for name in fields if name in (references or {})), None)
    for k, (name, values) in enumerate(fields.items()):
        drawn = line(values, f"fields[{name!r}]")
        lost += int(np.sum(~np.isfinite(drawn)))
        color = style.PALETTE[k % len(style.PALETTE)]
        label = style.shorten(name, 28)
        axes.plot(points, drawn, color=color, label=label)
        if references is not None and name in references:
            known = line(references[name], f"references[{name!r}]")
            axes.plot(
                points,
                known,
                color=style.BLACK,
                linestyle=":",
                label="reference" if name == first else None,
            )
    axes.set(xlabel=style.escape(xlabel), ylabel=style.escape(ylabel))
    if log:
        style.log_scale(axes, "y")
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(lost))
    axes.legend()
    return figure


@style.styled
def descent(
    losses: ArrayLike,
    *,
    stages: Mapping[str, int] | None = None,
    ylabel: str = "loss",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return losses by step on a logarithmic axis, and where stages begin.

    Args:
        losses: (steps,) or (members, steps); the loss before each step.
        stages: names of stages with their first step.
        ylabel: beside the axes.
        title: above the axes.
        axes: where to draw; a new figure if None.
    """
    rows = np.atleast_2d(np.asarray(losses))
    values = style.array(rows, "losses", 2)
    positive = np.isfinite(values) & (values > 0)
    figure, axes = style.on_axes(axes)
    axes.set(xlabel="step", ylabel=style.escape(ylabel))
    style.light_grid(axes)
    style.add_title(axes, title)
    if not positive.any():
        style.say_empty(axes, "no positive values")
        return figure
    axes.plot(
        np.where(positive, values, np.nan).T,
        color=style.BLUE,
        linewidth=1.0,
        alpha=1.0 if len(values) == 1 else 0.6,
    )
    style.log_scale(axes, "y")
    for name, step in (stages or {}).items():
        axes.axvline(
            step,
            color=style.GRAY,
            linestyle="--",
            linewidth=0.8,
            label=style.shorten(name, 30),
        )
    if stages:
        axes.legend()
    style.add_note(axes, style.not_finite(int(np.sum(~np.isfinite(values)))))
    return figure


def scale(values: np.ndarray, log: bool = False) -> dict[str, Any]:
    """Return the colors and their range, for values that are finite.

    Args:
        values: of all that is drawn in these colors.
        log: as in :func:`field_maps`.
    """
    largest = float(np.max(np.abs(values)))
    if log:
        if not largest > 0:
            return {"cmap": "viridis", "vmin": 0, "vmax": 1}
        least = max(float(np.min(values)), largest / 10**_DECADES)
        # The ends of a logarithmic scale must differ.
        least = min(least, largest / 2)
        norm = colors.LogNorm(least, largest, clip=True)
        return {"cmap": "viridis", "norm": norm}
    if np.min(values) < 0 < np.max(values):
        return {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    return {"cmap": "viridis"}
