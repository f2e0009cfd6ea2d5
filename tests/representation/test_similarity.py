"""Similarities equal plain numpy, scipy and scikit-learn, and know no units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial import distance
from sklearn import cross_decomposition, linear_model, metrics

from kanjax.representation import canonical_correlations as canonical
from kanjax.representation import resampling, similarity

SCORES = {
    "linear_cka": similarity.linear_cka,
    "debiased_cka": lambda x, y: similarity.linear_cka(x, y, debiased=True),
    "kernel_cka": similarity.kernel_cka,
    "procrustes": lambda x, y: similarity.procrustes(x, y).distance,
    "rsa": lambda x, y: similarity.rsa(x, y, ranks=False),
    "rsa_euclidean": lambda x, y: similarity.rsa(x, y, dissimilarity="euclidean"),
    "cca": lambda x, y: canonical.cca(x, y).mean,
    "cca_square": lambda x, y: canonical.cca(x, y).mean_square,
    "svcca": lambda x, y: canonical.svcca(x, y, variance=0.9).mean,
    "pwcca": canonical.pwcca,
    "predictivity": canonical.linear_predictivity,
}


@pytest.fixture(scope="module")
def features():
    """Three pairs (60, 5) and (60, 4) with something in common and means of their
    own.
    """
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(3, 60, 3))
    draw = lambda *shape: rng.normal(size=shape)  # noqa: E731
    x = shared @ draw(3, 3, 5) + 0.5 * draw(3, 60, 5) + draw(3, 1, 5)
    y = shared @ draw(3, 3, 4) + 0.5 * draw(3, 60, 4) + draw(3, 1, 4)
    return x.astype(np.float32), y.astype(np.float32)


def reference(name, x, y):
    """The same by other formulas, in float64."""
    x, y = x.astype(float), y.astype(float)
    if name == "rsa":
        tables = [distance.pdist(v, "correlation") for v in (x, y)]
        return stats.pearsonr(*tables)[0]
    if name == "rsa_euclidean":
        return stats.spearmanr(*(distance.pdist(v) for v in (x, y)))[0]
    x, y = x - x.mean(0), y - y.mean(0)
    kernels = [v @ v.T for v in (x, y)]
    if name == "kernel_cka":
        squares = [
            distance.squareform(distance.pdist(v, "sqeuclidean")) for v in (x, y)
        ]
        median = [np.median(distance.pdist(v)) for v in (x, y)]
        kernels = [
            np.exp(-s / (2 * m**2)) for s, m in zip(squares, median, strict=True)
        ]
    if name in ("linear_cka", "kernel_cka", "debiased_cka"):
        measure = biased_hsic if name != "debiased_cka" else unbiased_hsic
        k, m = kernels
        return measure(k, m) / np.sqrt(measure(k, k) * measure(m, m))
    if name == "procrustes":
        x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
        padded = np.pad(y, ((0, 0), (0, 1)))
        rotation, _ = linalg.orthogonal_procrustes(x, padded)
        return np.linalg.norm(x @ rotation - padded) ** 2
    if name == "predictivity":
        fit = linear_model.LinearRegression().fit(x, y)
        return metrics.r2_score(y, fit.predict(x), multioutput="variance_weighted")
    if name == "svcca":
        x, y = (project(v, 0.9) for v in (x, y))
    # Squared correlations are the eigenvalues of this product of covariances.
    c_xx, c_yy, c_xy = x.T @ x, y.T @ y, x.T @ y
    product = np.linalg.solve(c_xx, c_xy) @ np.linalg.solve(c_yy, c_xy.T)
    values, vectors = np.linalg.eig(product)
    order = np.argsort(-values.real)[: min(x.shape[1], y.shape[1])]
    rho = np.sqrt(np.clip(values.real[order], 0, 1))
    if name == "cca_square":
        return np.mean(rho**2)
    if name == "pwcca":
        variates = x @ vectors.real[:, order]
        variates = variates / np.linalg.norm(variates, axis=0)
        weights = np.abs(variates.T @ x).sum(axis=1)
        return weights @ rho / weights.sum()
    return np.mean(rho)


def biased_hsic(k, m):
    n = len(k)
    h = np.eye(n) - 1 / n
    return np.trace(k @ h @ m @ h) / (n - 1) ** 2


def unbiased_hsic(k, m):
    n, ones = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    return (
        np.trace(k @ m)
        + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (ones @ k @ m @ ones)
    ) / (n * (n - 3))


def project(v, share):
    u, s, _ = np.linalg.svd(v, full_matrices=False)
    count = np.searchsorted(np.cumsum(s**2) / np.sum(s**2), share) + 1
    return u[:, :count] * s[:count]


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_those_of_other_formulas_at_any_scale(features, name):
    score = jax.jit(SCORES[name])
    for x, y in zip(*features, strict=True):
        expected = reference(name, x, y)
        np.testing.assert_allclose(score(x, y), expected, atol=2e-5)
        small = score(x * np.float32(1e-18), y * np.float32(1e18))
        np.testing.assert_allclose(small, expected, atol=2e-5)


def test_scores_are_those_that_published_implementations_print():
    """On the data of the demo that Kornblith et al. published with their paper.

    CKA as the demo prints it (google-research, representation_similarity); canonical
    correlations and directions as cca_core of google/svcca gives them on the same data.
    Its pwcca weighs other directions: it leaves out their whitening.
    """
    rng = np.random.RandomState(1337)
    x = rng.randn(100, 10)
    y = rng.randn(100, 10) + x
    cka = [similarity.linear_cka(x, y, debiased=d) for d in (False, True)]
    np.testing.assert_allclose(cka, [0.55761, 0.51346], atol=6e-6)
    minibatch = similarity.minibatch_cka([([x], [y])])
    np.testing.assert_allclose(minibatch, [[0.51346]], atol=6e-6)

    def kernel(v):
        # Unlike ours, the demo's median counts each distance to itself.
        table = distance.cdist(v, v, "sqeuclidean")
        return jnp.asarray(np.exp(-table / (2 * 0.25 * np.median(table))))

    np.testing.assert_allclose(similarity.cka(kernel(x), kernel(y)), 0.65483, atol=6e-6)
    correlations = [0.8851112, 0.86196085, 0.83330185, 0.76440204, 0.74507578]
    correlations += [0.72447428, 0.67903289, 0.66503897, 0.6093718, 0.54236993]
    result = canonical.cca(x, y)
    np.testing.assert_allclose(result.correlations, correlations, rtol=2e-6)
    np.testing.assert_allclose(canonical.pwcca(x, y), 0.7346677196174, rtol=1e-5)
    np.testing.assert_allclose(canonical.pwcca(x[:, :6], y), 0.748293014136, rtol=1e-5)


@pytest.mark.parametrize("name", SCORES)
def test_scores_under_vmap_and_grad(features, name):
    score = SCORES[name]
    x, y = features
    together = jax.jit(jax.vmap(score))(x, y)
    single = [score(a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(together, single, rtol=1e-4, atol=1e-5)
    if name == "rsa_euclidean":
        return
    with jax.enable_x64(True):
        a, b = (jnp.asarray(v[0], float) for v in features)
        slope = jax.jit(jax.grad(score))(a, b)
        step = jax.random.normal(jax.random.key(0), a.shape, float)
        change = (score(a + 1e-5 * step, b) - score(a - 1e-5 * step, b)) / 2e-5
        np.testing.assert_allclose(jnp.sum(slope * step), change, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", SCORES)
def test_rotated_and_scaled_features_are_alike(features, name):
    x = features[0][0]
    rotation = stats.ortho_group.rvs(5, random_state=0).astype(np.float32)
    expected = 0.0 if name == "procrustes" else 1.0
    if name == "rsa":
        # Correlations of samples depend on the axes; their order does not matter.
        rotation = np.eye(5, dtype=np.float32)[::-1]
    np.testing.assert_allclose(SCORES[name](x, 3 * x @ rotation), expected, atol=1e-5)


def test_invertible_maps_do_not_matter_to_canonical_correlations(features):
    x = features[0][0]
    mixed = x @ np.random.default_rng(1).normal(size=(5, 5)).astype(np.float32)
    np.testing.assert_allclose(canonical.cca(x, mixed).correlations, 1, atol=1e-4)
    full = canonical.svcca(x, mixed, variance=1.0)
    np.testing.assert_allclose(full.mean, 1, atol=1e-4)
    np.testing.assert_allclose(canonical.pwcca(x, mixed), 1, atol=1e-4)
    assert similarity.linear_cka(x, mixed) < 0.99


def test_correlations_are_those_of_scikit_learn(features):
    x, y = (v[0].astype(float) for v in features)
    fit = cross_decomposition.CCA(n_components=4, tol=1e-12, max_iter=5000)
    a, b = fit.fit_transform(x, y)
    expected = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(canonical.cca(x, y).correlations, expected, atol=1e-4)


def test_one_unit_each():
    x, y = np.random.default_rng(2).normal(size=(2, 30, 1))
    y = y - 0.7 * x
    rho = np.corrcoef(x[:, 0], y[:, 0])[0, 1]
    np.testing.assert_allclose(similarity.linear_cka(x, y), rho**2, 1e-5)
    np.testing.assert_allclose(canonical.linear_predictivity(x, y), rho**2, 1e-5)
    np.testing.assert_allclose(canonical.cca(x, y).mean, abs(rho), 1e-5)
    np.testing.assert_allclose(
        similarity.procrustes(x, y).distance, 2 - 2 * abs(rho), 1e-5
    )


def test_the_rotation_is_that_of_scipy(features):
    x = features[0][0].astype(float)
    y = features[0][1].astype(float)
    x, y = x - x.mean(0), y - y.mean(0)
    expected, _ = linalg.orthogonal_procrustes(x, y)
    result = similarity.procrustes(x, y).rotation
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_only_the_debiased_estimate_is_0_for_independent_features():
    x, y = jax.random.normal(jax.random.key(3), (2, 200, 50, 20))
    plain = jax.vmap(similarity.linear_cka)(x, y)
    fair = jax.vmap(lambda a, b: similarity.linear_cka(a, b, debiased=True))(x, y)
    assert abs(jnp.mean(fair)) < 0.02
    assert jnp.min(plain) > 0.15


def test_minibatches_average_unbiased_estimates(features):
    layers = [np.asarray(v, np.float64) for v in features[0]]
    others = [np.asarray(v, np.float64) for v in features[1][:2]]
    cuts = (slice(0, 20), slice(20, 40), slice(40, 60))
    table = similarity.minibatch_cka(
        ([v[c] * 1e-15 for v in layers], [v[c] for v in others]) for c in cuts
    )

    def average(a, b):
        return np.mean([unbiased_hsic(a[c] @ a[c].T, b[c] @ b[c].T) for c in cuts])

    expected = [
        [average(a, b) / np.sqrt(average(a, a) * average(b, b)) for b in others]
        for a in layers
    ]
    np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-5)
    # One batch of everything is the debiased estimate itself.
    whole = similarity.minibatch_cka([(layers[:1], others[:1])])
    single = similarity.linear_cka(layers[0], others[0], debiased=True)
    np.testing.assert_allclose(whole[0, 0], single, rtol=1e-5)


def test_images_are_samples_in_minibatches():
    x = np.random.default_rng(4).normal(size=(12, 3, 3, 2))
    result = similarity.minibatch_cka([([x], [x.reshape(12, -1)])])
    np.testing.assert_allclose(result, [[1.0]], rtol=1e-5)
    sums = jax.jit(similarity.hsic)([x], [x])
    np.testing.assert_allclose(sums.cross[0, 0], sums.x[0], rtol=1e-6)


def test_dead_units_do_not_matter_to_canonical_correlations(features):
    x, y = features[0][0], features[1][0]
    padded = np.concatenate([x, np.full((60, 2), 0.3, np.float32)], axis=1)
    plain, result = canonical.cca(x, y), canonical.cca(padded, y)
    assert result.ranks.tolist() == [5, 4]
    np.testing.assert_allclose(result.mean, plain.mean, atol=1e-5)
    np.testing.assert_allclose(
        canonical.pwcca(padded, y), canonical.pwcca(x, y), atol=1e-5
    )


def test_shuffles_tell_likeness_from_none(features, key):
    x, y = features[0][0], features[1][0]
    other = np.random.default_rng(5).normal(size=(60, 4)).astype(np.float32)
    test = jax.jit(
        lambda x, y: resampling.shuffle_test(
            similarity.linear_cka, x, y, key=key, shuffles=99
        )
    )
    alike, chance = test(x, y), test(x, other)
    np.testing.assert_allclose(alike.p_value, 0.01, rtol=1e-6)
    assert chance.p_value > 0.05 and alike.shuffled.max() < alike.value
    expected = (1 + np.sum(chance.shuffled >= chance.value)) / 100
    np.testing.assert_allclose(chance.p_value, expected, rtol=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say(key):
    rho, trials = 0.6, 400
    x, noise = jax.random.normal(key, (2, trials, 100, 1))
    y = rho * x + (1 - rho**2) ** 0.5 * noise

    def interval(x, y, key):
        return resampling.jackknife_interval(
            lambda a, b: canonical.cca(a, b).mean, x, y, key=key, level=0.9
        )

    result = jax.jit(jax.vmap(interval))(x, y, jax.random.split(key, trials))
    held = np.mean((result.low < rho) & (rho < result.high))
    # Three deviations of a share of 400 at 0.9.
    assert abs(held - 0.9) < 3 * (0.9 * 0.1 / trials) ** 0.5


def test_the_jackknife_of_a_mean_is_its_standard_error(key):
    x = jax.random.normal(key, (40, 1))
    mean = lambda a, b: jnp.mean(a)  # noqa: E731
    result = resampling.jackknife_interval(mean, x, x, key=key, groups=40)
    low, high = stats.t.interval(0.95, 39, np.mean(x), np.std(x, ddof=1) / np.sqrt(40))
    np.testing.assert_allclose([result.low, result.high], [low, high], rtol=1e-4)


def test_bad_input_is_named(key):
    x, y = jnp.ones((8, 5)), jnp.ones((8, 4))
    with pytest.raises(ValueError, match=r"cca was given 8 samples of 5 \+ 4 units"):
        canonical.cca(x, y)
    with pytest.raises(ValueError, match="pwcca was given 8 samples"):
        canonical.pwcca(x, y)
    few = jax.random.normal(key, (8, 5))
    with pytest.raises(ValueError, match=r"keeps 5 \+ 5 directions, and there are 8"):
        canonical.svcca(few, few[:, ::-1], variance=1.0)
    with pytest.raises(ValueError, match="variance is 1.5"):
        canonical.svcca(x, y, variance=1.5)
    with pytest.raises(ValueError, match="x has 5 units and 5 samples"):
        canonical.linear_predictivity(x[:5], y[:5])
    with pytest.raises(ValueError, match="x has 8 samples and y has 7"):
        similarity.linear_cka(x, y[:7])
    with pytest.raises(ValueError, match="there are 3 samples; debiased CKA needs 4"):
        similarity.linear_cka(x[:3], y[:3], debiased=True)
    with pytest.raises(ValueError, match=r"shapes \(8, 5\) and \(8, 4\)"):
        similarity.cka(x, y)
    with pytest.raises(ValueError, match="batches is empty"):
        similarity.minibatch_cka([])
    with pytest.raises(ValueError, match=r"layers have \[7, 8\] samples"):
        similarity.hsic([x], [y[:7]])
    with pytest.raises(ValueError, match="dissimilarity is 'cosine'"):
        similarity.rsa(x, y, dissimilarity="cosine")
    with pytest.raises(ValueError, match="there are 2 samples; dissimilarities"):
        similarity.rsa(x[:2], y[:2])
    with pytest.raises(ValueError, match="shuffles is 0"):
        resampling.shuffle_test(similarity.linear_cka, x, y, key=key, shuffles=0)
    with pytest.raises(ValueError, match="groups is 9; it must be from 2 to the 8"):
        resampling.jackknife_interval(similarity.linear_cka, x, y, key=key, groups=9)
    with pytest.raises(ValueError, match="level is 95"):
        resampling.jackknife_interval(
            similarity.linear_cka, x, y, key=key, groups=4, level=95
        )
