"""Attention matrices, their spectra, and the weights of a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kanjax.plotting import style

_FLOOR = 1e-8


@style.styled
def attention_matrices(
    matrices: ArrayLike,
    *,
    names: Sequence[object] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw each head's attention of each block, negative weights in blue.

    All are on one scale, symmetric about 0: learned attention is signed.

    Args:
        matrices: (depth, heads, tokens, tokens), of one example.
        names: of the blocks.
        title: above the figure.

    Raises:
        ValueError: for another number of axes, or of names.
    """
    values = style.array(matrices, "matrices", 4)
    depth, heads = values.shape[:2]
    rows = style.labels(names, depth, "names", "block ")
    finite = values[np.isfinite(values)]
    limit = float(np.max(np.abs(finite), initial=0)) or 1.0
    figure = style.new_figure((1.4 + 1.7 * heads, 0.6 + 1.7 * depth))
    grid = figure.subplots(depth, heads, squeeze=False)
    for (i, j), axes in np.ndenumerate(grid):
        image = axes.imshow(values[i, j], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set_xticks([])
        axes.set_yticks([])
        if i == 0:
            axes.set_title(f"head {j + 1}")
        if j == 0:
            axes.set_ylabel(f"{rows[i]}\nquery")
        if i == depth - 1:
            axes.set_xlabel("key")
    figure.colorbar(image, ax=grid, label="weight", shrink=0.8)
    if title is not None:
        figure.suptitle(style.escape(title))
    return figure


@style.styled
def attention_spectra(
    spectra: Mapping[str, ArrayLike],
    *,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw singular values against their number, as shares of the largest.

    A line is the geometric mean over all matrices of a name; shares under 1e-8 are
    drawn there.

    Args:
        spectra: by name, (..., tokens), the largest first, as of
            :func:`kanjax.kan.attention_transformer.singular_values`.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if nothing is given.
    """
    if not spectra:
        raise ValueError("spectra is empty; give singular values by name.")
    figure, axes = style.on_axes(axes)
    for k, (name, spectrum) in enumerate(spectra.items()):
        values = np.asarray(spectrum, float)
        values = values.reshape(-1, values.shape[-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.maximum(values / values[:, :1], _FLOOR)
        shares = shares[np.all(np.isfinite(shares), axis=1)]
        if not len(shares):
            raise ValueError(f"no matrix of {name!r} has finite values and a largest.")
        axes.plot(
            np.arange(1, values.shape[1] + 1),
            np.exp(np.log(shares).mean(axis=0)),
            color=style.PALETTE[k % len(style.PALETTE)],
            linestyle=style.DASHES[k % len(style.DASHES)],
            marker=style.MARKERS[k % len(style.MARKERS)],
            label=style.shorten(name, 36),
        )
    style.log_scale(axes, "y")
    axes.set(xlabel="number", ylabel="singular value / largest")
    style.light_grid(axes)
    style.add_title(axes, title)
    axes.legend()
    return figure


@style.styled
def weight_histograms(
    params: Mapping[str, Any],
    *,
    bins: int = 60,
    title: str | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw how the weights of networks, or of their layers, are spread.

    Args:
        params: by name, a pytree whose numbers are counted together.
        bins: of equal width, the same for all names.
        title: above the axes.
        axes: where to draw; a new figure if None.

    Raises:
        ValueError: if nothing is given, or for bins that are not positive.
    """
    if not params or bins < 1:
        raise ValueError(
            f"params must hold a pytree or more, and bins be at least 1; got "
            f"{len(params)} and {bins}."
        )
    figure, axes = style.on_axes(axes)
    numbers = {
        name: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        for name, tree in params.items()
    }
    kept = {name: v[np.isfinite(v)] for name, v in numbers.items()}
    lost = sum(len(v) - len(kept[name]) for name, v in numbers.items())
    edges = np.histogram_bin_edges(np.concatenate(list(kept.values())), bins)
    for k, (name, values) in enumerate(kept.items()):
        axes.hist(
            values,
            edges.tolist(),
            density=True,
            histtype="step",
            color=style.PALETTE[k % len(style.PALETTE)],
            label=style.shorten(name, 36),
        )
    axes.set(xlabel="weight", ylabel="density")
    style.add_title(axes, title)
    style.add_note(axes, style.not_finite(lost, "weight"))
    axes.legend()
    return figure
