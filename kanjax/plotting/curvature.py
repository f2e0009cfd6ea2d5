"""Spectra of Hessians, surfaces of losses, and training on its own plane."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import animation
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kanjax.plotting import landscape as planes
from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax import landscape

# Densities span many decades; what lies this far below the peak is not drawn.
_DECADES = 6


@style.styled
def spectral_density(
    spectra: "Mapping[str, landscape.Spectrum]",
    *,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Densities of eigenvalues, on a log axis.

    Args:
        spectra: by name, what kanjax.landscape's hessian_spectrum gave.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if there is none, or one has no positive finite value.
    """
    if not spectra:
        raise ValueError("spectra is empty; give spectra by name.")
    figure, axes = style.on_axes(axes)
    lost, top = 0, 0.0
    for k, (name, spectrum) in enumerate(spectra.items()):
        x = style.array(spectrum.x, f"the x of {name!r}", 1)
        y = style.array(spectrum.density, f"the density of {name!r}", 1)
        shown = np.isfinite(x) & np.isfinite(y) & (y > 0)
        lost += int(np.sum(~(np.isfinite(x) & np.isfinite(y))))
        if not shown.any():
            raise ValueError(f"the density of {name!r} has no positive finite value.")
        top = max(top, float(y[shown].max()))
        axes.plot(
            x[shown],
            y[shown],
            color=style.PALETTE[k % len(style.PALETTE)],
            linestyle=style.DASHES[k % len(style.DASHES)],
            label=style.shorten(name, 28),
        )
    style.log_scale(axes, "y")
    axes.set_ylim(top * 10.0**-_DECADES, top * 3)
    axes.set_xlabel("eigenvalue of the Hessian")
    axes.set_ylabel("density")
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(lost, "point"))
    if len(spectra) > 1:
        axes.legend()
    return figure


@style.styled
def loss_surface(
    plane: "landscape.Plane",
    *,
    value: str | int | None = None,
    label: str = "loss",
    title: str | None = None,
    elevation: float = 35.0,
    azimuth: float = -60.0,
) -> Figure:
    """Return the loss on a plane as a surface, with the marked points as a path
    above it.

    Args:
        plane: of kanjax.landscape's plane, plane_through or trajectory_plane.
        value: which entry of the losses to draw, where they are several.
        label: the vertical axis', with the unit if there is one.
        title: above the axes.
        elevation: of the viewer, in degrees.
        azimuth: of the viewer, in degrees.

    Raises:
        ValueError: if the losses do not fit the grid or none is finite.
    """
    x, y = style.array(plane.x, "plane.x", 1), style.array(plane.y, "plane.y", 1)
    z = planes.entry(plane.losses, value, "plane.losses", 2)
    if z.shape != (y.size, x.size):
        raise ValueError(
            f"plane.losses has shape {z.shape}; for y ({y.size},) and x ({x.size},) it "
            f"must be ({y.size}, {x.size})."
        )
    finite = np.isfinite(z)
    if not finite.any():
        raise ValueError("plane.losses has no finite value; nothing to draw.")
    figure = style.new_figure((5.6, 4.4))
    axes: Any = figure.add_subplot(projection="3d")
    columns, rows = np.meshgrid(x, y)
    axes.plot_surface(
        columns,
        rows,
        np.where(finite, z, np.nan),
        cmap="viridis",
        vmin=z[finite].min(),
        vmax=z[finite].max(),
        rcount=len(y),
        ccount=len(x),
        linewidth=0,
        antialiased=True,
    )
    marks = np.array(plane.marks, dtype=float)
    heights = [_nearest(x, y, z, mark) for mark in marks]
    many = len(marks) > 3
    axes.plot(
        marks[:, 0],
        marks[:, 1],
        heights,
        color=style.ORANGE,
        linestyle="-" if many else "none",
        marker="o",
        markersize=3 if many else 6,
        zorder=10,
    )
    axes.view_init(elev=elevation, azim=azimuth)
    axes.set_xlabel("along direction 1")
    axes.set_ylabel("along direction 2")
    axes.set_zlabel(style.escape(label))
    style.add_title(axes, title)
    lost = int(np.sum(~finite))
    style.add_note(axes, f"{lost} of {z.size} points not finite" if lost else "")
    return figure


def training_animation(
    plane: "landscape.Plane",
    path: Any,
    *,
    frames_per_second: int = 10,
    value: str | int | None = None,
    label: str | None = None,
) -> None:
    """Write a GIF of a training run that moves on its own plane.

    Args:
        plane: of kanjax.landscape's trajectory_plane.
        path: of the GIF.
        frames_per_second: one frame for each point of the run.
        value: which entry of the losses to draw, where they are several.
        label: the colour bar's.

    Raises:
        ValueError: as in loss_plane, or if the plane has fewer than 2 marks.
    """
    marks = np.array(plane.marks, dtype=float)
    if len(marks) < 2:
        raise ValueError(
            f"plane has {len(marks)} marked point; use a plane of trajectory_plane."
        )
    last = plane._replace(marks=marks[-1:])
    figure = planes.loss_plane(last, value=value, label=label, mark_names=["end"])
    axes = figure.axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_label_text("distance in parameter space")
    (line,) = axes.plot(
        [],
        [],
        color=style.ORANGE,
        linewidth=1.2,
        path_effects=style.halo(),
        zorder=7,
    )
    (head,) = axes.plot([], [], "o", color=style.ORANGE, markersize=6, zorder=8)

    def draw(frame: int) -> tuple[Any, ...]:
        line.set_data(marks[: frame + 1, 0], marks[: frame + 1, 1])
        head.set_data(marks[frame : frame + 1, 0], marks[frame : frame + 1, 1])
        axes.set_title(f"point {frame + 1} of {len(marks)}")
        return line, head

    movie = animation.FuncAnimation(figure, draw, frames=len(marks))
    movie.save(path, writer=animation.PillowWriter(fps=frames_per_second))


def _nearest(x: np.ndarray, y: np.ndarray, z: np.ndarray, mark: np.ndarray) -> float:
    """Return the height at the grid point next to a mark."""
    return float(z[np.abs(y - mark[1]).argmin(), np.abs(x - mark[0]).argmin()])
