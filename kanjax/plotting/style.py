"""How the figures look: one style, one palette, and the rules all of them share.

Colours: Okabe and Ito (2008), "Color Universal Design", told apart by people with any
of the common forms of colour blindness; line styles and markers tell the same.
"""

import functools
import io
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec

import matplotlib
import numpy as np
from matplotlib import figure as mpl_figure
from matplotlib import layout_engine, patheffects, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, AMBER = "#CC79A7", "#56B4E9", "#E69F00"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, BLACK)
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY = "0.45"
SIZE = (5.0, 3.5)

STYLE: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "image.interpolation": "nearest",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "text.usetex": False,
    "figure.dpi": 110,
}

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

P = ParamSpec("P")


class ShownFigure(mpl_figure.Figure):
    """A figure that a notebook shows without pyplot having been imported."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """``plot`` with its artists made in the style; the settings are put back after."""

    @functools.wraps(plot)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return plot(*args, **kwargs)

    return in_style


def new_figure(size: tuple[float, float] = SIZE) -> Figure:
    """Return an empty figure of a width and height in inches that keeps labels
    apart.
    """
    # The layout does not foresee how a fixed aspect moves a colour bar: leave room.
    layout = layout_engine.ConstrainedLayoutEngine(w_pad=0.11, h_pad=0.06)
    return ShownFigure(figsize=size, layout=layout)


def on_axes(axes: Axes | None, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """Return the given axes with their figure, or new ones."""
    if axes is None:
        figure = new_figure(size)
        return figure, figure.add_subplot()
    figure = axes.get_figure(root=True)
    if not isinstance(figure, Figure):
        raise ValueError("axes belong to no figure; give axes of a figure, or None.")
    return figure, axes


def add_title(axes: Axes, title: str | None) -> None:
    """Set the title, if any; a ``$`` in it is a dollar sign."""
    if title is not None:
        axes.set_title(escape(title))


def add_note(axes: Axes, *notes: str) -> None:
    """Write remarks under the horizontal axis, where they overlap nothing."""
    lines = [axes.get_xlabel(), *(f"({note})" for note in notes if note)]
    axes.set_xlabel("\n".join(line for line in lines if line))


def not_finite(count: int, what: str = "value") -> str:
    """Return the remark on values left out, empty if there are none."""
    if not count:
        return ""
    return f"{count} non-finite {what}{'s' if count > 1 else ''} not shown"


def escape(text: object) -> str:
    """Text as it is, on one line unless it has several, ``$`` not read as TeX."""
    return str(text).replace("$", r"\$")


def shorten(name: object, width: int = 18) -> str:
    """Return a name of at most ``width`` characters, cut in the middle.

    Names of columns often differ at their ends only, so both ends stay.
    """
    text = " ".join(str(name).split())
    if len(text) > width:
        tail = (width - 1) // 3
        text = text[: width - 1 - tail] + "…" + text[len(text) - tail :]
    return escape(text)


def array(value: ArrayLike, name: str, ndim: int | tuple[int, ...]) -> np.ndarray:
    """Return a float copy of an argument, so that the caller's array is never changed.

    Raises:
        TypeError: if it holds no numbers.
        ValueError: if it has another number of axes, or no entry.
    """
    try:
        result = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be an array of numbers; got {type(value).__name__}: {error}"
        ) from None
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if result.ndim not in allowed:
        wanted = " or ".join(str(n) for n in allowed)
        raise ValueError(
            f"{name} has shape {result.shape}; it must have {wanted} axes."
        )
    if result.size == 0:
        raise ValueError(f"{name} is empty, of shape {result.shape}; nothing to draw.")
    return result


def labels(
    names: Sequence[object] | None,
    count: int,
    argument: str,
    default: str,
    width: int = 18,
) -> list[str]:
    """Short labels of ``count`` things; ``default`` and a number if not named.

    Raises:
        ValueError: if there are more or fewer names than things.
    """
    if names is None:
        return [f"{default}{i}" for i in range(1, count + 1)]
    if isinstance(names, str) or len(names) != count:
        raise ValueError(
            f"{argument} has {1 if isinstance(names, str) else len(names)} entries; "
            f"there are {count} to name. Give one a thing, or None."
        )
    short = [shorten(name, width) for name in names]
    if len(set(short)) < len({str(name) for name in names}):
        # What tells them apart was cut off; their numbers do.
        short = [f"{shorten(n, width - 4)} #{i}" for i, n in enumerate(names, 1)]
    return short


def beside(axes: Axes) -> Axes:
    """Axes for a colour bar, as high as the picture whatever its aspect."""
    return axes.inset_axes((1.03, 0.0, 0.05, 1.0))


def say_empty(axes: Axes, text: str = "no finite values") -> None:
    """Say on the axes that nothing can be drawn."""
    axes.text(
        0.5,
        0.5,
        text,
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=GRAY,
    )


def text_color(rgba: Any) -> str:
    """Black or white, whichever is read better on a colour (luminance, BT.709)."""
    red, green, blue = rgba[:3]
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "white"


def halo() -> list[patheffects.AbstractPathEffect]:
    """Return a white outline that keeps text readable on a picture."""
    return [patheffects.withStroke(linewidth=2.5, foreground="white")]


def light_grid(axes: Axes, axis: Any = "both") -> None:
    """Thin lines at the ticks, behind the data."""
    axes.grid(True, axis=axis, color="0.9", linewidth=0.6)


def log_scale(axes: Axes, axis: Literal["x", "y", "both"]) -> None:
    """Space an axis by logarithms, its powers of ten written as plain text.

    As formulas they would be parsed for each file, and take half of its time.
    """
    for name in "xy" if axis == "both" else axis:
        axes.set(**{f"{name}scale": "log"})
        which = axes.xaxis if name == "x" else axes.yaxis
        which.set_major_formatter(ticker.FuncFormatter(_power_of_ten))


def _power_of_ten(value: float, position: int | None = None) -> str:
    exponent = round(math.log10(value)) if value > 0 else 0
    if not math.isclose(value, 10.0**exponent):
        return f"{value:g}"
    return "10" + str(exponent).translate(_SUPERSCRIPTS)
