"""Merges and Fisher information on networks of three libraries, and bad input."""

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn
from kanjax.symmetry import fisher_information as fi
from kanjax.symmetry import fisher_merging as fm
from kanjax.symmetry import model_arithmetic as arithmetic

X = jax.random.normal(jax.random.key(9), (10, 3))


def kanjax_case(key):
    net = nn.MLP((3, 4, 2), jnp.tanh)
    kernels = ("[0]['kernel']", "[1]['kernel']")
    return net.apply, net.init(key), kernels, arithmetic.layer_inputs(net)


def flax_case(key):
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            hidden = jnp.tanh(linen.Dense(4)(x))
            self.sow("intermediates", "hidden", hidden)
            return linen.Dense(2)(hidden)

    net = Net()
    params = net.init(key, X)["params"]
    kernels = ("['Dense_0']['kernel']", "['Dense_1']['kernel']")

    def inputs(p, x):
        kept = net.apply({"params": p}, x, mutable="intermediates")[1]
        hidden = kept["intermediates"]["hidden"][0]
        return dict(zip(kernels, (x, hidden), strict=True))

    return lambda p, x: net.apply({"params": p}, x), params, kernels, inputs


def equinox_case(key):
    net = eqx.nn.MLP(3, 2, 4, 1, jnp.tanh, key=key)
    params, static = eqx.partition(net, eqx.is_inexact_array)
    weights = (".layers[0].weight", ".layers[1].weight")

    def inputs(p, x):
        hidden = jnp.tanh(jax.vmap(eqx.combine(p, static).layers[0])(x))
        return dict(zip(weights, (x, hidden), strict=True))

    apply = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    return apply, params, weights, inputs


@pytest.fixture(params=[kanjax_case, flax_case, equinox_case], scope="module")
def case(request):
    return request.param(jax.random.key(0))


def close(a, b, rtol=1e-4, atol=1e-5):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol, atol), a, b)


def test_every_merge_on_every_library(case):
    apply, a, paths, inputs = case
    b = jax.tree.map(
        lambda p: p + 0.3 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), a
    )
    fisher = jax.jit(lambda p, x: fi.diagonal_fisher(apply, p, x))
    whole = fisher(a, X)
    jacobian = jax.jacobian(lambda p: jax.nn.log_softmax(apply(p, X)))(a)
    weights = jax.nn.softmax(apply(a, X))
    expected = jax.tree.map(
        lambda j: jnp.einsum("ik,ik...->...", weights, j**2) / len(X), jacobian
    )
    close(whole, expected)
    close(fi.stream_mean(lambda x: fisher(a, x), [X[:4], X[4:8], X[8:]]), whole)

    fishers = [whole, fisher(b, X)]
    merged = fm.fisher_merge([a, b], fishers, normalize=False, floor=0.0)
    formula = jax.tree.map(
        lambda p, q, f, g: jnp.where(f + g > 0, (f * p + g * q) / (f + g), p),
        a, b, *fishers,
    )  # fmt: skip
    close(merged, formula)
    halves = jax.tree.map(lambda p, q: (p + q) / 2, a, b)
    close(arithmetic.uniform_soup([a, b]), halves)

    grams = [arithmetic.collect_grams(inputs, p, X, batch_size=4) for p in (a, b)]
    found = fm.select_leaves(arithmetic.regmean_merge([a, b], grams, ridge=0.0))
    values = [np.asarray(inputs(p, X)[paths[0]], float) for p in (a, b)]
    outward = paths[0].endswith("weight")
    kernels = [np.asarray(fm.select_leaves(p)[paths[0]]) for p in (a, b)]
    kernels = [k.T if outward else k for k in kernels]
    targets = np.vstack([v @ k for v, k in zip(values, kernels, strict=True)])
    solved = np.linalg.lstsq(np.vstack(values), targets)[0]
    first = found[paths[0]].T if outward else found[paths[0]]
    np.testing.assert_allclose(first, solved, 1e-3, 1e-4)

    taus = [arithmetic.task_vector(b, a)]
    close(arithmetic.apply_task_vectors(a, taus), b)
    close(arithmetic.ties_merge(a, taus, keep=1.0), b)
    close(arithmetic.dare(taus[0], 0.0, key=jax.random.key(0)), taus[0])


def test_ties_by_hand():
    start = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    taus = [
        {"a": jnp.array([4.0, 0.1]), "b": jnp.array([-3.0, 0.2])},
        {"a": jnp.array([2.0, 0.3]), "b": jnp.array([5.0, -0.1])},
    ]
    found = arithmetic.ties_merge(start, taus, keep=0.5, scale=2.0)
    close(found, {"a": jnp.array([6.0, 0.0]), "b": jnp.array([10.0, 0.0])})


def test_dare_keeps_the_expectation():
    tau = jnp.full(100_000, 2.0)
    found = arithmetic.dare(tau, 0.75, key=jax.random.key(0))
    assert set(np.unique(found)) == {0.0, 8.0}
    # Five standard errors of the mean of 100,000 draws.
    assert abs(jnp.mean(found) - 2) < 5 * 2 * np.sqrt(3 / 1e5)


def test_a_greedy_soup_against_a_loop():
    members = [jnp.array(v) for v in (0.9, 3.0, -0.7, jnp.nan, 0.2)]
    soup = arithmetic.greedy_soup(members, lambda t: -((t - 0.1) ** 2))
    # 0.2 first; with -0.7 or 0.9 alone the mean is worse.
    assert soup.members.tolist() == [False, False, False, False, True]
    soup = arithmetic.greedy_soup(members, lambda t: -((t - 0.6) ** 2))
    assert soup.members.tolist() == [True, False, False, False, True]
    np.testing.assert_allclose([soup.params, soup.score], [0.55, -0.0025], 1e-4)


def test_heads_that_differ():
    a = {"body": jnp.zeros(2), "head": jnp.zeros(3)}
    b = {"body": jnp.ones(2), "head": jnp.ones(5)}
    body = lambda path: "body" in path  # noqa: E731
    merged = fm.merge_with_heads(a, [b], body, coeffs=[0.25, 0.75])
    close(merged, {"body": jnp.full(2, 0.75), "head": jnp.zeros(3)})
    fishers = [jax.tree.map(lambda p: p + 1.0, tree) for tree in (a, b)]
    merged = fm.merge_with_heads(a, [b], body, fishers=fishers, normalize=False)
    close(merged["body"], jnp.full(2, 2 / 3))
    with pytest.raises(ValueError, match="chooses no leaf"):
        fm.merge_with_heads(a, [b], lambda path: False)


def test_under_jit_vmap_and_grad():
    members, fishers = jnp.array([[1.0], [3.0]]), jnp.array([[1.0], [4.0]])
    merge = lambda c: fm.fisher_merge(members, fishers, c, normalize=False)  # noqa: E731
    grid = fm.pairwise_grid(5)
    found = jax.jit(jax.vmap(merge))(grid)
    np.testing.assert_allclose(found[2], [(0.5 + 6) / 2.5], 1e-6)
    slope = jax.grad(lambda c: merge(jnp.stack([c, 1 - c]))[0])(0.5)
    step = (merge([0.501, 0.499]) - merge([0.499, 0.501]))[0] / 0.002
    np.testing.assert_allclose(slope, step, 1e-2)
    apply = lambda w, x: x @ w  # noqa: E731
    total = lambda w: jnp.sum(fi.diagonal_fisher(apply, w, X))  # noqa: E731
    w = jnp.ones((3, 1))
    p = jax.nn.sigmoid(X @ w)
    slope = jnp.mean(
        p * (1 - p) * (1 - 2 * p) * X * jnp.sum(X**2, 1, keepdims=True), axis=0
    )
    close(jax.jit(jax.grad(total))(w)[:, 0], slope)
    draws = fm.dirichlet_coeffs(jax.random.key(0), 3, 2000)
    np.testing.assert_allclose(jnp.mean(draws, 0), 1 / 3, atol=0.03)
    np.testing.assert_allclose(jnp.sum(draws, 1), 1, 1e-5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda p: fm.isotropic_merge([]), "members is empty"),
        (lambda p: fm.isotropic_merge([p, {"v": p["w"]}]), "is in members"),
        (lambda p: fm.isotropic_merge([p, p], [-1.0, 2.0]), "at least 0"),
        (lambda p: fm.isotropic_merge([p, p], [1.0]), "for 2 members"),
        (lambda p: fm.fisher_merge([p], [{"w": -p["w"]}]), "negative or not finite"),
        (lambda p: fm.fisher_merge([p, p], [p]), "1 entries for 2"),
        (lambda p: fm.pairwise_grid(1), "at least 2"),
        (lambda p: arithmetic.ties_merge(p, [p], keep=0.0), "above 0"),
        (lambda p: arithmetic.dare(p, 1.0, key=jax.random.key(0)), "below 1"),
        (lambda p: arithmetic.apply_task_vectors(p, []), "taus is empty"),
        (lambda p: fi.stream_mean(jnp.mean, []), "batches is empty"),
        (lambda p: fi.diagonal_fisher(_apply, p, X, labels="sampled"), "needs a key"),
        (lambda p: fi.diagonal_fisher(_apply, p, X, labels="empirical"), "needs y"),
        (lambda p: fi.diagonal_fisher(_apply, p, X, labels="true"), "must be one of"),
        (
            lambda p: fi.diagonal_fisher(
                _apply, p, X, labels="empirical", y=jnp.full(10, 7)
            ),
            "labels hold 7",
        ),
        (
            lambda p: arithmetic.regmean_merge([p], [{"['w']": jnp.eye(3)}]),
            "neither 'kernel' nor 'weight'",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call({"w": jnp.ones((3, 2))})


def _apply(params, x):
    return x @ params["w"]


def test_a_greedy_soup_of_half_precision_is_rounded_once():
    members = [jnp.array(1 + i / 7, jnp.bfloat16) for i in range(7)]
    soup = arithmetic.greedy_soup(members, lambda t: 0.0 * t)
    exact = np.mean([float(m) for m in members])
    assert soup.params == jnp.asarray(exact, jnp.bfloat16) and soup.members.all()
    assert soup.params.dtype == jnp.bfloat16
