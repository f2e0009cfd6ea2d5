"""Barriers beside what goes with them: angles between runs, and layers."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kanjax.plotting import style

# Decades below the highest barrier that are still told apart from none.
_DECADES = 5
_MOST_NUMBERS = 6


@style.styled
def barrier_angles(
    angles: ArrayLike,
    heights: ArrayLike,
    *,
    names: Sequence[object] | None = None,
    label: str = "barrier (loss)",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return the barrier between two runs against the angle they are seen under.

    Args:
        angles: (groups,) or (groups, pairs), in degrees.
        heights: the barriers, of the same shape. On a log axis; those more than five
            decades below the highest, and zeros, lie on the lower edge.
        names: one a group, as the steps that runs made together; numbers if None.
        label: the vertical axis', with the unit.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the shapes differ, or no height is positive and finite.
    """
    x = style.array(angles, "angles", (1, 2))
    y = style.array(heights, "heights", (1, 2))
    if x.shape != y.shape:
        raise ValueError(
            f"angles has shape {x.shape} and heights {y.shape}; they must be equal."
        )
    x, y = (v.reshape(len(v), -1) for v in (x, y))
    finite = np.isfinite(x) & np.isfinite(y)
    if not (finite & (y > 0)).any():
        raise ValueError("heights has no positive finite entry; nothing to draw.")
    texts = style.labels(names, len(x), "names", "group ")
    figure, axes = style.on_axes(axes)
    floor = y[finite].max() * 10.0**-_DECADES
    for k, text in enumerate(texts):
        keep = finite[k]
        axes.plot(
            x[k][keep],
            np.maximum(y[k][keep], floor),
            linestyle="none",
            color=style.PALETTE[k % len(style.PALETTE)],
            marker=style.MARKERS[k % len(style.MARKERS)],
            label=text,
            clip_on=False,
        )
    style.log_scale(axes, "y")
    axes.set_ylim(bottom=floor)
    axes.set_xlabel("angle between the two displacements (degrees)")
    axes.set_ylabel(label)
    style.light_grid(axes)
    style.add_title(axes, title)
    low = int(np.sum(finite & (y <= floor)))
    style.add_note(
        axes,
        f"{low} of {int(finite.sum())} at or below the lower edge" if low else "",
        style.not_finite(int(np.sum(~finite)), "pair"),
    )
    axes.legend()
    return figure


@style.styled
def layer_barriers(
    measured: Mapping[str, ArrayLike],
    predicted: Mapping[str, ArrayLike] | None = None,
    *,
    label: str = "barrier (loss)",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Each layer's barrier as a bar, with what curvature predicts beside it.

    Args:
        measured: by layer, a height, as ``{n: b.height for n, b in found.items()}`` of
            kanjax.landscape's layer_barriers.
        predicted: of layer_barriers_predicted, for the same layers.
        label: the vertical axis', with the unit.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if there is no layer, or predicted has other ones.
    """
    if not measured:
        raise ValueError("measured is empty; give heights by layer.")
    if predicted is not None and set(predicted) != set(measured):
        raise ValueError(
            f"predicted is for the layers {sorted(predicted)} and measured for "
            f"{sorted(measured)}; they must be the same."
        )
    figure, axes = style.on_axes(axes)
    place = np.arange(len(measured))
    series = {"measured": measured} | ({"predicted": predicted} if predicted else {})
    width = 0.8 / len(series)
    lost = 0
    for k, (name, values) in enumerate(series.items()):
        heights = np.array([float(np.asarray(values[layer])) for layer in measured])
        lost += int(np.sum(~np.isfinite(heights)))
        bars = axes.bar(
            place + (k - (len(series) - 1) / 2) * width,
            np.where(np.isfinite(heights), heights, 0.0),
            width,
            color=style.PALETTE[k],
            hatch=(None, "//")[k],
            edgecolor="white",
            label=name,
        )
        # A bar of no height would look like one that is missing.
        if len(measured) <= _MOST_NUMBERS:
            texts = [f"{h:.2g}" if np.isfinite(h) else "n/a" for h in heights]
            axes.bar_label(bars, texts, size=8, padding=2)
    axes.set_xticks(place, [style.shorten(layer, 14) for layer in measured])
    axes.axhline(0.0, color=style.GRAY, linewidth=0.8)
    axes.margins(y=0.12)
    axes.set_xlabel("layer that moves")
    axes.set_ylabel(label)
    style.light_grid(axes, "y")
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(lost))
    if len(series) > 1:
        axes.legend()
    return figure
