import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from kanjax import training
from kanjax.training import losses


def linear(params, x):
    return x @ params


@pytest.fixture
def batch(key):
    a, b = jax.random.split(key)
    return jax.random.normal(a, (20, 3)), jax.random.normal(b, (20, 2))


def test_regression_is_scikit_learns_mean_squared_error(batch):
    w = jnp.ones((3, 2))
    value, metrics = training.regression(linear)(w, batch, None)
    x, y = batch
    np.testing.assert_allclose(value, sk.mean_squared_error(y, x @ w), rtol=1e-5)
    mae = sk.mean_absolute_error(y, x @ w)
    np.testing.assert_allclose(metrics["mae"], mae, rtol=1e-5)


def test_classification_is_scikit_learns_log_loss(batch):
    x, labels = batch[0], jnp.arange(20) % 2
    w = jnp.arange(6.0).reshape(3, 2)
    value, metrics = training.classification(linear)(w, (x, labels), None)
    p = jax.nn.softmax(x @ w)
    np.testing.assert_allclose(value, sk.log_loss(labels, p), rtol=1e-5)
    assert metrics["accuracy"] == pytest.approx(
        sk.accuracy_score(labels, jnp.argmax(p, axis=1))
    )


def test_probabilities_of_classes_are_labels_as_well(batch, key):
    x, labels = batch[0], jnp.arange(20) % 2
    w = jnp.arange(6.0).reshape(3, 2)
    loss = training.classification(linear)
    value, metrics = loss(w, (x, jax.nn.one_hot(labels, 2)), None)
    plain = loss(w, (x, labels), None)
    np.testing.assert_allclose(value, plain[0], rtol=1e-6)
    assert metrics["accuracy"] == plain[1]["accuracy"]
    soft = jax.nn.softmax(jax.random.normal(key, (20, 2)))
    expected = -np.mean(np.sum(soft * np.log(jax.nn.softmax(x @ w)), axis=1))
    np.testing.assert_allclose(loss(w, (x, soft), None)[0], expected, rtol=1e-5)


def test_bfloat16_predictions_are_averaged_in_float32(batch):
    x, y = jax.tree.map(lambda a: a.astype(jnp.bfloat16), batch)
    value, _ = training.regression(linear)(jnp.ones((3, 2), jnp.bfloat16), (x, y), None)
    assert value.dtype == jnp.float32


def test_regression_refuses_to_broadcast():
    loss = training.regression(lambda w, x: x @ w)
    with pytest.raises(ValueError, match=r"\(5, 1\).*\(5,\)"):
        loss(jnp.ones((3, 1)), (jnp.ones((5, 3)), jnp.ones(5)), None)


def test_classification_refuses_column_labels_and_floats(batch):
    loss, w = training.classification(linear), jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"\(20, 2\).*\(20, 1\)"):
        loss(w, (batch[0], jnp.zeros((20, 1), int)), None)
    with pytest.raises(TypeError, match="integer labels, got float32"):
        loss(w, (batch[0], jnp.zeros(20)), None)


def test_key_reaches_only_what_takes_it(key):
    seen = []

    def with_key(params, x, *, key=None):
        seen.append(key)
        return x * params

    batch = jnp.ones(3), jnp.ones(3)
    training.regression(with_key)(1.0, batch, key)
    training.regression(lambda params, x, **rest: x)(1.0, batch, key)
    training.regression(lambda params, x: x)(1.0, batch, key)
    assert seen == [key]


def test_on_batch_leaves_parameters_alone(batch):
    f = training.on_batch(training.regression(linear), batch)
    w = jnp.zeros((3, 2))
    assert f(w) == pytest.approx(float(jnp.mean(batch[1] ** 2)))
    assert jax.jit(jax.grad(f))(w).shape == w.shape


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda *_: jnp.ones(3), ValueError, r"got shape \(3,\)"),
        (lambda *_: 1, TypeError, "floating point, got int32"),
        (lambda *_: (1.0, 2.0), TypeError, "metrics a dict"),
        (lambda *_: None, TypeError, "must return a scalar"),
    ],
)
def test_what_is_no_loss_is_refused(loss, error, message):
    with pytest.raises(error, match=message):
        losses.value_and_metrics(loss, 0.0, None, None)


def test_one_logit_is_a_sigmoid():
    x = jnp.array([[-2.0], [0.3], [1.5], [-0.1]])
    y = jnp.array([0, 1, 0, 1])
    loss = training.classification(lambda p, x: p * x)
    value, scores = jax.jit(loss)(1.0, (x, y), None)
    z = np.asarray(x[:, 0], float)
    expected = np.mean(np.log1p(np.exp(-np.where(y == 1, z, -z))))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(scores["accuracy"], 0.5)
    soft = jnp.array([[0.2], [0.7], [0.0], [1.0]])
    value, _ = loss(1.0, (x, soft), None)
    q = np.asarray(soft[:, 0], float)
    expected = np.mean(q * np.log1p(np.exp(-z)) + (1 - q) * np.log1p(np.exp(z)))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_that_are_no_class(wrong):
    loss = training.classification(lambda p, x: p * x)
    x, y = jnp.ones((2, 3)), jnp.array([0, wrong])
    with pytest.raises(ValueError, match=f"labels hold {wrong}.*numbered from 0 to 2"):
        loss(1.0, (x, y), None)
    # Traced, it is seen by the loss that is not finite.
    assert jnp.isnan(jax.jit(loss)(1.0, (x, y), None)[0])


@pytest.mark.parametrize("bad", [-1, 2])
@pytest.mark.parametrize("where", ["data", "validation"])
def test_a_fit_refuses_labels_that_are_no_class_before_it_compiles(bad, where):
    x, labels = jnp.ones((6, 3)), jnp.arange(6) % 2
    wrong = (x, labels.at[4].set(bad))
    sets = {"data": (x, labels), "validation": (x, labels), where: wrong}
    with pytest.raises(ValueError, match=f"labels hold {bad}, and 1 of 6 are no class"):
        training.fit(
            training.classification(lambda w, x: x @ w),
            jnp.zeros((3, 2)),
            sets["data"],
            validation=sets["validation"],
            optimizer="adam",
            learning_rate=1e-2,
            steps=1,
            key=jax.random.key(0),
        )


def test_probabilities_of_classes_that_are_left_out():
    """Logits of -inf, as of a mask; those classes have no part in the sum."""
    logits = jnp.array([[2.0, -jnp.inf, 0.0], [0.5, 1.0, -jnp.inf]])
    labels = jnp.array([[0.7, 0.0, 0.3], [1.0, 0.0, 0.0]])
    loss = training.classification(lambda w, x: x + w)
    value, slope = jax.value_and_grad(lambda w: loss(w, (logits, labels))[0])(
        jnp.zeros((2, 3))
    )
    p = 1 / (1 + np.exp([-2.0, 0.5]))
    terms = [0.7 * np.log(p[0]) + 0.3 * np.log(1 - p[0]), np.log(p[1])]
    np.testing.assert_allclose(value, -np.mean(terms), rtol=1e-6)
    expected = [[p[0] - 0.7, 0, 0.7 - p[0]], [p[1] - 1, 1 - p[1], 0]]
    np.testing.assert_allclose(slope, np.array(expected) / 2, atol=1e-7)
