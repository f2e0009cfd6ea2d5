"""The learned functions of one variable, and how much each input matters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax.kan import symbolic

_RANKS = ("strongest edge", "2nd", "3rd", "4th", "5th", "6th", "7th")


@style.styled
def edge_functions(
    x: ArrayLike,
    values: ArrayLike,
    names: Sequence[str],
    scores: ArrayLike | None = None,
    fits: "Sequence[symbolic.Edge] | None" = None,
    *,
    top: int = 3,
    inputs: int = 12,
    output_names: Sequence[str] | None = None,
    xlabel: str = "input x as the network sees it",
    title: str | None = None,
) -> Figure:
    """Return the first layer's functions of one variable: a panel an input, best
    input first.

    Args:
        x: (n, in), the samples, or (n,) where all inputs share them. Ticks at the
            bottom of a panel show where they lie, unless they are a uniform grid. An
            input of two values gets bars.
        values: (n, in, out), e.g. ``kan.edge_activations(model, params, x)[0]``.
        names: one an input.
        scores: (in, out), by which edges and inputs are ranked, e.g.
            ``kan.attribute(model, params, x).edges[0]``; the standard deviation of
            values if None.
        fits: of symbolic.fit_edges; those of layer 0 are drawn dotted over the curves,
            and the strongest edge's is named.
        top: how many edges an input shows, at most 7.
        inputs: how many inputs get a panel.
        output_names: one an output, else numbers from 1.
        xlabel: what x is.
        title: above all panels.

    Raises:
        ValueError: if the shapes do not fit.
    """
    values = style.array(values, "values", 3)
    points, in_features, out_features = values.shape
    x = style.array(x, "x", (1, 2))
    x = np.repeat(x[:, None], in_features, axis=1) if x.ndim == 1 else x
    if x.shape != (points, in_features):
        raise ValueError(
            f"x has shape {x.shape} and values {values.shape}; x must be "
            f"({points}, {in_features}) or ({points},)."
        )
    panel_names = style.labels(names, in_features, "names", "")
    targets = style.labels(output_names, out_features, "output_names", "", 8)
    strength = _strength(values, scores)
    top = max(1, min(top, out_features, len(_RANKS)))
    shown = np.argsort(-strength.sum(axis=1), kind="stable")[: max(1, inputs)]
    columns = min(len(shown), 2)
    if len(shown) > 6:
        # As few empty places as there can be.
        columns = min((4, 5, 3), key=lambda number: -len(shown) % number)
    rows = -(-len(shown) // columns)
    figure = style.new_figure((max(5.4, 1.8 * columns), 1.2 + 1.75 * rows))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    formulas = {(e.source, e.target): e.fit for e in fits or () if e.layer == 0}
    for axes, i in zip(panels, shown, strict=False):
        best = np.argsort(-strength[i], kind="stable")[:top]
        _panel(axes, x[:, i], values[:, i, best])
        heading = panel_names[i]
        if out_features > 1:
            heading += "\n→ " + ", ".join(targets[o] for o in best)
        for rank, o in enumerate(best):
            fit = formulas.get((int(i), int(o)))
            if fit is not None:
                _overlay(axes, x[:, i], fit)
                if rank == 0:
                    heading += f"\n≈ {fit.name}, R² {fit.r2:.3f}"
        # Nothing is in its way; to find that, all ticks would be placed again.
        axes.set_title(heading, size=9.5, y=1.0)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("φ(x)")
    _finish(figure, top, bool(formulas), values, len(shown), xlabel, title)
    return figure


@style.styled
def attribution(
    scores: ArrayLike,
    names: Sequence[str],
    spread: ArrayLike | None = None,
    *,
    top: int = 20,
    label: str = "attribution score",
    dots: str = "members",
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """How much each input matters, as bars, the largest on top.

    Args:
        scores: (in,), or (members, in) for bars of the mean with a dot a member.
        names: one an input.
        spread: (in,), drawn as error bars.
        top: how many inputs are shown.
        label: the axis', with the unit if there is one.
        dots: what the rows of scores are, in the plural.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if the shapes do not fit.
    """
    each = np.atleast_2d(style.array(scores, "scores", (1, 2)))
    features = each.shape[1]
    texts = style.labels(names, features, "names", "", 20)
    bars = None if spread is None else style.array(spread, "spread", 1)
    if bars is not None and bars.size != features:
        raise ValueError(
            f"spread has shape {bars.shape}; for {features} inputs it must be "
            f"({features},)."
        )
    finite = np.all(np.isfinite(each), axis=0).reshape(-1)
    mean = np.where(finite, np.where(finite, each, 0.0).mean(axis=0), np.nan)
    shown = np.argsort(np.where(finite, -mean, np.inf), kind="stable")
    shown = shown[finite[shown]][: max(1, top)]
    figure, axes = style.on_axes(axes, (5.0, 1.3 + 0.26 * max(len(shown), 1)))
    places = np.arange(len(shown))
    axes.barh(places, mean[shown], color=style.SKY, edgecolor=style.BLUE, height=0.7)
    if bars is not None:
        axes.errorbar(
            mean[shown],
            places,
            xerr=np.where(np.isfinite(bars), bars, 0.0)[shown],
            fmt="none",
            ecolor="black",
            elinewidth=1,
            capsize=2.5,
        )
    if len(each) > 1:
        for curve in each:
            axes.plot(curve[shown], places, "o", color=style.BLUE, ms=3, alpha=0.7)
    if not len(shown):
        style.say_empty(axes)
    axes.set_yticks(places, [texts[i] for i in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(style.escape(label))
    style.light_grid(axes, "x")
    style.add_title(axes, title)
    hidden = int(finite.sum()) - len(shown)
    style.add_note(
        axes,
        f"dots: {dots}, bar: mean" if len(each) > 1 else "",
        f"{hidden} of {features} inputs with lower scores not shown" if hidden else "",
        style.not_finite(int(np.sum(~finite)), "input"),
    )
    return figure


def _strength(values: np.ndarray, scores: ArrayLike | None) -> np.ndarray:
    """(in, out), never NaN: what edges are ranked by."""
    if scores is None:
        finite = np.isfinite(values)
        safe = np.where(finite, values, 0.0)
        count = np.maximum(finite.sum(axis=0), 1)
        mean = safe.sum(axis=0) / count
        return np.sqrt((finite * (safe - mean) ** 2).sum(axis=0) / count)
    strength = style.array(scores, "scores", 2)
    if strength.shape != values.shape[1:]:
        raise ValueError(
            f"scores has shape {strength.shape}; for values {values.shape} it must be "
            f"{values.shape[1:]}."
        )
    return np.nan_to_num(strength, nan=0.0, posinf=0.0, neginf=0.0)


def _panel(axes: Axes, x: np.ndarray, curves: np.ndarray) -> None:
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    style.light_grid(axes)
    places, first = np.unique(x, return_index=True)
    if len(places) == 2:
        _bars(axes, places, curves[first])
        return
    order = np.argsort(x, kind="stable")
    for rank, curve in reversed(list(enumerate(curves.T))):
        axes.plot(
            x[order],
            np.where(np.isfinite(curve), curve, np.nan)[order],
            color=style.PALETTE[rank],
            linestyle=style.DASHES[rank],
            linewidth=1.8 if rank == 0 else 1.3,
            label=_RANKS[rank],
        )
    steps = np.diff(x[order])
    # A uniform grid says nothing about where the data lie.
    if not (steps.size and np.allclose(steps, steps[0], rtol=1e-2)):
        few = x[:: max(1, x.size // 100)]
        axes.plot(
            few,
            np.zeros(few.size),
            "|",
            color="0.4",
            markersize=5,
            markeredgewidth=0.5,
            transform=axes.get_xaxis_transform(),
            label="_samples",
            clip_on=False,
        )
    axes.xaxis.set_major_locator(ticker.MaxNLocator(3))


def _bars(axes: Axes, places: np.ndarray, values: np.ndarray) -> None:
    """Draw what two values of an input give: between them there is nothing."""
    step = (places[1] - places[0]) / (values.shape[1] + 1)
    for rank, each in enumerate(values.T):
        axes.bar(
            places + step * (rank - (values.shape[1] - 1) / 2),
            each,
            width=0.9 * step,
            color=style.PALETTE[rank],
            label=_RANKS[rank],
        )
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xticks(places, [f"{place:g}" for place in places])


def _overlay(axes: Axes, x: np.ndarray, fit: "symbolic.Fit") -> None:
    grid = np.linspace(np.nanmin(x), np.nanmax(x), 200)
    y = fit.evaluate(grid)
    finite = np.where(np.isfinite(y), y, np.nan)
    limits = axes.get_ylim()
    axes.plot(grid, finite, color="black", linestyle=":", linewidth=2.4, label="_fit")
    # A formula's pole must not squash the curves.
    axes.set_ylim(limits)


def _finish(
    figure: Figure,
    top: int,
    has_fits: bool,
    values: np.ndarray,
    shown: int,
    xlabel: str,
    title: str | None,
) -> None:
    handles = [
        Line2D([], [], color=style.PALETTE[k], ls=style.DASHES[k], label=_RANKS[k])
        for k in range(top)
    ]
    if has_fits:
        handles.append(Line2D([], [], color="black", ls=":", lw=2.4, label="formula"))
    notes = [xlabel]
    if shown < values.shape[1]:
        notes.append(f"({shown} of {values.shape[1]} inputs shown)")
    lost = style.not_finite(int(np.sum(~np.isfinite(values))))
    if lost:
        notes.append(f"({lost})")
    if values.shape[2] == 1:
        handles[0].set_label("learned function")
    # The legend's title is where a line for the whole figure overlaps nothing.
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4, title="\n".join(notes)
    )
    if title is not None:
        figure.suptitle(style.escape(title))
