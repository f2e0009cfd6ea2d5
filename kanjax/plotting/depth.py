"""How values change from layer to layer."""

from collections.abc import Mapping

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kanjax.plotting import style


@style.styled
def variance_by_depth(
    variances: Mapping[str, ArrayLike],
    *,
    label: str = "variance of the values",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Variances against the layer, on a logarithmic axis.

    Args:
        variances: by name, (layers + 1,), the inputs' first; positive.
        label: the vertical axis'.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if nothing is given.
    """
    if not variances:
        raise ValueError("variances is empty; give variances by name.")
    figure, axes = style.on_axes(axes)
    lost = 0
    for k, (name, variance) in enumerate(variances.items()):
        values = style.array(variance, f"the variances of {name!r}", 1)
        drawn = np.isfinite(values) & (values > 0)
        lost += int(np.sum(~drawn))
        axes.plot(
            np.arange(len(values))[drawn],
            values[drawn],
            color=style.PALETTE[k % len(style.PALETTE)],
            linestyle=style.DASHES[k % len(style.DASHES)],
            marker=style.MARKERS[k % len(style.MARKERS)],
            label=style.shorten(name, 36),
        )
    style.log_scale(axes, "y")
    axes.set_xlabel("layer")
    axes.set_ylabel(label)
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(
        axes, f"{lost} not positive or not finite, not shown" if lost else ""
    )
    axes.legend(loc="lower left")
    return figure
