import numpy as np
import pytest

from kanjax import plotting
from kanjax.training import results


def history(members=3, steps=40, every=10):
    rng = np.random.default_rng(0)
    at = np.arange(0, steps + 1, every)
    return results.History(
        rng.uniform(0.5, 1, (members, steps)),
        {},
        rng.uniform(0.5, 1, (members, at.size)),
        {},
        at,
    )


def lines(figure, label):
    return [line for line in figure.axes[0].lines if line.get_label() == label]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize("members", [1, 2, 3])
def test_lines_are_the_losses(members):
    given = history(members)
    before = given.loss.copy()
    figure = plotting.training_history(given)
    drawn = np.array([line.get_ydata() for line in lines(figure, "_training")])
    np.testing.assert_array_equal(drawn, before)
    drawn = lines(figure, "_validation")
    np.testing.assert_array_equal(
        [line.get_ydata() for line in drawn], given.validation_loss
    )
    np.testing.assert_array_equal(drawn[0].get_xdata(), given.evaluated_at)
    np.testing.assert_array_equal(given.loss, before)
    assert {"training", "validation"} <= set(legend(figure))
    assert figure.axes[0].get_yscale() == "log"
    figure.draw_without_rendering()


def test_median_is_thick():
    given = history()
    (median,) = lines(plotting.training_history(given), "training")
    np.testing.assert_allclose(median.get_ydata(), np.median(given.loss, axis=0))
    assert median.get_linewidth() > 2


def test_one_network_without_validation():
    one = results.History(np.ones(5), {}, np.zeros(0), {}, np.zeros(0, int))
    figure = plotting.training_history(one)
    assert len(figure.axes[0].lines) == 1
    assert legend(figure) == ["training"]


def test_losses_that_are_not_positive_get_a_linear_axis():
    given = history()
    given.loss[0, 3] = -1
    assert plotting.training_history(given).axes[0].get_yscale() == "linear"


def test_stopping_is_no_failure_but_infinity_is():
    given = history()
    given.loss[1, 30:] = np.nan
    given.validation_loss[2, 1] = np.inf
    figure = plotting.training_history(given)
    assert "(1 non-finite loss not shown)" in figure.axes[0].get_xlabel()
    assert not np.isinf(
        np.concatenate([line.get_ydata() for line in figure.axes[0].lines])
    ).any()


def test_nothing_finite():
    given = history()
    figure = plotting.training_history(
        given._replace(loss=given.loss * np.nan, validation_loss=np.zeros((3, 0)))
    )
    assert "no finite values" in [text.get_text() for text in figure.axes[0].texts]


def test_many_steps_are_averaged_and_say_so():
    given = history(2, 1001, 100)
    given.loss[1, 700:] = np.nan
    figure = plotting.training_history(given)
    first, second = lines(figure, "_training (mean of 3 steps)")
    assert len(first.get_ydata()) == 334
    np.testing.assert_allclose(first.get_ydata()[1], given.loss[0, 3:6].mean())
    np.testing.assert_allclose(second.get_ydata()[233], given.loss[1, 699])
    assert np.isnan(second.get_ydata()[234:]).all()


def test_labels_and_kept_steps():
    given = history()
    figure = plotting.training_history(
        given, member_labels=["a", "b", "c" * 40], best_step=[10, 20, 30]
    )
    assert {"a", "b", "kept"} <= set(legend(figure))
    assert max(len(text) for text in legend(figure)) < 25
    (kept,) = lines(figure, "_kept")
    np.testing.assert_array_equal(kept.get_xdata(), [10, 20, 30])
    np.testing.assert_array_equal(
        kept.get_ydata(), given.validation_loss[[0, 1, 2], [1, 2, 3]]
    )


def test_bad_input():
    given = history()
    with pytest.raises(ValueError, match="validation_loss has shape"):
        plotting.training_history(given._replace(evaluated_at=np.arange(3)))
    with pytest.raises(ValueError, match="best_step has 2 entries"):
        plotting.training_history(given, best_step=[1, 2])
    with pytest.raises(ValueError, match="member_labels"):
        plotting.training_history(given, member_labels=["a"])
