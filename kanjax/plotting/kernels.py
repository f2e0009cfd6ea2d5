"""Kernels as pictures and by their eigenvalues."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kanjax.plotting import style

if TYPE_CHECKING:
    from kanjax.ntk import spectra as spectrum


@style.styled
def kernel_matrix(
    kernel: ArrayLike,
    *,
    order: ArrayLike | None = None,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return a kernel between examples as a picture.

    Args:
        kernel: (n, m); non-finite entries stay grey.
        order: (n,), the indices of the examples in the order to draw, for a square
            kernel, e.g. ``numpy.argsort(y)``; that of the kernel if None.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if kernel is no matrix or order is no permutation of its rows.
    """
    matrix = style.array(kernel, "kernel", 2)
    if order is not None:
        indices = np.asarray(order)
        rows, columns = matrix.shape
        if rows != columns or not np.array_equal(np.sort(indices), np.arange(rows)):
            raise ValueError(
                f"order must be a permutation of the rows of a square kernel; kernel "
                f"has shape {matrix.shape} and order {indices.shape}. To sort by a "
                "target, give numpy.argsort(target)."
            )
        matrix = matrix[np.ix_(indices, indices)]
    figure, axes = style.on_axes(axes, (4.8, 4.0))
    axes.set_facecolor("0.85")
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap="viridis")
    figure.colorbar(image, cax=style.beside(axes)).set_label("kernel value")
    sorted_note = " (sorted)" if order is not None else ""
    axes.set_xlabel(f"example{sorted_note}")
    axes.set_ylabel(f"example{sorted_note}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(int(np.sum(~np.isfinite(matrix))), "entry"))
    return figure


@style.styled
def spectra(
    spectra: "Mapping[str, ArrayLike | spectrum.Spectrum]",
    *,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Eigenvalues against their index, largest first, both on log axes.

    Args:
        spectra: by name, eigenvalues (n,) or (members, n), or a Spectrum of such; of
            several members each is a thin line and their median a thick one. Those at
            or below zero cannot be drawn, and the figure says how many.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if there is no spectrum or one has another shape.
    """
    if not spectra:
        raise ValueError("spectra is empty; give eigenvalues by name.")
    figure, axes = style.on_axes(axes)
    lost = 0
    for k, (name, spectrum_) in enumerate(spectra.items()):
        eigenvalues = getattr(spectrum_, "eigenvalues", spectrum_)
        values = np.atleast_2d(style.array(eigenvalues, f"spectra[{name!r}]", (1, 2)))
        drawable = np.isfinite(values) & (values > 0)
        lost += int(np.sum(~drawable))
        values = np.where(drawable, values, -np.inf)
        values = -np.sort(-values, axis=1)
        _draw(axes, np.where(values > 0, values, np.nan), k, style.shorten(name, 28))
    style.log_scale(axes, "both")
    axes.set_xlabel("index of the eigenvalue")
    axes.set_ylabel("eigenvalue")
    style.light_grid(axes)
    style.add_title(axes, title)
    style.add_note(
        axes, f"{lost} not positive or not finite, not shown" if lost else ""
    )
    axes.legend(loc="lower left")
    return figure


def _draw(axes: Axes, values: np.ndarray, k: int, label: str) -> None:
    index = np.arange(1, values.shape[1] + 1)
    color = style.PALETTE[k % len(style.PALETTE)]
    middle = values[0]
    if len(values) > 1:
        for member in values:
            axes.plot(index, member, color=color, linewidth=0.5, alpha=0.4)
        # An eigenvalue lost to round-off is below all others, not missing.
        floor = np.where(np.isnan(values), 0.0, values)
        middle = np.median(floor, axis=0)
        middle = np.where(middle > 0, middle, np.nan)
    axes.plot(
        index,
        middle,
        color=color,
        linestyle=style.DASHES[k % len(style.DASHES)],
        marker=style.MARKERS[k % len(style.MARKERS)],
        # Spaced along the line, so that the log axis is not crowded at its end.
        markevery=0.12,
        markersize=4.5,
        label=label,
    )
