"""Reports: one HTML file that needs nothing beside it."""

import base64
import io
import math
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

PIXELS_PER_INCH = 130


def environment(package: str) -> "jinja2.Environment":
    """Return where a report's template finds itself and what all reports share.

    Args:
        package: with ``report.html.jinja`` in it.
    """
    import jinja2

    loaders = [jinja2.PackageLoader(name, ".") for name in (package, "kanjax")]
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["number"] = number
    return made


def number(value: float | None) -> str:
    """Return a number with three significant digits, for a reader."""
    if value is None or not math.isfinite(value):
        return "not finite"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    return f"{value:#.3g}".rstrip(".") if abs(value) < 999.5 else f"{value:,.0f}"


def store_figure(
    folder: pathlib.Path,
    name: str,
    caption: str,
    figure: Any,
    *,
    kinds: tuple[str, ...] = ("png", "svg"),
    wide: bool = False,
) -> dict[str, Any]:
    """Write a figure, and return what ``pictures`` of a template shows.

    Args:
        folder: where to write.
        name: of the files.
        caption: under the figure.
        figure: of matplotlib; it is laid out for good.
        kinds: of files, "png" first.
        wide: whether it takes the page's width.
    """
    box = _layout(figure)
    files = [_rendered(figure, kind, box) for kind in kinds]
    for kind, data in zip(kinds, files, strict=True):
        (folder / f"{name}.{kind}").write_bytes(data)
    return embed(name, caption, files[0], kinds[0], wide=wide)


def embed(
    name: str, caption: str, data: bytes, kind: str, *, wide: bool = False
) -> dict[str, Any]:
    """Return a picture as ``pictures`` of a template shows it.

    Args:
        name: of the picture.
        caption: under it.
        data: the bytes of its file.
        kind: "png" or "gif".
        wide: whether it takes the page's width.
    """
    source = f"data:image/{kind};base64," + base64.b64encode(data).decode()
    return {"name": name, "caption": caption, "wide": wide, "source": source}


def _layout(figure: Any) -> Any:
    """Place what is in a figure, once for all files, and return the box around it.

    ``savefig`` would do both for each, and draw twice: that takes most of the time.
    """
    import matplotlib

    figure.set_dpi(PIXELS_PER_INCH)
    every = [a for axes in figure.axes for a in (axes, *axes.child_axes)]
    flat = [axes for axes in every if axes.name == "rectilinear"]
    for axes in flat:
        for spine in axes.spines.values():
            # Where its axes are; to find that, it would place all ticks once more.
            spine.set_in_layout(False)
        for axis in (axes.xaxis, axes.yaxis):
            if not axis.get_label_text():
                # No label, and no look at all ticks to keep it off them.
                axis.set_label_coords(0, 0)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        with matplotlib.rc_context({"figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)
    margin = matplotlib.rcParams["savefig.pad_inches"]
    box = figure.get_tightbbox().padded(margin)
    for axes in flat:
        _hold_labels(axes)
    return box


def _hold_labels(axes: Any) -> None:
    """Keep labels where they are: each file would measure all ticks to place them."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_offset_text().get_text():
            continue
        label = axis.get_label()
        on_page = label.get_transform().transform(label.get_position())
        axis.set_label_coords(*axes.transAxes.inverted().transform(on_page))
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            tick.label1.set_in_layout(False)
            tick.label2.set_in_layout(False)


def _rendered(figure: Any, kind: str, box: Any) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {}
    if kind == "png":
        # Half of the time of the usual 6, for a twentieth more bytes.
        options["pil_kwargs"] = {"compress_level": 2}
    figure.savefig(buffer, format=kind, dpi=PIXELS_PER_INCH, bbox_inches=box, **options)
    return buffer.getvalue()
