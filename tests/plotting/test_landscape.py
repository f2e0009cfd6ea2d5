import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, plotting


def bowl(params):
    return jnp.sum(params["w"] ** 2) + 0.01


@pytest.fixture
def plane():
    origin = {"w": jnp.zeros(3)}
    d1, d2 = {"w": jnp.eye(3)[0]}, {"w": jnp.eye(3)[1]}
    return landscape.plane(bowl, origin, d1, d2, points=(9, 7))


def filled(figure):
    return figure.axes[0].collections[0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


class TestLossPlane:
    def test_random_plane(self, plane):
        figure = plotting.loss_plane(plane, title="t", label="error (mm)")
        axes = figure.axes[0]
        low, high = filled(figure).levels[[0, -1]]
        np.testing.assert_allclose(
            [low, high], [plane.losses.min(), plane.losses.max()], rtol=1e-6
        )
        (star,) = axes.lines
        assert star.get_marker() == "*" and star.get_xydata().tolist() == [[0, 0]]
        assert texts(axes) == ["trained"] and axes.get_title() == "t"
        labels = [a.get_ylabel() for a in axes.child_axes]
        assert labels == ["error (mm) (log scale)"]
        assert axes.get_xlabel() and axes.get_ylabel()
        figure.draw_without_rendering()

    def test_plane_through_members(self):
        a, b, c = ({"w": jnp.array(v)} for v in ([0.0, 0], [4.0, 0], [1.0, 3]))
        found = landscape.plane_through(bowl, a, b, c, points=7)
        figure = plotting.loss_plane(found, mark_names=["a", "b", "c" * 40])
        axes = figure.axes[0]
        marks = np.concatenate([line.get_xydata() for line in axes.lines])
        np.testing.assert_allclose(marks, found.marks, atol=1e-6)
        assert len({line.get_marker() for line in axes.lines}) == 3
        assert texts(axes)[:2] == ["a", "b"] and len(texts(axes)[2]) == 16
        assert "distance" in axes.get_xlabel()
        figure.draw_without_rendering()

    def test_a_run_is_one_path_with_named_ends(self, plane):
        run = np.array([[1.0, 0.5], [0.5, 0.2], [0.1, 0], [0, 0]])
        axes = plotting.loss_plane(plane._replace(marks=run)).axes[0]
        (path,) = axes.lines
        np.testing.assert_array_equal(path.get_xydata(), run)
        assert texts(axes) == ["start", "end"]

    def test_lost_points_are_masked(self, plane):
        losses = np.array(plane.losses)
        losses[0, :3] = [np.nan, np.inf, -np.inf]
        figure = plotting.loss_plane(plane._replace(losses=losses))
        assert "3 of 63 points not finite" in figure.axes[0].get_xlabel()
        assert np.isfinite(filled(figure).levels).all()
        figure = plotting.loss_plane(plane._replace(losses=losses * np.nan))
        assert "no finite values" in texts(figure.axes[0])

    def test_constant_and_negative_losses(self, plane):
        for losses in (0 * plane.losses, plane.losses - 5, plane.losses * 1e-20):
            figure = plotting.loss_plane(plane._replace(losses=losses))
            figure.draw_without_rendering()
            levels = filled(figure).levels
            assert levels.min() <= losses.min() and levels.max() >= losses.max()

    def test_an_entry_is_chosen(self, plane):
        both = plane._replace(
            losses={"loss": plane.losses, "acc": 1 - plane.losses / 3}
        )
        figure = plotting.loss_plane(both, value="acc", accuracy=True)
        assert figure.axes[0].child_axes[0].get_ylabel() == "accuracy"
        assert filled(figure).get_cmap().name == "viridis_r"
        with pytest.raises(ValueError, match=r"\['acc', 'loss'\]"):
            plotting.loss_plane(both)
        with pytest.raises(ValueError, match="does not have"):
            plotting.loss_plane(both, value="f1")
        with pytest.raises(ValueError, match="leave value out"):
            plotting.loss_plane(plane, value="acc")

    def test_bad_input(self, plane):
        with pytest.raises(ValueError, match=r"must be \(7, 9\)"):
            plotting.loss_plane(plane._replace(losses=plane.losses.T))
        with pytest.raises(ValueError, match="log is True"):
            plotting.loss_plane(plane._replace(losses=plane.losses - 1), log=True)
        with pytest.raises(ValueError, match="mark_names has 2"):
            plotting.loss_plane(plane, mark_names=["a", "b"])


class TestBarrierCurves:
    def test_tuples_lines_and_barriers(self):
        a, b = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
        line = landscape.line(bowl, a, b, points=5)
        lines = {
            "plain": (np.array([0.0, 1.0]), np.array([1.0, np.inf])),
            "line": line,
            "barrier " * 10: landscape.barrier(bowl, a, b, points=5),
        }
        figure = plotting.barrier_curves(lines, label="loss (nats)")
        axes = figure.axes[0]
        first, second, third = axes.lines
        np.testing.assert_array_equal(first.get_ydata(), [1, np.nan])
        np.testing.assert_allclose(second.get_ydata(), line.losses, rtol=1e-6)
        np.testing.assert_allclose(third.get_ydata(), line.losses, rtol=1e-6)
        assert len({(s.get_linestyle(), s.get_marker()) for s in axes.lines}) == 3
        entries = [text.get_text() for text in axes.get_legend().get_texts()]
        assert entries[:2] == ["plain", "line"] and len(entries[2]) == 28
        assert "1 non-finite value" in axes.get_xlabel()
        assert axes.get_ylabel() == "loss (nats)"
        figure.draw_without_rendering()

    def test_bad_input(self):
        with pytest.raises(ValueError, match="empty"):
            plotting.barrier_curves({})
        with pytest.raises(ValueError, match="alphas of 'a'"):
            plotting.barrier_curves({"a": (np.ones(2), np.ones(3))})
        with pytest.raises(ValueError, match="several values"):
            plotting.barrier_curves({"a": (np.ones(2), {"x": np.ones(2)})})


class TestBarrierMatrix:
    @pytest.mark.parametrize("members", [1, 2, 6, 11])
    def test_one_scale_and_numbers(self, members):
        before = np.full((members, members), 0.5) - 0.5 * np.eye(members)
        kept = before.copy()
        figure = plotting.barrier_matrix(before, before / 5)
        left, right = figure.axes[:2]
        for axes, given in ((left, before), (right, before / 5)):
            drawn = axes.images[0].get_array()
            assert drawn.mask.diagonal().all()
            np.testing.assert_allclose(drawn.compressed(), given[given > 0])
        assert left.images[0].get_clim() == right.images[0].get_clim()
        pairs = members * (members - 1) if members <= 10 else 0
        assert texts(left) == ["0.50"] * pairs
        assert texts(right) == ["0.10"] * pairs
        assert "before alignment" in left.get_title()
        np.testing.assert_array_equal(before, kept)
        figure.draw_without_rendering()

    def test_small_numbers_are_scaled(self):
        before = np.array([[0, 1.5e-5], [1.5e-5, 0]])
        figure = plotting.barrier_matrix(before, before / 3)
        assert texts(figure.axes[0]) == ["1.50", "1.50"]
        assert "10^{-5}" in figure.axes[2].get_ylabel()
        figure.draw_without_rendering()

    def test_lost_barriers_are_masked(self):
        before = np.array([[0, np.inf], [np.inf, 0]])
        figure = plotting.barrier_matrix(before, np.zeros((2, 2)), names=["a", "b"])
        assert figure.axes[0].images[0].get_array().mask.all()
        assert texts(figure.axes[0]) == ["n/a", "n/a"]
        assert "2 non-finite values" in figure.axes[0].get_xlabel()
        figure.draw_without_rendering()

    def test_bad_input(self):
        with pytest.raises(ValueError, match="both must be"):
            plotting.barrier_matrix(np.eye(2), np.eye(3))
        with pytest.raises(ValueError, match="names has 1"):
            plotting.barrier_matrix(np.eye(2), np.eye(2), names=["a"])
