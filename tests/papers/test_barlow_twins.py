"""The losses of two views, held against numpy and brute force: arXiv 2103.03230."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

from kanjax import model, nn, training
from kanjax.representation import barlow_twins, probes

ZA = [[1.0, 2], [2, 1], [3, 5], [4, 3]]
ZB = [[1.5, 1], [2, 2], [2.5, 4], [5, 3]]


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@pytest.fixture
def views():
    """Correlated ones, more images than features."""
    za = draw(0, 40, 6)
    return za, za + draw(1, 40, 6)


def correlate(za, zb):
    """By numpy; eps aside."""
    d = za.shape[1]
    return np.corrcoef(za, zb, rowvar=False)[:d, d:]


def test_by_hand(x64):
    value, terms = barlow_twins.barlow_twins_loss(jnp.array(ZA), jnp.array(ZB))
    np.testing.assert_allclose(terms["invariance"], 0.0358699213, atol=1e-8)
    np.testing.assert_allclose(terms["redundancy"], 0.7197919107, atol=1e-8)
    np.testing.assert_allclose(value, 0.0395408601, atol=1e-8)


def test_cross_correlation_is_that_of_numpy(x64, views):
    got = barlow_twins.cross_correlation(*views, eps=0.0)
    np.testing.assert_allclose(got, correlate(*views), atol=1e-12)
    value = barlow_twins.mean_redundancy(got)
    off = np.abs(correlate(*views))[~np.eye(6, dtype=bool)]
    np.testing.assert_allclose(value, off.mean(), rtol=1e-12)


def test_standardized_features_have_mean_0_and_the_variance_that_eps_leaves(x64):
    z = draw(2, 30, 4) * jnp.array([[1e-3, 1.0, 1e3, 0.0]])
    unit = barlow_twins.standardize_batch(z)
    variance = np.var(np.asarray(z), axis=0)
    np.testing.assert_allclose(unit.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(
        (unit**2).mean(axis=0), variance / (variance + 1e-5), rtol=1e-9, atol=1e-20
    )


def test_what_the_loss_does_not_see(x64, views):
    za, zb = views
    loss = functools.partial(barlow_twins.barlow_twins_loss, eps=0.0)
    value, terms = loss(za, zb)
    order = np.random.default_rng(3).permutation(len(za))
    scale, shift = jnp.exp(draw(4, 1, 6)), draw(5, 1, 6)
    for other in ((za * scale + shift, zb), (za[order], zb[order]), (zb, za)):
        np.testing.assert_allclose(loss(*other)[0], value, rtol=1e-10)
    flipped = loss(za, za * jnp.array([[1, -1, 1, 1, 1, 1]]))[1]
    np.testing.assert_allclose(flipped["invariance"], 4, rtol=1e-10)
    np.testing.assert_allclose(
        barlow_twins.cross_correlation(zb, za, eps=0.0),
        barlow_twins.cross_correlation(za, zb, eps=0.0).T,
    )


def test_least_and_collapsed_values(x64):
    z = draw(6, 50, 5)
    z = z - z.mean(axis=0, keepdims=True)
    white = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, ddof=0))).T
    assert barlow_twins.barlow_twins_loss(white, white)[0] < 1e-8
    constant = jnp.ones((50, 5))
    assert barlow_twins.barlow_twins_loss(constant, constant)[0] == 5


@pytest.mark.parametrize("batch", [5, 8, 11])
def test_few_images_give_the_loss_without_a_square_of_features(batch):
    za, zb = draw(7, batch, 11), draw(8, batch, 11)
    c = np.asarray(barlow_twins.cross_correlation(za, zb), float)
    off = (c**2).sum() - (np.diag(c) ** 2).sum()
    expected = ((1 - np.diag(c)) ** 2).sum() + 0.0051 * off
    value, terms = barlow_twins.barlow_twins_loss(za, zb)
    np.testing.assert_allclose(terms["redundancy"], off, rtol=1e-5)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_no_array_of_all_pairs_of_features_is_made():
    z = jax.ShapeDtypeStruct((4, 1000), jnp.float32)
    gradient = jax.grad(lambda a, b: barlow_twins.barlow_twins_loss(a, b)[0])
    assert "1000,1000" not in str(jax.make_jaxpr(gradient)(z, z))


def test_the_gradient_is_orthogonal_to_shifts_and_scales(x64, views):
    loss = functools.partial(barlow_twins.barlow_twins_loss, eps=0.0)
    za, zb = views
    gradient = jax.grad(lambda z: loss(z, zb)[0])(za)
    unit = barlow_twins.standardize_batch(za, eps=0.0)
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((gradient * unit).sum(axis=0), 0, atol=1e-12)


def test_a_batch_over_devices_has_the_loss_and_gradient_of_the_batch(x64):
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    z, w = draw(9, 4 * len(jax.devices()), 3), draw(10, 3, 7)
    other = z + draw(11, *z.shape)

    def loss(w, za, zb, axis_name=None):
        pair = jnp.tanh(za @ w), jnp.tanh(zb @ w)
        return barlow_twins.barlow_twins_loss(*pair, axis_name=axis_name)[0]

    rows, everywhere = PartitionSpec("batch"), PartitionSpec()
    specs = {"mesh": mesh, "in_specs": (everywhere, rows, rows)}
    spread = jax.shard_map(
        functools.partial(loss, axis_name="batch"), out_specs=everywhere, **specs
    )
    inside = jax.shard_map(
        jax.grad(functools.partial(loss, axis_name="batch")),
        out_specs=everywhere,
        **specs,
    )
    arguments = w, z, other
    np.testing.assert_allclose(spread(*arguments), loss(*arguments), rtol=1e-12)
    expected = jax.grad(loss)(*arguments)
    for gradient in (jax.grad(spread), inside):
        np.testing.assert_allclose(jax.jit(gradient)(*arguments), expected, rtol=1e-9)


def test_half_precision_is_summed_in_single():
    za, zb = draw(12, 64, 4).astype(jnp.bfloat16), draw(13, 64, 4).astype(jnp.bfloat16)
    expected = barlow_twins.barlow_twins_loss(za.astype(float), zb.astype(float))[0]
    value = barlow_twins.barlow_twins_loss(za, zb)[0]
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_vicreg_is_that_of_its_equations(x64, views):
    za, zb = map(np.asarray, views)
    deviations = [np.sqrt(z.var(axis=0, ddof=1) + 1e-4) for z in (za, zb)]
    squares = [np.cov(z.T) ** 2 for z in (za, zb)]
    expected = {
        "invariance": ((za - zb) ** 2).mean(),
        "variance": sum(np.maximum(0, 1 - d).mean() for d in deviations) / 2,
        "covariance": sum((c.sum() - np.trace(c)) / 6 for c in squares),
    }
    value, terms = barlow_twins.vicreg_loss(*views)
    for name, term in expected.items():
        np.testing.assert_allclose(terms[name], term, rtol=1e-10)
    weighted = 25 * terms["invariance"] + 25 * terms["variance"] + terms["covariance"]
    np.testing.assert_allclose(value, weighted, rtol=1e-10)


def test_simclr_is_that_of_a_loop(x64, views):
    z = np.concatenate(views)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    total, hits = 0.0, 0
    for i in range(80):
        j = (i + 40) % 80
        exponents = {k: z[i] @ z[k] / 0.3 for k in range(80) if k != i}
        total -= exponents[j] - np.log(sum(map(math.exp, exponents.values())))
        hits += max(exponents, key=exponents.get) == j
    value, metrics = barlow_twins.nt_xent_loss(*views, temperature=0.3)
    np.testing.assert_allclose(value, total / 80, rtol=1e-9)
    np.testing.assert_allclose(metrics["accuracy"], hits / 80)


def test_lars_by_hand():
    params = {"kernel": jnp.array([[3.0, 4]]), "bias": jnp.array([1.0])}
    gradient = {"kernel": jnp.array([[0.6, 0.8]]), "bias": jnp.array([2.0])}
    solver = barlow_twins.lars(1.0, weight_factor=1.0, bias_factor=0.5)
    state = solver.init(params)
    updates, state = jax.jit(solver.update)(gradient, state, params)
    np.testing.assert_allclose(updates["kernel"], [[-0.003, -0.004]], rtol=1e-5)
    np.testing.assert_allclose(updates["bias"], [-1.0], rtol=1e-6)
    # Momentum, and no trust ratio where there is nothing to divide by.
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = solver.update(jax.tree.map(jnp.ones_like, params), state, zeros)
    np.testing.assert_allclose(
        updates["kernel"], [[-1 - 0.9 * 0.003, -1 - 0.9 * 0.004]], rtol=1e-5
    )


def test_lars_follows_the_reference_while_the_rate_changes(x64):
    """Momentum first and the rate after it, in which ``optax.lars`` differs."""

    def rate(step):
        return 0.5 / (1 + step)

    params, moments = draw(14, 3, 2), np.zeros((3, 2))
    expected = np.asarray(params)
    solver = barlow_twins.lars(rate, weight_decay=0.1)
    ours, state = params, solver.init(params)
    theirs = optax.lars(lambda step: 0.2 * rate(step), weight_decay=0.1)
    other, other_state = params, theirs.init(params)
    for step in range(4):
        gradient = draw(20 + step, 3, 2)
        updates, state = solver.update(gradient, state, ours)
        ours = optax.apply_updates(ours, updates)
        updates, other_state = theirs.update(gradient, other_state, other)
        other = optax.apply_updates(other, updates)
        g = np.asarray(gradient) + 0.1 * expected
        g = g * 0.001 * np.linalg.norm(expected) / np.linalg.norm(g)
        moments = 0.9 * moments + g
        expected = expected - 0.2 * rate(step) * moments
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    assert np.abs(other - expected).max() > 1e-4


def test_learning_rate():
    rate = barlow_twins.learning_rate(2048, 100, 1000)
    for step, value in ((0, 0), (500, 4), (1000, 8), (50_500, 4.004), (100_000, 0.008)):
        np.testing.assert_allclose(rate(step), value, rtol=1e-5)


def test_twins_train_with_batch_norm():
    """A projector with a state, two views, LARS: all in one fit."""
    widths = (4, 16, 8)
    net = model.Sequential((nn.Dense(6, 4), barlow_twins.projector(widths)))
    kinds = [type(layer).__name__ for layer in net.layers[1].layers]
    assert kinds == ["Dense", "BatchNorm", "Activation", "Dense"]
    assert not any(
        layer.use_bias for layer in net.layers[1].layers if isinstance(layer, nn.Dense)
    )

    def view(key, x):
        return x + 0.1 * jax.random.normal(key, x.shape)

    loss = barlow_twins.twin_loss(net.apply, (view, view))
    params, state, images = (
        net.init(jax.random.key(0)),
        net.initial_state(),
        draw(15, 32, 6),
    )
    images = images.astype(jnp.float32)
    value, _, after = loss(params, images, jax.random.key(1), state)
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), state, after)
    assert any(jax.tree.leaves(moved))
    fit = training.fit(
        loss,
        params,
        images,
        state=state,
        optimizer=barlow_twins.lars(barlow_twins.learning_rate(2048, 4, 15)),
        steps=60,
        key=jax.random.key(2),
    )
    assert fit.history.loss[-1] < 0.9 * value

    def embed(params, x):
        return net.apply(params, x, state=state, train=True)[0]

    plain = barlow_twins.twin_loss(embed, (view, view))
    np.testing.assert_allclose(plain(params, images, jax.random.key(1))[0], value)


def test_imagenet_views_are_of_one_size_and_differ():
    image = jax.random.uniform(jax.random.key(0), (24, 20, 3))
    keys = jax.random.split(jax.random.key(1), 3)
    for view in barlow_twins.imagenet_views((16, 12)):
        got = np.asarray(jax.jit(jax.vmap(view, (0, None)))(keys, image))
        assert got.shape == (3, 16, 12, 3) and np.all(np.isfinite(got))
        assert got.min() >= -2.2 and got.max() <= 2.7
        assert np.abs(got[0] - got[1]).mean() > 0.01


def test_a_probe_learns_what_is_linear_and_maps_over_labels():
    x = draw(16, 60, 3).astype(jnp.float32)
    labels = jnp.argmax(x @ draw(17, 3, 4), axis=1)
    probe = probes.fit_linear_probe(x, labels, 4, key=jax.random.key(0))
    assert jnp.mean(jnp.argmax(probes.logits(probe, x), axis=1) == labels) > 0.95
    both = jnp.stack([labels, jnp.roll(labels, 1)])
    fit = functools.partial(
        probes.fit_linear_probe, classes=4, key=jax.random.key(0), batch_size=16
    )
    mapped = jax.jit(jax.vmap(lambda y: fit(x, y)))(both)
    assert mapped.kernel.shape == (2, 3, 4)


def test_a_probe_with_decay_is_that_of_scikit_learn(x64):
    from sklearn import linear_model

    x, labels = draw(18, 40, 3), np.random.default_rng(19).integers(0, 3, 40)
    probe = probes.fit_linear_probe(
        x,
        jnp.asarray(labels),
        3,
        key=jax.random.key(0),
        steps=2000,
        weight_decay=0.05,
    )
    # Its penalty leaves the bias out: centered logits of no bias are compared.
    x0 = np.asarray(x)
    reference = linear_model.LogisticRegression(C=1 / (0.05 * 40), fit_intercept=False)
    reference.fit(np.c_[x0, np.ones(40)], labels)
    kernel = np.concatenate([probe.kernel, probe.bias[None]])
    np.testing.assert_allclose(kernel.T, reference.coef_, atol=2e-3)


def test_neighbors_vote_as_in_a_loop():
    x, queries = np.asarray(draw(21, 30, 4)), np.asarray(draw(22, 11, 4))
    labels = np.random.default_rng(23).integers(0, 3, 30)
    expected = []
    for q in queries:
        cosines = x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
        votes = np.zeros(3)
        for row in np.argsort(-cosines)[:7]:
            votes[labels[row]] += math.exp(cosines[row] / 0.2)
        expected.append(votes.argmax())
    for size, scale in ((None, 1.0), (4, 1.0), (None, 1e-9), (None, 1e20)):
        got = probes.predict_neighbors(
            scale * jnp.asarray(x),
            jnp.asarray(labels),
            3,
            scale * jnp.asarray(queries),
            neighbors=7,
            temperature=0.2,
            batch_size=size,
        )
        np.testing.assert_array_equal(got, expected)


def test_effective_rank():
    x = np.zeros((8, 3))
    for row, signs in enumerate(itertools.product((-1, 1), repeat=3)):
        x[row] = signs
    np.testing.assert_allclose(probes.effective_rank(x + 5), 3, rtol=1e-5)
    flat = x * np.array([1, 0, 0])
    np.testing.assert_allclose(probes.effective_rank(flat), 1, rtol=1e-5)
    uneven = x * np.sqrt([0.5, 0.25, 0.25])
    np.testing.assert_allclose(
        probes.effective_rank(uneven), math.exp(1.5 * math.log(2)), rtol=1e-5
    )


Z = jnp.zeros((4, 3))
LABELS = jnp.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: barlow_twins.barlow_twins_loss(Z, Z[:3]), r"\(4, 3\) and zb \(3, 3\)"),
        (lambda: barlow_twins.cross_correlation(Z[:1], Z[:1]), "two or more images"),
        (lambda: barlow_twins.vicreg_loss(Z, Z[:, :2]), "two views of the same"),
        (lambda: barlow_twins.nt_xent_loss(Z, Z, temperature=0.0), "temperature must"),
        (lambda: barlow_twins.projector((3,)), "of the input and of each layer"),
        (
            lambda: barlow_twins.learning_rate(256, 10, 10),
            "warmup_epochs is 10.*10 epochs",
        ),
        (
            lambda: probes.fit_linear_probe(Z, LABELS[:2], 2, key=jax.random.key(0)),
            r"x has shape \(4, 3\) and labels \(2,\)",
        ),
        (
            lambda: probes.fit_linear_probe(Z, LABELS, 1, key=jax.random.key(0)),
            "labels hold 1",
        ),
        (lambda: probes.predict_neighbors(Z, LABELS, 2, Z[:, :2]), "queries has shape"),
        (lambda: probes.predict_neighbors(Z, LABELS, 2, Z), "neighbors is 20.*1 to 4"),
        (
            lambda: probes.predict_neighbors(
                Z, LABELS, 2, Z, neighbors=2, temperature=0.0
            ),
            "temperature must",
        ),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
