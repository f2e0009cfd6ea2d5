"""How the members of an ensemble learned."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from kanjax.plotting import style
from kanjax.training import results

_MOST_POINTS = 500
_MOST_LABELS = 8


@style.styled
def training_history(
    history: results.History,
    *,
    member_labels: Sequence[str] | None = None,
    best_step: ArrayLike | None = None,
    loss_name: str = "loss",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Training and validation loss of every member (thin) and their median (thick).

    The loss is on a log axis where all of it is positive. More than 500 steps are
    averaged in windows of equal length, and the label says so. A median is drawn where
    at least half of the members took part.

    Args:
        history: losses (members, steps) and (members, evaluations); of one network
            (steps,) and (evaluations,).
        member_labels: one a member; colours then tell members apart, for at most 8.
        best_step: (members,) or a scalar, the updates before the kept parameters; a
            ring marks them.
        loss_name: the vertical axis' label, with the unit if there is one.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the shapes of losses, evaluations, labels or steps do not fit.
    """
    train, validation, evaluated_at = _losses(history)
    members = len(train)
    names = None
    if member_labels is not None:
        names = style.labels(member_labels, members, "member_labels", "", 14)
        names = names if members <= _MOST_LABELS else None
    figure, axes = style.on_axes(axes)
    window = math.ceil(train.shape[1] / _MOST_POINTS)
    steps, averaged = _windows(train, window)
    suffix = f" (mean of {window} steps)" if window > 1 else ""
    series: list[tuple[np.ndarray, np.ndarray, str, Any, str]] = [
        (steps, averaged, style.BLUE, "-", f"training{suffix}")
    ]
    if validation.size:
        series.append((evaluated_at, validation, style.ORANGE, "--", "validation"))
    handles = []
    for x, losses, color, dash, label in series:
        _draw(axes, x, losses, color, dash, names, label)
        handles.append(Line2D([], [], color=color, linestyle=dash, label=label))
    if names is not None and members > 1:
        handles = [
            Line2D([], [], color="0.3", linestyle=dash, label=label)
            for _, _, _, dash, label in series
        ]
        handles += [
            Line2D([], [], color=style.PALETTE[i % 7], marker=_marker(i), label=name)
            for i, name in enumerate(names)
        ]
    elif members > 1:
        handles.append(
            Line2D(
                [], [], color="0.5", linewidth=0.6, label="one member (thick: median)"
            )
        )
    if best_step is not None:
        _mark_best(axes, best_step, series[-1][0], series[-1][1], members)
        handles.append(
            Line2D([], [], color="none", marker="o", mec="black", label="kept")
        )
    shown = np.concatenate([losses[np.isfinite(losses)] for _, losses, *_ in series])
    if shown.size and np.all(shown > 0):
        style.log_scale(axes, "y")
    if not shown.size:
        style.say_empty(axes)
    axes.set_xlabel("step (optimiser updates)")
    axes.set_ylabel(loss_name)
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(_lost(train) + _lost(validation), "loss"))
    axes.legend(handles=handles, ncols=2 if len(handles) > 5 else 1)
    return figure


def _losses(history: results.History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    train = style.array(history.loss, "history.loss", (1, 2))
    validation = np.array(history.validation_loss, dtype=np.float64)
    evaluated_at = np.array(history.evaluated_at)
    if train.ndim == 1:
        train, validation = train[None], validation[None]
    if validation.size and validation.shape != (len(train), evaluated_at.size):
        raise ValueError(
            f"history.validation_loss has shape {validation.shape}; with "
            f"history.loss {train.shape} and {evaluated_at.size} evaluations it must "
            f"be ({len(train)}, {evaluated_at.size})."
        )
    return train, validation, evaluated_at


def _windows(losses: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over windows of steps, at the windows' middles.

    NaN, where a member no longer took part, does not count; an infinite loss makes its
    window's mean infinite.
    """
    steps = np.arange(losses.shape[1], dtype=float)
    if window == 1:
        return steps, losses
    starts = np.arange(0, losses.shape[1], window)
    ends = np.minimum(starts + window, losses.shape[1])
    took_part = np.add.reduceat((~np.isnan(losses)).astype(int), starts, axis=1)
    total = np.add.reduceat(
        np.nan_to_num(losses, nan=0.0, posinf=np.inf), starts, axis=1
    )
    means = np.where(took_part > 0, total / np.maximum(took_part, 1), np.nan)
    return (starts + ends - 1) / 2, means


def _draw(
    axes: Axes,
    x: np.ndarray,
    losses: np.ndarray,
    color: str,
    dash: str,
    names: list[str] | None,
    label: str,
) -> None:
    alone = len(losses) == 1
    for i, member in enumerate(np.where(np.isfinite(losses), losses, np.nan)):
        axes.plot(
            x,
            member,
            color=color if names is None or alone else style.PALETTE[i % 7],
            linestyle=dash,
            linewidth=1.6 if alone else 0.9 if names else 0.6,
            alpha=1.0 if alone or names else 0.45,
            marker=_marker(i) if names and not alone else "",
            markevery=0.23,
            markersize=4,
            label="_" + label,
        )
    if not alone and names is None:
        finite = np.isfinite(losses)
        enough = 2 * finite.sum(axis=0) >= len(losses)
        median = np.full(losses.shape[1], np.nan)
        if enough.any():
            median[enough] = np.nanmedian(
                np.where(finite, losses, np.nan)[:, enough], axis=0
            )
        axes.plot(x, median, color=color, linestyle=dash, linewidth=2.2, label=label)


def _marker(i: int) -> str:
    return style.MARKERS[i % len(style.MARKERS)]


def _mark_best(
    axes: Axes,
    best_step: ArrayLike,
    x: np.ndarray,
    losses: np.ndarray,
    members: int,
) -> None:
    best = style.array(best_step, "best_step", (0, 1)).reshape(-1)
    if best.size != members:
        raise ValueError(
            f"best_step has {best.size} entries; there are {members} members."
        )
    nearest = np.argmin(np.abs(x[None, :] - best[:, None]), axis=1)
    values = losses[np.arange(members), nearest]
    axes.plot(
        x[nearest],
        np.where(np.isfinite(values), values, np.nan),
        linestyle="none",
        marker="o",
        markerfacecolor="none",
        markeredgecolor="black",
        markersize=5,
        label="_kept",
        zorder=4,
    )


def _lost(losses: np.ndarray) -> int:
    """How many losses are not finite, but for NaN after a member stopped."""
    if not losses.size:
        return 0
    finite = np.isfinite(losses)
    later = np.cumsum(finite[:, ::-1], axis=1)[:, ::-1] > 0
    return int(np.sum(np.isinf(losses) | (np.isnan(losses) & later)))
