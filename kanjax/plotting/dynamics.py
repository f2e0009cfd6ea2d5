"""Training in function space: predictions beside measurements, and posteriors."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax.ntk import dynamics


@style.styled
def predicted_curves(
    times: ArrayLike,
    measured: Mapping[str, ArrayLike],
    predicted: Mapping[str, ArrayLike],
    *,
    xlabel: str = "step",
    ylabel: str = "value",
    log: bool = False,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return what training did, as marks, on what theory says, as lines.

    Args:
        times: (times,).
        measured: by name, (times,).
        predicted: by the same names, (times,).
        xlabel: under the axes.
        ylabel: beside the axes.
        log: whether the vertical axis is logarithmic.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if names or lengths differ.
    """
    if not measured or set(measured) != set(predicted):
        raise ValueError(
            f"measured has {sorted(measured)} and predicted {sorted(predicted)}; they "
            "must have the same names, at least one."
        )
    t = style.array(times, "times", 1)
    figure, axes = style.on_axes(axes)
    lost = 0
    for k, name in enumerate(measured):
        color = style.PALETTE[k % len(style.PALETTE)]
        lines = []
        for kind, values in (("measured", measured), ("predicted", predicted)):
            line = style.array(values[name], f"{kind}[{name!r}]", 1)
            if line.shape != t.shape:
                raise ValueError(
                    f"{kind}[{name!r}] has {len(line)} values for {len(t)} times."
                )
            lost += int(np.sum(~np.isfinite(line)))
            lines.append(np.where(np.isfinite(line), line, np.nan))
        label = style.shorten(name, 28)
        axes.plot(
            t,
            lines[1],
            color=color,
            linestyle=style.DASHES[k % len(style.DASHES)],
            label=f"{label}, predicted",
        )
        axes.plot(
            t,
            lines[0],
            color=color,
            linestyle="none",
            marker=style.MARKERS[k % len(style.MARKERS)],
            markevery=max(1, len(t) // 15),
            label=f"{label}, measured",
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
def posterior_band(
    x: ArrayLike,
    posterior: "dynamics.Posterior",
    *,
    data: tuple[ArrayLike, ArrayLike] | None = None,
    samples: ArrayLike | None = None,
    output: int = 0,
    xlabel: str = "x",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return the mean of a posterior and two standard deviations about it.

    Args:
        x: (points,), where the posterior is.
        posterior: with mean (points, outputs).
        data: the training inputs (n,) and targets (n,).
        samples: (members, points), networks to draw beside it.
        output: which output.
        xlabel: under the axes.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if shapes do not fit.
    """
    points = style.array(x, "x", 1)
    mean = style.array(posterior.mean, "posterior.mean", 2)
    variance = np.diag(style.array(posterior.covariance, "posterior.covariance", 2))
    if not len(points) == len(mean) == len(variance):
        raise ValueError(
            f"x has {len(points)} points; the posterior has {len(mean)} means and "
            f"{len(variance)} variances."
        )
    figure, axes = style.on_axes(axes)
    order = np.argsort(points)
    points, mean = points[order], mean[order, output]
    spread = 2 * np.sqrt(np.maximum(variance[order], 0))
    axes.fill_between(
        points,
        mean - spread,
        mean + spread,
        color=style.SKY,
        alpha=0.35,
        linewidth=0,
        label="mean ± 2 standard deviations",
    )
    if samples is not None:
        members = style.array(samples, "samples", 2)[:, order]
        for i, member in enumerate(members):
            axes.plot(
                points,
                member,
                color=style.GRAY,
                linewidth=0.6,
                alpha=0.7,
                label="trained networks" if i == 0 else None,
            )
    axes.plot(points, mean, color=style.BLUE, label="mean")
    if data is not None:
        axes.plot(
            style.array(data[0], "data[0]", 1),
            style.array(data[1], "data[1]", 1),
            linestyle="none",
            marker="o",
            color=style.ORANGE,
            label="training data",
            zorder=3,
        )
    axes.set(xlabel=style.escape(xlabel), ylabel="output")
    style.light_grid(axes)
    style.add_title(axes, title)
    # Room for the legend, under everything that is drawn.
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.3 * (high - low), high)
    axes.legend(loc="lower center", ncols=2)
    return figure
