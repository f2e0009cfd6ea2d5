"""How good predictions and their spread are."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from kanjax.plotting import style
from kanjax.training import metrics

_MOST_NUMBERS = 12
_MOST_VECTORS = 2000


@style.styled
def parity(
    y: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike | None = None,
    *,
    units: str = "",
    summary: str | None = None,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Predicted against true values, with bars of one standard deviation.

    Args:
        y: (n,) or (n, 1), the true values.
        mean: of the same shape, the predictions.
        std: of the same shape, their standard deviations; no bars if None.
        units: of y, for the labels.
        summary: text in the corner; R2 and RMSE of what is drawn if None.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the shapes differ or there are several outputs.
    """
    true = _column(y, "y")
    predicted = _column(mean, "mean", true.size)
    spread = None if std is None else _column(std, "std", true.size)
    finite = np.isfinite(true) & np.isfinite(predicted)
    if spread is not None:
        finite &= np.isfinite(spread)
    lost = int(np.sum(~finite))
    true, predicted = true[finite], predicted[finite]
    figure, axes = style.on_axes(axes, (4.6, 4.4))
    raster = true.size > _MOST_VECTORS
    if spread is not None and true.size:
        axes.errorbar(
            true,
            predicted,
            spread[finite],
            fmt="none",
            ecolor=style.SKY,
            elinewidth=0.8,
            alpha=0.7 if true.size <= 300 else 0.3,
            label="± 1 standard deviation",
            rasterized=raster,
        )
    axes.plot(
        true,
        predicted,
        linestyle="none",
        marker="o",
        markersize=4 if true.size <= 300 else 2.5,
        color=style.BLUE,
        alpha=0.8 if true.size <= 300 else 0.5,
        markeredgewidth=0,
        label="prediction",
        rasterized=raster,
    )
    axes.axline(
        (0, 0), slope=1, color="black", linewidth=1, linestyle="--", label="exact"
    )
    unit = f" ({style.escape(units)})" if units else ""
    axes.set_xlabel(f"true value{unit}")
    axes.set_ylabel(f"predicted value{unit}")
    if true.size:
        _equal_limits(axes, np.concatenate([true, predicted]))
        text = summary if summary is not None else _summary(true, predicted, units)
        axes.text(
            0.97,
            0.04,
            style.escape(text),
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none"},
        )
    else:
        style.say_empty(axes)
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(lost, "row"))
    axes.legend(loc="upper left")
    return figure


@style.styled
def confusion(
    labels: ArrayLike,
    predicted: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """How often each class was taken for each other.

    Colours are shares of a true class's rows; numbers, for at most 12 classes, counts.

    Args:
        labels: (n,) integers from 0, the true classes.
        predicted: (n,) integers from 0.
        class_names: one a class; numbers if None.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the shapes differ or a label has no name.
        TypeError: if labels are not integers.
    """
    true, taken = _classes(labels, "labels"), _classes(predicted, "predicted")
    if true.shape != taken.shape:
        raise ValueError(
            f"labels has shape {true.shape} and predicted {taken.shape}; they must be "
            "equal."
        )
    largest = int(max(true.max(), taken.max()))
    size = largest + 1 if class_names is None else len(class_names)
    if largest >= size:
        raise ValueError(
            f"class_names has {size} entries, but there is a label {largest}; name "
            "every class."
        )
    numbers = [str(i) for i in range(size)]
    names = style.labels(class_names or numbers, size, "class_names", "", 12)
    counts = np.zeros((size, size), int)
    np.add.at(counts, (true, taken), 1)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.ma.masked_where(
        np.broadcast_to(totals == 0, counts.shape), counts / np.maximum(totals, 1)
    )
    side = min(5.4, 2.6 + 0.35 * size)
    figure, axes = style.on_axes(axes, (side + 0.5, side))
    axes.set_facecolor("0.92")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i in range(size):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, lw=0.8))
        for j in range(size if size <= _MOST_NUMBERS else 0):
            if counts[i, j]:
                color = style.text_color(image.to_rgba(shares[i, j]))
                axes.text(
                    j,
                    i,
                    str(counts[i, j]),
                    ha="center",
                    va="center",
                    color=color,
                    size=9,
                    # Inside of its cell: a layout need not measure it.
                    clip_on=True,
                )
    _class_ticks(axes, names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    bar = figure.colorbar(image, cax=style.beside(axes))
    bar.set_label("share of the true class")
    bar.ax.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    style.add_title(axes, title)
    absent = int(np.sum(totals == 0))
    style.add_note(axes, f"{absent} without a true row: grey" if absent else "")
    return figure


@style.styled
def calibration(
    nominal: ArrayLike,
    observed: ArrayLike,
    *,
    kind: Literal["coverage", "confidence"] = "coverage",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Observed against nominal coverage, or accuracy against confidence.

    Args:
        nominal: (points,) in [0, 1], the intervals' levels or the bins' confidence.
        observed: (points,) in [0, 1], the share of targets inside, or the accuracy.
        kind: which of the two it is.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the shapes differ or kind is unknown.
    """
    if kind not in ("coverage", "confidence"):
        raise ValueError(f"kind is {kind!r}; it must be 'coverage' or 'confidence'.")
    x, y = style.array(nominal, "nominal", 1), style.array(observed, "observed", 1)
    if x.shape != y.shape:
        raise ValueError(
            f"nominal has shape {x.shape} and observed {y.shape}; they must be equal."
        )
    finite = np.isfinite(x) & np.isfinite(y)
    figure, axes = style.on_axes(axes, (4.4, 4.2))
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="ideal")
    order = np.argsort(x[finite])
    axes.plot(
        x[finite][order],
        y[finite][order],
        color=style.BLUE,
        marker="o",
        label="observed",
        clip_on=False,
    )
    if not finite.any():
        style.say_empty(axes)
    below = "intervals too narrow" if kind == "coverage" else "too confident"
    above = "intervals too wide" if kind == "coverage" else "not confident enough"
    for place, align, text in (
        ((0.97, 0.05), "right", below),
        ((0.03, 0.8), "left", above),
    ):
        axes.text(*place, text, color=style.GRAY, ha=align, transform=axes.transAxes)
    coverage = kind == "coverage"
    axes.set_xlabel(
        "nominal coverage" if coverage else "confidence (highest probability)"
    )
    axes.set_ylabel("share of targets inside" if coverage else "accuracy")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.PercentFormatter(1.0))
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(int(np.sum(~finite)), "point"))
    axes.legend(loc="upper left")
    return figure


@style.styled
def scores(
    rows: Sequence[tuple[str, ArrayLike]],
    *,
    metric: str = "score",
    higher_is_better: bool = True,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Models compared in one metric, the first row on top.

    Args:
        rows: of a name and a value or (members,) values; a diamond is their mean, a
            dot a member. The best mean is in bold, and what equals it.
        metric: the axis' label, with the unit if there is one.
        higher_is_better: which way the axis reads.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if there is no row, or a row has no value.
    """
    if not rows:
        raise ValueError("rows is empty; give pairs of a name and its values.")
    names = style.labels([name for name, _ in rows], len(rows), "rows", "", 24)
    values = [
        style.array(value, f"the value of {name!r}", (0, 1)).reshape(-1)
        for name, value in rows
    ]
    figure, axes = style.on_axes(axes, (5.0, 1.2 + 0.34 * len(rows)))
    means = np.array([np.mean(v) if np.isfinite(v).all() else np.nan for v in values])
    signed = means if higher_is_better else -means
    known = np.isfinite(signed)
    is_best = known & (signed == np.max(signed, where=known, initial=-np.inf))
    lost = sum(int(np.sum(~np.isfinite(v))) for v in values)
    for i, (value, mean) in enumerate(zip(values, means, strict=True)):
        finite = value[np.isfinite(value)]
        if value.size > 1:
            axes.plot(
                finite,
                np.full(finite.size, i),
                linestyle="none",
                marker="o",
                color=style.SKY,
                markersize=4.5,
                alpha=0.7,
                markeredgewidth=0,
            )
        weight: Any = "bold" if is_best[i] else "normal"
        axes.plot(mean, i, marker="D", color=style.BLUE, markersize=6, zorder=3)
        axes.text(
            1.02,
            i,
            _digits(mean),
            transform=axes.get_yaxis_transform(),
            va="center",
            weight=weight,
        )
    axes.set_yticks(range(len(rows)), names)
    for i in np.flatnonzero(is_best):
        axes.get_yticklabels()[i].set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.08)
    direction = "higher is better →" if higher_is_better else "← lower is better"
    axes.set_xlabel(f"{style.escape(metric)}   ({direction})")
    style.light_grid(axes)
    style.add_title(axes, title)
    several = any(v.size > 1 for v in values)
    style.add_note(
        axes,
        "dots: members, diamond: mean" if several else "",
        style.not_finite(lost),
    )
    return figure


def _digits(mean: float) -> str:
    """Three digits, so that numbers of one size are as long."""
    if not np.isfinite(mean):
        return "not finite"
    usual = 1e-3 <= abs(mean) < 999.5
    return f"{mean:#.3g}".rstrip(".") if usual else f"{mean:.4g}"


def _column(value: ArrayLike, name: str, size: int | None = None) -> np.ndarray:
    column = style.array(value, name, (1, 2))
    if column.ndim == 2 and column.shape[1] != 1:
        raise ValueError(
            f"{name} has shape {column.shape}; draw one output at a time, (n,)."
        )
    if size is not None and column.size != size:
        raise ValueError(f"{name} has {column.size} rows and y {size}; give as many.")
    return column.reshape(-1)


def _equal_limits(axes: Axes, shown: np.ndarray) -> None:
    low, high = shown.min(), shown.max()
    pad = 0.06 * (high - low) or 1.0
    axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
    axes.set_aspect("equal", adjustable="box")


def _summary(true: np.ndarray, predicted: np.ndarray, units: str) -> str:
    r2 = float(metrics.r2_score(true, predicted))
    rmse = float(metrics.rmse(true, predicted))
    return f"R² = {r2:.3f}\nRMSE = {rmse:.3g}{' ' if units else ''}{units}"


def _classes(value: ArrayLike, name: str) -> np.ndarray:
    classes = np.asarray(value)
    if not np.issubdtype(classes.dtype, np.integer):
        raise TypeError(
            f"{name} must be integers (classes from 0); got {classes.dtype}."
        )
    if classes.ndim != 1 or classes.size == 0:
        raise ValueError(f"{name} has shape {classes.shape}; it must be (n,), n > 0.")
    if classes.min() < 0:
        raise ValueError(f"{name} has the entry {classes.min()}; classes start at 0.")
    return classes


def _class_ticks(axes: Axes, names: list[str]) -> None:
    """Ticks that stay apart: every class, or every so many when there are many."""
    each = -(-len(names) // 25)
    places = range(0, len(names), each)
    shown = [names[i] for i in places]
    crowded = max(len(name) for name in shown) * len(shown) > 24
    axes.set_yticks(places, shown)
    axes.set_xticks(
        places,
        shown,
        rotation=45 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )
