"""Measures of collapse equal plain numpy; frames, streams and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from kanjax import nn, taps, training
from kanjax.representation import collapse_frames, linear_optima, neural_collapse
from kanjax.representation import unconstrained_features as free


@pytest.fixture(scope="module")
def batch():
    """Features (60, 6), labels of 4 classes of different size, and a classifier."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(4), [24, 16, 12, 8]))
    features = rng.normal(size=(4, 6))[labels] + 0.5 * rng.normal(size=(60, 6)) + 1
    return (
        jnp.asarray(features, jnp.float32),
        jnp.asarray(labels),
        jnp.asarray(rng.normal(size=(6, 4)), jnp.float32),
        jnp.asarray(rng.normal(size=4), jnp.float32),
    )


def reference(features, labels, weights, bias, kind):
    """The same by the formulas as they stand, with a full pseudo-inverse."""
    h, y, w = (
        np.asarray(features, float),
        np.asarray(labels),
        np.asarray(weights, float),
    )
    means = np.stack([h[y == k].mean(axis=0) for k in range(4)])
    overall = h.mean(axis=0)
    within = sum(
        np.outer(v - means[k], v - means[k]) for v, k in zip(h, y, strict=True)
    )
    between = sum(np.outer(m - overall, m - overall) for m in means) / 4
    nc1 = np.trace(within / len(h) @ np.linalg.pinv(between, rcond=1e-6)) / 4
    q = means - overall if kind == "etf" else means
    ideal = np.eye(4) - 1 / 4 if kind == "etf" else np.eye(4)
    unit = lambda m: m / np.linalg.norm(m)  # noqa: E731
    distance = lambda a, b: np.linalg.norm(unit(a) - unit(b))  # noqa: E731
    nearest = NearestCentroid().fit(h, y).predict(h)
    centered = means - overall
    lengths = np.linalg.norm(centered, axis=1)
    cosines = centered @ centered.T / np.outer(lengths, lengths)
    return [
        nc1,
        distance(w.T @ w, ideal),
        distance(q @ q.T, ideal),
        distance(q @ w, ideal),
        distance(w.T, q),
        np.mean((h @ w + np.asarray(bias)).argmax(1) != nearest),
        lengths.std() / lengths.mean(),
        np.abs(cosines + 1 / 3)[np.triu_indices(4, 1)].mean(),
    ]


@pytest.mark.parametrize("kind", ["etf", "orthogonal"])
def test_measures_are_those_of_numpy(batch, kind):
    result = neural_collapse.collapse(*batch, kind=kind)
    np.testing.assert_allclose(result, reference(*batch, kind), rtol=1e-4)
    features, *rest = batch
    for scale in (1e-25, 1e-12, 1e12, 1e25):
        scaled = neural_collapse.collapse(features * scale, *rest, kind=kind)
        # All but the labels of the classifier, which has a bias, know no units.
        for name in ("nc1", "nc2_means", "nc3", "duality", "equinorm", "equiangle"):
            np.testing.assert_allclose(
                getattr(scaled, name), getattr(result, name), rtol=1e-4
            )


def test_features_far_from_0_are_as_near_to_their_means(batch):
    features, labels, weights, bias = batch
    outputs = features @ weights + bias[None]
    result = neural_collapse.feature_collapse(features, labels, outputs)
    # Up to the rounding of the moved features.
    moved = neural_collapse.feature_collapse(features + 1e4, labels, outputs)
    np.testing.assert_allclose(moved, result, rtol=2e-2)
    assert float(moved.nc4) == float(result.nc4)


def test_features_alone_have_the_same_measures(batch):
    features, labels, weights, bias = batch
    full = neural_collapse.collapse(*batch)
    alone = neural_collapse.feature_collapse(
        features, labels, features @ weights + bias[None]
    )
    for name, value in alone._asdict().items():
        np.testing.assert_allclose(value, getattr(full, name), rtol=1e-6)
    with pytest.raises(ValueError, match=r"outputs have shape \(60,\)"):
        neural_collapse.feature_collapse(features, labels, labels)
    few = labels < 2
    with pytest.raises(ValueError, match="no samples of class 2, 3, of 4"):
        neural_collapse.feature_collapse(features[few], labels[few], features[few, :4])


def test_an_optimum_is_a_target_with_its_lengths(batch):
    sizes = (24, 16, 12, 8)
    optimum = linear_optima.solve(sizes, 2, weight_decay=3e-3, feature_decay=3e-3)
    target = collapse_frames.target(optimum, 4)
    np.testing.assert_allclose(jnp.diagonal(target.weights), optimum.squares)
    # The classifier's row is the class mean, (squares + samples * decay) times.
    np.testing.assert_allclose(target.ratios, optimum.squares + 60 * 3e-3, rtol=1e-5)


def test_frames(key):
    simplex = collapse_frames.simplex_etf(5, 8, key=key)
    np.testing.assert_allclose(simplex @ simplex.T, 1.25 * np.eye(5) - 0.25, atol=1e-6)
    tight = collapse_frames.simplex_etf(5, 4, key=key)
    np.testing.assert_allclose(tight @ tight.T, simplex @ simplex.T, atol=1e-6)
    lengths = jnp.array([3.0, 2.0, 0.5])
    frame = collapse_frames.general_orthogonal_frame(lengths, 6, key=key)
    np.testing.assert_allclose(frame @ frame.T, np.diag(lengths**2), atol=1e-5)


def test_collapsed_features_measure_zero_and_equal_ones_nothing(key):
    frame = collapse_frames.simplex_etf(3, 6, key=key)
    labels = jnp.arange(15) % 3
    features, bias = 2 * frame[labels] + 3, -3 * frame.sum(axis=1)
    result = neural_collapse.collapse(features, labels, frame.T, bias)
    np.testing.assert_allclose(result, 0, atol=2e-5)
    moments = neural_collapse.class_moments(jnp.ones((15, 6)), labels, 3)
    assert jnp.isnan(neural_collapse.nc1(moments))


def test_streamed_moments_are_those_of_all_samples(batch):
    features, labels, *_ = batch
    features = features + 100
    order = np.argsort(labels)
    whole = neural_collapse.class_moments(features, labels, 4)
    # In the order of the classes, batches lack some.
    cuts = np.split(order, [5, 30, 41])
    parts = neural_collapse.stream(((features[i], labels[i]) for i in cuts), 4)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    np.testing.assert_allclose(parts.means, whole.means, rtol=1e-6)
    np.testing.assert_allclose(parts.scatter, whole.scatter, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        neural_collapse.nc1(parts), neural_collapse.nc1(whole), rtol=1e-3
    )


def test_measures_under_jit_vmap_and_grad(batch):
    features, labels, weights, bias = batch
    stack = jnp.stack([features, features[::-1]])
    measure = jax.jit(
        jax.vmap(lambda h: neural_collapse.collapse(h, labels, weights, bias))
    )
    for h, result in zip(stack, np.stack(measure(stack), axis=1), strict=True):
        expected = neural_collapse.collapse(h, labels, weights, bias)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)

    with jax.enable_x64(True):
        h, w = jnp.asarray(features, float), jnp.asarray(weights, float)

        def total(h):
            result = neural_collapse.collapse(h, labels, w)
            return sum(result._replace(nc4=0.0))

        step = jax.random.normal(jax.random.key(1), h.shape, float)
        slope = jnp.sum(jax.jit(jax.grad(total))(h) * step)
        change = (total(h + 1e-6 * step) - total(h - 1e-6 * step)) / 2e-6
        np.testing.assert_allclose(slope, change, rtol=1e-5)


def test_a_fit_records_collapse_on_the_way(batch):
    features, labels, *_ = batch
    net = nn.MLP((6, 16, 4), jax.nn.relu)

    @jax.jit
    def measure(params):
        hidden = taps.record(net, params, features)["[0]"]
        return neural_collapse.collapse(
            hidden, labels, params[1]["kernel"], params[1]["bias"]
        )

    recorder = neural_collapse.Recorder(measure)
    fit = training.fit(
        training.classification(net.apply),
        net.init(jax.random.key(0)),
        (features, labels),
        key=jax.random.key(1),
        optimizer="adam",
        learning_rate=1e-2,
        steps=200,
        evaluate_every=100,
        callback=recorder,
    )
    history = recorder.stack()
    assert recorder.steps[-1] == 200 and history.nc1.shape == (len(recorder.steps),)
    assert history.nc1[-1] < 0.5 * history.nc1[0]
    np.testing.assert_allclose(history.nc1[-1], measure(fit.params).nc1, rtol=1e-5)


def test_layers_of_a_linear_network_fit_together(key):
    params = free.init((3, 2), (5, 4, 6), key=key, bias=True)
    logits = free.apply(params)
    for features, product in free.layer_views(params):
        np.testing.assert_allclose(features @ product, logits, atol=1e-6)
    labels = free.class_labels((3, 2))
    assert labels.tolist() == [0, 0, 0, 1, 1]
    shifted = params._replace(bias=jnp.array([1.0, 2.0]))
    value = free.loss(
        shifted, labels, weight_decay=0.1, feature_decay=0.2, bias_decay=0.3
    )
    error = np.asarray(logits) + [1, 2] - np.eye(2)[labels]
    squares = [np.sum(np.square(w)) for w in params.weights]
    expected = np.sum(error**2) / 10 + 0.05 * sum(squares) + 0.15 * 5
    expected += 0.1 * np.sum(np.square(params.features))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_bad_input_is_named(batch, key):
    features, labels, weights, bias = batch
    few = labels < 2
    with pytest.raises(ValueError, match="no samples of class 2, 3, of 4 classes"):
        neural_collapse.collapse(features[few], labels[few], weights, bias)
    with pytest.raises(ValueError, match="labels hold 4, and 60 of 60 are no class"):
        neural_collapse.collapse(features, labels * 0 + 4, weights)
    with pytest.raises(ValueError, match=r"labels have shape \(59,\) and there are 60"):
        neural_collapse.collapse(features, labels[1:], weights)
    with pytest.raises(ValueError, match=r"weights have shape \(4, 6\)"):
        neural_collapse.collapse(features, labels, weights.T)
    with pytest.raises(ValueError, match="kind is 'gof'"):
        neural_collapse.collapse(features, labels, weights, kind="gof")
    with pytest.raises(ValueError, match="batches is empty"):
        neural_collapse.stream([], 3)
    with pytest.raises(
        ValueError, match="5 orthogonal vectors do not fit into width 4"
    ):
        collapse_frames.orthogonal_frame(5, 4, key=key)
    with pytest.raises(ValueError, match="classes is 1"):
        collapse_frames.simplex_etf(1, 4, key=key)
    decays = {"weight_decay": 1e-2, "feature_decay": 1e-2}
    with pytest.raises(ValueError, match=r"sizes are \(3, 2\); with a bias"):
        linear_optima.solve((3, 2), 1, **decays, bias=True)
    with pytest.raises(ValueError, match="depth is 0"):
        linear_optima.solve((3, 2), 0, **decays)
    with pytest.raises(ValueError, match=r"sizes are \(3,\); there must be 2"):
        free.class_labels((3,))
    with pytest.raises(ValueError, match=r"widths are \(4, 0\)"):
        free.init((3, 2), (4, 0), key=key)
    optimum = linear_optima.solve((3, 2), 1, **decays)
    with pytest.raises(ValueError, match="the optimum is of 2 classes, not of 4"):
        collapse_frames.target(optimum, 4)
    params = free.init((3, 2), (4,), key=key)
    with pytest.raises(ValueError, match="kind is 'hinge'"):
        free.loss(params, free.class_labels((3, 2)), kind="hinge", **decays)
    with pytest.raises(ValueError, match=r"weight_decay has shape \(2,\)"):
        decays["weight_decay"] = jnp.ones(2)
        free.loss(params, free.class_labels((3, 2)), **decays)
