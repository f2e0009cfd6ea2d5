import numpy as np
import pytest
from PIL import Image

from kanjax import plotting

T, X, Y = np.linspace(0, 1, 3), np.linspace(0, 1, 5), np.linspace(0, 1, 4)


def frames(path):
    with Image.open(path) as image:
        shown = []
        for k in range(image.n_frames):
            image.seek(k)
            shown.append(np.asarray(image.convert("L"), float))
    return shown


def test_lines_and_maps_move_and_their_axes_do_not(tmp_path):
    lines = T[:, None] * X
    path = tmp_path / "lines.gif"
    plotting.field_animation(T, X, {"u": lines}, path, references={"u": lines})
    first, _, last = frames(path)
    assert first.shape == last.shape and np.any(first != last)
    # The left edge, with the axis' numbers, stays.
    np.testing.assert_allclose(first[60:, :60], last[60:, :60], atol=40)
    maps = T[:, None, None] * X[:, None] * Y
    maps[:, 0, 0] = np.nan
    plotting.field_animation(T, X, {"u": maps}, path, y=Y)
    first, _, last = frames(path)
    assert np.any(np.abs(first - last) > 50)


def test_maps_have_the_colors_of_all_times(tmp_path):
    path = tmp_path / "maps.gif"
    even = np.ones((3, 5, 4)) + 0.01 * X[:, None]

    def middles(values):
        maps = even * np.array(values)[:, None, None]
        plotting.field_animation(T, X, {"u": maps}, path, y=Y)
        return [np.median(f[100:200, 100:200]) for f in frames(path)]

    # From dark to bright over all times, and not over the first one alone.
    first, middle, last = middles([1.0, 5.0, 10.0])
    assert first + 40 < middle < last - 40
    # Of both signs: zero is white, and both ends are as dark.
    first, middle, last = middles([-1.0, 0.0, 1.0])
    assert middle > 240 and max(first, last) < 120


def test_long_movies_are_thinned_and_bad_input_is_named(tmp_path):
    path = tmp_path / "long.gif"
    t = np.linspace(0, 1, 99)
    plotting.field_animation(t, X, {"u": t[:, None] + X}, path)
    assert len(frames(path)) == 40
    with pytest.raises(ValueError, match="fields is empty"):
        plotting.field_animation(T, X, {}, path)
    with pytest.raises(ValueError, match="'u' has 2 times; t has 3"):
        plotting.field_animation(T, X, {"u": np.zeros((2, 5))}, path)
