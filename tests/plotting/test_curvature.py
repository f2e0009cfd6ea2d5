import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from kanjax import landscape, plotting


@pytest.fixture
def plane():
    e = jnp.eye(2)
    bowl = lambda p: jnp.sum(p**2)  # noqa: E731
    found = landscape.plane(bowl, jnp.zeros(2), e[0], e[1], points=(7, 5))
    return found._replace(marks=np.array([[1.0, 0.5], [0.5, 0.2], [0.1, 0], [0, 0]]))


def spectrum(density):
    return landscape.Spectrum(np.arange(3.0), np.array(density), None)


def test_densities_on_a_log_axis():
    figure = plotting.spectral_density(
        {"a": spectrum([1.0, 0.0, np.nan]), "b": spectrum([1.0, 2.0, 3.0])}
    )
    axes = figure.axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 1]]
    assert axes.get_yscale() == "log" and axes.get_ylim()[1] == 9
    assert "1 non-finite point not shown" in axes.get_xlabel()
    figure.draw_without_rendering()


def test_the_surface_has_the_losses(plane):
    figure = plotting.loss_surface(plane, title="t")
    axes = figure.axes[0]
    heights = axes.lines[0].get_data_3d()[2]
    np.testing.assert_allclose(heights[-1], 0.0, atol=1e-6)
    np.testing.assert_allclose(heights[0], plane.losses[3, 6], rtol=1e-6)
    assert axes.get_zlabel() == "loss" and axes.get_title() == "t"
    figure.draw_without_rendering()


def test_a_gif_has_one_frame_for_each_point(plane, tmp_path):
    plotting.training_animation(plane, tmp_path / "run.gif")
    with Image.open(tmp_path / "run.gif") as picture:
        assert picture.n_frames == 4


def test_bad_input_is_named(plane, tmp_path):
    with pytest.raises(ValueError, match="spectra is empty"):
        plotting.spectral_density({})
    with pytest.raises(ValueError, match="density of 'a' has no positive"):
        plotting.spectral_density({"a": spectrum([0.0, 0.0, np.nan])})
    with pytest.raises(ValueError, match=r"plane.losses has shape \(5, 6\)"):
        plotting.loss_surface(plane._replace(losses=plane.losses[:, :6]))
    with pytest.raises(ValueError, match="no finite value"):
        plotting.loss_surface(plane._replace(losses=plane.losses * np.nan))
    with pytest.raises(ValueError, match="plane has 1 marked point"):
        plotting.training_animation(
            plane._replace(marks=np.zeros((1, 2))), tmp_path / "x.gif"
        )
