"""Equiangular basis vectors, held against known arrangements: arXiv 2303.11637."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import training
from kanjax.representation import equiangular

GOLDEN = (1 + math.sqrt(5)) / 2


@pytest.mark.parametrize(
    "classes, features, bound",
    [
        (3, 2, 1 / 2),
        (4, 3, 1 / 3),
        (6, 3, 1 / math.sqrt(5)),
        (10, 5, 1 / 3),
        (16, 6, 1 / 3),
        (28, 7, 1 / 3),
        (5, 5, 0.0),
        (1, 4, 0.0),
    ],
)
def test_welch_bound(classes, features, bound):
    np.testing.assert_allclose(
        equiangular.welch_bound(classes, features), bound, rtol=1e-12
    )


def test_icosahedron_axes_reach_the_bound():
    signs = itertools.product((0,), (1,), (GOLDEN, -GOLDEN))
    axes = [v for z, x, y in signs for v in ((z, x, y), (x, y, z), (y, z, x))]
    found = equiangular.coherence(jnp.asarray(axes))
    np.testing.assert_allclose(found, [1 / math.sqrt(5)] * 2, rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 4, 9])
def test_a_simplex_reaches_the_bound(classes):
    vectors = np.asarray(equiangular.simplex_basis(classes))
    expected = np.full((classes, classes), -1 / (classes - 1))
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-6)


def test_orthonormal_vectors_need_no_step():
    vectors = equiangular.orthonormal_basis(jax.random.key(0), 5, 8)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(5), atol=1e-6)
    assert equiangular.coherence(vectors).largest < 1e-6


def test_hinge_by_hand():
    assert equiangular.hinge_loss(jnp.eye(4), 0.1) == 0
    same = jnp.array([[1.0, 0], [1, 0]])
    np.testing.assert_allclose(equiangular.hinge_loss(same, 0.3), 2 * 0.7)
    np.testing.assert_allclose(
        equiangular.hinge_loss(-same.at[0].multiply(-1), 0.3, power=2), 2 * 0.49
    )


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_blocks_change_nothing(batch_size):
    vectors = equiangular.normalize(jax.random.normal(jax.random.key(1), (10, 4)))

    def value(v, size):
        return equiangular.hinge_loss(v, 0.2, batch_size=size)

    plain, gradient = jax.value_and_grad(value)(vectors, None)
    other, other_gradient = jax.value_and_grad(value)(vectors, batch_size)
    gram = np.abs(np.asarray(vectors) @ np.asarray(vectors).T) - np.eye(10)
    np.testing.assert_allclose(plain, np.maximum(gram - 0.2, 0).sum(), rtol=1e-5)
    np.testing.assert_allclose(other, plain, rtol=1e-6)
    np.testing.assert_allclose(other_gradient, gradient, rtol=1e-5, atol=1e-6)
    for size in (None, batch_size):
        found = equiangular.coherence(vectors, batch_size=size)
        np.testing.assert_allclose(found, [gram.max(), gram.sum() / 90], rtol=1e-5)


def test_the_gradient_holds_a_block_of_cosines():
    def peak(size):
        shape = jax.ShapeDtypeStruct((2048, 16), jnp.float32)
        gradient = jax.grad(lambda v: equiangular.hinge_loss(v, 0.2, batch_size=size))
        compiled = jax.jit(gradient).lower(shape).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert peak(128) < 0.3 * peak(None)


@pytest.fixture(scope="module")
def generated():
    keys = jax.random.split(jax.random.key(0), 3)
    return jax.vmap(
        lambda key: equiangular.generate(key, 4, 3, 1 / 3, learning_rate=0.05, power=2)
    )(keys)


def test_generated_vectors_keep_what_is_promised(generated):
    assert generated.converged.all() and (generated.steps > 0).all()
    lengths = jnp.linalg.norm(generated.vectors, axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    for vectors, largest in zip(generated.vectors, generated.coherence, strict=True):
        found = equiangular.coherence(vectors).largest
        np.testing.assert_allclose(found, largest, rtol=1e-5)
        assert found <= 1 / 3 + 1.01e-4


def test_members_go_as_alone(generated):
    key = jax.random.split(jax.random.key(0), 3)[1]
    alone = equiangular.generate(key, 4, 3, 1 / 3, learning_rate=0.05, power=2)
    assert alone.steps == generated.steps[1]
    np.testing.assert_allclose(alone.vectors, generated.vectors[1], atol=1e-5)


def test_what_cannot_be_reached_is_said():
    basis = equiangular.generate(jax.random.key(0), 6, 3, 0.3, max_steps=20)
    assert not basis.converged and basis.steps == 20
    assert basis.coherence >= equiangular.welch_bound(6, 3)


def test_more_classes_leave_the_old_vectors():
    old = equiangular.orthonormal_basis(jax.random.key(2), 6, 12)
    more = equiangular.generate(
        jax.random.key(3), 14, 12, 0.45, learning_rate=0.01, frozen=old
    )
    assert more.converged
    np.testing.assert_allclose(more.vectors[:6], old, atol=1e-6)


def test_squares_settle_where_a_constant_step_does_not():
    keys = jax.random.split(jax.random.key(0), 3)

    def reach(power, rate):
        return jax.jit(
            jax.vmap(
                lambda key: (
                    equiangular.generate(
                        key,
                        20,
                        20,
                        0.01,
                        learning_rate=rate,
                        power=power,
                        max_steps=300,
                    ).coherence
                )
            )
        )(keys)

    assert (reach(2, 0.05) < 0.0102).all() and (reach(1, 0.01) > 0.02).all()


def test_logits_are_cosines():
    z = jax.random.normal(jax.random.key(4), (6, 5))
    unit = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
    got = equiangular.logits(z, jnp.eye(5), temperature=1.0)
    np.testing.assert_allclose(got, unit, rtol=1e-6)
    vectors = equiangular.simplex_basis(6)
    angles = equiangular.spherical_distance(z, vectors)
    expected = np.arccos(np.asarray(unit, float) @ np.asarray(vectors, float).T)
    np.testing.assert_allclose(angles, expected, rtol=1e-4)
    np.testing.assert_array_equal(
        jnp.argmin(angles, -1), equiangular.predict(z, vectors)[:, 0]
    )


def mean_loss(z, labels, vectors, smoothing):
    loss = training.classification(lambda z, _: equiangular.logits(z, vectors))
    targets = optax.smooth_labels(jax.nn.one_hot(labels, len(vectors)), smoothing)
    return loss(jnp.asarray(z), (jnp.zeros(len(z)), targets))[0]


def test_the_loss_by_hand():
    rng = np.random.default_rng(5)
    z, labels = rng.normal(size=(9, 4)), rng.integers(0, 5, 9)
    vectors = np.asarray(equiangular.simplex_basis(5))
    logits = z / np.linalg.norm(z, axis=1, keepdims=True) @ vectors.T / 0.07
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for smoothing in (0.0, 0.1):
        hit = log_p[np.arange(9), labels]
        expected = -((1 - smoothing) * hit + smoothing * log_p.mean(axis=1)).mean()
        got = mean_loss(z, labels, vectors, smoothing)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_length_of_an_embedding_never_matters():
    vectors, z = (
        equiangular.simplex_basis(5),
        jax.random.normal(jax.random.key(6), (4,)),
    )

    def value(z):
        return equiangular.logits(z, vectors)[2]

    gradient = jax.grad(value)(z)
    np.testing.assert_allclose(z @ gradient, 0, atol=1e-6)
    for scale in (1e-20, 1e20):
        np.testing.assert_allclose(value(scale * z), value(z), rtol=1e-5)
    zero = jnp.zeros(4)
    assert value(zero) == 0 and not jax.grad(value)(zero).any()
    assert np.isfinite(jax.vmap(jax.grad(value))(jnp.stack([z, zero]))).all()
    aligned = jax.grad(lambda z: equiangular.spherical_distance(z, vectors)[2])
    assert np.isfinite(aligned(vectors[2])).all()
