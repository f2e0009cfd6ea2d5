"""Fisher information and merges of networks, held against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn
from kanjax.symmetry import fisher_merging as fm
from kanjax.symmetry import model_arithmetic as arithmetic

NET = nn.MLP((3, 5, 4), jnp.tanh)


@pytest.fixture(scope="module")
def members():
    return [NET.init(jax.random.key(i)) for i in range(3)]


@pytest.fixture(scope="module")
def fishers(members):
    def positive(i, params):
        keys = jax.random.key(10 + i)
        return jax.tree.map(lambda p: jax.random.uniform(keys, p.shape) + 0.1, params)

    return [positive(i, params) for i, params in enumerate(members)]


def close(a, b, rtol=1e-5, atol=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol, atol), a, b)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def glm():
    """Softmax regression: x (n, 4), weights (4, 3), probabilities (n, 3)."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(60, 4)), rng.normal(size=(4, 3))
    return x.astype(np.float32), w.astype(np.float32), softmax(x @ w)


def linear(w, x):
    return x @ w


# --- the Fisher information ---------------------------------------------------


def test_logistic_regression():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(50, 3)), rng.normal(size=(3, 1))
    p = 1 / (1 + np.exp(-x @ w))
    expected = np.mean(p * (1 - p) * x**2, axis=0)[:, None]
    for likelihood in ("bernoulli", "categorical"):
        found = fm.diagonal_fisher(
            linear, jnp.float32(w), jnp.float32(x), likelihood=likelihood
        )
        np.testing.assert_allclose(found, expected, 1e-5)


def test_softmax_regression_and_its_hessian(glm, x64):
    x, w, _ = glm
    x, w = jnp.asarray(x, float), jnp.asarray(w, float)
    p = softmax(np.asarray(x @ w))
    expected = np.einsum("ij,ik->jk", x**2, p * (1 - p)) / len(x)
    found = fm.diagonal_fisher(linear, w, x)
    np.testing.assert_allclose(found, expected, 1e-10)

    def expectation(v):
        log_p = jax.nn.log_softmax(x @ v.reshape(w.shape))
        return jnp.mean(jnp.sum(p * log_p, axis=1))

    hessian = jax.hessian(expectation)(w.ravel())
    np.testing.assert_allclose(found.ravel(), -jnp.diag(hessian), 1e-9)


def test_a_network_against_a_loop_over_examples_and_classes(members):
    x = jax.random.normal(jax.random.key(5), (7, 3))
    score = jax.jit(
        jax.grad(lambda p, a, k: jax.nn.log_softmax(NET.apply(p, a[None])[0])[k])
    )
    p = softmax(np.asarray(NET.apply(members[0], x)))
    total = jax.tree.map(np.zeros_like, members[0])
    for i in range(7):
        for k in range(4):
            g = score(members[0], x[i], k)
            total = jax.tree.map(
                lambda t, v, w=p[i, k]: t + w * np.asarray(v) ** 2 / 7, total, g
            )
    close(fm.diagonal_fisher(NET.apply, members[0], x, batch_size=3), total)


def test_gaussian_outputs(glm):
    x, w, _ = glm
    found = fm.diagonal_fisher(linear, w, x, likelihood="gaussian", sigma=0.5)
    expected = np.mean(x**2, axis=0)[:, None] / 0.25 * np.ones((1, 3))
    np.testing.assert_allclose(found, expected, 1e-5)


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian"])
def test_sampled_labels_approach_the_exact_expectation(glm, likelihood):
    x, w, _ = glm
    options = {"likelihood": likelihood, "sigma": 2.0}
    exact = fm.diagonal_fisher(linear, w, x, **options)

    @jax.jit
    def error(key, scale):
        def once(samples):
            found = fm.diagonal_fisher(
                linear, w, x, labels="sampled", samples=samples, key=key, **options
            )
            return jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)

        return jnp.stack([once(4), once(64)]) * scale

    keys = jax.random.split(jax.random.key(0), 40)
    few, many = np.sqrt(np.mean(np.square(jax.vmap(error, (0, None))(keys, 1.0)), 0))
    # Sixteen times the samples: a quarter of the error; a bias would stay.
    np.testing.assert_allclose(few / many, 4.0, rtol=0.2)


def test_empirical_is_exact_only_where_labels_come_from_the_network(glm):
    x, w, p = glm
    exact = fm.diagonal_fisher(linear, w, x)
    rows = np.tile(x, (400, 1))
    rng = np.random.default_rng(2)
    drawn = (rng.random((len(rows), 1)) > np.tile(p, (400, 1)).cumsum(1)).sum(1)
    empirical = jax.jit(
        lambda y: fm.diagonal_fisher(linear, w, rows, labels="empirical", y=y)
    )
    own = empirical(jnp.minimum(drawn, 2))
    assert np.abs(own / exact - 1).max() < 0.06
    others = empirical(jnp.zeros(len(rows), int))
    assert np.abs(others / exact - 1).max() > 0.5


def test_the_squared_gradient_of_a_batch_is_another_quantity(glm):
    x, w, p = glm
    y = p.argmax(1)
    each = jax.vmap(
        jax.grad(lambda v, a, k: jax.nn.log_softmax(a @ v)[k]), (None, 0, 0)
    )
    gradients = each(w, x, y)
    found = fm.diagonal_fisher(linear, w, x, labels="empirical", y=y)
    np.testing.assert_allclose(found, jnp.mean(gradients**2, 0), 1e-5)
    assert jnp.mean(found) > 5 * jnp.mean(jnp.mean(gradients, 0) ** 2)


# --- merging ------------------------------------------------------------------


def test_equal_fishers_give_the_isotropic_merge(members, fishers):
    coeffs = jnp.array([0.2, 0.5, 0.3])
    plain = fm.isotropic_merge(members, coeffs)
    close(fm.fisher_merge(members, [fishers[0]] * 3, coeffs), plain)
    expected = jax.tree.map(lambda a, b, c: 0.2 * a + 0.5 * b + 0.3 * c, *members)
    close(plain, expected)


def test_a_coefficient_of_one_gives_that_network(members, fishers):
    pair, information = members[:2], fishers[:2]
    same(fm.fisher_merge(pair, information, [1.0, 0.0]), pair[0])
    close(fm.fisher_merge(pair, information, [0.0, 1.0]), pair[1])


@pytest.mark.parametrize("favor_target", [True, False])
def test_the_scale_of_a_fisher_does_not_matter(members, fishers, favor_target):
    scaled = [
        jax.tree.map(lambda v, s=s: s * v, f)
        for f, s in zip(fishers, (1e3, 1e-25, 7.0), strict=True)
    ]
    options = {"relative_floor": True, "favor_target": favor_target, "floor": 0.5}
    close(
        fm.fisher_merge(members, scaled, **options),
        fm.fisher_merge(members, fishers, **options),
    )
    # Without normalizing, the largest takes all.
    raw = fm.fisher_merge(members, scaled, normalize=False, **options)
    close(raw, members[0], rtol=0.0, atol=0.05)
    merged = fm.fisher_merge(members, scaled, **options)
    assert jnp.abs(merged[0]["kernel"] - members[0][0]["kernel"]).max() > 0.5


def test_two_gaussians():
    means, precisions = jnp.array([1.0, 4.0]), jnp.array([2.0, 0.5])
    coeffs = jnp.array([0.3, 0.7])
    merged = fm.fisher_merge(means, precisions, coeffs, normalize=False)
    np.testing.assert_allclose(merged, (0.6 * 1 + 0.35 * 4) / 0.95, 1e-6)

    def joint(theta):
        return sum(
            c * fm.laplace_logpdf(theta, m, p)
            for c, m, p in zip(coeffs, means, precisions, strict=True)
        )

    assert abs(jax.grad(joint)(merged)) < 1e-6
    assert abs(jax.grad(joint)(jnp.mean(means))) > 0.1


def test_the_merge_is_the_diagonal_case_of_the_full_one(members, fishers):
    flat = [np.concatenate([np.ravel(v) for v in jax.tree.leaves(m)]) for m in members]
    full = [
        np.diag(np.concatenate([np.ravel(v) for v in jax.tree.leaves(f)]))
        for f in fishers
    ]
    c = [0.5, 0.2, 0.3]
    expected = np.linalg.solve(
        sum(a * f for a, f in zip(c, full, strict=True)),
        sum(a * f @ m for a, f, m in zip(c, full, flat, strict=True)),
    )
    merged = fm.fisher_merge(members, fishers, c, normalize=False)
    found = np.concatenate([np.ravel(v) for v in jax.tree.leaves(merged)])
    np.testing.assert_allclose(found, expected, 1e-5, 1e-6)


def test_where_nothing_is_known_the_target_is_favored_or_not():
    members = [jnp.array([1.0, 1.0]), jnp.array([3.0, 3.0])]
    fishers = [jnp.array([0.0, 3.0]), jnp.array([0.0, 0.5])]
    coeffs = [0.25, 0.75]
    favored = fm.fisher_merge(members, fishers, coeffs)
    assert favored[0] == 1.0
    plain = fm.fisher_merge(members, fishers, coeffs, favor_target=False)
    # Coefficients are divided by the norms, 3 and 0.5, before.
    weights = np.array([0.25 / 3, 0.75 / 0.5])
    np.testing.assert_allclose(plain[0], weights @ [1, 3] / weights.sum(), 1e-6)
    nothing = fm.fisher_merge(members, fishers, coeffs, floor=0.0, favor_target=False)
    assert nothing[0] == 1.0
    raw = fm.fisher_merge(members, fishers, coeffs, favor_target=False, normalize=False)
    np.testing.assert_allclose(raw[0], 2.5, 1e-6)
    assert fm.floored_share(fishers[0]) == 0.5
    assert fm.floored_share(jnp.array([1e-9, 2e-9]), relative_floor=True) == 0


# --- regression, task arithmetic ----------------------------------------------


@pytest.fixture(scope="module")
def layers():
    """Two linear layers with biases, and the data of each."""
    rng = np.random.default_rng(3)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    members = [{"kernel": draw(4, 3), "bias": draw(3)} for _ in range(2)]
    mix = draw(4, 4)
    return members, [draw(30, 4), draw(50, 4) @ mix]


def gram(x, scale):
    return {"['kernel']": jnp.asarray(x.T @ x * scale)}


def test_regression_solves_least_squares(layers):
    members, data = layers
    found = arithmetic.regmean_merge(members, [gram(x, 1.0) for x in data])
    targets = [x @ m["kernel"] for x, m in zip(data, members, strict=True)]
    stacked = np.vstack(data).astype(np.float64), np.vstack(targets)
    expected = np.linalg.lstsq(*stacked)[0]
    np.testing.assert_allclose(found["kernel"], expected, 1e-3, 1e-4)
    close(found["bias"], (members[0]["bias"] + members[1]["bias"]) / 2)


def test_regression_solves_for_biases_jointly(layers):
    members, data = layers
    inputs = lambda _, x: {"['kernel']": x}  # noqa: E731
    grams = [arithmetic.collect_grams(inputs, None, x, bias=True) for x in data]
    found = arithmetic.regmean_merge(members, grams)
    rows = [
        np.hstack([x, np.ones((len(x), 1))]) / np.sqrt(len(x))
        for x in np.array(data, object)
    ]
    rows = [row.astype(np.float64) for row in rows]
    both = [np.vstack([m["kernel"], m["bias"]]) for m in members]
    targets = np.vstack([r @ b for r, b in zip(rows, both, strict=True)])
    expected = np.linalg.lstsq(np.vstack(rows), targets)[0]
    np.testing.assert_allclose(found["kernel"], expected[:-1], 1e-3, 1e-4)
    np.testing.assert_allclose(found["bias"], expected[-1], 1e-3, 1e-4)


def test_regression_without_what_is_off_the_diagonal(layers):
    members, data = layers
    grams = [gram(x, 1.0) for x in data]
    found = arithmetic.regmean_merge(members, grams, alpha=0.0)
    weights = np.stack([np.sum(x**2, 0) for x in data])[..., None]
    kernels = np.stack([m["kernel"] for m in members])
    expected = np.sum(weights * kernels, 0) / np.sum(weights, 0)
    np.testing.assert_allclose(found["kernel"], expected, 1e-5, 1e-6)


def test_equal_grams_give_the_plain_mean(layers):
    members, data = layers
    grams = [gram(data[0], 1.0)] * 2
    found = arithmetic.regmean_merge(members, grams, alpha=0.7)
    close(found, fm.isotropic_merge(members), 1e-4, 1e-5)


def test_task_arithmetic(members):
    start, *tuned = members
    taus = [arithmetic.task_vector(m, start) for m in tuned]
    close(arithmetic.apply_task_vectors(start, taus[:1]), tuned[0])
    close(arithmetic.apply_task_vectors(start, taus, 0.5), fm.isotropic_merge(tuned))
    forgot = arithmetic.apply_task_vectors(start, taus[:1], -1.0)
    close(forgot, jax.tree.map(lambda a, b: 2 * a - b, start, tuned[0]))
    a, b, c = members
    analogy = arithmetic.apply_task_vectors(
        start,
        [arithmetic.task_vector(p, start) for p in (c, b, a)],
        jnp.array([1.0, 1.0, -1.0]),
    )
    close(
        analogy,
        jax.tree.map(
            lambda s, x, y, z: s + (z - s) + (y - s) - (x - s), start, a, b, c
        ),
    )


def test_equal_networks_stay_as_they_are(members, fishers):
    theta, start = members[:2]
    equal = [theta] * 3
    tau = arithmetic.task_vector(theta, start)
    inputs = arithmetic.layer_inputs(NET)
    data = jax.random.normal(jax.random.key(1), (3, 20, 3))
    grams = [arithmetic.collect_grams(inputs, theta, x, bias=True) for x in data]
    same(fm.fisher_merge(equal, fishers), theta)
    same(fm.isotropic_merge(equal, [0.2, 0.3, 0.5]), theta)
    same(arithmetic.regmean_merge(equal, grams, alpha=0.9, ridge=1e-3), theta)
    same(arithmetic.uniform_soup(equal), theta)
    close(
        arithmetic.greedy_soup(equal, lambda p: -(p[0]["bias"][0] ** 2)).params, theta
    )
    close(arithmetic.ties_merge(start, [tau] * 3, keep=1.0), theta)
    close(arithmetic.apply_task_vectors(start, [tau] * 3, 1 / 3), theta)
    same(fm.merge_with_heads(theta, equal[1:], lambda path: path[1] == "0"), theta)
