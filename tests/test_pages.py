import io

import numpy as np
import pytest
from PIL import Image

from kanjax import landscape, pages, plotting
from kanjax.plotting import style


def stored(tmp_path, figure):
    shown = pages.store_figure(tmp_path, "name", "caption", figure)
    assert shown["source"].startswith("data:image/png;base64,")
    assert (tmp_path / "name.svg").read_text().startswith("<?xml")
    with Image.open(tmp_path / "name.png") as picture:
        return np.asarray(picture.convert("RGB"), int)


def history(scale):
    figure, axes = style.on_axes(None)
    axes.plot([0.0, 1e7, 2e7], [scale, 3 * scale, 2 * scale])
    axes.set(xlabel="examples", ylabel="loss", title="a title")
    return figure


def panels():
    rng = np.random.default_rng(0)
    x, values = np.linspace(0, 1, 20), rng.normal(size=(20, 7, 3))
    return plotting.edge_functions(x, values, list("abcdefg"))


def matrices():
    values = np.random.default_rng(0).uniform(size=(2, 8, 8))
    return plotting.barrier_matrix(*values)


def plane():
    x = np.linspace(-1, 1, 9)
    losses = 1 + x[:, None] ** 2 + x**2
    marks, zero = np.zeros((1, 2)), np.zeros(1)
    return plotting.loss_plane(landscape.Plane(x, x, losses, marks, zero, (zero, zero)))


def cropped(picture):
    """Return what of a picture is not white margin."""
    rows, columns = np.nonzero((picture < 255).any(axis=-1))
    return picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@pytest.mark.parametrize(
    "draw", [lambda: history(1.0), lambda: history(1e9), panels, matrices, plane]
)
def test_a_stored_picture_is_what_matplotlib_draws(tmp_path, draw):
    ours = stored(tmp_path, draw())
    figure, buffer = draw(), io.BytesIO()
    figure.set_dpi(pages.PIXELS_PER_INCH)
    for axes in figure.axes:
        # They are where the axes are, and have no say in a layout.
        for spine in axes.spines.values():
            spine.set_in_layout(False)
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")
    figure.savefig(buffer, dpi=pages.PIXELS_PER_INCH, bbox_inches="tight")
    with Image.open(buffer) as picture:
        theirs = np.asarray(picture.convert("RGB"), int)
    np.testing.assert_array_equal(cropped(ours), cropped(theirs))


@pytest.mark.parametrize("draw", [lambda: history(1.0), panels, plane])
def test_labels_stay_off_the_ticks_in_every_file(tmp_path, draw):
    figure = draw()
    stored(tmp_path, figure)
    for dpi in (72, pages.PIXELS_PER_INCH):
        figure.set_dpi(dpi)
        figure.draw_without_rendering()
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                if not axis.get_label_text():
                    continue
                label = axis.get_label().get_window_extent()
                ticks = [t for t in axis.get_ticklabels() if t.get_text()]
                boxes = [t.get_window_extent() for t in ticks if t.get_visible()]
                assert boxes and not any(label.overlaps(box) for box in boxes)


def test_axes_in_space_are_stored(tmp_path):
    x = np.linspace(-1, 1, 9)
    losses = 1 + x[:, None] ** 2 + x**2
    marks, zero = np.zeros((1, 2)), np.zeros(1)
    figure = plotting.loss_surface(
        landscape.Plane(x, x, losses, marks, zero, (zero, zero))
    )
    assert stored(tmp_path, figure).min() < 255
