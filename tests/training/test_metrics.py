import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from sklearn import metrics as sk

from kanjax.training import metrics


@pytest.fixture
def regression():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 2)).astype(np.float32)
    return y, (y + 0.3 * rng.normal(size=y.shape)).astype(np.float32)


@pytest.fixture
def classes():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, size=300)
    logits = rng.normal(size=(300, 6)) + 2 * np.eye(6)[labels]
    logits[:, 5] = -50  # a class that neither occurs nor is predicted
    return labels, np.asarray(jax.nn.softmax(jnp.asarray(logits, jnp.float32)))


def test_regression_scores_are_scikit_learns(regression):
    y, p = regression
    for ours, theirs in (
        (metrics.mse, sk.mean_squared_error),
        (metrics.mae, sk.mean_absolute_error),
        (metrics.r2_score, sk.r2_score),
    ):
        np.testing.assert_allclose(ours(y, p), theirs(y, p), rtol=1e-5)
    np.testing.assert_allclose(
        metrics.rmse(y, p) ** 2, sk.mean_squared_error(y, p), rtol=1e-5
    )


def test_r2_of_a_constant_target_is_scikit_learns():
    y = np.ones(5, np.float32)
    assert metrics.r2_score(y, y) == sk.r2_score(y, y) == 1
    assert metrics.r2_score(y, y + 1) == sk.r2_score(y, y + 1) == 0


def test_classification_scores_are_scikit_learns(classes):
    labels, p = classes
    predicted = p.argmax(axis=1)
    exact = p.astype(float) / p.sum(axis=1, keepdims=True, dtype=float)
    np.testing.assert_allclose(
        metrics.accuracy(labels, p), sk.accuracy_score(labels, predicted), rtol=1e-6
    )
    np.testing.assert_allclose(
        metrics.macro_f1(labels, p),
        sk.f1_score(labels, predicted, average="macro"),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        metrics.negative_log_likelihood(labels, jnp.log(p)),
        sk.log_loss(labels, exact, labels=range(6)),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        metrics.brier_score(labels, p),
        np.mean(np.sum((p - np.eye(6)[labels]) ** 2, axis=1)),
        rtol=1e-5,
    )


def test_calibration_error_is_the_sum_over_bins(classes):
    labels, p = classes
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == labels
    expected = 0.0
    for b in range(10):
        inside = (confidence > b / 10) & (confidence <= (b + 1) / 10)
        if inside.any():
            gap = hit[inside].mean() - confidence[inside].mean()
            expected += inside.mean() * abs(gap)
    found = metrics.expected_calibration_error(labels, p, bins=10)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_uncertainty_of_opposed_and_of_agreeing_members():
    opposed = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    total, mutual = metrics.predictive_uncertainty(opposed)
    np.testing.assert_allclose(total, jnp.log(2.0), rtol=1e-6)
    np.testing.assert_allclose(mutual, jnp.log(2.0), rtol=1e-6)
    agreeing = jnp.full((3, 4, 2), 0.5)
    np.testing.assert_allclose(
        metrics.predictive_uncertainty(agreeing).mutual_information, 0, atol=1e-6
    )


def test_gaussian_scores_against_scipy(regression):
    y, mean = regression
    std = np.full_like(mean, 0.4)
    np.testing.assert_allclose(
        metrics.gaussian_negative_log_likelihood(y, mean, std),
        -stats.norm.logpdf(y, mean, std).mean(),
        rtol=1e-5,
    )

    def crps(y, mean, std):
        below = integrate.quad(lambda t: stats.norm.cdf(t, mean, std) ** 2, -20, y)[0]
        above = integrate.quad(lambda t: stats.norm.sf(t, mean, std) ** 2, y, 20)[0]
        return below + above

    for at in (-1.0, 0.2, 3.0):
        found = metrics.crps_gaussian(jnp.array([at]), jnp.zeros(1), jnp.full(1, 0.7))
        np.testing.assert_allclose(found, crps(at, 0.0, 0.7), rtol=1e-4)
    exact = metrics.crps_gaussian(y, mean, 0 * std)
    np.testing.assert_allclose(exact, metrics.mae(y, mean), rtol=1e-6)


def test_crps_ensemble_is_the_double_sum_and_tends_to_the_gaussian(key):
    p = jax.random.normal(key, (6, 5))
    y = jnp.linspace(-1, 1, 5)
    pairs = jnp.abs(p[:, None] - p[None]).sum((0, 1)) / (2 * 6 * 5)
    expected = jnp.mean(jnp.abs(p - y[None]).mean(0) - pairs)
    np.testing.assert_allclose(metrics.crps_ensemble(y, p), expected, rtol=1e-5)
    many = jax.random.normal(key, (20_000, 5))
    gaussian = metrics.crps_gaussian(y, jnp.zeros(5), jnp.ones(5))
    np.testing.assert_allclose(metrics.crps_ensemble(y, many), gaussian, rtol=0.02)


def test_coverage_of_a_calibrated_and_of_an_overconfident_spread(key):
    y = jax.random.normal(key, (20_000,))
    zero, one = jnp.zeros_like(y), jnp.ones_like(y)
    np.testing.assert_allclose(
        metrics.coverage(y, zero, one), metrics.LEVELS, atol=0.015
    )
    assert metrics.coverage_error(y, zero, one) < 0.01
    # P(|z| < q / 2) at the quantile q of the level.
    expected = 2 * stats.norm.cdf(stats.norm.ppf(0.95) / 2) - 1
    found = metrics.coverage(y, zero, one / 2, levels=(0.9,))
    np.testing.assert_allclose(found, [expected], atol=0.015)


def test_spread_error_ratio_of_exchangeable_members_is_one(key):
    drawn = jax.random.normal(key, (9, 20_000))
    found = metrics.spread_error_ratio(drawn[0], drawn[1:])
    np.testing.assert_allclose(found, 1, atol=0.02)


def test_scores_under_jit_vmap_and_grad(regression, classes):
    y, p = regression
    members = jnp.stack([p, y, 2 * p])
    mapped = jax.jit(jax.vmap(metrics.r2_score, (None, 0)))(y, members)
    each = [metrics.r2_score(y, member) for member in members]
    np.testing.assert_allclose(mapped, jnp.stack(each), rtol=1e-5)
    labels, probabilities = classes
    for score in (metrics.macro_f1, metrics.expected_calibration_error):
        np.testing.assert_allclose(
            jax.jit(score)(labels, probabilities),
            score(labels, probabilities),
            rtol=1e-5,
        )
    std = jnp.zeros_like(y)
    slope = jax.grad(lambda s: metrics.crps_gaussian(y, p, s))(std)
    assert jnp.isfinite(slope).all()


def test_bad_shapes_and_options_are_named():
    with pytest.raises(ValueError, match=r"\(3,\).*\(3, 1\)"):
        metrics.rmse(jnp.ones(3), jnp.ones((3, 1)))
    with pytest.raises(ValueError, match="std"):
        metrics.coverage(jnp.ones(3), jnp.ones(3), jnp.ones(1))
    with pytest.raises(ValueError, match=r"levels.*\(0, 1\)"):
        metrics.coverage(jnp.ones(3), jnp.ones(3), jnp.ones(3), levels=(1.0,))
    with pytest.raises(ValueError, match="2 members or more, got 1"):
        metrics.crps_ensemble(jnp.ones(3), jnp.ones((1, 3)))
    with pytest.raises(ValueError, match="leading member axis"):
        metrics.spread_error_ratio(jnp.ones(3), jnp.ones((4, 2)))
    with pytest.raises(TypeError, match="integers, got float32"):
        metrics.accuracy(jnp.ones(3), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="bins is 0"):
        metrics.expected_calibration_error(jnp.zeros(3, int), jnp.ones((3, 2)), bins=0)
    with pytest.raises(ValueError, match="empty"):
        metrics.mse(jnp.ones((0,)), jnp.ones((0,)))


def test_f1_is_that_of_scikit_learn():
    labels = np.array([0, 1, 1, 0, 1, 0, 1])
    taken = np.array([0, 1, 0, 1, 1, 0, 1])
    scores = np.eye(2)[taken]
    for positive in (0, 1):
        expected = sk.f1_score(labels, taken, pos_label=positive)
        found = metrics.f1_score(labels, scores, positive=positive)
        assert float(found) == pytest.approx(expected)
    assert float(metrics.f1_score(labels * 0, np.eye(2)[labels * 0])) == 0


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e-6, 1.0, 1e19, 1e30])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_units_of_the_targets_do_not_matter(scale, kind):
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    p = y + 0.5 * rng.normal(size=200)
    members = p + 0.2 * rng.normal(size=(4, 200))
    ours = metrics.r2_score((y * scale).astype(kind), (p * scale).astype(kind))
    np.testing.assert_allclose(ours, sk.r2_score(y, p), rtol=1e-5)
    assert float(ours) == pytest.approx(0.713, abs=1e-3)
    y, p, members = ((v * scale).astype(np.float32) for v in (y, p, members))
    rmse = np.sqrt(np.mean((y.astype(float) - p) ** 2))
    np.testing.assert_allclose(metrics.rmse(y, p), rmse, rtol=1e-5)
    ratio = metrics.spread_error_ratio(y, members)
    exact = members.astype(float)
    variance = exact.var(axis=0, ddof=1).mean()
    error = np.mean((exact.mean(axis=0) - y) ** 2)
    np.testing.assert_allclose(ratio, np.sqrt(1.25 * variance / error), rtol=1e-5)
    std = np.full(200, 0.5 * scale, np.float32)
    nll = metrics.gaussian_negative_log_likelihood(y, p, std)
    theirs = -np.mean(stats.norm.logpdf(y.astype(float), p, std))
    np.testing.assert_allclose(nll, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offset", [1e6, -1e9, 1e12])
def test_offsets_of_the_targets_do_not_matter(offset):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 2)) + offset
    p = y + 0.5 * rng.normal(size=(200, 2))
    for ours, theirs in (
        (metrics.r2_score, sk.r2_score),
        (metrics.mae, sk.mean_absolute_error),
        (metrics.mse, sk.mean_squared_error),
    ):
        np.testing.assert_allclose(ours(y, p), theirs(y, p), rtol=1e-4)
    crps = metrics.crps_ensemble(y, np.stack([p, y]))
    expected = metrics.crps_ensemble(y - offset, np.stack([p, y]) - offset)
    np.testing.assert_allclose(crps, expected, rtol=1e-4)
    assert metrics.r2_score(np.full(5, offset), np.full(5, offset)) == 1


def test_integers_of_many_digits():
    """Counts and times of day in seconds do not fit into single precision."""
    y = np.array([3_000_000_000, 3_000_000_004, 3_000_000_009])
    p = y + np.array([1, -2, 0])
    for ours, theirs in (
        (metrics.mse, sk.mean_squared_error),
        (metrics.mae, sk.mean_absolute_error),
        (metrics.r2_score, sk.r2_score),
    ):
        np.testing.assert_allclose(ours(y, p), theirs(y, p), rtol=1e-6)
        np.testing.assert_allclose(ours(y, p.astype(float)), theirs(y, p), rtol=1e-6)


def test_integers_are_scored_in_double_precision(x64):
    y = 2**40 + jnp.arange(3)
    assert metrics.mae(y, y + 1).dtype == float and metrics.mae(y, y + 1) == 1


def test_the_crps_of_many_members_far_from_zero():
    rng = np.random.default_rng(0)
    y = np.float32(1e6 + rng.normal(size=50))
    p = np.float32(y + rng.normal(size=(200, 50)))
    wide = p.astype(float)
    pairs = np.abs(wide[:, None] - wide[None]).sum((0, 1)) / (2 * 200 * 199)
    expected = np.mean(np.abs(wide - y).mean(0) - pairs)
    crps = metrics.crps_ensemble(jnp.asarray(y), jnp.asarray(p))
    np.testing.assert_allclose(crps, expected, rtol=1e-5)


def test_derivatives_at_exact_predictions_are_finite():
    y = jnp.arange(4.0)
    for score in (metrics.rmse, metrics.r2_score):
        assert jnp.all(jnp.isfinite(jax.grad(lambda p, s=score: s(y, p))(y)))  # pyright: ignore


def test_one_output_is_scored_as_two_classes():
    rng = np.random.default_rng(2)
    labels, logit = rng.integers(0, 2, 60), rng.normal(size=(60, 1))
    p = 1 / (1 + np.exp(-logit))
    predicted = (logit[:, 0] > 0).astype(int)
    both = np.concatenate([1 - p, p], axis=1)
    for ours, theirs in (
        (metrics.accuracy(labels, logit), sk.accuracy_score(labels, predicted)),
        (metrics.f1_score(labels, logit), sk.f1_score(labels, predicted)),
        (
            metrics.macro_f1(labels, logit),
            sk.f1_score(labels, predicted, average="macro"),
        ),
        (metrics.negative_log_likelihood(labels, np.log(p)), sk.log_loss(labels, p)),
        (metrics.brier_score(labels, p), 2 * sk.brier_score_loss(labels, p[:, 0])),
        (
            metrics.expected_calibration_error(labels, p),
            metrics.expected_calibration_error(labels, both),
        ),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    found = metrics.predictive_uncertainty(p[None])
    np.testing.assert_allclose(found.total, stats.entropy(both, axis=1), rtol=1e-4)


def test_labels_that_are_no_class_are_refused():
    scores = jnp.zeros((3, 2))
    for score in (
        metrics.accuracy,
        metrics.f1_score,
        metrics.macro_f1,
        metrics.negative_log_likelihood,
        metrics.brier_score,
        metrics.expected_calibration_error,
    ):
        for wrong in (-1, 2):
            with pytest.raises(ValueError, match=f"labels hold {wrong}, and 1 of 3"):
                score(np.array([0, 1, wrong]), scores)
