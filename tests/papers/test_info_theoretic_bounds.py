"""Information bounds, held against enumeration and simulation: arXiv 2404.03176."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, linalg, optimize, special, stats
from sklearn import feature_selection

from kanjax import gaussian
from kanjax.theory import contraction, gaussian_classification, information_estimates
from kanjax.theory import information_bounds as bounds


@pytest.fixture(autouse=True)
def precise(x64):
    """Identities hold to many digits."""


def unit(size, dimension=20):
    return size * np.eye(dimension)[0]


def test_the_gap_of_two_gaussian_classes():
    gap = gaussian_classification.gap(unit(1.0), 1.0, 50)
    np.testing.assert_allclose(gap.gap, 0.0788797815, atol=2e-7)
    np.testing.assert_allclose(gap, (0.0789, 0.1984, 0.1195), atol=5e-5)
    linear = gaussian_classification.gap(unit(1.0), 2.0, 50, loss="linear")
    np.testing.assert_allclose(linear.gap, 4 * 20 / 50)


@pytest.mark.parametrize("mu, noise, n", [(0.1, 1.0, 2), (1.0, 1.0, 4), (-3.0, 0.5, 9)])
def test_the_gap_of_a_single_feature(mu, noise, n):
    # The sign of w decides all: right with y, or wrong wherever it would be right.
    spread, shrunk = noise / n**0.5, noise * (1 - 1 / n) ** 0.5
    right, error = special.ndtr(abs(mu) / spread), special.ndtr(-abs(mu) / noise)
    test = right * error + (1 - right) * (1 - error)

    def wrong(w):
        density = math.exp(-(((w - mu) / spread) ** 2) / 2) / spread
        return density / math.sqrt(2 * math.pi) * special.ndtr(-abs(w) / shrunk)

    ends = mu - 9 * spread, 0, mu + 9 * spread
    train = sum(integrate.quad(wrong, *sorted(p))[0] for p in itertools.pairwise(ends))
    gap = gaussian_classification.gap([mu], noise, n)
    np.testing.assert_allclose(gap, (test - train, test, train), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("loss", ["zero-one", "linear"])
def test_the_gap_is_that_of_a_simulation(loss):
    rng, mu, noise, n = np.random.default_rng(0), np.array([0.6, 0.3, 0.0]), 0.8, 12
    v = mu + noise * rng.normal(size=(40_000, n, 3))
    w = v.mean(axis=1)
    fresh = mu + noise * rng.normal(size=(40_000, 3))
    train, test = np.einsum("end,ed->en", v, w), np.einsum("ed,ed->e", fresh, w)
    losses = (lambda m: m < 0) if loss == "zero-one" else (lambda m: -m)
    each = losses(test) - losses(train).mean(axis=1)
    said = gaussian_classification.gap(mu, noise, n, loss=loss)
    assert abs(each.mean() - said.gap) < 4 * each.std() / 200
    if loss == "zero-one":
        at = gaussian_classification.gap_at(w, np.eye(3), mu, noise, n)
        np.testing.assert_allclose(at.mean(), said.gap, atol=4 * at.std() / 200)


@pytest.fixture(scope="module")
def layers():
    rng = np.random.default_rng(1)
    widths = (20, 16, 8, 4, 2)
    return [
        np.linalg.qr(rng.normal(size=(a, b)))[0].T
        for a, b in itertools.pairwise(widths)
    ]


def test_divergences_are_those_of_gaussians_in_the_mean(layers):
    products = gaussian_classification.layer_products(layers)
    n, noise = 50, 1.3
    got = gaussian_classification.layer_divergences(products, n)
    ranks = np.array([20, 16, 8, 4, 2])
    np.testing.assert_allclose(got, ranks / 2 * np.log(n / (n - 1)))
    rng = np.random.default_rng(2)
    b = np.asarray(products[3])
    shared = noise**2 * b @ b.T
    each = [
        gaussian.kl_divergence(b @ w, (1 - 1 / n) * shared, np.zeros(4), shared)
        for w in rng.normal(size=(100, 20)) * noise / np.sqrt(n)
    ]
    assert abs(np.mean(each) - got[3]) < 4 * np.std(each) / 10


def test_bounds_fall_with_the_layer_and_are_the_cards(layers):
    products = gaussian_classification.layer_products(layers)
    kl = gaussian_classification.layer_divergences(products, 50)
    got = [float(bounds.kl_bound(k, 0.5)) for k in kl]
    np.testing.assert_allclose(got[0], 0.3178, atol=1e-4)
    np.testing.assert_allclose(got[-1] / got[0], math.sqrt(0.1))
    assert np.all(np.diff(got) < 0)
    for rank, value in ((10, 0.2247), (5, 0.1589), (2, 0.1005)):
        kl = gaussian_classification.layer_divergences([np.eye(rank)], 50)
        np.testing.assert_allclose(bounds.kl_bound(kl[0], 0.5), value, atol=1e-4)
    gap = gaussian_classification.gap(np.asarray(products[-1])[:, 0], 1.0, 50)
    assert 0 < gap.gap < got[-1]


def test_gaussian_divergences_are_those_by_hand():
    rng = np.random.default_rng(3)
    a, b = (m @ m.T + np.eye(3) for m in rng.normal(size=(2, 3, 3)))
    m1, m2 = rng.normal(size=(2, 3))
    got = gaussian.kl_divergence(m1, a, m2, b)
    inverse = np.linalg.inv(b)
    expected = np.trace(inverse @ a) - 3 + (m1 - m2) @ inverse @ (m1 - m2)
    expected += np.log(np.linalg.det(b) / np.linalg.det(a))
    np.testing.assert_allclose(got, expected / 2)
    root = linalg.sqrtm(b)
    cross = np.trace(linalg.sqrtm(root @ a @ root))
    square = np.sum((m1 - m2) ** 2) + np.trace(a + b) - 2 * cross
    np.testing.assert_allclose(gaussian.wasserstein2(m1, a, m2, b), square**0.5)
    x = np.linspace(-12, 12, 200_001)
    one_way = np.abs(stats.norm.cdf(x, 0.5, 0.7) - stats.norm.cdf(x, 0.2, 1.5))
    np.testing.assert_allclose(
        gaussian.wasserstein1(0.5, 0.49, 0.2, 2.25), np.sum(one_way) * 24 / 200_000
    )
    assert gaussian.wasserstein1(0.5, 1.0, 0.2, 1.0) == pytest.approx(0.3)


def test_layer_distances_are_those_of_gaussians(layers):
    products = gaussian_classification.layer_products(layers)
    n, noise, shift = 50, 1.3, np.random.default_rng(4).normal(size=20) / 5
    got = gaussian_classification.layer_distances(products, noise, n, shift=shift)
    for distance, product in zip(got, map(np.asarray, products), strict=True):
        shared = noise**2 * product @ product.T
        zero = np.zeros(len(product))
        expected = gaussian.wasserstein2(
            product @ shift, (1 - 1 / n) * shared, zero, shared
        )
        np.testing.assert_allclose(distance, expected, rtol=1e-6)
    w = np.random.default_rng(5).normal(size=(4000, 20)) * noise / np.sqrt(n)
    each = gaussian_classification.layer_distances(products, noise, n, shift=w)
    most = gaussian_classification.layer_distances(products, noise, n)
    mean_square = np.sqrt(np.mean(np.asarray(each) ** 2, axis=0))
    np.testing.assert_allclose(mean_square, most, rtol=0.02)
    assert np.all(each.mean(axis=0) <= most)


def test_exact_distances_put_the_funnel_last(layers):
    scaled = [3.0 * layers[0], 0.2 * layers[1], 5.0 * layers[2], layers[3]]
    products = gaussian_classification.layer_products(scaled)
    distances = gaussian_classification.layer_distances(products, 1.0, 50)
    norms = [np.linalg.norm(layer, 2) for layer in scaled]
    lipschitz = np.append(np.cumprod(norms[::-1])[::-1], 1.0)
    got = bounds.wasserstein_bound(distances, lipschitz)
    assert bounds.funnel_layer(got) == len(scaled) and np.all(np.diff(got) <= 1e-12)
    many = bounds.wasserstein_bound(jnp.stack([distances] * 3), lipschitz)
    np.testing.assert_allclose(many, got)


HYPOTHESES = np.linspace(0, 1, 5)


def bernoulli(n, p):
    """Counts' probabilities, and the mean of (z - w)^2 on each."""
    k = np.arange(n + 1)
    share = k[:, None] / n
    table = share * (1 - HYPOTHESES) ** 2 + (1 - share) * HYPOTHESES**2
    return stats.binom.pmf(k, n, p), table


def test_the_gibbs_identity():
    got = bounds.gibbs_gap(*bernoulli(10, 0.3), 8.0)
    np.testing.assert_allclose(got.gap, 0.03367794900608, rtol=1e-12)
    np.testing.assert_allclose(got.gap, (got.mutual + got.lautum) / 8, rtol=1e-12)
    assert got.gap <= bounds.gibbs_bound(0.5, 8.0, 10)
    prior = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    other = bounds.gibbs_gap(*bernoulli(6, 0.6), 3.0, prior=prior)
    np.testing.assert_allclose(other.gap, (other.mutual + other.lautum) / 3)


def test_the_gibbs_gap_is_that_of_all_training_sets():
    """By every sequence of examples, with a fresh one beside it."""
    n, p, gamma, gap = 5, 0.3, 4.0, 0.0
    fresh = p * (1 - HYPOTHESES) ** 2 + (1 - p) * HYPOTHESES**2
    for z in itertools.product((0, 1), repeat=n):
        loss = np.mean((np.array(z)[:, None] - HYPOTHESES) ** 2, axis=0)
        posterior = special.softmax(-gamma * loss)
        gap += p ** sum(z) * (1 - p) ** (n - sum(z)) * posterior @ (fresh - loss)
    got = bounds.gibbs_gap(*bernoulli(n, p), gamma).gap
    np.testing.assert_allclose(got, gap)


def test_every_form_is_above_the_gap():
    n, p, gamma = 10, 0.3, 8.0
    weights, table = bernoulli(n, p)
    gibbs = bounds.gibbs_gap(weights, table, gamma)
    posterior = np.asarray(bounds.gibbs_posterior(table, gamma))
    joint = weights[:, None] * posterior
    plain = bounds.kl_bound(gibbs.mutual / n, 0.5)
    # A single example: the rest is binomial.
    rest = stats.binom.pmf(np.arange(n), n - 1, p)
    single = np.stack([(1 - p) * rest @ posterior[:-1], p * rest @ posterior[1:]])
    alone = bounds.kl_bound(bounds.discrete_information(single).mutual, 0.5)
    # Grids 1/2; 1/4, 1/2, 3/4; all: the loss differs by 2 |w - v| between z = 0 and 1.
    coarse = np.stack([joint[:, :2].sum(1), joint[:, 2], joint[:, 3:].sum(1)], axis=1)
    informations = [bounds.discrete_information(t).mutual for t in (coarse, joint)]
    chained = bounds.chained_bound(informations, [0.25, 0.25], n)
    for value in (plain, alone, chained, bounds.gibbs_bound(0.5, gamma, n)):
        assert gibbs.gap < value
    assert alone < plain
    # Of pairs that agree nothing is to be known.
    conditional = 0.0
    for mixed in range(n + 1):
        for ones in range(n + 1 - mixed):
            chance = stats.multinomial.pmf(
                [mixed, ones, n - mixed - ones], n,
                [2 * p * (1 - p), p**2, (1 - p) ** 2],
            )  # fmt: skip
            bits = stats.binom.pmf(np.arange(mixed + 1), mixed, 0.5)
            some = bits[:, None] * posterior[ones : ones + mixed + 1]
            product = bits[:, None] * some.sum(axis=0)
            conditional += chance * stats.entropy(some.ravel(), product.ravel())
    assert conditional <= gibbs.mutual
    assert gibbs.gap < bounds.conditional_bound(conditional, n)


def test_discrete_information_is_that_of_scipy():
    p = np.random.default_rng(6).dirichlet(np.ones(12)).reshape(3, 4)
    product = p.sum(1)[:, None] * p.sum(0)
    got = bounds.discrete_information(p)
    np.testing.assert_allclose(got.mutual, stats.entropy(p.ravel(), product.ravel()))
    np.testing.assert_allclose(got.lautum, stats.entropy(product.ravel(), p.ravel()))
    assert bounds.discrete_information(np.eye(2) / 2).lautum == np.inf


def test_contraction_coefficients():
    assert contraction.dropout_contraction(0.5, 4) == 0.9375
    assert contraction.dropconnect_contraction(0.5, 2, 2) == 0.9375
    np.testing.assert_allclose(contraction.noise_contraction(1, 4, 2), 0.68269, 1e-5)
    erasure = [[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
    np.testing.assert_allclose(contraction.channel_contraction(erasure), 0.5)
    flip = contraction.channel_contraction([[0.8, 0.2], [0.2, 0.8]])
    np.testing.assert_allclose(flip, (0.6, 0.36), rtol=1e-9)


def test_no_divergence_contracts_less_and_some_about_as_little():
    rng = np.random.default_rng(7)
    channel = rng.dirichlet(np.ones(4), size=3)
    got = contraction.channel_contraction(channel)

    def ratios(p, q):
        return stats.entropy(p @ channel, q @ channel, axis=-1) / stats.entropy(
            p, q, axis=-1
        )

    every = ratios(*rng.dirichlet(np.ones(3), size=(2, 20_000)))
    assert every.max() <= got.kl
    # Two laws that are close, on two of the inputs.
    beta = np.linspace(0.01, 0.99, 197)
    near = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        q = np.outer(beta, np.eye(3)[i]) + np.outer(1 - beta, np.eye(3)[j])
        near.append(ratios(q + 1e-3 * (np.eye(3)[i] - np.eye(3)[j]), q).max())
    assert 0.999 * got.kl < max(near) < 1.001 * got.kl
    assert got.kl <= got.total_variation


def test_dropout_is_contracted_by_less_than_its_bound():
    """All laws of two bits through erasure to 0 of each."""
    drop, bits = 0.4, 2
    one_bit = np.array([[1.0, 0.0], [drop, 1 - drop]])
    channel = np.kron(one_bit, one_bit)
    got = contraction.channel_contraction(channel)
    bound = contraction.dropout_contraction(drop, bits)
    np.testing.assert_allclose(got.total_variation, bound)
    assert got.kl <= bound


def test_noise_is_contracted_by_the_total_variation_of_corners():
    a, d, eps = 1.0, 3, 1.7
    far = 2 * a * math.sqrt(d)
    x = np.linspace(-20, 20 + far, 400_001)
    difference = stats.norm.pdf(x, 0, eps) - stats.norm.pdf(x, far, eps)
    variation = np.sum(np.abs(difference)) * (x[1] - x[0]) / 2
    np.testing.assert_allclose(contraction.noise_contraction(a, d, eps), variation)


def test_a_linear_gaussian_channel_contracts_shifts_by_its_coefficient():
    eta = contraction.linear_gaussian_contraction(3.0)
    zero = np.zeros(1)
    for mean, variance in ((1.0, 3.0), (0.0, 5.0), (0.5, 1.0)):
        before, after = (
            gaussian.kl_divergence([mean], [[variance + z]], zero, [[3.0 + z]])
            for z in (0.0, 1.0)
        )
        assert after <= eta * before + 1e-12
        if variance == 3.0:
            np.testing.assert_allclose(after / before, eta)


def test_labels_pass_by_the_noise():
    got = contraction.contracted_divergence(0.5, [0.5, 0.2], of_labels=0.1)
    np.testing.assert_allclose(got, [0.5, 0.3, 0.14])
    np.testing.assert_allclose(
        contraction.contracted_divergence(jnp.array([0.5, 1.0]), [0.5]),
        [[0.5, 0.25], [1.0, 0.5]],
    )


def test_estimates_are_near_in_one_dimension():
    rng = np.random.default_rng(8)
    x = rng.normal(size=1500)
    y = 0.8 * x + 0.6 * rng.normal(size=1500)
    got = information_estimates.neighbor_information(x, y, rows_at_once=500)
    assert abs(got + math.log(1 - 0.64) / 2) < 0.08
    other = feature_selection.mutual_info_regression(x[:, None], y, n_neighbors=3)
    np.testing.assert_allclose(got, other[0], atol=0.01)


def test_distances_of_samples():
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(2, 60, 3))
    line = information_estimates.line_wasserstein(x, y)
    expected = [stats.wasserstein_distance(x[:, i], y[:, i]) for i in range(3)]
    np.testing.assert_allclose(line, expected)
    costs = np.linalg.norm(x[:, None] - y, axis=-1)
    rows, columns = optimize.linear_sum_assignment(costs)
    matched = information_estimates.matched_wasserstein(x, y)
    np.testing.assert_allclose(matched, costs[rows, columns].mean())
    sliced = information_estimates.sliced_wasserstein(jax.random.key(0), x, y)
    assert 0 < sliced < matched


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_estimates_know_no_units_in_single_precision(scale):
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(2, 60, 2)).astype(np.float32)
    y = y + 2 * x
    other = np.float32(scale) * x
    if scale > 1:
        pairs = [information_estimates.neighbor_information(v, y) for v in (x, other)]
    else:
        key = jax.random.key(0)
        pairs = [
            information_estimates.gaussian_twin(key, v, y, draws=2) for v in (x, other)
        ]
    np.testing.assert_allclose(*pairs, rtol=1e-3)
    costs = np.linalg.norm(x[:, None] - y, axis=-1)
    expected = costs[optimize.linear_sum_assignment(costs)].mean()
    got = information_estimates.matched_wasserstein(other, np.float32(scale) * y)
    np.testing.assert_allclose(got / np.float32(scale), expected, rtol=1e-5)


def test_bounds_go_through_transformations():
    table = jnp.asarray(bernoulli(6, 0.3)[1])
    weights = jnp.asarray(bernoulli(6, 0.3)[0])
    slope = jax.jit(jax.grad(lambda t: bounds.gibbs_gap(weights, t, 2.0).gap))(table)
    assert np.isfinite(slope).all()
    many = jax.vmap(lambda k: bounds.kl_bound(k, 0.5))(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(many, bounds.kl_bound(jnp.array([[0.1], [0.2]]), 0.5))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: bounds.kl_bound(-1.0, 0.5), "divergences must be at least 0"),
        (lambda: bounds.kl_bound(1.0, 0.0), "sigma must be positive"),
        (lambda: bounds.conditional_bound(1.0, 0), "examples must be an integer"),
        (lambda: bounds.chained_bound([1.0], [1.0, 2.0], 3), r"must be \(grids,\)"),
        (lambda: bounds.gibbs_posterior([1.0], -1.0), "gamma must be positive"),
        (lambda: bounds.discrete_information([[1.5, -0.5]]), "from 0 to 1"),
        (lambda: bounds.discrete_information([[0.5, 0.2]]), "the sum is 0.7"),
        (lambda: bounds.gibbs_gap([1.0], [1.0], 2.0), r"\(sets, hypotheses\)"),
        (lambda: bounds.wasserstein_bound([-1.0], [1.0]), "distances must be"),
        (lambda: contraction.dropout_contraction(1.2, 3), "drop must be from 0 to 1"),
        (lambda: contraction.dropout_contraction(0.2, 0), "inputs must be an integer"),
        (lambda: contraction.noise_contraction(1.0, 2, 0.0), "deviation must be pos"),
        (lambda: contraction.channel_contraction([[1.0]]), "two inputs or more"),
        (lambda: contraction.linear_gaussian_contraction(-1.0), "at least 0"),
        (
            lambda: contraction.contracted_divergence(0.1, [0.5], of_labels=0.2),
            "of_labels must be from 0",
        ),
        (lambda: gaussian.kl_divergence([0.0], [[1.0]], [0.0], [1.0]), "means have"),
        (lambda: gaussian_classification.gap([1.0], 0.0, 5), "noise must be positive"),
        (
            lambda: gaussian_classification.gap([1.0], 1.0, 1),
            "integer of at least 2; got 1",
        ),
        (lambda: gaussian_classification.gap([1.0], 1.0, 5, loss="x"), "'zero-one'"),
        (
            lambda: gaussian_classification.layer_products(
                [np.ones((3, 2)), np.ones((3, 2))]
            ),
            r"weights\[1\] has shape",
        ),
        (
            lambda: information_estimates.neighbor_information([1.0, 2.0], [1.0]),
            "on the same samples",
        ),
        (
            lambda: information_estimates.neighbor_information([1.0], [1.0]),
            "neighbors must be an integer",
        ),
        (
            lambda: information_estimates.line_wasserstein([1.0], [1.0, 2.0]),
            "they must be equal",
        ),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
