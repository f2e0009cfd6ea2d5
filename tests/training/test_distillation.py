"""Divergences between logits, and the loss of a student."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from kanjax import training


@pytest.fixture(scope="module")
def logits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(2, 6, 5)).astype(np.float32) * 3)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_scipy(logits, temperature: float) -> None:
    p, q = (scipy.special.softmax(z.astype(float) / temperature, -1) for z in logits)
    np.testing.assert_allclose(
        training.kl_divergence(*logits, temperature=temperature),
        scipy.special.rel_entr(p, q).sum(-1),
        rtol=1e-5,
        atol=1e-6,
    )


def test_hot_limit_compares_centered_logits(logits) -> None:
    """T^2 KL -> variance of the difference over classes, halved (Hinton, section 2)."""
    with jax.enable_x64(True):
        p, q = (z.astype(np.float64) for z in logits)
        hot = 1e4**2 * training.kl_divergence(p, q, temperature=1e4)
    np.testing.assert_allclose(hot, np.var(p - q, axis=-1) / 2, rtol=1e-3)


def test_impossible_classes_add_nothing() -> None:
    p = jnp.array([1.0, -jnp.inf, 0.5])
    q = jnp.array([0.0, -jnp.inf, 2.0])
    value, slope = jax.value_and_grad(training.kl_divergence, argnums=1)(p, q)
    keep = jnp.array([0, 2])
    np.testing.assert_allclose(value, training.kl_divergence(p[keep], q[keep]))
    assert np.isfinite(slope).all()
    # What p allows and q does not is infinitely far.
    assert training.kl_divergence(jnp.zeros(3), q) == jnp.inf


def test_huge_and_half_precision() -> None:
    far = training.kl_divergence(jnp.array([1e20, 0.0]), jnp.array([0.0, 1e20]))
    np.testing.assert_allclose(far, 1e20, rtol=1e-6)
    half = jnp.array([[1.0, 2.0, -1.0]], jnp.bfloat16)
    assert training.kl_divergence(half, half + 1).dtype == jnp.float32
    np.testing.assert_allclose(training.kl_divergence(half, half + 1), 0, atol=1e-6)


def test_gradient_of_the_loss_is_the_difference_of_probabilities(logits) -> None:
    """d/ds of T^2 KL is T (softmax(s / T) - softmax(t / T))."""
    student, teacher = logits
    labels = np.zeros(6, int)
    loss = training.knowledge_distillation(
        lambda shift, x: x + shift, temperature=2.0, weight=1.0
    )
    batch = (student, (labels, teacher))
    slope = jax.grad(lambda shift: loss(shift, batch, None)[0])(np.zeros_like(student))
    p, q = (scipy.special.softmax(z / 2, -1) for z in (student, teacher))
    np.testing.assert_allclose(slope, 2 * (p - q) / 6, atol=1e-6)


def test_weight_zero_is_classification(logits) -> None:
    student, teacher = logits
    labels = np.arange(6) % 5

    def apply(scale, x):
        return scale * x

    loss = training.knowledge_distillation(apply, weight=0.0)
    value, metrics = loss(1.5, (student, (labels, teacher)), None)
    expected, plain = training.classification(apply)(1.5, (student, labels), None)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert metrics["accuracy"] == plain["accuracy"]
    same = np.mean(student.argmax(-1) == teacher.argmax(-1))
    np.testing.assert_allclose(metrics["agreement"], same)


def test_bad_input_is_named(logits) -> None:
    student, teacher = logits
    with pytest.raises(ValueError, match=r"logits have shape \(6, 5\) and other"):
        training.kl_divergence(student, teacher[:, :4])
    with pytest.raises(ValueError, match="at least two classes"):
        training.kl_divergence(student[:, :1], teacher[:, :1])
    with pytest.raises(ValueError, match="temperature"):
        training.kl_divergence(student, teacher, temperature=0.0)
    with pytest.raises(ValueError, match="weight must lie between 0 and 1; got 2"):
        training.knowledge_distillation(lambda w, x: x, weight=2)
    loss = training.knowledge_distillation(lambda w, x: x * w)
    with pytest.raises(ValueError, match="label"):
        training.fit(
            loss,
            jnp.ones(()),
            (student, (np.full(6, 9), teacher)),
            optimizer="adam",
            steps=1,
            key=jax.random.key(0),
        )
