"""What equiangular vectors promise beside their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.representation import equiangular


@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 9, 50])
def test_nearest_classes_in_blocks(top, batch_size):
    z = jax.random.normal(jax.random.key(0), (2, 5, 6))
    vectors = equiangular.normalize(jax.random.normal(jax.random.key(1), (11, 6)))
    cosines = np.asarray(z, float) @ np.asarray(vectors, float).T
    expected = np.argsort(-cosines / np.linalg.norm(z, axis=-1)[..., None])[..., :top]
    for size in (None, batch_size):
        predict = jax.jit(
            lambda z, size=size: equiangular.predict(
                z, vectors, top=top, batch_size=size
            )
        )
        np.testing.assert_array_equal(predict(z), expected)


def test_many_classes_take_a_block_of_memory():
    """100,000 classes: 400 MB of cosines for 1,000 embeddings otherwise."""
    z = jax.ShapeDtypeStruct((1000, 32), jnp.float32)
    vectors = jax.ShapeDtypeStruct((100_000, 32), jnp.float32)
    run = jax.jit(lambda z, v: equiangular.predict(z, v, batch_size=2000))
    memory = run.lower(z, vectors).compile().memory_analysis().temp_size_in_bytes
    assert memory < 60e6


def test_half_precision_and_integers():
    vectors = equiangular.simplex_basis(4)
    z = jnp.array([[3, -1, 2], [0, 0, -5]])
    whole = equiangular.cosines(z, vectors)
    half = equiangular.cosines(z.astype(jnp.bfloat16), vectors)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(float), whole, atol=0.02)


def test_angles_have_slopes_at_their_own_vectors_in_half_precision():
    vectors = jnp.eye(3, dtype=jnp.bfloat16)
    angles, slopes = jax.value_and_grad(
        lambda z: jnp.sum(equiangular.spherical_distance(z, vectors))
    )(vectors)
    # Of 9 angles 6 are right ones; 0 is not told from the next number below 1.
    np.testing.assert_allclose(float(angles), 3 * np.pi, atol=0.35)
    assert bool(jnp.all(jnp.isfinite(slopes)))


def test_bad_input():
    key, vectors = jax.random.key(0), jnp.eye(3)
    for call, message in (
        (lambda: equiangular.welch_bound(0, 3), "classes must be a positive integer"),
        (lambda: equiangular.coherence(jnp.ones((1, 3))), "at least 2 classes"),
        (lambda: equiangular.generate(key, 4, 3, 1.0), r"limit must be in \[0, 1\)"),
        (lambda: equiangular.generate(key, 1, 3, 0.5), "it must be at least 2"),
        (
            lambda: equiangular.generate(key, 3, 3, 0.5, frozen=vectors),
            "more than the 3 frozen",
        ),
        (
            lambda: equiangular.generate(key, 5, 4, 0.5, frozen=vectors),
            r"shape \(frozen, 4\)",
        ),
        (lambda: equiangular.orthonormal_basis(key, 4, 3), "cannot be orthogonal"),
        (lambda: equiangular.simplex_basis(1), "at least 2; got 1"),
        (lambda: equiangular.cosines(jnp.ones(4), vectors), "4 features and vectors 3"),
        (
            lambda: equiangular.logits(jnp.ones(3), vectors, temperature=0.0),
            "temperature must be positive",
        ),
        (
            lambda: equiangular.predict(jnp.ones(3), vectors, top=4),
            "top must be 1 to 3",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
