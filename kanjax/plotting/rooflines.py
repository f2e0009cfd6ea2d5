"""The speed of programs beside what a device can do.

Williams, Waterman, Patterson (2009), "Roofline: an insightful visual performance model
for multicore architectures", Communications of the ACM 52.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kanjax.plotting import style


@style.styled
def roofline(
    points: Mapping[str, Sequence[tuple[float, float]]],
    *,
    peak: float,
    bandwidth: float,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Arithmetic a second against arithmetic a byte, under the device's two limits.

    Args:
        points: by name, pairs of (operations a byte, operations a second).
        peak: the most operations a second.
        bandwidth: the most bytes a second.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if there is no point, or a number is not positive.
    """
    values = np.array([pair for pairs in points.values() for pair in pairs], float)
    if not values.size or not (values > 0).all() or not (peak > 0 and bandwidth > 0):
        raise ValueError(
            "points must hold at least one pair, and all numbers must be positive; got "
            f"{dict(points)}, peak={peak}, bandwidth={bandwidth}."
        )
    figure, axes = style.on_axes(axes, (6.0, 4.0))
    ridge = peak / bandwidth
    low, high = min(values[:, 0].min(), ridge) / 2, max(values[:, 0].max(), ridge) * 2
    x = np.array([low, ridge, high])
    axes.plot(x, np.minimum(peak, bandwidth * x), color=style.BLACK, label="limit")
    for i, (name, pairs) in enumerate(points.items()):
        at, speed = np.asarray(pairs, float).T
        axes.plot(
            at,
            speed,
            linestyle="none",
            color=style.PALETTE[i % len(style.PALETTE)],
            marker=style.MARKERS[i % len(style.MARKERS)],
            label=style.shorten(name, 28),
        )
    style.log_scale(axes, "both")
    axes.set_xlabel("operations a byte of operands and results")
    axes.set_ylabel("operations a second")
    style.light_grid(axes)
    style.add_title(axes, title)
    axes.legend(loc="lower right")
    return figure
