"""Fields that move in time, as GIF."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib import animation
from numpy.typing import ArrayLike

from kanjax.plotting import pinn, style

FRAMES = 40


def field_animation(
    t: ArrayLike,
    x: ArrayLike,
    fields: Mapping[str, ArrayLike],
    path: Any,
    *,
    y: ArrayLike | None = None,
    references: Mapping[str, ArrayLike] | None = None,
    xlabel: str = "x",
    ylabel: str | None = None,
    frames_per_second: int = 10,
) -> None:
    """Write a GIF of fields over time: lines of one coordinate, or maps of two.

    Args:
        t: (times,); of more than 40, as many spread evenly over all are shown.
        x: (columns,), the coordinate of space.
        fields: by name, each (times, columns), or (times, columns, rows) with y.
        path: of the GIF.
        y: (rows,), the second coordinate of space.
        references: by the same names, dotted over lines; not drawn on maps.
        xlabel: under the axes.
        ylabel: beside them; "value" of lines, "y" of maps by default.
        frames_per_second: how fast.

    Raises:
        ValueError: if there is no field, or one does not fit the coordinates.
    """
    times = style.array(t, "t", 1)
    if not fields:
        raise ValueError("fields is empty; give at least one field by name.")
    size = 2 if y is None else 3
    values = {k: style.array(v, f"fields[{k!r}]", size) for k, v in fields.items()}
    known = {
        k: style.array(v, f"references[{k!r}]", size)
        for k, v in (references or {}).items()
        if y is None
    }
    for name, moving in {**values, **known}.items():
        if len(moving) != len(times):
            raise ValueError(
                f"{name!r} has {len(moving)} times; t has {len(times)} of them."
            )
    count = min(FRAMES, len(times))
    frames = np.round(np.linspace(0, len(times) - 1, count)).astype(int)
    if y is None:
        figure = pinn.field_curves(
            x,
            {k: v[0] for k, v in values.items()},
            {k: v[0] for k, v in known.items()},
            xlabel=xlabel,
            ylabel=ylabel or "value",
        )
        axes = figure.axes[0]
        everything = np.concatenate([v.ravel() for v in {**values, **known}.values()])
        lowest, highest = _range(everything)
        margin = 0.05 * (highest - lowest)
        axes.set_ylim(lowest - margin, highest + margin)
        moving = []
        for name in values:
            moving += [values[name]] + ([known[name]] if name in known else [])
        artists = list(zip(axes.lines, moving, strict=True))

        def show(frame: int) -> None:
            for line, v in artists:
                line.set_ydata(v[frame])
    else:
        # Colors of all times together, set by the field of the widest range.
        figure = pinn.field_maps(
            x,
            y,
            {k: v[0] for k, v in values.items()},
            xlabel=xlabel,
            ylabel=ylabel or "y",
        )
        panels = figure.axes[: len(values)]
        meshes = [panel.collections[0] for panel in panels if panel.collections]
        artists = list(zip(meshes, values.values(), strict=True))
        for mesh, v in artists:
            finite = v[np.isfinite(v)]
            colors = pinn.scale(finite)
            mesh.set_cmap(colors["cmap"])
            # Without a range in it, that of what is drawn: here at all times.
            low, high = colors.get("vmin", finite.min()), colors.get("vmax")
            mesh.set_clim(low, finite.max() if high is None else high)

        def show(frame: int) -> None:
            for mesh, v in artists:
                mesh.set_array(np.ma.masked_invalid(v[frame]).T)

    with matplotlib.rc_context(style.STYLE):
        title = figure.suptitle(f"t = {times[0]:.3g}")
        figure.draw_without_rendering()
        # What is laid out stays so, or it would shake.
        figure.set_layout_engine("none")

        def draw(index: int) -> tuple[Any, ...]:
            frame = int(frames[index])
            show(frame)
            title.set_text(f"t = {times[frame]:.3g}")
            return ()

        movie = animation.FuncAnimation(figure, draw, frames=count)
        movie.save(path, writer=animation.PillowWriter(fps=frames_per_second))


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    lowest, highest = float(finite.min()), float(finite.max())
    return (lowest, highest) if highest > lowest else (lowest - 1, highest + 1)
